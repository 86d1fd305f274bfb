"""Copying between stores of different kinds: everything arrives, once, also after a run that was stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sentvec.errors import CollectionError, InvalidInput
from sentvec.search.types import Entry
from sentvec.stores.border import batch_of
from sentvec.stores.copying import copy
from sentvec.stores.opening import open_store
from sentvec.stores.protocol import Batch


@pytest.fixture
def source(tmp_path, spec):
    rng = np.random.default_rng(0)
    entries = tuple(
        Entry(
            f"p{n}",
            f"text {n} 猫",
            f"/f{n % 3}.md" if n % 2 else None,
            n if n % 2 else None,
            None,
            {"n": n, "ok": n > 5},
        )
        for n in range(30)
    )
    with open_store(str(tmp_path / "source.sv"), spec) as store:
        store.upsert(Batch(entries, rng.normal(size=(30, 16)).astype(np.float32)))
        yield store


class Stopping:
    """A store whose scan stops after so many batches, as a run that is killed does."""

    def __init__(self, store, after):
        self.store, self.after = store, after

    def __getattr__(self, name):
        return getattr(self.store, name)

    def scan(self, many):
        for n, batch in enumerate(self.store.scan(many)):
            if n == self.after:
                raise KeyboardInterrupt
            yield batch


def everything(store):
    return {entry.id: entry for part in store.scan() for entry in part.entries}


def test_everything_arrives_and_a_second_run_writes_nothing(source, store, monkeypatch):
    report = copy(source, store, many=7)
    assert (report.read, report.added, report.updated, report.unchanged, report.others) == (30, 30, 0, 0, 0)
    assert everything(store) == everything(source)
    vector = np.ones(16, np.float32)
    ours, theirs = source.search(vector, 30), store.search(vector, 30)
    assert [hit.id for hit in ours] == [hit.id for hit in theirs]
    again = copy(source, store, many=7)
    assert (again.added, again.updated, again.unchanged) == (0, 0, 30)


def test_a_run_that_was_stopped_goes_on(source, store):
    with pytest.raises(KeyboardInterrupt):
        copy(Stopping(source, 2), store, many=10)
    assert store.count() == 20
    report = copy(source, store, many=10)
    assert (report.added, report.unchanged, store.count()) == (10, 20, 30)


def test_what_changed_is_updated_and_what_is_only_there_stays(source, store):
    copy(source, store)
    store.upsert(batch_of(["other"], ["x"], np.ones((1, 16), np.float32)))
    (first,) = source.get(["p6"]).entries
    vectors = source.get(["p6", "p7"]).vectors
    source.upsert(Batch((replace(first, metadata={"n": 6, "ok": 1}),), vectors[:1]))  # to Python, 1 equals true
    source.upsert(Batch(source.get(["p7"]).entries, -vectors[1:]))
    report = copy(source, store)
    assert (report.added, report.updated, report.others) == (0, 2, 1)
    assert store.get(["p6"]).entries[0].metadata["ok"] is not True
    assert store.search(-vectors[1], 1)[0].id == "p7"


def test_a_source_that_changes_meanwhile_is_told(source, store):
    class Growing(Stopping):
        def scan(self, many):
            yield next(iter(self.store.scan(many)))

    with pytest.raises(CollectionError, match="10 of 30 passages .* written to meanwhile"):
        copy(Growing(source, 0), store, many=10)


def test_a_store_is_not_copied_to_itself(source):
    with pytest.raises(InvalidInput, match="to itself"):
        copy(source, source)
