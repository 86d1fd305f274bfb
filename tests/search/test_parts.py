"""Vectors that were encoded into files come into a collection once, whatever is killed, and only with their texts."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
from fake_model import FakeModel

from sentvec.errors import InvalidInput, ModelMismatch, NonFiniteOutput, OutputError
from sentvec.runtime.shards import ShardFolder, digest_rows
from sentvec.search import parts as module
from sentvec.search.collection import Collection
from sentvec.search.parts import add_parts

TEXTS = [f"word{n % 9} text {n}" for n in range(50)]


def encoded(folder, model, texts=TEXTS, first=0, size=20):
    """Write parts as `Embedder.encode_to` does."""
    with ShardFolder(
        folder, {"fingerprint": model.fingerprint, "dim": model.dim, "format": "npy"}, resume=False
    ) as out:
        for begin in range(0, len(texts), size):
            part = texts[begin : begin + size]
            ids = list(range(first + begin, first + begin + len(part)))
            out.write(ids, model._encode(part), digest_rows(zip(ids, part, strict=True)))
        out.finish()
    return folder


@pytest.fixture
def place(tmp_path):
    Collection.open(tmp_path / "c", FakeModel()).close()
    return tmp_path / "c"


def test_parts_are_in_once_and_answer_as_if_they_had_been_added(place, tmp_path):
    model = FakeModel()
    report = add_parts(place, encoded(tmp_path / "v", model), iter(TEXTS), ({"n": n} for n in range(50)), prefix="t")
    assert (report.parts, report.passed, report.added, report.updated) == (3, 0, 50, 0)
    with Collection.open(tmp_path / "other", model) as other, Collection.open(place, model) as collection:
        other.add(TEXTS, ids=[f"t{n}" for n in range(50)], metadata=[{"n": n} for n in range(50)])
        assert collection.search("word3 text", k=50) == other.search("word3 text", k=50)
        assert [hit.id for hit in collection.search_text("17")] == ["t17"]
        assert collection.verify().clean
        collection.delete(["t3"])
        again = add_parts(place, tmp_path / "v", TEXTS, prefix="t")
        assert (again.parts, again.passed, again.added) == (0, 3, 0)
        assert collection.get(["t3"]) == []


def test_texts_that_were_not_encoded_are_refused(place, tmp_path):
    encoded(tmp_path / "v", FakeModel())
    for texts in (TEXTS[:45], [*TEXTS[:45], "another", *TEXTS[46:]]):
        with pytest.raises(InvalidInput, match=r"part-00002\.npy.*same texts"):
            add_parts(place, tmp_path / "v", texts)
    with Collection.open(place) as collection:
        assert len(collection) == 40
    assert add_parts(place, tmp_path / "v", TEXTS).added == 10


def test_other_models_and_broken_parts_are_refused(place, tmp_path):
    with pytest.raises(ModelMismatch, match="another model"):
        add_parts(place, encoded(tmp_path / "a", FakeModel("other")), TEXTS)
    encoded(tmp_path / "b", FakeModel())
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    manifest["key"]["dim"] = 16
    (tmp_path / "b" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelMismatch, match="have 16 numbers"):
        add_parts(place, tmp_path / "b", TEXTS)
    with pytest.raises(OutputError):
        add_parts(place, tmp_path / "nowhere", TEXTS)
    encoded(tmp_path / "d", FakeModel())
    vectors = np.load(tmp_path / "d" / "part-00000.npy")
    vectors[3, 3] = np.nan
    np.save(tmp_path / "d" / "part-00000.npy", vectors)
    with pytest.raises(NonFiniteOutput, match="for 3"):
        add_parts(place, tmp_path / "d", TEXTS)
    with Collection.open(place) as collection:
        assert len(collection) == 0


def test_a_run_that_was_killed_adds_nothing_twice(place, tmp_path, monkeypatch):
    encoded(tmp_path / "v", FakeModel(), size=5)
    if (pid := os.fork()) == 0:
        read = module.read_part

        def killing(folder, shard):
            if shard.file.startswith("part-00004"):
                os.kill(os.getpid(), signal.SIGKILL)
            return read(folder, shard)

        module.read_part = killing
        add_parts(place, tmp_path / "v", TEXTS)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    report = add_parts(place, tmp_path / "v", TEXTS)
    assert (report.passed, report.added) == (4, 30)
