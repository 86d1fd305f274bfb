"""A process that searches a collection, again and again, until a file appears; it ends with an error if one is wrong.

The passage `anchor` is there all the time, and alone has its words; all others come and go.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fake_model import FakeModel

from sentvec.search.collection import Collection


def main(folder, stop):
    searches = 0
    with Collection.open(folder, FakeModel()) as collection:
        while not Path(stop).exists():
            hits = collection.search("anchor alone", k=30)
            assert hits[0].id == "anchor"
            assert len({hit.id for hit in hits}) == 30
            assert all(a.score >= b.score for a, b in pairwise(hits))
            assert [hit.id for hit in collection.search_text("anchor", k=9)] == ["anchor"]
            searches += 1
            if searches == 1:
                print("begun", flush=True)
    print(searches)


if __name__ == "__main__":
    main(*sys.argv[1:])
