"""Small files are written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.builders import tiny_bert

from sentvec.checkpoint.files import present, read_json, read_json_or_empty, write_bytes, write_json
from sentvec.checkpoint.load import load
from sentvec.errors import ConfigError, ModelError


def test_json_round_trip(tmp_path):
    path = tmp_path / "sub" / "a.json"
    write_json(path, {"text": "你好 \u2028", "n": [1, 2.5, None]})
    assert read_json(path) == {"text": "你好 \u2028", "n": [1, 2.5, None]}
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]


def test_absent_files(tmp_path):
    assert read_json_or_empty(tmp_path / "a.json") == {}
    with pytest.raises(ConfigError, match=r"a\.json cannot be read as JSON"):
        read_json(tmp_path / "a.json")


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "a.json"
    write_bytes(path, b"old")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, b"new" * 1000)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def dangling(path):
    path.symlink_to(path.parent / "gone")


ODD = {"link": dangling, "loop": lambda path: path.symlink_to(path), "folder": Path.mkdir, "pipe": os.mkfifo}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("read", [present, read_json, read_json_or_empty])
def test_what_is_there_but_is_no_file_is_refused(tmp_path, kind, read):
    ODD[kind](tmp_path / "a.json")
    with pytest.raises(ConfigError, match=r"a\.json'? (is|cannot be read)"):
        read(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["\ud800", "a" * 5000, "\0"])
def test_names_that_cannot_be(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot be read"):
        present(tmp_path / name)


def test_an_endless_device_is_not_read():
    with pytest.raises(ConfigError, match="not a regular file"):
        read_json(Path("/dev/zero"))


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(
    "name",
    [
        *("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "tokenizer_config.json"),
        *("special_tokens_map.json", "tokenizer.json", "vocab.txt", "config.json", "model.safetensors"),
    ],
)
def test_no_file_of_a_model_passes_for_absent(tmp_path, kind, name):
    tiny_bert(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    ODD[kind](tmp_path / name)
    with pytest.raises(ModelError, match=name):
        load(tmp_path)
