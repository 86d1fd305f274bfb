"""Whatever is killed, and whenever: what was acknowledged is there, nothing is there by half, and answers are right.

`make soak` runs the first of these tests for longer; the figure is kept in benchmarks/results/crash.md.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import oracle
import pytest
from fake_model import FakeModel

from sentvec.errors import CollectionError
from sentvec.search.collection import Collection

ROUNDS = int(os.environ.get("SENTVEC_SOAK", "25"))


@pytest.fixture(scope="module")
def nursery():
    """A process that has imported everything, and forks children in a moment."""
    command = [sys.executable, Path(__file__).with_name("oracle.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


def run(nursery, folder, log, seed, point="-", notes=None, seconds=0.0):
    """Let a child work, and kill it some seconds after it made so many notes; None waits for it to kill itself."""
    nursery.stdin.write(f"{folder}\t{log}\t{seed}\t{point}\n")
    nursery.stdin.flush()
    number = int(nursery.stdout.readline())
    if notes is not None:
        while not log.exists() or log.read_bytes().count(b"\n") < notes:
            time.sleep(0.001)
        time.sleep(seconds)
        os.kill(number, signal.SIGKILL)
    assert nursery.stdout.readline() == "gone\n"


def check(folder, log, state):
    """Hold a collection against what its log says; returns what it holds."""
    acknowledged, begun = oracle.read(log)
    for number in acknowledged:
        state = oracle.applied(state, number)
    later = state if begun is None else oracle.applied(state, begun)
    model = FakeModel()
    with Collection.open(folder, model) as collection:
        found = collection.get([f"i{n}" for n in range(120)])
        there = {entry.id: entry.text for entry in found}
        assert len(collection) == len(there)
        assert there in (state, later), "an acknowledged operation is missing, or one is there by half"
        assert all(entry.metadata == {"text": entry.text} for entry in found)
        if there:
            exact(collection, there, model)
        report = collection.verify()
        assert report.clean, report.problems
    return there, len(acknowledged)


def exact(collection, there, model):
    """Compare an exact search with NumPy, what an index finds with its scores, and a search by words with the words."""
    ids = list(there)
    vectors = model.encode_query([there[id_] for id_ in ids]).astype(np.float64)
    query = model.encode_query([oracle.WORDS[3]])[0]
    scores = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    for k in (1, 10, 200):
        ((found, rows),) = collection._reader.ask(lambda store, view, k=k: view.nearest(query[None], k, exact=True))
        assert len(set(rows.tolist())) == min(k, len(ids))
        np.testing.assert_allclose(found, np.sort(scores)[::-1][:k], atol=1e-5)
        hits = collection.search(query, k=k)
        assert len({hit.id for hit in hits}) == min(k, len(ids))
        np.testing.assert_allclose([hit.score for hit in hits], [scores[ids.index(hit.id)] for hit in hits], atol=1e-5)
    worded = {hit.id for hit in collection.search_text(oracle.WORDS[3], k=200)}
    assert worded == {id_ for id_, text in there.items() if oracle.WORDS[3] in text.split()}


def test_killed_at_any_moment(tmp_path, nursery):
    seed = int(os.environ.get("SENTVEC_SEED", random.randrange(1 << 30)))
    chance = random.Random(seed)
    print(f"seed {seed}")
    state, total = {}, 0
    for n in range(ROUNDS):
        log = tmp_path / f"log{n}"
        when = {"notes": chance.randint(1, 14), "seconds": chance.expovariate(100)}
        run(nursery, tmp_path / "c", log, chance.randrange(1 << 30), **when)
        state, acknowledged = check(tmp_path / "c", log, state)
        total += acknowledged
    print(f"{ROUNDS} kills, {total} acknowledged operations")
    assert total > ROUNDS // 2


@pytest.mark.parametrize("point", oracle.POINTS)
def test_killed_at_each_step_of_a_compaction_twice(tmp_path, nursery, point):
    state = {}
    for n in range(2):
        run(nursery, tmp_path / "c", tmp_path / f"log{n}", n + 5, point)
        state, _ = check(tmp_path / "c", tmp_path / f"log{n}", state)
        assert oracle.read(tmp_path / f"log{n}")[1] is not None  # it did die in the middle of something
    with Collection.open(tmp_path / "c", FakeModel()) as collection:
        collection.compact("flat")
        names = {path.name for path in (tmp_path / "c").iterdir() if path.is_dir()}
        assert names == {f"gen-{collection.stats().generation:06d}"}  # nothing of what died is left


def test_killed_while_the_collection_is_copied(tmp_path, nursery):
    with Collection.open(tmp_path / "c", FakeModel()) as collection:
        collection.add(["one text", "another text"])
        for point in ("copy written", "copy named"):
            target = tmp_path / point
            if (pid := os.fork()) == 0:
                oracle.die_at(point)
                Collection.open(tmp_path / "c").snapshot(target)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == signal.SIGKILL
            if (target / "db.sqlite").exists():
                with Collection.open(target) as copy:
                    assert len(copy) == 2
                continue
            with pytest.raises(CollectionError, match="holds other files"):  # never an empty one in its place
                Collection.open(target, FakeModel())
            collection.snapshot(target)
            assert [path.name for path in target.iterdir()] == ["db.sqlite"]
            with Collection.open(target) as copy:
                assert len(copy) == 2
