"""What cannot be stored, and where nothing can be stored: one clear error each, and the collection as it was."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from fake_model import FakeModel

from sentvec.errors import CollectionError, InvalidInput
from sentvec.search.collection import Collection


@pytest.fixture
def pets(tmp_path, model):
    with Collection.open(tmp_path / "pets.sv", model) as collection:
        collection.add(["Cats sleep.", "Dogs bark."], ids=["cat", "dog"])
        yield collection


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": ["fine", "a\0b"]}, r"text 1 holds a NUL character at 1; .*replace"),
        ({"texts": ["fine"], "ids": ["a\0"]}, "id 0 holds a NUL character"),
        ({"texts": ["fine"], "metadata": [{"x": ["\0"]}]}, "metadata 0 .* NUL character"),
        ({"texts": ["fine"], "metadata": [{"\0": 1}]}, "metadata 0 .* NUL character"),
        ({"texts": ["fine", "\ud83d"]}, "half a character"),
        ({"texts": ["fine"] * 2, "ids": ["same", "same"]}, "given twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_of_a_call_is_stored_where_a_part_cannot_be(pets, arguments, message):
    with pytest.raises(InvalidInput, match=message):
        pets.add(**arguments)
    assert len(pets) == 2


def test_a_backslash_before_u0000_is_no_nul(pets):
    pets.add(["fine"], ids=["path"], metadata=[{"path": "C:\\u0000", "deep": ["\\\\u0000"]}])
    assert pets.get(["path"])[0].metadata == {"path": "C:\\u0000", "deep": ["\\\\u0000"]}


def test_a_text_of_ten_megabytes(pets):
    text = "One more sentence is here. " * 400_000
    pets.add([text], ids=["long"])
    assert pets.get(["long"])[0].text == text
    assert pets.search_text("sentence")[0].id == "long"
    assert pets.verify().clean


def test_ids_of_all_kinds(pets):
    ids = ["", " ", "a/b", "é", "e\u0301", "猫", "'); DROP TABLE passages; --", "x" * 10_000, "\u202e", "%s"]
    pets.add([f"text {n}" for n in range(len(ids))], ids=ids)
    assert [entry.id for entry in pets.get(ids)] == ids
    assert pets.delete(ids) == len(ids)
    assert len(pets) == 2


def test_a_folder_that_is_read_only(model):
    """SQLite needs to write beside its file even to read it: that is said, and nothing is changed."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        with Collection.open(folder / "c", model) as collection:
            collection.add(["one"])
        before = {path.name: path.read_bytes() for path in (folder / "c").iterdir()}
        for path in [folder, *folder.rglob("*")]:
            path.chmod(stat.S_IRUSR | stat.S_IXUSR | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
        if (pid := os.fork()) == 0:
            code = 1
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)  # root may write everywhere
                for place, given in ((folder / "c", FakeModel()), (folder / "c", None), (folder / "new", FakeModel())):
                    with pytest.raises(CollectionError, match="cannot be read or written.*permissions"):
                        Collection.open(place, given)
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        assert {path.name: path.read_bytes() for path in (folder / "c").iterdir()} == before
    finally:
        for path in [folder, folder / "c"]:
            path.chmod(stat.S_IRWXU)
        shutil.rmtree(folder)
