"""A collection against a dict and a search by NumPy, whatever is added, replaced, deleted and opened again."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from fake_model import FakeModel
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sentvec.search.collection import Collection

IDS = st.sampled_from([f"id{n}" for n in range(8)])
TEXTS = st.sampled_from([f"{a} {b}" for a in ("red", "green", "blue") for b in ("apple", "house", "sky")])


class AgainstADict(RuleBasedStateMachine):
    """Whatever is added, replaced, deleted and opened again: the collection equals a dict and a NumPy search."""

    def __init__(self):
        super().__init__()

        self.folder = tempfile.TemporaryDirectory()
        self.model = FakeModel()
        self.collection = Collection.open(Path(self.folder.name, "c"), self.model)
        self.expected = {}

    @rule(rows=st.dictionaries(IDS, st.tuples(TEXTS, st.integers(0, 3)), max_size=5))
    def add(self, rows):
        texts = [text for text, _ in rows.values()]
        report = self.collection.add(texts, list(rows), [{"n": n} for _, n in rows.values()])
        assert (report.added, report.updated) == (len(rows.keys() - self.expected), len(rows.keys() & self.expected))
        self.expected.update(rows)

    @rule(ids=st.lists(IDS, max_size=4))
    def delete(self, ids):
        assert self.collection.delete(ids) == len(set(ids) & self.expected.keys())
        for id_ in ids:
            self.expected.pop(id_, None)

    @rule(kind=st.sampled_from(["flat", "hnsw", None]))
    def compact(self, kind):
        assert self.collection.compact(kind).rows == len(self.expected)

    @rule(n=st.integers(0, 3))
    def delete_where(self, n):
        there = {id_ for id_, (_, m) in self.expected.items() if m == n}
        assert self.collection.delete(where={"n": n}) == len(there)
        for id_ in there:
            del self.expected[id_]

    @rule()
    def open_again(self):
        self.collection.close()
        self.collection = Collection.open(Path(self.folder.name, "c"), self.model)

    @rule(query=TEXTS, k=st.integers(1, 9))
    @precondition(lambda self: self.expected)
    def search(self, query, k):
        def unit(text):
            vector = self.model.encode_query([text])[0]
            return vector / np.linalg.norm(vector)

        scores = {id_: float(unit(query) @ unit(text)) for id_, (text, _) in self.expected.items()}
        hits = self.collection.search(query, k)
        assert len(hits) == min(k, len(scores)) == len({hit.id for hit in hits})
        np.testing.assert_allclose([hit.score for hit in hits], sorted(scores.values())[::-1][:k], atol=1e-5)
        for hit in hits:
            assert hit.score == pytest.approx(scores[hit.id], abs=1e-5)
            assert (hit.text, hit.metadata["n"]) == self.expected[hit.id]

    @invariant()
    def same(self):
        assert len(self.collection) == len(self.expected)
        entries = self.collection.get([f"id{n}" for n in range(8)])
        assert {entry.id: (entry.text, entry.metadata["n"]) for entry in entries} == self.expected

    def teardown(self):
        assert self.collection.verify().clean
        self.collection.close()
        self.folder.cleanup()


TestAgainstADict = AgainstADict.TestCase
TestAgainstADict.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
