"""A process that indexes the files it is given until it is killed, and says which are committed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fake_model import FakeModel

from sentvec.search import ingest
from sentvec.search.collection import Collection


def main(folder: str, files: str, round_: str) -> None:
    ingest.GROUP = 1  # every file a commit of its own
    with Collection.open(folder, FakeModel()) as collection:
        for n in range(10_000):
            file = Path(files, f"{n % 20}.md")
            file.write_text("".join(f"Sentence {m} of file {n} in round {round_} is here. " for m in range(40)))
            collection.add_files([file])
            sys.stdout.write(f"{n}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
