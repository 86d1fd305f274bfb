"""A file, or standard input, in; texts, with ids where there are any, out. Errors name the line."""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from sentvec.errors import InvalidInput
from sentvec.extras import require

Row = tuple[int | str | None, str]
"""An id, or None where none was asked for, and a text."""

_WITH_IDS = (".jsonl", ".csv", ".tsv", ".parquet")
_BLOCK = 1024  # rows of Parquet that are held


def read_texts(source: Path | None, field: str = "text") -> Iterator[str]:
    """Read texts alone; see `read_rows`."""
    return (text for _, text in read_rows(source, field))


def read_rows(
    source: Path | None, field: str = "text", id_field: str | None = None, *, id_option: str = "--id-field"
) -> Iterator[Row]:
    """Read texts from a file, or from standard input where `source` is None or ``-``.

    ``.jsonl`` holds an object (or a string) a line, ``.csv`` and ``.tsv`` a header and a column called
    `field`, ``.parquet`` such a column; everything else is one text a line. ``.gz`` behind an ending is unpacked on the
    way. That the file is there is checked at once; it is read as the texts are asked for. `id_option` is what the
    command calls `id_field`, for messages.

    Raises:
        InvalidInput: there is no such file, it is not UTF-8, or a row does not hold the text or the id; the
            message names the line.
        MissingExtra: it is Parquet, and pyarrow is not installed.
    """
    if source is None or str(source) == "-":
        if id_field is not None:
            raise InvalidInput("standard input is one text a line and has no ids; give a file with fields or columns.")
        if sys.stdin is None:  # closed by the shell
            raise InvalidInput("standard input is closed; give a file, or texts on standard input.")
        if sys.stdin.isatty():
            typer.echo("reading texts from the keyboard, one a line; Ctrl-D ends", err=True)
        return ((None, line) for line in _lines(sys.stdin.buffer, "standard input"))
    if source.is_dir():
        raise InvalidInput(f"{source} is a folder; give a file, or index the folder with: sentvec index {source}")
    if not source.exists():
        raise InvalidInput(f"{source} does not exist; give a file, or - for standard input.")
    if id_field is not None and _kind(source) not in _WITH_IDS:
        raise InvalidInput(f"{source} is one text a line and has no ids; {id_option} is for {', '.join(_WITH_IDS)}.")
    return _from_file(source, field, id_field, id_option)


def _from_file(source: Path, field: str, id_field: str | None, id_option: str) -> Iterator[Row]:
    kind = _kind(source)
    if kind == ".parquet":
        yield from _from_parquet(source, field, id_field, id_option)
        return
    with gzip.open(source) if _packed(source) else source.open("rb") as file:
        lines = _lines(file, str(source))
        if kind == ".jsonl":
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _from_json(line, field, id_field, f"{source}, line {number}", id_option)
        elif kind in (".csv", ".tsv"):
            yield from _from_table(lines, field, id_field, source, id_option)
        else:
            yield from ((None, line) for line in lines)


def _packed(source: Path) -> bool:
    return source.suffix.lower() == ".gz"


def _kind(source: Path) -> str:
    """Return the ending that says what is in a file: of ``rows.csv.gz`` it is ``.csv``."""
    return Path(source.stem if _packed(source) else source.name).suffix.lower()


def _lines(file: Iterator[bytes], origin: str) -> Iterator[str]:
    for number, line in enumerate(_read(file, origin), start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            from sentvec.evaluate.tables import not_utf8

            raise not_utf8(origin, number, error) from None
        yield text.removesuffix("\n").removesuffix("\r")


def _read(file: Iterator[bytes], origin: str) -> Iterator[bytes]:
    try:
        yield from file
    except (OSError, EOFError, zlib.error) as error:  # the last two are of packed files that are cut off or damaged
        raise InvalidInput(f"{origin} cannot be read ({getattr(error, 'strerror', None) or error}).") from None


def _from_json(line: str, field: str, id_field: str | None, origin: str, id_option: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{origin}: not JSON ({error}).") from None
    text = row.get(field) if isinstance(row, dict) else row
    if isinstance(row, dict) and field in row and not isinstance(text, str):
        raise InvalidInput(f"{origin}: {field!r} is {json.dumps(text)[:60]}, which is not a text.")
    if not isinstance(text, str):
        raise InvalidInput(f"{origin}: no text under {field!r} (it has: {_held(row)}). Name the field with --field.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{origin}: half of a surrogate pair, {text[error.start]!r}, is no character.") from None
    if id_field is None:
        return None, text
    name = row.get(id_field) if isinstance(row, dict) else None
    if not isinstance(name, int | str) or isinstance(name, bool):
        raise InvalidInput(
            f"{origin}: no id under {id_field!r} (it has: {_held(row)}). Name the field with {id_option}."
        )
    return name, text


def _held(row: Any) -> str:
    return ", ".join(row) if isinstance(row, dict) else type(row).__name__


def _from_table(lines: Iterator[str], field: str, id_field: str | None, source: Path, id_option: str) -> Iterator[Row]:
    # a quoted field may span lines, so the reader needs the line ends back
    with_ends = (f"{line}\n" for line in lines)
    rows = csv.DictReader(with_ends, delimiter="\t" if _kind(source) == ".tsv" else ",", strict=True)
    before = csv.field_size_limit(1 << 30)  # the module's own limit, 128 KiB, is less than a long document
    try:
        _check_columns(source, rows.fieldnames or (), field, id_field, id_option)
        for row in rows:
            name = row[id_field] if id_field is not None else None
            if row[field] is None or (id_field is not None and name is None):
                lost = field if row[field] is None else id_field
                raise InvalidInput(f"{source}, line {rows.line_num}: the row has no {lost!r}.")
            yield name, row[field]
    except csv.Error as error:
        raise InvalidInput(f"{source}, line {rows.reader.line_num}: {error}.") from None
    finally:
        csv.field_size_limit(before)


def _from_parquet(source: Path, field: str, id_field: str | None, id_option: str) -> Iterator[Row]:
    arrow, parquet = require("pyarrow", extra="bulk"), require("pyarrow.parquet", extra="bulk")
    number = 0
    try:
        with parquet.ParquetFile(source) as file:
            _check_columns(source, file.schema_arrow.names, field, id_field, id_option)
            wanted = [field] if id_field is None else [field, id_field]
            for block in file.iter_batches(batch_size=_BLOCK, columns=wanted):
                texts = block.column(field).to_pylist()
                names = texts if id_field is None else block.column(id_field).to_pylist()
                for name, text in zip(names, texts, strict=True):
                    number += 1
                    if not isinstance(text, str):
                        told = repr(text)[:60]
                        raise InvalidInput(f"{source}, row {number}: {field!r} is {told}, which is not a text.")
                    if not isinstance(name, int | str) or isinstance(name, bool):
                        told = repr(name)[:60]
                        raise InvalidInput(f"{source}, row {number}: {id_field!r} is {told}; an id is a str or an int.")
                    yield None if id_field is None else name, text
    except (OSError, UnicodeDecodeError, arrow.ArrowException) as error:
        raise InvalidInput(f"{source} cannot be read as Parquet ({error}).") from None


def _check_columns(source: Path, has: Sequence[str], field: str, id_field: str | None, id_option: str) -> None:
    for wanted, option in ((field, "--field"), (id_field, id_option)):
        if wanted is not None and wanted not in has:
            held = ", ".join(has) or "nothing"
            raise InvalidInput(f"{source}: no column {wanted!r} (it has: {held}). Name the column with {option}.")
