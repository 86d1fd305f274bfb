"""A file of rows (CSV, TSV, JSON lines) in; its columns by what they are, each row with its line, out."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sentvec.errors import InvalidInput

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl")

# what published sets call their columns
FIRST = ("sentence1", "sentence_a", "text1", "question1", "premise", "source", "src")
SECOND = ("sentence2", "sentence_b", "text2", "question2", "hypothesis", "target", "tgt")
SCORE = ("score", "relatedness_score", "similarity_score", "similarity")
TEXT = ("text", "sentence", "review", "content", "title", "question", "query")
LABEL = ("label", "category", "class", "intent", "sentiment", "topic", "gold_label", "is_duplicate")
SUBSET = ("subset", "dataset", "genre")
_NAMED = frozenset({*FIRST, *SECOND, *SCORE, *TEXT, *LABEL, *SUBSET})

_SAMPLE = 200


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line that it begins on, and its cells: text, or what JSON gives."""

    line: int
    cells: tuple[Any, ...]


@dataclass(frozen=True)
class Table:
    """A file's rows.

    Attributes:
        path: the file.
        names: the columns' names in lower case; none where the file does not say.
        rows: the rows below the names.
    """

    path: Path
    names: tuple[str, ...]
    rows: tuple[Row, ...]

    def place(self, wanted: Sequence[str]) -> int | None:
        """Return the place of the first column that has one of these names, the best name first."""
        return next((self.names.index(name) for name in wanted if name in self.names), None)

    def text(self, row: Row, column: int) -> str:
        """Return a cell that must be text.

        Raises:
            InvalidInput: it is not; the message names file and line.
        """
        value = row.cells[column] if column < len(row.cells) else None
        if not isinstance(value, str):
            raise self.wrong(row, column, f"is {shortly(value)}, which is not a text")
        return value

    def number(self, row: Row, column: int, low: float, high: float, hint: str = "") -> float:
        """Return a cell that must be a number between two others.

        Raises:
            InvalidInput: it is not; the message names file and line.
        """
        value = as_number(row.cells[column]) if column < len(row.cells) else None
        if value is None:
            raise self.wrong(row, column, f"is {shortly(self._cell(row, column))}, which is not a number")
        if not low <= value <= high:
            raise self.wrong(row, column, f"is {value:g}, which is not between {low:g} and {high:g}{hint}")
        return value

    def label(self, row: Row, column: int) -> str:
        """Return a cell that names a class.

        Raises:
            InvalidInput: it is empty, or no name; the message names file and line.
        """
        value = self._cell(row, column)
        if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
            raise self.wrong(row, column, f"is {shortly(value)}, which names no class")
        return str(value).strip()

    def wrong(self, row: Row, column: int, what: str) -> InvalidInput:
        """Return the error for a cell."""
        name = repr(self.names[column]) if column < len(self.names) else str(column + 1)
        return InvalidInput(f"{self.path}, line {row.line}: column {name} {what}.")

    def _cell(self, row: Row, column: int) -> Any:
        return row.cells[column] if column < len(row.cells) else None


def as_number(cell: Any) -> float | None:
    """Return a cell as a number, or None where it is none.

    >>> as_number("3.5"), as_number(2), as_number("nan"), as_number("x"), as_number(True)
    (3.5, 2.0, None, None, None)
    """
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        return None
    if isinstance(cell, str) and "_" in cell:  # 1_000 is a number for Python alone
        return None
    try:
        value = float(cell)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def shortly(value: Any) -> str:
    """Return a value as a message shows it."""
    shown = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return "missing" if value is None else shown if len(shown) <= 60 else f"{shown[:57]}..."


def read_table(path: Path, most: int | None = None, *, commas: tuple[str, ...] = (".csv",)) -> Table:
    """Read a file by its ending; `.txt` is parted by tabs, and quotes are letters in it, as in `.tsv`.

    A `.csv` file whose first line has a tab is parted by tabs as well.

    Args:
        path: the file.
        most: read so many rows and no more; None reads all.
        commas: endings of files that may be parted by commas.

    Raises:
        InvalidInput: it cannot be read, is not UTF-8, or a line is not what the ending says; the message names it.
    """
    if path.suffix.lower() == ".jsonl":
        return _from_objects(path, most)
    rows = list(islice(rows_of(path, commas), most))
    first = tuple(str(cell).strip().lower() for cell in rows[0].cells) if rows else ()
    if not _NAMED.isdisjoint(first) and len(first) > 1:
        return Table(path, first, tuple(rows[1:]))
    return Table(path, (), tuple(rows))


def rows_of(path: Path, commas: tuple[str, ...] = (".csv",)) -> Iterator[Row]:
    """Yield the rows of a file that is no JSON, a first row of names among them; how it is parted `read_table` says.

    Raises:
        InvalidInput: it cannot be read, is not UTF-8, or a quote is out of place; the message names the line.
    """
    comma = path.suffix.lower() in commas and "\t" not in next((line for _, line in lines_of(path)), "")
    return _comma(path) if comma else _tabs(path)


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, without its end.

    Raises:
        InvalidInput: the file cannot be read or is not UTF-8; the message names the line.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise not_utf8(str(path), number, error) from None
                yield number, text.removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror or error}).") from None


def not_utf8(origin: str, number: int, error: UnicodeDecodeError) -> InvalidInput:
    """Return what to say of a line that is not UTF-8, with the command that converts its file."""
    marked = number == 1 and error.object.startswith((b"\xff\xfe", b"\xfe\xff"))
    how = "" if marked else ", with its encoding for ENCODING: WINDOWS-1252, say, or GB18030"
    return InvalidInput(
        f"{origin}, line {number}: not UTF-8 ({error.reason} at byte {error.start}). Convert the file first: "
        f"iconv -f {'UTF-16' if marked else 'ENCODING'} -t UTF-8 OLD > NEW{how}."
    )


def objects_of(
    path: Path, faulty: Callable[[int, InvalidInput], None] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number and object of each line that is not empty.

    Args:
        path: the file.
        faulty: is handed number and error of each line that holds no object, which is passed over then; None raises
            the first error.

    Raises:
        InvalidInput: a line is no JSON object, or holds half a character; the message names it.
    """
    for number, line in lines_of(path):
        if not line.strip():
            continue
        try:
            value = _object(path, number, line)
        except InvalidInput as error:
            if faulty is None:
                raise
            faulty(number, error)
            continue
        yield number, value


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}, line {number}: not JSON ({error}).") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{path}, line {number}: {shortly(value)} is no JSON object.")
    if "\\u" in line:  # the only way to write half of a surrogate pair
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"{path}, line {number}: half of a surrogate pair is no character.") from None
    return value


def _from_objects(path: Path, most: int | None) -> Table:
    rows = list(islice(objects_of(path), most))
    names = tuple(dict.fromkeys(name for _, value in rows[:_SAMPLE] for name in value))
    lower = tuple(name.lower() for name in names)
    return Table(path, lower, tuple(Row(line, tuple(value.get(name) for name in names)) for line, value in rows))


def place_of(text: str, files: Iterable[Path]) -> str:
    """Return "FILE, line N: " of where a text stands first in files of a set, or nothing where it stands in none."""
    for path in files:
        for line, texts in _texts_of(path):
            if text in texts:
                return f"{path}, line {line}: "
    return ""


def _texts_of(path: Path) -> Iterator[tuple[int, list[Any]]]:
    if path.suffix.lower() != ".jsonl":
        for row in rows_of(path):
            yield row.line, [*row.cells, "\t".join(row.cells)]  # a line may be a text as a whole
        return
    for line, value in objects_of(path):
        texts = [text for cell in value.values() for text in (cell if isinstance(cell, list) else [cell])]
        yield line, [*texts, f"{value.get('title') or ''} {value.get('text')}".strip()]


def _tabs(path: Path) -> Iterator[Row]:
    for number, line in lines_of(path):
        if line:
            # some files carry a second byte-order mark inside the first row
            yield Row(number, tuple(cell.removeprefix("\ufeff") for cell in line.split("\t")))


def _comma(path: Path) -> Iterator[Row]:
    before = csv.field_size_limit(sys.maxsize)
    reader = csv.reader((f"{line}\n" for _, line in lines_of(path)), strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield Row(line, tuple(cells))
            line = reader.line_num + 1
    except csv.Error as error:
        # the row's first line: a quote that is never closed takes all that follow into one cell
        raise InvalidInput(f"{path}, line {line}: {error}. Quotes in a cell are doubled; is one not closed?") from None
    finally:
        csv.field_size_limit(before)
