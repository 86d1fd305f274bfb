"""Rows of text: CSV, TSV or JSON lines in, one record a row with its line and other fields out."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sentvec.search.checks import json_text

# Names by which a column of text goes, the best first; and those of what stands above a text.
TEXT = (
    *("text", "content", "contents", "body", "passage", "document", "sentence", "abstract", "paragraph"),
    *("review", "comment", "message", "description", "正文", "内容", "文本", "句子"),
)
TITLE = ("title", "headline", "标题")
# Names that also mark a first row as a header, though the column is not the text by itself.
_OTHER = (
    *("id", "_id", "question", "answer", "query", "label", "score", "name", "url", "date", "author", "genre"),
    *("sentence1", "sentence2", "premise", "hypothesis", "summary", "source", "subject", "split", "category"),
)
_KNOWN = frozenset(TEXT + TITLE + _OTHER)

_NAME = re.compile(r"[^\W\d][\w .\-/()#%]{0,39}")
_SAMPLE_ROWS = 200
_SAMPLE_CHARACTERS = 100_000
_field_limit = threading.Lock()  # csv's limit on a field's size is one number for the whole process


@dataclass(frozen=True, slots=True)
class Record:
    """One text of a file.

    Attributes:
        text: the text.
        line: the line on which it begins.
        prose: are the text's lines the file's lines (else it is one row, wherever its text breaks)?
        metadata: the row's other fields.
    """

    text: str
    line: int
    prose: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """The records of a file, and (line, reason) of each row that could not be used."""

    records: tuple[Record, ...]
    bad: tuple[tuple[int, str], ...] = ()


def read_csv(text: str) -> Reading:
    """Read comma, semicolon, tab or bar separated rows, whichever gives the most even columns."""
    sample = text[:_SAMPLE_CHARACTERS]
    evenness = {mark: _evenness(_parse(sample, mark, quoted=True)) for mark in ",;\t|"}
    return _from_rows(_rows(text, max(evenness, key=lambda mark: evenness[mark]), share=1.0))


def read_tsv(text: str) -> Reading:
    """Read tab separated rows."""
    return _from_rows(_rows(text, "\t", share=0.99))


def read_jsonl(text: str) -> Reading:
    """Read one JSON object (or one string) a line; lines that are neither are named, not fatal."""
    records: list[Record] = []
    bad: list[tuple[int, str]] = []
    # Not splitlines(): JSON strings may hold U+2028 and other ends of line as they are.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = _from_object(json.loads(line, parse_constant=_no_constant), number)
        except RecursionError:
            bad.append((number, "nested too deeply"))
        except ValueError as error:
            bad.append((number, f"not a JSON object with text: {error}"))
        else:
            records.append(record)
    return Reading(tuple(records), tuple(bad))


def _from_object(value: Any, line: int) -> Record:
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, dict):
        raise ValueError(f"it is a {type(value).__name__}")
    # What cannot be stored is a ValueError here: numbers beyond float64, halves of characters, deep nesting.
    json_text(value)
    fields = {name: part for name, part in value.items() if part is not None}
    names = {name.lower(): name for name in reversed(list(fields))}
    key = next((names[name] for name in TEXT if name in names), None)
    title = next((names[name] for name in TITLE if name in names), None)
    if key is None and title is None:
        parts = {name: part for name, part in fields.items() if isinstance(part, str | int | float)}
        text = _joined({name: str(part) for name, part in parts.items() if not isinstance(part, bool)})
    else:
        for name in (key, title):
            if name is not None and not isinstance(fields[name], str):
                raise ValueError(f"its field {name!r} is a {type(fields[name]).__name__}, not text")
        text = _titled(fields[title] if title else "", fields[key] if key else "")
    if not text.strip():
        raise ValueError("it holds no text")
    return Record(text, line, metadata={name: part for name, part in fields.items() if name != key})


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _from_rows(rows: list[tuple[int, list[str]]]) -> Reading:
    """Choose the header and the column of text, and make a record of each row."""
    rows = [(line, row) for line, row in rows if any(cell.strip() for cell in row)]
    if not rows:
        return Reading(())
    header = _header([row for _, row in rows[:_SAMPLE_ROWS]])
    body = rows[1:] if header else rows
    width = max(len(row) for _, row in rows)
    names = [name.strip() for name in header or []]
    names += [f"column {n}" for n in range(len(names) + 1, width + 1)]
    lower = [name.lower() for name in names]
    key = next((lower.index(name) for name in TEXT if name in lower), None)
    title = next((lower.index(name) for name in TITLE if name in lower), None)
    if key is None and title is None:
        key = _longest([row for _, row in body[:_SAMPLE_ROWS]], width)
    records = []
    for line, row in body:
        cells = {name: cell for name, cell in zip(names, row, strict=False) if cell.strip()}
        if key is None and title is None:
            text = _joined(cells) if header else ", ".join(cells.values())
        else:
            text = _titled(_cell(row, title), _cell(row, key))
        other = {name: cell for name, cell in cells.items() if key is None or name != names[key]}
        if text.strip():
            records.append(Record(text, line, metadata=other))
    return Reading(tuple(records))


def _header(rows: Sequence[Sequence[str]]) -> Sequence[str] | None:
    """Return the first row if it is certainly one of names. In doubt it is data, so that none is lost."""
    first = [cell.strip() for cell in rows[0]]
    if any(cell.lower() in _KNOWN for cell in first):
        short = all(len(cell) <= 60 for cell in first)
        return rows[0] if short and len({cell.lower() for cell in first}) == len(first) else None
    if len(first) < 2 or len(set(first)) < len(first) or not all(map(_NAME.fullmatch, first)):
        return None
    for n, name in enumerate(first):
        below = [row[n].strip() for row in rows[1:] if len(row) > n and row[n].strip()]
        if below and (all(map(_is_number, below)) or sum(map(len, below)) > 3 * len(name) * len(below)):
            return rows[0]
    return None


def _longest(rows: Sequence[Sequence[str]], width: int) -> int | None:
    """Return the column that is clearly the text: at least twice as long as any other."""
    if width == 1:
        return 0
    sums = [sum(len(row[n]) for row in rows if len(row) > n) for n in range(width)]
    first, second = sorted(sums, reverse=True)[:2]
    return sums.index(first) if first >= 2 * second and first >= 20 * len(rows) else None


def _rows(text: str, mark: str, share: float) -> list[tuple[int, list[str]]]:
    """Return (line, cells) of each row.

    Many files are written without quoting, and a quote in them is a mark of the text, which would swallow
    the rows after it. So quotes are taken as such only where columns are not even without them (in fewer than
    `share` of the rows), and where each one is closed.
    """
    plain = _parse(text, mark, quoted=False)
    if _evenness(plain) >= (share, 2) or _open_quote(text, mark):
        return [(line, [_unquoted(cell) for cell in row]) for line, row in plain]
    return _parse(text, mark, quoted=True)


def _open_quote(text: str, mark: str) -> bool:
    """Tell whether a quote is opened and never closed: then it was no quote but a mark in the text."""
    with _field_limit:
        before = csv.field_size_limit(sys.maxsize)
        try:
            for _ in csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True):
                pass
        except csv.Error as error:
            return "unexpected end" in str(error)
        finally:
            csv.field_size_limit(before)
    return False


def _parse(text: str, mark: str, *, quoted: bool) -> list[tuple[int, list[str]]]:
    rows: list[tuple[int, list[str]]] = []
    with _field_limit:
        before = csv.field_size_limit(sys.maxsize)
        try:
            reader = csv.reader(
                io.StringIO(text, newline=""), delimiter=mark, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
            )
            line = 1
            for row in reader:
                rows.append((line, row))
                line = reader.line_num + 1
        finally:
            csv.field_size_limit(before)
    return rows


def _evenness(rows: Sequence[tuple[int, Sequence[str]]]) -> tuple[float, int]:
    """Return (share of the rows that have the usual number of columns, that number); 0 for one column."""
    counts = Counter(len(row) for _, row in rows if row)
    if not counts:
        return 0.0, 0
    columns, many = counts.most_common(1)[0]
    return (0.0, 1) if columns == 1 else (many / sum(counts.values()), columns)


def _unquoted(cell: str) -> str:
    whole = len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "")
    return cell[1:-1].replace('""', '"') if whole else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _cell(row: Sequence[str], n: int | None) -> str:
    return row[n].strip() if n is not None and n < len(row) else ""


def _titled(title: str, text: str) -> str:
    title, text = title.strip(), text.strip()
    return text if not title or text.startswith(title) else f"{title}\n{text}".strip()


def _joined(cells: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {cell.strip()}" for name, cell in cells.items() if cell.strip())
