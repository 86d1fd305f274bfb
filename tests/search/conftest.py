"""The fake model, for all tests of this room and for the processes they start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_model import FakeModel, write

from sentvec.search.collection import Collection


@pytest.fixture
def model():
    return FakeModel()


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    write(folder / "pets.md", "# Cats\n\nCats sleep all day.\n\n# Dogs\n\nDogs bark at night.\n")
    write(folder / "rows.csv", "id,text\n1,Fish swim in water.\n2,Birds fly in the air.\n")
    return folder


@pytest.fixture
def collection(tmp_path, model):
    with Collection.open(tmp_path / "c.sv", model) as opened:
        yield opened
