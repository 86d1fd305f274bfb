"""A process for strace: it writes to a collection, and makes a folder for each write that was acknowledged.

The folders are made in another place than the collection's, so that faults can be injected into the one alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fake_model import FakeModel

from sentvec.errors import SentvecError
from sentvec.search.collection import Collection


def main(folder, notes, what):
    notes = Path(notes)
    try:
        with Collection.open(folder, FakeModel()) as collection:
            notes.joinpath("begin").mkdir()
            for n in range(4):
                collection.add([f"text {n} {m}" for m in range(30)], ids=[f"{n}-{m}" for m in range(30)])
                notes.joinpath(f"add {n}").mkdir()
            collection.delete(["0-0", "0-1"])
            notes.joinpath("delete").mkdir()
            collection.compact(what)
            notes.joinpath("compact").mkdir()
            collection.add(["after"], ids=["after"])
            notes.joinpath("after").mkdir()
    except SentvecError as error:
        notes.joinpath("error").write_text(str(error))
        sys.exit(3)


if __name__ == "__main__":
    main(*sys.argv[1:])
