"""A process that indexes files until it is killed, and says which are committed.

Given a number of steps, it kills itself with SIGKILL after that many steps of SQLite's machine: in the middle
of a statement, of a transaction, of a file. Given 0, it goes on until somebody else kills it.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from pathlib import Path

import apsw

sys.path.insert(0, str(Path(__file__).parent))

from fake_model import FakeModel

from sentvec.search import ingest
from sentvec.search.collection import Collection


def main(folder: str, files: str, round_: str, steps: str) -> None:
    ingest.GROUP = 1  # every file a commit of its own
    with Collection.open(folder, FakeModel()):
        pass  # the first round kills within files too, not within the making of the collection
    clock = count(1)

    def tick() -> bool:
        if next(clock) == int(steps):
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    apsw.connection_hooks.append(lambda db: db.set_progress_handler(tick, 10))
    with Collection.open(folder, FakeModel()) as collection:
        for n in range(10_000):
            file = Path(files, f"{n % 5}.md")
            file.write_text("".join(f"Sentence {m} of file {n} in round {round_} is here. " for m in range(40)))
            collection.add_files([file])
            sys.stdout.write(f"{n}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
