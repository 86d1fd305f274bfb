"""A process that writes, deletes and compacts until it is killed; and what the collection must hold after that.

As a program it is a nursery: for each line `folder log seed point` on its input it forks a child, which works with the
collection in that folder, and prints the child's number, and `gone` when it has ended. A child notes in its log each
operation before it begins and after it was acknowledged. What an operation does follows from its number, so that the
parent knows it too. A point is where the child is to kill itself: the name of a crash point, or `-` for never.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fake_model import FakeModel

from sentvec.errors import SentvecError
from sentvec.search import disk, generation, reencode, snapshot, upkeep
from sentvec.search.collection import Collection

WORDS = [f"word{n}" for n in range(30)]
KINDS = ("flat", "hnsw", "ivf-flat")
POINTS = (
    "generation written",
    "generation synced",
    "generation named",
    "generation placed",
    "before the switch",
    "after the switch",
    "after the removal",
)


def operation(number):
    """What is done under a number: ("put", {id: text}), ("delete", ids) or ("compact", kind)."""
    chance = random.Random(number)
    draw = chance.random()
    if draw < 0.55:
        ids = chance.sample(range(120), chance.randint(1, 40))
        return "put", {f"i{n}": f"{number} {' '.join(chance.choices(WORDS, k=5))}" for n in ids}
    if draw < 0.75:
        return "delete", [f"i{n}" for n in chance.sample(range(120), chance.randint(1, 20))]
    return "compact", chance.choice(KINDS)


def applied(state, number):
    """What the collection holds, id -> text, after an operation."""
    kind, what = operation(number)
    if kind == "put":
        return {**state, **what}
    if kind == "delete":
        return {id_: text for id_, text in state.items() if id_ not in what}
    return state


def do(collection, number):
    kind, what = operation(number)
    if kind == "put":
        collection.upsert(list(what.values()), list(what), [{"text": text} for text in what.values()])
    elif kind == "delete":
        collection.delete(what)
    else:
        collection.compact(what)


def read(log):
    """Return the operations that were acknowledged, and the one that was begun after them, if any."""
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    acknowledged = [int(number) for what, number in lines if what == "done"]
    begun = [int(number) for what, number in lines if what == "begun"]
    return acknowledged, begun[-1] if len(begun) > len(acknowledged) else None


def die_at(point):
    """Kill this process where it reaches a crash point."""

    def reached(name):
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    for module in (disk, generation, reencode, snapshot, upkeep):
        module.reached = reached


def child(folder, log, seed, point):
    die_at(point)
    numbers = random.Random(int(seed))
    with Path(log).open("a") as notes:

        def note(what, number):
            notes.write(f"{what} {number}\n")
            notes.flush()

        try:
            with Collection.open(folder, FakeModel()) as collection:
                while True:
                    number = numbers.randrange(1 << 30)
                    note("begun", number)
                    do(collection, number)
                    note("done", number)
        except SentvecError as error:
            notes.write(f"{error}\n")  # no operation: the parent fails over this line, and shows it


def nursery():
    for line in sys.stdin:
        number = os.fork()
        if not number:
            child(*line.rstrip("\n").split("\t"))
            os._exit(0)
        print(number, flush=True)
        os.waitpid(number, 0)
        print("gone", flush=True)


if __name__ == "__main__":
    nursery()
