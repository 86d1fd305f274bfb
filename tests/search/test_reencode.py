"""Another model for a collection: searched by the old until all is there, by the new at once, and killed in between."""

from __future__ import annotations

import os
import signal

import numpy as np
import oracle
import pytest
from fake_model import FakeModel

from sentvec.errors import InvalidInput, ModelMismatch
from sentvec.search import reencode as module
from sentvec.search.collection import Collection
from sentvec.search.reencode import reencode

TEXTS = [f"word{n % 7} word{n % 5} item{n}" for n in range(60)]


class Other(FakeModel):
    """Another model, of other vectors and of more numbers."""

    def __init__(self, dim=48):
        super().__init__("other", dim=dim)

    def _vector(self, text):
        return super()._vector(text[::-1])


@pytest.fixture
def folder(tmp_path):
    with Collection.open(tmp_path / "c", FakeModel()) as collection:
        collection.add(TEXTS, ids=[f"i{n}" for n in range(60)])
    return tmp_path / "c"


def best(folder, model):
    with Collection.open(folder, model) as collection:
        assert collection.verify().clean
        return [(hit.id, hit.score) for hit in collection.search("word3 item17", k=5)]


@pytest.mark.parametrize("kind", [None, "flat", "hnsw"])
@pytest.mark.parametrize("dim", [32, 48])
def test_all_is_as_if_the_new_model_had_made_it(folder, tmp_path, kind, dim):
    if kind is not None:
        with Collection.open(folder, FakeModel()) as collection:
            collection.compact(kind, recall=1.0)
    report = reencode(folder, Other(dim), recall=1.0)
    assert (report.passages, report.encoded) == (60, 60)
    with Collection.open(tmp_path / "new", Other(dim)) as collection:
        collection.add(TEXTS, ids=[f"i{n}" for n in range(60)])
    assert best(folder, Other(dim)) == best(tmp_path / "new", Other(dim))
    with Collection.open(folder, Other(dim)) as collection:
        assert collection.stats().generation == (0 if kind is None else 2)
        assert collection.add([TEXTS[0]], ids=["twin"]).encoded == 0  # texts are known under the new model
    with pytest.raises(ModelMismatch):
        Collection.open(folder, FakeModel())
    with pytest.raises(InvalidInput, match="already"):
        reencode(folder, Other(dim))


def test_others_search_and_write_meanwhile_and_are_told_after_it(folder, monkeypatch):
    model, other = Other(32), Collection.open(folder, FakeModel())
    before = other.search("word3 item17", k=5)
    encode = model.encode_document

    def while_encoding(texts, **options):
        assert other.search("word3 item17", k=5)[:2] == before[:2]
        if "late" not in {entry.id for entry in other.get(["late"])}:
            other.add(["a late text"], ids=["late"])
            other.delete(["i59"])
        return encode(texts, **options)

    monkeypatch.setattr(model, "encode_document", while_encoding)
    assert reencode(folder, model).passages == 60
    for call in (lambda: other.search(np.ones(32, np.float32)), lambda: other.add(["x"]), lambda: other.delete(["i1"])):
        with pytest.raises(ModelMismatch, match="was changed while it was open"):
            call()
    other.close()
    with Collection.open(folder, Other(32)) as collection:
        assert collection.search("a late text")[0].id == "late"
        assert collection.get(["i59"]) == []
        assert collection.verify().clean


@pytest.mark.parametrize("point", ["before the new vectors", "after the new vectors", "generation named"])
def test_a_run_that_was_killed_is_gone_on_with(folder, point):
    with Collection.open(folder, FakeModel()) as collection:
        collection.compact("flat")
    if (pid := os.fork()) == 0:
        oracle.die_at(point)
        reencode(folder, Other())
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    if point.startswith("after"):
        assert len(best(folder, Other())) == 5
        return
    assert best(folder, FakeModel())[0][0] == "i17"
    report = reencode(folder, Other())
    assert (report.passages, report.encoded) == (60, 0)
    assert len(best(folder, Other())) == 5


def test_what_is_added_when_all_is_encoded_and_the_index_is_not_begun_is_found(folder, monkeypatch):
    with Collection.open(folder, FakeModel()) as collection:
        collection.compact("flat")

    def late(*arguments):
        with Collection.open(folder, FakeModel()) as collection:
            collection.add(["word3 late"], ids=["late"])
            collection.delete(["i5"])
        return build(*arguments)

    build = module.build
    monkeypatch.setattr(module, "build", late)
    assert reencode(folder, Other()).passages == 60
    with Collection.open(folder, Other()) as collection:
        assert collection.search("word3 late", k=1)[0].id == "late"
        assert (len(collection.search("word3", k=99)), collection.verify().clean) == (60, True)
        assert (collection.stats().indexed, collection.stats().later) == (59, 1)
