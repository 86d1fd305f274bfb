"""A file or anything that gives rows in; its cells, column by column, each row with its line, out."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.evaluate.tables import Row, lines_of, objects_of, rows_of, shortly
from sentvec.extras import require
from sentvec.train.roles import NAMES, is_known

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".json", ".parquet")
SHOWN = 10  # rows that a message shows

_SNIFFED = 200
_BLOCK = 8192
_VECTORS = frozenset(NAMES["vector"])

Rows = Iterator[tuple[int, Mapping[str, Any]]]


class Faults:
    """Rows that cannot be used: how many, and why the first ones."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[tuple[int, str]] = []

    def add(self, number: int, why: str) -> None:
        """Count a row."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append((number, why))


@dataclass
class Columns:
    """Cells of a source, column by column.

    Attributes:
        name: the source's name.
        origin: the source as messages name it.
        unit: what rows are counted in: "line" or "row".
        flat: do cells hold text alone, as those of CSV?
        header: does the source say what its columns are called?
        names: of all columns, in lower case.
        cells: of each column that is kept.
        lines: the number of each row.
        classes: names of the classes of a column of numbers, where the source tells them.
        faults: rows that hold nothing.
    """

    name: str
    origin: str
    unit: str = "line"
    flat: bool = False
    header: bool = True
    names: list[str] = field(default_factory=list)
    cells: dict[str, list[Any]] = field(default_factory=dict)
    lines: array[int] = field(default_factory=lambda: array("q"))
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)


def read_columns(source: str | Path | Iterable[Any], given: frozenset[str | int]) -> Columns:
    """Read a file by its ending, or whatever gives mappings or texts.

    Args:
        source: a file, or rows.
        given: columns that are kept besides those that are known: names in lower case, or numbers from 1.

    Raises:
        InvalidInput: the file is absent, of another kind, empty or no text; the message names it.
        MissingExtra: it is a Parquet file, and pyarrow is not installed.
    """
    if not isinstance(source, str | Path):
        return _collect(*_given_rows(source), given)
    path = Path(source)
    suffix = path.suffix.lower()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InvalidInput(f"{path} {what}; give a file ({', '.join(SUFFIXES)}), BEIR's folder, or rows.")
    columns = Columns(path.stem, str(path))
    if suffix == ".parquet":
        columns.unit = "row"
        return _collect(columns, _parquet(path), given)
    if suffix == ".json" and next((line for _, line in lines_of(path) if line.strip()), "").lstrip().startswith("["):
        columns.unit = "row"
        return _collect(columns, _array(path, columns.faults), given)
    if suffix in (".jsonl", ".json"):
        mended = objects_of(path, lambda number, error: columns.faults.add(number, _reason(error, path, number)))
        return _collect(columns, mended, given)
    if suffix == ".txt" and not _is_table(path):
        return _collect(columns, ((number, {"text": line}) for number, line in lines_of(path) if line.strip()), given)
    if suffix in (".csv", ".tsv", ".txt"):
        columns.flat = True
        return _collect(columns, _table(path, columns, given), given)
    raise InvalidInput(f"{path} ends in {suffix!r}; read are {', '.join(SUFFIXES)}.")


def _collect(columns: Columns, rows: Rows, given: frozenset[str | int]) -> Columns:
    cells, lines = columns.cells, columns.lines
    cells.update({name: [] for place, name in enumerate(columns.names, 1) if _is_kept(name, place, given)})
    plans: dict[tuple[str, ...], tuple[list[tuple[str, Callable[[Any], None]]], list[Callable[[Any], None]]]] = {}
    for number, row in rows:
        keys = tuple(row)
        plan = plans.get(keys)
        if plan is None:
            before = len(cells)
            lower = {key: str(key).strip().lower() for key in reversed(keys)}
            for name in reversed(lower.values()):
                if name not in columns.names:
                    columns.names.append(name)
                if name not in cells and _is_kept(name, columns.names.index(name) + 1, given):
                    cells[name] = [None] * len(lines)
            if len(cells) > before:
                plans.clear()  # those lack the new columns
            kept = {name: key for key, name in lower.items() if name in cells}
            plan = (
                [(key, _putter(name, cells[name])) for name, key in kept.items()],
                [column.append for name, column in cells.items() if name not in kept],
            )
            plans[keys] = plan
        for key, put in plan[0]:
            put(row[key])
        for put in plan[1]:
            put(None)
        lines.append(number)
    if not lines and not columns.faults.count:
        raise InvalidInput(f"{columns.origin} holds no rows; there is nothing to learn from.")
    return columns


def _is_kept(name: str, place: int, given: frozenset[str | int]) -> bool:
    return name in given or place in given or is_known(name)


def _putter(name: str, column: list[Any]) -> Callable[[Any], None]:
    return (lambda cell: column.append(_compact(cell))) if name in _VECTORS else column.append


def _compact(cell: Any) -> Any:
    """Return a list of numbers as an array: a million vectors as lists of Python's numbers would fill the memory."""
    if not isinstance(cell, list | tuple) or not all(isinstance(one, int | float) for one in cell):
        return cell
    return np.asarray(cell, dtype=np.float32)


def _given_rows(source: Iterable[Any]) -> tuple[Columns, Rows]:
    if isinstance(source, Mapping):
        raise InvalidInput(
            f"these are {len(source)} sets ({', '.join(map(str, source))}), or one row; give one set, as data['train']."
        )
    if not isinstance(source, Iterable):
        raise InvalidInput(f"{shortly(source)} is no file and gives no rows.")
    columns = Columns("rows", "the rows given", unit="row")
    features = getattr(source, "features", None)
    if isinstance(features, Mapping):
        told = {str(name).strip().lower(): getattr(feature, "names", None) for name, feature in features.items()}
        columns.classes = {name: tuple(map(str, names)) for name, names in told.items() if names}
    return columns, _mappings(source, columns.faults)


def _mappings(source: Iterable[Any], faults: Faults) -> Rows:
    for number, row in enumerate(source, start=1):
        if isinstance(row, Mapping):
            yield number, row
        elif isinstance(row, str):
            yield number, {"text": row}
        else:
            faults.add(number, f"{shortly(row)} is neither a mapping of names to cells, nor a text")


def _array(path: Path, faults: Faults) -> Rows:
    try:
        rows = json.loads("\n".join(line for _, line in lines_of(path)))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: not JSON ({error}).") from None
    return _mappings(rows, faults)


def _parquet(path: Path) -> Rows:
    parquet = require("pyarrow.parquet", extra="bulk")
    arrow = require("pyarrow", extra="bulk")
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            number = 0
            for block in file.iter_batches(batch_size=_BLOCK):
                for cells in zip(*(column.to_pylist() for column in block.columns), strict=True):
                    number += 1
                    yield number, dict(zip(names, cells, strict=True))
    except (OSError, arrow.ArrowException) as error:
        raise InvalidInput(f"{path} cannot be read as Parquet ({error}).") from None


def _table(path: Path, columns: Columns, given: frozenset[str | int]) -> Rows:
    rows = rows_of(path)
    first = next(rows, None)
    if first is None:
        return iter(())
    names = [str(cell).strip().removeprefix("\ufeff").lower() for cell in first.cells]
    known = [name for name in names if is_known(name) or name in given]
    twice = next((name for name in known if names.count(name) > 1), None)
    # a first row of which every cell is the same known word may be data; one with other names beside it is a header
    if twice is not None and len(set(known)) > 1:
        raise InvalidInput(f"{path}: two columns are called {twice!r}; give each a name of its own.")
    columns.header = bool(known) and twice is None and len(set(names)) == len(names)
    if not columns.header:
        names = [f"column {number}" for number in range(1, len(names) + 1)]
        rows = chain([first], rows)
    columns.names = names
    return _named(rows, names, columns.faults)


def _named(rows: Iterator[Row], names: Sequence[str], faults: Faults) -> Rows:
    width = len(names)
    for row in rows:
        if len(row.cells) > width:
            faults.add(row.line, f"it has {len(row.cells)} cells, the first row has {width}")
        else:
            yield row.line, dict(zip(names, row.cells, strict=False))


def _is_table(path: Path) -> bool:
    """Say whether nearly all of the first lines of a text have tabs, and as many."""
    tabs = Counter(line.count("\t") for _, line in islice((pair for pair in lines_of(path) if pair[1]), _SNIFFED))
    count, lines = tabs.most_common(1)[0] if tabs else (0, 0)
    return count > 0 and lines >= 0.9 * tabs.total()


def _reason(error: InvalidInput, path: Path, number: int) -> str:
    return str(error).removeprefix(f"{path}, line {number}: ").removesuffix(".")
