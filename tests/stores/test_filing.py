"""Files into a store: each passage once, only what is new is encoded, and what is gone from a file goes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "search"))

from fake_model import FakeModel, write

from sentvec.errors import InvalidInput, ModelMismatch
from sentvec.search.collection import Collection
from sentvec.search.walk import find
from sentvec.stores.asking import ask
from sentvec.stores.copying import copy
from sentvec.stores.filing import file_in
from sentvec.stores.opening import open_store, spec_of


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    write(folder / "pets.md", "# Cats\n\nCats sleep all day.\n\n# Dogs\n\nDogs bark at night.\n")
    write(folder / "rows.csv", "id,text,year\n1,Fish swim in water.,2020\n2,Birds fly in the air.,2021\n")
    return folder


def filed(docs, store, model):
    return file_in(find([docs], Path("/nowhere")), store, model)


def test_files_are_indexed_and_brought_up_to_date(docs, kind):
    model = FakeModel()
    with kind.open(spec_of(model)) as store:
        first = filed(docs, store, model)
        assert (first.files, first.changed_files, first.removed, first.encoded) == (2, 2, 0, first.added)
        assert store.count() == first.added
        (hit,) = ask(store, "fish swim water", model, 1)
        assert (hit.text, hit.source, hit.line) == ("Fish swim in water.", str(docs / "rows.csv"), 2)
        again = filed(docs, store, model)
        assert (again.unchanged_files, again.encoded, again.added, again.unchanged) == (2, 0, 0, first.added)
        write(docs / "rows.csv", "id,text,year\n2,Birds fly in the air.,2022\n3,Stones lie.,2023\n")
        model.encoded.clear()
        third = filed(docs, store, model)
        assert (third.changed_files, third.added, third.removed, model.encoded) == (1, 1, 1, ["Stones lie."])
        (bird,) = ask(store, "birds fly", model, 1)
        assert (bird.line, bird.metadata["year"]) == (2, "2022")
        assert store.count() == first.added


def test_words_and_vectors_together(docs, kind):
    model = FakeModel()
    with kind.open(spec_of(model)) as store:
        filed(docs, store, model)
        if not store.caps.words:
            with pytest.raises(InvalidInput, match="cannot search by words"):
                ask(store, "fish", model, hybrid=True)
            return
        assert ask(store, "birds in the air", model, 1, hybrid=True)[0].text == "Birds fly in the air."
        assert ask(store, "birds", None, 1)[0].text == "Birds fly in the air."


def test_another_model_is_refused_and_a_bad_file_named(docs, tmp_path):
    model = FakeModel()
    write(docs / "bad.txt", b"\xff\xfe\xfa")
    with open_store(str(tmp_path / "c.sv"), spec_of(model)) as store:
        report = filed(docs, store, model)
        assert [Path(path).name for path, _ in report.skipped] == ["bad.txt"]
        with pytest.raises(ModelMismatch):
            filed(docs, store, FakeModel(name="other"))


def test_a_copied_collection_is_indexed_on_from_where_it_was(docs, tmp_path):
    model = FakeModel()
    with Collection.open(tmp_path / "c.sv", model) as collection:
        collection.add_files([docs])
    with open_store(str(tmp_path / "c.sv")) as source, open_store(str(tmp_path / "copy.sv"), source.spec) as target:
        copy(source, target)
    model.encoded.clear()
    with Collection.open(tmp_path / "copy.sv", model) as copied:
        report = copied.add_files([docs])
        assert (report.encoded, report.added, report.removed, len(copied)) == (0, 0, 0, report.unchanged)
        assert copied.search("fish swim", 1)[0].line == 2
