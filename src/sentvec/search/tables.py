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

# Names by which a column of text goes, the best first; those of what stands above it, and below it.
TEXT = (
    *("text", "content", "contents", "body", "passage", "document", "sentence", "abstract", "paragraph", "message"),
    *("正文", "内容", "文本", "句子"),
)
ABOVE = ("title", "headline", "subject", "question", "query", "标题", "问题")
BELOW = ("answer", "summary", "description", "comment", "review", "答案", "回答", "摘要")
# What names a row and says nothing of it: of no use to a model.
IDS = frozenset({"id", "_id", "uuid", "guid", "url", "uri", "link", "href"})
# Names that also mark a first row as a header, though the column is not the text by itself.
_OTHER = (
    *("label", "score", "name", "date", "author", "genre", "sentence1", "sentence2", "premise", "hypothesis"),
    *("source", "split", "category", "amount", "notes"),
)
_KNOWN = IDS.union(TEXT, ABOVE, BELOW, _OTHER)

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
    """What a file holds.

    Attributes:
        records: its texts.
        bad: (line, reason) of each row that could not be used.
        chosen: names of the columns that the texts were put together from, where none is known to be the text.
    """

    records: tuple[Record, ...]
    bad: tuple[tuple[int, str], ...] = ()
    chosen: tuple[str, ...] = ()


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
    chosen: dict[str, None] = {}
    # Not splitlines(): JSON strings may hold U+2028 and other ends of line as they are.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record, names = _from_object(_parsed(line), number)
        except RecursionError:
            bad.append((number, "nested too deeply"))
        except ValueError as error:
            bad.append((number, f"not a JSON object with text: {error}"))
        else:
            records.append(record)
            chosen.update(dict.fromkeys(names))
    return Reading(tuple(records), tuple(bad), tuple(chosen))


def _parsed(line: str) -> Any:
    try:
        return json.loads(line, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON from character {error.pos + 1} on") from None
    except ValueError as error:
        # Python reads no whole numbers of very many digits, and its own words would tell the user of Python.
        raise ValueError("a number has too many digits" if "digits" in str(error) else str(error)) from None


def _from_object(value: Any, line: int) -> tuple[Record, Sequence[str]]:
    """Return an object's record, and the fields that its text is of where none is known to be the text."""
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, dict):
        raise ValueError(f"it is {_kind(value)}")
    # What cannot be stored is a ValueError here: numbers beyond float64, halves of characters, deep nesting.
    json_text(value)
    fields = {name: part for name, part in value.items() if part is not None}
    cells = {name: cell for name, part in fields.items() if (cell := _cell(part))}
    names = {name.lower(): name for name in reversed(list(fields))}
    key = next((names[name] for name in TEXT if name in names), None)
    if key is not None and not isinstance(fields[key], str):
        raise ValueError(f"its field {key!r} is {_kind(fields[key])}, not text")
    text, chosen = _text(cells, key)
    if not text:
        raise ValueError("it holds no text")
    return Record(text, line, metadata={name: part for name, part in fields.items() if name != key}), chosen


def _kind(value: Any) -> str:
    """Say what a value is in the words of JSON.

    >>> _kind(3), _kind([]), _kind(None)
    ('a number', 'a list', 'null')
    """
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else "a number"


def _cell(value: Any) -> str:
    """Return a value of JSON as a cell: texts, numbers and lists of them; nothing of others."""
    if isinstance(value, list):
        return ", ".join(filter(None, map(_cell, value))) if not any(isinstance(v, list) for v in value) else ""
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


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
    key = next((names[lower.index(name)] for name in TEXT if name in lower), None)
    records, chosen = [], dict[str, None]()
    for line, row in body:
        cells = {name: cell.strip() for name, cell in zip(names, row, strict=False) if cell.strip()}
        if header:
            text, used = _text(cells, key)
        else:
            text, used = ", ".join(cells.values()), ()
        if text:
            records.append(Record(text, line, metadata={n: cell for n, cell in cells.items() if n != key}))
            chosen.update(dict.fromkeys(used))
    return Reading(tuple(records), chosen=tuple(chosen))


def _text(cells: Mapping[str, str], key: str | None) -> tuple[str, Sequence[str]]:
    """Put the text of a row together.

    With a column known to be the text: that, below titles and questions, and above answers and summaries.
    Without: all cells but ids, each with its name, and these names.
    """
    if key is None:
        told = {n: cell for n, cell in cells.items() if n.lower() not in IDS and not n.lower().endswith("_id")}
        told = told or dict(cells)
        return "\n".join(f"{name}: {cell}" for name, cell in told.items()), tuple(told)
    text = cells.get(key, "")
    lower = {name.lower(): cell for name, cell in cells.items() if name != key}
    above = [lower[name] for name in ABOVE if name in lower and not text.startswith(lower[name])]
    below = [lower[name] for name in BELOW if name in lower]
    return "\n".join(part for part in (*above, text, *below) if part), ()


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


def _rows(text: str, mark: str, share: float) -> list[tuple[int, list[str]]]:
    """Return (line, cells) of each row.

    Many files are written without quoting, and a quote in them is a mark of the text, which would swallow
    the rows after it. So quotes are taken as such only where columns are not even without them (in fewer than
    `share` of the rows), and where each one is closed.
    """
    plain = _parse(text, mark, quoted=False)
    fault = _fault(text, mark)
    if "unexpected end" in fault or _evenness(plain) >= (share, 2):
        quoted = _parse(text, mark, quoted=True) if share == 1 and not fault else []
        # Lines within quotes may look like rows by chance: without a fault, CSV is what it says it is.
        if not quoted or _evenness(quoted) != _evenness(plain):
            return [(line, [_unquoted(cell) for cell in row]) for line, row in plain]
        return quoted
    return _parse(text, mark, quoted=True)


def _fault(text: str, mark: str) -> str:
    """Return what is wrong with the quotes; one that is never closed was no quote but a mark in the text."""
    with _field_limit:
        before = csv.field_size_limit(sys.maxsize)
        try:
            for _ in csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True):
                pass
        except csv.Error as error:
            return str(error)
        finally:
            csv.field_size_limit(before)
    return ""


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
