"""Encode rows into a folder until killed: run as a program by test_stream.py.

Importing torch takes seconds, so one process does it and forks a child for each line that it reads; the test kills
the child. Prints the child's process id when it begins, and how it ended.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path


def texts(count: int):
    for i in range(count):
        yield f"row {i} of some text that says {'very ' * (i % 7)}little"


def main(model_folder: str, out: str, rows: int, shard_rows: int) -> None:
    import pyarrow.parquet  # noqa: F401 - takes longer to import than a part takes to write, so not in the children
    import torch

    with suppress(ImportError):
        import pandas  # noqa: F401 - pyarrow does this at its first array, where it is installed

    from sentvec import Embedder
    from sentvec.runtime import engine

    engine.WINDOW = 256  # parts follow each other quickly, so that kills fall into all steps of writing one
    torch.set_num_threads(1)  # no thread pool, which a fork would not take along
    model = Embedder.from_pretrained(model_folder, device="cpu")
    print(f"ready {model.dim}", flush=True)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            report = model.encode_to(Path(out), texts(rows), shard_rows=shard_rows, resume=True, progress=False)
            os._exit(0 if report.rows == rows else 1)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
