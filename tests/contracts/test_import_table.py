"""The contract: a room imports only from rooms below it, modules form no cycle, and no oracle enters src."""

from __future__ import annotations

from pathlib import Path

import pytest

from import_table import FENCE, read_table, violations

TABLE = read_table("```import-table\ncli\nsearch | tasks\nmodels\nerrors\n```\n")


def tree(folder: Path, **files: str) -> Path:
    """Write a package: ``models__bert="import x"`` becomes sentvec/models/bert.py."""
    for name, text in {"__init__": "", **files}.items():
        file = folder / "sentvec" / f"{name.replace('__', '/') if name != '__init__' else name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        (file.parent / "__init__.py").touch()
    return folder


def test_src_obeys_the_table(root: Path) -> None:
    table = read_table((root / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert violations(root / "src", table) == []


def test_the_table_is_read_from_the_bottom() -> None:
    assert TABLE == {"errors": 0, "models": 1, "search": 2, "tasks": 2, "cli": 3}


@pytest.mark.parametrize("page", ["no table", "```import-table\na\n```\n```import-table\nb\n```\n"])
def test_a_page_without_exactly_one_table_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="expected one"):
        read_table(page)


def test_a_room_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="stands twice"):
        read_table("```import-table\na | b\na\n```\n")


def test_a_clean_tree_passes(tmp_path: Path) -> None:
    src = tree(
        tmp_path,
        errors="import os",
        models__bert="from sentvec.errors import E\nfrom .parts import p\nfrom . import parts",
        models__parts="from sentvec import __version__, errors",
        cli__app="import sentvec.models.bert\nfrom ..errors import E",
    )
    (src / "sentvec" / "__init__.py").write_text("def f():\n    from sentvec.cli.app import x")
    assert violations(src, TABLE) == []


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("models__bert", "from sentvec.cli.app import x", "models imports cli"),
        ("models__bert", "import sentvec.cli.app", "models imports cli"),
        ("models__bert", "from sentvec import cli", "models imports cli"),
        ("models__bert", "from ..cli import app", "models imports cli"),
        ("models__bert", "def f():\n    from sentvec.cli import app", "bert.py:2: models imports cli"),
        ("models__bert", "if TYPE_CHECKING:\n    from sentvec.cli import app", "models imports cli"),
        ("models__bert", "importlib.import_module('sentvec.cli.app')", "models imports cli"),
        ("search__a", "from sentvec.tasks.b import x", "search imports tasks"),
        ("errors", "from sentvec.models import bert", "errors imports models"),
        ("models__bert", "import sentvec", "from the package's top"),
        ("models__bert", "from sentvec import Embedder", "from the package's top"),
        ("models__bert", "import transformers", "src never does"),
        ("cli__app", "def f():\n    from transformers.models import bert", "src never does"),
        ("cli__app", "require('sentence_transformers', extra='dev')", "src never does"),
        ("spare__a", "", "room 'spare' is not in the table"),
    ],
)
def test_each_violation_is_seen(tmp_path: Path, file: str, text: str, said: str) -> None:
    rooms = {"cli__app": "", "tasks__b": "", "search__a": "", "models__bert": "", "errors": ""}
    assert any(said in line for line in violations(tree(tmp_path, **{**rooms, file: text}), TABLE))


def test_a_cycle_inside_a_room_is_seen(tmp_path: Path) -> None:
    src = tree(
        tmp_path,
        models__a="from sentvec.models.b import x",
        models__b="def f():\n    from sentvec.models.c import x",
        models__c="from .a import x",
    )
    assert violations(src, TABLE) == [
        "import cycle: sentvec.models.a -> sentvec.models.b -> sentvec.models.c -> sentvec.models.a"
    ]


def test_the_table_in_the_docs_is_the_only_one(root: Path) -> None:
    pages = [*root.glob("*.md"), *root.glob("docs/*.md")]
    assert [page.name for page in pages if FENCE.search(page.read_text(encoding="utf-8"))] == ["architecture.md"]
