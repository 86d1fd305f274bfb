"""Random writes, compactions and reopenings, seen by the writer and by a reader, against a dict and NumPy."""

from __future__ import annotations

import random

import numpy as np
import pytest
from fake_model import FakeModel

from sentvec.search.collection import Collection

WORDS = ["zeta", "kilo", "mox", "blip", "quod", "vex", "猫"]
KINDS = ["flat", "sq8", "HNSW8", None]


def nearest(held, question, least):
    """Return the scores of all that a filter leaves, best first."""
    kept = [vector for vector, n in held.values() if n >= least]
    return np.sort(np.array(kept).reshape(-1, 16) @ question)[::-1]


@pytest.mark.parametrize("seed", range(3))
def test_what_is_found_is_what_numpy_finds(tmp_path, seed):
    chance, model, held = random.Random(seed), FakeModel(dim=16), {}
    writer, reader = (Collection.open(tmp_path / "c", model) for _ in range(2))

    def vector(text):
        found = model._vector(text)
        return found / np.linalg.norm(found)

    for step in range(60):
        move = chance.choices(["put", "delete", "empty", "compact", "reopen"], [5, 2, 3, 1, 1])[0]
        if move == "put":
            ids = [f"i{n}" for n in chance.sample(range(60), chance.randint(1, 30))]
            texts = [" ".join(chance.choices(WORDS, k=3)) for _ in ids]
            writer.upsert(texts, ids, [{"n": step}] * len(ids))
            held |= {id_: (vector(text), step) for id_, text in zip(ids, texts, strict=True)}
        elif move in ("delete", "empty"):
            gone = list(held) if move == "empty" else chance.sample(list(held), len(held) // 3)
            assert writer.delete(gone) == len(gone)
            held = {id_: one for id_, one in held.items() if id_ not in gone}
        if move == "compact" or (move == "empty" and chance.random() < 0.7):
            assert writer.compact(chance.choice(KINDS)).rows == len(held)
        elif move == "reopen":
            writer.close()
            writer = Collection.open(tmp_path / "c", model)
        question, least = chance.choice(WORDS), chance.choice([0, step // 2])
        for one in (writer, reader)[chance.randint(0, 1) :]:
            hits = one.search(question, 99, where={"n": {">=": least}} if least else None)
            assert np.allclose([hit.score for hit in hits], nearest(held, vector(question), least), atol=1e-5)
            assert all(abs(held[hit.id][0] @ vector(question) - hit.score) < 1e-5 for hit in hits)
    assert reader.verify().clean
    writer.close()
    reader.close()
