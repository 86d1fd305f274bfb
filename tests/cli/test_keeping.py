"""`sentvec delete`, `compact`, `verify`, `stats` and `snapshot`: what is printed, and the exit code."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from tests.cli.running import inside

from sentvec.cli import compact, index, reencode, verify
from sentvec.search.collection import Collection

spec = importlib.util.spec_from_file_location("fake_model", Path(__file__).parents[1] / "search" / "fake_model.py")
fakes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fakes)


@pytest.fixture
def sentvec(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    for module in (compact, index, reencode, verify):
        monkeypatch.setattr(module, "open_model", lambda name, device="auto", offline=False: fakes.FakeModel(name))
    return inside(monkeypatch, capsys)


@pytest.fixture
def pets(tmp_path, sentvec):
    with Collection.open(tmp_path / "pets.sv", fakes.FakeModel()) as collection:
        collection.add(
            ["Cats sleep.", "Dogs bark.", "Hens lay eggs."], ids=["cat", "dog", "hen"], metadata=[{"n": 1}] * 3
        )
    return tmp_path / "pets.sv"


def test_delete_by_ids_and_by_a_filter(pets, sentvec):
    assert sentvec("delete", "cat", "bird", "-c", "pets.sv").out == "1 deleted; pets.sv has 2 passages\n"
    ended = sentvec("delete", "--where", '{"n": {">": 0}}', "-c", "pets.sv", "--json")
    assert json.loads(ended.out) == {"deleted": 2, "passages": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give either ids, or a filter"),
        (["cat", "--where", "{}"], "Give either ids, or a filter"),
        (["--where", "{n"], "is no JSON"),
        (["--where", '{"n": {"~": 1}}'], "'~'"),
    ],
)
def test_delete_refuses(pets, sentvec, arguments, message):
    ended = sentvec("delete", *arguments, "-c", "pets.sv")
    assert ended.code == 1
    assert message in ended.err
    with Collection.open(pets) as collection:
        assert len(collection) == 3


def test_compact_and_stats(pets, sentvec):
    assert "none: every vector is compared" in sentvec("stats", "-c", "pets.sv").out
    assert "3 passages in Flat (every vector is compared)" in sentvec("compact", "-c", "pets.sv").out
    sentvec("delete", "cat", "-c", "pets.sv")
    assert "2, 0 came later, 1 were removed since" in sentvec("stats", "-c", "pets.sv").out
    ended = sentvec("compact", "--kind", "hnsw", "--json", "-c", "pets.sv")
    assert json.loads(ended.out)["generation"] == 2
    stats = json.loads(sentvec("stats", "--json", "-c", "pets.sv").out)
    assert (stats["index"], stats["indexed"], stats["passages"]) == ("HNSW32", 2, 2)
    assert "effort" in sentvec("stats", "-c", "pets.sv").out
    assert sentvec("compact", "--kind", "best", "-c", "pets.sv").code == 1


def test_compact_is_measured_with_questions_from_a_file(pets, sentvec):
    (pets.parent / "asked.txt").write_text("which animal purrs?\nwho barks?\n", "utf-8")
    told = sentvec("compact", "--kind", "hnsw", "--queries", "asked.txt", "-c", "pets.sv").out
    assert "recall on 2 questions: 1.000" in told
    assert json.loads(sentvec("stats", "--json", "-c", "pets.sv").out)["questions"] == 2
    ended = sentvec("compact", "--queries", "nowhere.txt", "-c", "pets.sv")
    assert (ended.code, "nowhere.txt does not exist" in ended.err) == (1, True)


def test_verify_and_repair(pets, sentvec):
    sentvec("compact", "-c", "pets.sv")
    assert sentvec("verify", "-c", "pets.sv").out.startswith("pets.sv is whole: 3 passages")
    (pets / "gen-000001" / "vectors.f32").write_bytes(b"short")
    with Collection.open(pets) as collection, collection._writer.writing():
        collection._writer.change("UPDATE vectors SET vector = zeroblob(128) WHERE row = 2")
    ended = sentvec("verify", "-c", "pets.sv")
    assert ended.code == 1
    assert "wrong: generation: vectors.f32 has 5 bytes" in ended.out
    assert "wrong: vectors: vectors are not as they were written (1: rows 2)" in ended.out
    ended = sentvec("verify", "--repair", "-c", "pets.sv")
    assert ended.code == 0
    assert "repaired: vectors" in ended.out
    assert json.loads(sentvec("verify", "--json", "-c", "pets.sv").out)["clean"]


def test_snapshot(pets, sentvec):
    assert sentvec("snapshot", "copy.sv", "-c", "pets.sv").out == "copy.sv: 3 passages\n"
    ended = sentvec("snapshot", "copy.sv", "-c", "pets.sv")
    assert ended.code == 1
    assert "is there already" in ended.err


def test_reencode(pets, sentvec):
    assert sentvec("reencode", "-m", "new", "-c", "pets.sv").out.startswith("pets.sv: 3 passages of new, ")
    assert "new, fingerprint" in sentvec("stats", "-c", "pets.sv").out
    ended = sentvec("reencode", "-m", "new", "-c", "pets.sv")
    assert ended.code == 1
    assert "made with the model 'new' already" in ended.err


@pytest.mark.parametrize(
    "command", [["delete", "x"], ["compact"], ["verify"], ["stats"], ["snapshot", "y"], ["reencode", "-m", "z"]]
)
def test_without_a_collection(sentvec, command):
    ended = sentvec(*command, "-c", "nowhere.sv")
    assert ended.code == 1
    assert "There is no collection" in ended.err
