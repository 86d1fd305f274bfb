"""Small files are written whole or not at all."""

from __future__ import annotations

import errno
import os

import pytest

from sentvec.checkpoint.files import read_json, read_json_or_empty, write_bytes, write_json
from sentvec.errors import ConfigError


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
