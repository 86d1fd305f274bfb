"""A folder in BEIR's layout in; its queries, judgements and documents out, checked before anything is encoded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentvec.errors import InvalidInput
from sentvec.evaluate.checks import check_numbers
from sentvec.evaluate.tables import lines_of, objects_of, shortly
from sentvec.progress import counted

CORPUS, QUERIES = "corpus.jsonl", "queries.jsonl"
_BLOCK = 16_384  # documents whose texts are held at once
_GRADES = (-10, 1000)  # trec_eval keeps a place for every grade up to the highest


@dataclass(frozen=True)
class Retrieval:
    """Documents, queries, and who answers whom.

    Attributes:
        name: the set's name.
        corpus: file of the documents; they are read again, in blocks, when they are encoded.
        ids: the documents' ids in the order of the file.
        queries: text by id of those queries that have a relevant document.
        judged: grade by query and document, for these queries.
        notes: for the result.
    """

    name: str
    corpus: Path
    ids: tuple[str, ...]
    queries: dict[str, str]
    judged: dict[str, dict[str, int]]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no set.

        Raises:
            InvalidInput: there are no documents or queries, an id is doubled or unknown, or a query has no relevant
                document.
        """
        check_numbers(self.name, documents=self.ids)
        check_numbers(self.name, queries=self.queries)
        known = set(self.ids)
        if len(known) < len(self.ids):
            raise InvalidInput(f"the set {self.name!r}: an id of {self.corpus} is doubled; ids must differ.")
        for query in {**self.queries, **self.judged}:
            grades = self.judged.get(query, {})
            absent = grades.keys() - known
            if query not in self.queries or max(grades.values(), default=0) <= 0 or absent:
                why = "has no text" if query not in self.queries else "has no relevant document"
                why = f"is judged with the document {min(absent)!r}, which is not there" if absent else why
                raise InvalidInput(f"the set {self.name!r}: query {query!r} {why}. Mend that, or leave the query out.")

    def blocks(self) -> Iterator[list[str]]:
        """Yield the documents' texts in order, some thousands at a time: the title, a space, and the text.

        Raises:
            InvalidInput: the file is no longer what it was.
        """
        block: list[str] = []
        count = 0
        for line, row in objects_of(self.corpus):
            if count == len(self.ids) or _id(row, self.corpus, line) != self.ids[count]:
                raise InvalidInput(f"{self.corpus}, line {line}: the file changed while it was read. Run again.")
            count += 1
            block.append(_document(row, self.corpus, line))
            if len(block) == _BLOCK:
                yield block
                block = []
        if count != len(self.ids):
            raise InvalidInput(f"{self.corpus}: the file changed while it was read. Run again.")
        if block:
            yield block


def read_retrieval(folder: Path, qrels: Path, name: str) -> Retrieval:
    """Read a folder: `corpus.jsonl`, `queries.jsonl`, and a file of judgements.

    The judgements are rows of query, document and grade, under BEIR's header, or TREC's four columns. Queries without
    a relevant document are left out, as no ranking of theirs can be good or bad; a note says how many.

    Raises:
        InvalidInput: an id is absent, doubled or unknown, a text is missing, a grade is no whole number or out of
            range, or a file is empty; the message names file and line.
    """
    ids = tuple(_checked_ids(folder / CORPUS))
    if not ids:
        raise InvalidInput(f"{folder / CORPUS} holds no documents; there is nothing to search.")
    queries = dict(_queries(folder / QUERIES))
    judged = _judgements(qrels, queries, set(ids), folder)
    relevant = {query: grades for query, grades in judged.items() if max(grades.values()) > 0}
    if not relevant:
        raise InvalidInput(f"{qrels} names no relevant document for any query; nothing can be scored.")
    left_out = len(queries) - len(relevant)
    notes: tuple[str, ...] = (f"judgements of {qrels.relative_to(folder)}",)
    notes += (f"{counted(left_out, 'query')} without a relevant document left out",) if left_out else ()
    asked = {query: text for query, text in queries.items() if query in relevant}
    return Retrieval(name, folder / CORPUS, ids, asked, {query: relevant[query] for query in asked}, notes)


def _checked_ids(path: Path) -> Iterator[str]:
    for line, name, row in _named(path):
        _document(row, path, line)
        yield name


def _queries(path: Path) -> Iterator[tuple[str, str]]:
    for line, name, row in _named(path):
        yield name, _text(row, "text", path, line)


def _named(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    lines: dict[str, int] = {}
    for line, row in objects_of(path):
        name = _id(row, path, line)
        if name in lines:
            where = f"line {lines[name]} as well; ids must differ"
            raise InvalidInput(f"{path}, line {line}: _id {shortly(name)} is on {where}.")
        lines[name] = line
        yield line, name, row


def _judgements(path: Path, queries: dict[str, str], documents: set[str], folder: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for place, (line, cells) in enumerate(_rows(path)):
        if place == 0 and _is_header(cells) and cells[0] not in queries:
            continue
        if len(cells) not in (3, 4):
            raise InvalidInput(
                f"{path}, line {line}: {len(cells)} columns; accepted: query, document and grade, parted by tabs, or "
                "TREC's four columns."
            )
        query, document, grade = cells[0], cells[-2], _whole(cells[-1])
        if grade is None or not _GRADES[0] <= grade <= _GRADES[1]:
            raise InvalidInput(
                f"{path}, line {line}: grade {shortly(cells[-1])}; accepted: whole numbers from {_GRADES[0]} to "
                f"{_GRADES[1]}, of which 1 and more are relevant."
            )
        for name, known, file in ((query, queries, QUERIES), (document, documents, CORPUS)):
            if name not in known:
                raise InvalidInput(
                    f"{path}, line {line}: id {shortly(name)} is not in {folder / file}. Mend the id, or take the line "
                    "out."
                )
        grades = found.setdefault(query, {})
        if grades.setdefault(document, max(grade, 0)) != max(grade, 0):
            raise InvalidInput(
                f"{path}, line {line}: query {shortly(query)} and document {shortly(document)} were graded "
                f"{grades[document]} before, and {grade} here; leave one of the lines."
            )
    return found


def _is_header(cells: list[str]) -> bool:
    return len(cells) in (3, 4) and not any(letter.isdigit() for letter in cells[-1]) and bool(cells[-1].strip())


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines_of(path):
        if line.strip():
            yield number, line.split("\t" if "\t" in line else None)  # TREC's own files are parted by blanks


def _whole(cell: str) -> int | None:
    return int(cell) if re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", cell) else None


def _id(row: dict[str, Any], path: Path, line: int) -> str:
    name = row.get("_id")
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        raise InvalidInput(f"{path}, line {line}: '_id' is {shortly(name)}; accepted: a text or a whole number.")
    if "\0" in str(name):
        raise InvalidInput(f"{path}, line {line}: '_id' is {shortly(name)}; trec_eval cannot read the character NUL.")
    return str(name)


def _text(row: dict[str, Any], field: str, path: Path, line: int) -> str:
    text = row.get(field)
    if not isinstance(text, str):
        raise InvalidInput(f"{path}, line {line}: {field!r} is {shortly(text)}, which is not a text.")
    return text


def _document(row: dict[str, Any], path: Path, line: int) -> str:
    title = row.get("title")
    if title is not None and not isinstance(title, str):
        raise InvalidInput(f"{path}, line {line}: 'title' is {shortly(title)}, which is not a text.")
    return f"{title or ''} {_text(row, 'text', path, line)}".strip()
