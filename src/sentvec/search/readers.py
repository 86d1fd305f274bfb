"""Read one file for indexing: its bytes in, text records with their lines out, or the reason why not."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import PurePath

from sentvec.errors import InvalidInput
from sentvec.search.tables import Reading, Record, read_csv, read_jsonl, read_tsv

# Longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_prose(text: str) -> Reading:
    """Return a whole text as one record whose lines are the file's lines."""
    return Reading((Record(text, line=1, prose=True),))


READERS: dict[str, Callable[[str], Reading]] = {
    ".txt": read_prose,
    ".md": read_prose,
    ".rst": read_prose,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": read_jsonl,
}


def read(path: str, data: bytes) -> Reading:
    """Read a file by its suffix; a suffix that is not known is read as plain text.

    Raises:
        InvalidInput: the file is empty, binary, in an unknown encoding, or holds no record; the message is
            the reason alone, without the path.
    """
    text = decode(data)
    if not text.strip():
        raise InvalidInput("empty")
    reading = READERS.get(PurePath(path).suffix.lower(), read_prose)(text)
    if not reading.records:
        line, reason = reading.bad[0] if reading.bad else (1, "no text in any row")
        raise InvalidInput(f"no record could be read; line {line}: {reason}")
    return reading


def decode(data: bytes) -> str:
    """Decode UTF-8, with or without its mark, or UTF-16 and UTF-32 with theirs. Nothing is guessed.

    Old 8-bit encodings (Latin-1, GBK) cannot be told apart by their bytes: a guess would index nonsense.

    Raises:
        InvalidInput: the data is binary, or not in one of these encodings.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    if encoding.startswith("utf-8") and b"\0" in data:
        raise InvalidInput("binary file (it holds NUL bytes)")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"not {encoding.removesuffix('-sig').upper()} text (byte 0x{data[error.start]:02x} at "
            f"{error.start}); save it as UTF-8"
        ) from None
    if "\0" in text:
        raise InvalidInput("binary file (it holds NUL characters)")
    return text
