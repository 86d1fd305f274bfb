"""A package that is missing is named, with commands that install it."""

from __future__ import annotations

import json

import pytest

from sentvec.errors import MissingExtra
from sentvec.extras import require


def test_a_package_that_is_there_is_returned():
    assert require("json", extra="search") is json


def test_the_command_is_told_for_an_installed_package_and_for_a_checkout():
    with pytest.raises(MissingExtra) as caught:
        require("no_such_package.part", extra="search")
    said = str(caught.value)
    assert "the package 'no_such_package.part', which is not installed" in said
    assert 'pip install "sentvec[search]" (in a checkout of sentvec: pip install ".[search]")' in said


def test_a_package_that_is_broken_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        require("broken_package", extra="search")
