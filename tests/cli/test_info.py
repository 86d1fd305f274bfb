"""`sentvec info`: the numbers add up, and names are shown as they are."""

from __future__ import annotations

import json
import math

import pytest
from tests.builders import add_modules, pooling_config, tiny_bert, tiny_roberta, write_json
from tests.cli.running import inside

from sentvec import Embedder


@pytest.fixture
def sentvec(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    run = inside(monkeypatch, capsys)
    return lambda *arguments: run("info", *arguments)


def test_the_real_minilm(sentvec, minilm):
    found = json.loads(sentvec("--json").out)
    assert found["parameters"] == {
        "embeddings": 11_918_592,
        "encoder": 10_646_784,
        "pooler": 147_840,
        "all": 22_713_216,
    }
    assert found["parameters"]["all"] == sum(p.numel() for p in minilm.encoder.parameters())
    assert (found["vector dim"], found["hidden"], found["layers"], found["heads"]) == (384, 384, 6, 12)
    assert (found["max length (tokens)"], found["positions"], found["vocabulary"]) == (256, 512, 30522)
    assert (found["pooling"], found["after pooling"]) == ("mean", "Normalize")
    assert found["fingerprint"] == minilm.fingerprint
    assert found["parameter shares (%)"] == {"embeddings": 52.5, "encoder": 46.9, "pooler": 0.7}
    assert (found["number format"], found["stored as"]) == ("float32", "float32")
    size = found["files"]["model.safetensors"]
    assert 4 * found["parameters"]["all"] < size < 4 * found["parameters"]["all"] + 100_000
    assert found["special tokens"] == {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    assert (found["tokens"], found["pieces that begin with"]) == (30522, {"##": 5828})
    table = sentvec().out
    assert "11,918,592  52.5 %" in table
    assert "90.9 MB" in table
    assert "qkv.weight" not in table


def test_shapes_are_listed_layers_of_a_kind_together(sentvec, tmp_path):
    tiny_bert(tmp_path / "m")
    table = sentvec("m", "--shapes").out
    assert "2 × layers.*.attention.qkv.weight" in table
    assert "96 × 32" in table
    listed = json.loads(sentvec("m", "--json").out)
    total = sum(w["count"] * math.prod(w["shape"]) for w in listed["shapes"])
    assert total == listed["parameters"]["all"]


def test_a_word_of_bytes_begins_with_a_mark(sentvec, tmp_path):
    tiny_roberta(tmp_path / "m")
    found = json.loads(sentvec("m", "--json").out)
    assert found["pieces that begin with"] == {"Ġ": 3}
    assert found["special tokens"]["<mask>"] == found["tokens"] - 1


def test_projections_and_prompts(sentvec, tmp_path):
    folder = add_modules(
        tiny_bert(tmp_path / "m", pooler=False),
        *("Pooling", "Dense", "Normalize"),
        pooling=pooling_config("first", "mean"),
        dense={"in_features": 64},
    )
    prompts = {"query": "query: ", "[/x]": "[bold]"}
    write_json(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": "query"})
    found = json.loads(sentvec("m", "--json").out)
    assert found["parameters"]["projections"] == 64 * 16 + 16
    assert found["parameters"]["all"] == sum(n for part, n in found["parameters"].items() if part != "all")
    assert "pooler" not in {part for part, n in found["parameters"].items() if n}
    assert (found["vector dim"], found["pooling"]) == (16, "first + mean")
    assert found["after pooling"] == "Dense, Normalize"
    assert (found["prompts"], found["default prompt"]) == (prompts, "query")
    table = sentvec("m").out
    assert "prompts: [/x]" in table
    assert "[bold]" in table


def test_prompts_do_not_steer_the_terminal(sentvec, tmp_path):
    prompts = {"\x1b[2J": "\x9b31m\u202e"}
    write_json(tiny_bert(tmp_path / "m") / "config_sentence_transformers.json", {"prompts": prompts})
    ended = sentvec("m")
    assert "prompts: \\x1b[2J" in ended.out
    assert "\\x9b31m\\u202e" in ended.out
    as_json = sentvec("m", "--json").out
    assert json.loads(as_json)["prompts"] == prompts
    for out in (ended.out, as_json):
        assert not {"\x1b", "\x9b", "\u202e"} & set(out)


def test_a_table_under_a_name_with_markup(sentvec, tmp_path):
    tiny_roberta(tmp_path / "[bold]m[" / "x]")
    ended = sentvec("[bold]m[/x]")
    assert ended.code == 0
    assert "[bold]m[/x]" in ended.out
    assert "roberta" in ended.out
    assert Embedder.from_pretrained(tmp_path / "[bold]m[" / "x]").fingerprint in ended.out


@pytest.mark.parametrize("name", ["", "gone/away", "../x", "t.txt"])
def test_models_that_are_not_there(sentvec, tmp_path, name):
    (tmp_path / "t.txt").touch()
    ended = sentvec(name)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: ")
