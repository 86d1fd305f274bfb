"""A file, or standard input, in; texts, with ids where there are any, out. Errors name the line."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from sentvec.errors import InvalidInput

Row = tuple[int | str | None, str]
"""An id, or None where none was asked for, and a text."""


def read_texts(source: Path | None, field: str = "text") -> Iterator[str]:
    """Read texts alone; see `read_rows`."""
    return (text for _, text in read_rows(source, field))


def read_rows(
    source: Path | None, field: str = "text", id_field: str | None = None, *, id_option: str = "--id-field"
) -> Iterator[Row]:
    """Read texts from a file, or from standard input where `source` is None or ``-``.

    ``.jsonl`` holds an object (or a string) a line, ``.csv`` and ``.tsv`` a header and a column called
    `field`; everything else is one text a line. That the file is there is checked at once; it is read as the
    texts are asked for. `id_option` is what the command calls `id_field`, for messages.

    Raises:
        InvalidInput: there is no such file, it is not UTF-8, or a row does not hold the text or the id; the
            message names the line.
    """
    if source is None or str(source) == "-":
        if id_field is not None:
            raise InvalidInput("standard input is one text a line and has no ids; give a .jsonl, .csv or .tsv file.")
        if sys.stdin is None:  # closed by the shell
            raise InvalidInput("standard input is closed; give a file, or texts on standard input.")
        if sys.stdin.isatty():
            typer.echo("reading texts from the keyboard, one a line; Ctrl-D ends", err=True)
        return ((None, line) for line in _lines(sys.stdin.buffer, "standard input"))
    if source.is_dir():
        raise InvalidInput(f"{source} is a folder; give a file, or index the folder with: sentvec index {source}")
    if not source.exists():
        raise InvalidInput(f"{source} does not exist; give a file, or - for standard input.")
    if id_field is not None and source.suffix.lower() not in (".jsonl", ".csv", ".tsv"):
        raise InvalidInput(f"{source} is one text a line and has no ids; {id_option} is for .jsonl, .csv and .tsv.")
    return _from_file(source, field, id_field, id_option)


def _from_file(source: Path, field: str, id_field: str | None, id_option: str) -> Iterator[Row]:
    suffix = source.suffix.lower()
    with source.open("rb") as file:
        lines = _lines(file, str(source))
        if suffix == ".jsonl":
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _from_json(line, field, id_field, f"{source}, line {number}", id_option)
        elif suffix in (".csv", ".tsv"):
            yield from _from_table(lines, field, id_field, source, id_option)
        else:
            yield from ((None, line) for line in lines)


def _lines(file: Iterator[bytes], origin: str) -> Iterator[str]:
    for number, line in enumerate(_read(file, origin), start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"{origin}, line {number}: not UTF-8 ({error.reason} at byte {error.start}). "
                "Convert it first, for example with: iconv -t UTF-8"
            ) from None
        yield text.removesuffix("\n").removesuffix("\r")


def _read(file: Iterator[bytes], origin: str) -> Iterator[bytes]:
    try:
        yield from file
    except OSError as error:
        raise InvalidInput(f"{origin} cannot be read ({error.strerror or error}).") from None


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
    rows = csv.DictReader(with_ends, delimiter="\t" if source.suffix.lower() == ".tsv" else ",", strict=True)
    before = csv.field_size_limit(1 << 30)  # the module's own limit, 128 KiB, is less than a long document
    try:
        for wanted, option in ((field, "--field"), (id_field, id_option)):
            if wanted is not None and wanted not in (rows.fieldnames or ()):
                has = ", ".join(rows.fieldnames or ()) or "nothing"
                raise InvalidInput(f"{source}: no column {wanted!r} (it has: {has}). Name the column with {option}.")
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
