"""Files are read by suffix and decoded without guessing; folders are walked without traps."""

from __future__ import annotations

import os

import pytest

from sentvec.errors import InvalidInput
from sentvec.search.readers import decode, read
from sentvec.search.walk import find


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_in_its_forms(encoding):
    assert decode("naïve 你好 🙂\r\n".encode(encoding)) == "naïve 你好 🙂\r\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"caf\xe9 au lait", r"not UTF-8 text \(byte 0xe9 at 3\)"),
        ("你好".encode("gbk"), "not UTF-8"),
        (b"\x89PNG\0\0", "binary"),
        (b"\xff\xfea", "not UTF-16"),
        ("a\0b".encode("utf-16"), "binary"),
    ],
)
def test_what_is_no_text_is_not_guessed(data, reason):
    with pytest.raises(InvalidInput, match=reason):
        decode(data)


@pytest.mark.parametrize("data", [b"", b" \r\n\t", b"\xef\xbb\xbf"])
def test_empty_files(data):
    with pytest.raises(InvalidInput, match="empty"):
        read("a.md", data)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.jsonl", b"{\n{\n", "line 1: not a JSON"),
        ("a.csv", b"id,text\n1,\n", "no record"),
        ("a.csv", b"text\n", "no record"),
    ],
)
def test_no_record(name, data, reason):
    with pytest.raises(InvalidInput, match=reason):
        read(name, data)


def test_suffixes():
    assert read("A.TXT", b"one\ntwo").records[0].prose
    assert read("a.log", b"one").records[0].prose
    assert [record.line for record in read("a.CSV", b"text\none\n").records] == [2]


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")


def names(folder, found):
    return [os.path.relpath(path, folder) for path in found]


def test_a_folder_is_walked(tmp_path):
    make(tmp_path, "b.md", "a.txt", "sub/deep/c.RST", "d.csv", "e.tsv", "f.jsonl", "image.png", "Makefile")
    make(tmp_path, ".hidden.md", ".git/x.md", ".venv/x.md", "node_modules/x.md", "__pycache__/x.md")
    make(tmp_path, "env/pyvenv.cfg", "env/x.md", "other.sv/db.sqlite", "other.sv/x.md", "own/x.md")
    found = find([tmp_path], leave_out=tmp_path / "own")
    assert names(tmp_path, found.files) == ["a.txt", "b.md", "d.csv", "e.tsv", "f.jsonl", "sub/deep/c.RST"]
    assert names(tmp_path, found.ignored) == ["Makefile", "image.png"]
    assert found.folders == (str(tmp_path),)


def test_files_given_by_name_are_read_whatever_they_are_and_once(tmp_path):
    make(tmp_path, ".hidden", "a.md")
    found = find([tmp_path / ".hidden", tmp_path, tmp_path / "a.md", tmp_path / "x" / ".." / "a.md"], tmp_path / "c")
    assert names(tmp_path, found.files) == [".hidden", "a.md"]


def test_links_make_no_loop(tmp_path):
    make(tmp_path, "sub/a.md")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "broken.md").symlink_to(tmp_path / "nowhere")
    assert names(tmp_path, find([tmp_path], tmp_path / "c").files) == ["broken.md", "sub/a.md"]


def test_a_path_that_does_not_exist(tmp_path):
    make(tmp_path, "a.md")
    with pytest.raises(InvalidInput, match=r"'.*nope'"):
        find([tmp_path, tmp_path / "nope"], tmp_path / "c")
    with pytest.raises(InvalidInput, match="No path"):
        find([], tmp_path / "c")
