"""What several commands share: options, reading texts, opening a model."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentvec.errors import InvalidInput

if TYPE_CHECKING:
    from sentvec.runtime.embedder import Embedder

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"

Model = Annotated[str, typer.Option("--model", "-m", help="A folder, or a repository on the Hugging Face Hub.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Offline = Annotated[bool, typer.Option("--local-files-only", help="Never touch the network.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def open_model(name: str, device: str = "auto", precision: str = "float32", offline: bool = False) -> Embedder:
    """Load a model; torch is imported here, and not before."""
    from sentvec.runtime.embedder import Embedder

    return Embedder.from_pretrained(name, device=device, precision=precision, local_files_only=offline)


def read_texts(source: Path | None, field: str = "text") -> Iterator[str]:
    """Read texts from a file, or from standard input where `source` is None or ``-``.

    ``.jsonl`` holds an object (or a string) a line, ``.csv`` and ``.tsv`` a header and a column called
    `field`; everything else is one text a line. That the file is there is checked at once; it is read as the
    texts are asked for.

    Raises:
        InvalidInput: there is no such file, it is not UTF-8, or a row does not hold the text; the message names
            the line.
    """
    if source is None or str(source) == "-":
        if sys.stdin.isatty():
            typer.echo("reading texts from the keyboard, one a line; Ctrl-D ends", err=True)
        return _lines(sys.stdin.buffer, "standard input")
    if source.is_dir():
        raise InvalidInput(f"{source} is a folder; give a file, or index the folder with: sentvec index {source}")
    if not source.exists():
        raise InvalidInput(f"{source} does not exist; give a file, or - for standard input.")
    return _from_file(source, field)


def _from_file(source: Path, field: str) -> Iterator[str]:
    suffix = source.suffix.lower()
    with source.open("rb") as file:
        lines = _lines(file, str(source))
        if suffix == ".jsonl":
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _from_json(line, field, f"{source}, line {number}")
        elif suffix in (".csv", ".tsv"):
            yield from _from_table(lines, field, source)
        else:
            yield from lines


def _lines(file: Iterator[bytes], origin: str) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"{origin}, line {number}: not UTF-8 ({error.reason} at byte {error.start}). "
                "Convert it first, for example with: iconv -t UTF-8"
            ) from None
        yield text.removesuffix("\n").removesuffix("\r")


def _from_json(line: str, field: str, origin: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{origin}: not JSON ({error}).") from None
    text = row.get(field) if isinstance(row, dict) else row
    if not isinstance(text, str):
        has = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise InvalidInput(f"{origin}: no text under {field!r} (it has: {has}). Name the field with --field.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{origin}: half of a surrogate pair, {text[error.start]!r}, is no character.") from None
    return text


def _from_table(lines: Iterator[str], field: str, source: Path) -> Iterator[str]:
    # a quoted field may span lines, so the reader needs the line ends back
    with_ends = (f"{line}\n" for line in lines)
    rows = csv.DictReader(with_ends, delimiter="\t" if source.suffix.lower() == ".tsv" else ",", strict=True)
    csv.field_size_limit(1 << 30)  # the module's own limit, 128 KiB, is less than a long document
    try:
        if field not in (rows.fieldnames or ()):
            has = ", ".join(rows.fieldnames or ()) or "nothing"
            raise InvalidInput(f"{source}: no column {field!r} (it has: {has}). Name the column with --field.")
        for row in rows:
            if row[field] is None:
                raise InvalidInput(f"{source}, line {rows.line_num}: the row has no {field!r}.")
            yield row[field]
    except csv.Error as error:
        raise InvalidInput(f"{source}, line {rows.reader.line_num}: {error}.") from None
