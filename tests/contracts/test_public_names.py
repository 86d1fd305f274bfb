"""The contract: the names users meet are `__all__`, each loads, and no other name is promised."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sentvec


def test_all_is_what_the_homes_give_and_the_version() -> None:
    assert sentvec.__all__ == sorted([*sentvec._HOMES, "__version__"])


def test_dir_agrees_with_all() -> None:
    assert sorted(dir(sentvec)) == sorted(sentvec.__all__)


@pytest.mark.parametrize("name", sentvec.__all__)
def test_each_name_loads(name: str) -> None:
    assert getattr(sentvec, name) is not None


def test_each_name_is_defined_where_its_home_says() -> None:
    for name, home in sentvec._HOMES.items():
        assert getattr(sentvec, name).__module__ == home


def test_a_star_import_brings_exactly_these() -> None:
    code = "from sentvec import *; print(sorted(n for n in globals() if n == '__version__' or n[0] != '_'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(sorted(sentvec.__all__))


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Encoder'.*Embedder"):
        sentvec.Encoder  # noqa: B018  the access is what is tested
