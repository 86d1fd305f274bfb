"""A file, a folder or rows in; a `Dataset` of one kind out, with what was found in it, or an error that names lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.evaluate.tables import lines_of
from sentvec.progress import counted
from sentvec.train.batches import Dataset, Examples, Kind
from sentvec.train.examples import Wanted, build
from sentvec.train.folders import is_folder, read_folder
from sentvec.train.kinds import choose
from sentvec.train.roles import find_roles, given_roles, known_names
from sentvec.train.sources import SHOWN, Columns, Faults, read_columns

KINDS: tuple[Kind, ...] = get_args(Kind)

Named = Mapping[str, str | int | Sequence[str | int]]


def read_dataset(
    source: str | Path | Iterable[Any],
    *,
    kind: Kind | None = None,
    columns: Named | None = None,
    labels: Sequence[str] | None = None,
    scores: tuple[float, float] | None = None,
    bare_classes: bool = False,
    skip_bad: bool = False,
) -> Dataset:
    """Read examples to learn from; `describe` says what was found.

    Args:
        source: a file (.csv, .tsv, .txt, .jsonl, .json, .parquet), a folder in BEIR's layout or one of its files of
            judgements, or anything that gives mappings of names to cells, such as a set of Hugging Face's `datasets`.
        kind: what examples are (see `Kind`); None finds it out from the columns' names and cells.
        columns: which column is what, where names do not say: {"query": "my_col", "positive": 3}. Numbers count from 1.
        labels: names of the classes in the order of their numbers, as another file had them; None takes the names that
            are found, in alphabetical order.
        scores: the lowest and highest score that can be; None takes 0 to 1, or else 0 to 5.
        bare_classes: a file of two columns without names holds labels and texts, as it does where kind is "classes".
        skip_bad: leave out rows that cannot be used, and count them.

    Raises:
        InvalidInput: names do not say what columns are, rows cannot be used (the message shows the first with their
            lines), or none is left.
        MissingExtra: it is a Parquet file, and pyarrow is not installed.
    """
    if kind is not None and kind not in KINDS:
        raise InvalidInput(f"kind {kind!r} is not known. Known: {', '.join(KINDS)}.")
    if isinstance(source, str | Path) and is_folder(Path(source)):
        return read_folder(Path(source), kind=kind, skip_bad=skip_bad)
    expected = kind == "classes" or (bare_classes and kind is None)
    bare = {"label": 1, "text": 2} if expected and columns is None else {}
    table = read_columns(source, _kept({**bare, **(columns or {})}))
    given = given_roles(columns or {}, table.names)
    if not table.header and not given and bare and len(table.names) == 2:
        given = given_roles(bare, table.names)
        _check_bare(table)
    roles = find_roles(table.names, given)
    if not table.names:
        _refuse(table, table.faults.count, table.faults, skip_bad=False)
        raise InvalidInput(f"{table.origin}: no row has a column; there is nothing to learn from.")
    if not roles.columns:
        raise InvalidInput(_unknown(table))
    choice = choose(roles, table, kind)
    rows = len(table.lines) + table.faults.count
    built = build(Wanted(choice, table, labels, scores))
    _refuse(table, rows, built.faults, skip_bad)
    if not built.examples:
        raise InvalidInput(f"{table.origin} holds no row that can be used; there is nothing to learn from.")
    notes = [*choice.notes, *built.notes]
    for name, idle in (
        ("labels", labels is not None and "label" not in choice.used),
        ("scores", scores is not None and choice.kind != "scored"),
    ):
        if idle:
            notes.append(f"{name} (--{name}) are given, and no column of {choice.kind} has any: they are not used.")
    if built.faults.count:
        notes.append(f"{counted(built.faults.count, 'row')} left out: {_shown(table, built.faults)}.")
    same = _repeated(built.examples)
    if same:
        notes.append(f"{counted(same, 'example')} repeating an earlier one, word for word.")
    used = tuple((role, column) for role, names in choice.used.items() for column in names)
    unused = [name for name in table.names if name not in {column for _, column in used}]
    if unused:
        notes.append(f"Columns that are not used: {', '.join(unused)}.")
    return Dataset(table.name, choice.kind, built.examples, built.labels, used, tuple(notes))


def _kept(columns: Named) -> frozenset[str | int]:
    given: set[str | int] = set()
    for value in columns.values():
        for one in [value] if isinstance(value, str | int) else value:
            given.add(one.strip().lower() if isinstance(one, str) else one)
            if isinstance(one, str) and one.strip().isdecimal():
                given.add(int(one))
    return frozenset(given)


def _unknown(table: Columns) -> str:
    if table.header:
        said = f"names of its columns do not say what they are: {', '.join(map(repr, table.names))}"
        said_how = f'columns={{"query": {table.names[0]!r}, "positive": ...}} (--column query={table.names[0]})'
        how = f"{said_how}; known names are: {known_names()}"
    elif len(table.names) == 1 and ";" in next(text for _, text in lines_of(Path(table.origin)) if text.strip()):
        return (
            f"{table.origin}: its cells seem to be parted by semicolons. Commas (.csv) and tabs (.tsv) are read: save "
            "it again with these."
        )
    else:
        said = f"its first line names none of its {counted(len(table.names), 'column')}"
        how = 'columns={"sentence1": 1, "sentence2": 2, "score": 3} (--column sentence1=1), counted from 1'
    return f"{table.origin}: {said}. Say it, as {how}."


def _check_bare(table: Columns) -> None:
    """Refuse `label<TAB>text` the other way round."""
    labels, texts = (len(set(table.cells[name])) for name in table.names)
    if labels > texts:
        raise InvalidInput(
            f"{table.origin}: its first column should be the label, and has {labels:,} different ones for {texts:,} "
            'different texts. If the label stands second, say columns={"text": 1, "label": 2}.'
        )


def _refuse(table: Columns, rows: int, faults: Faults, skip_bad: bool) -> None:
    if faults.count and not skip_bad:
        raise InvalidInput(
            f"{table.origin}: {faults.count:,} of {counted(rows, 'row')} cannot be used: {_shown(table, faults)}. Mend "
            "them, or leave them out with skip_bad=True (--skip-bad)."
        )


def _shown(table: Columns, faults: Faults) -> str:
    """Return the first faults, those of one reason together."""
    lines: dict[str, list[int]] = {}
    for number, why in sorted(faults.first):
        lines.setdefault(why, []).append(number)
    unit = table.unit
    shown = "; ".join(
        f"{unit if len(numbers) == 1 else f'{unit}s'} {', '.join(map(str, numbers))}: {why}"
        for why, numbers in lines.items()
    )
    return shown + (f"; and {faults.count - SHOWN:,} more" if faults.count > SHOWN else "")


def _repeated(examples: Examples) -> int:
    """Count examples that equal an earlier one."""
    # hashes and not the examples themselves, of which a set of a million takes a quarter of a gigabyte
    hashes = np.fromiter((hash((one.texts, one.value)) for one in examples), dtype=np.int64, count=len(examples))
    return len(hashes) - len(np.unique(hashes))
