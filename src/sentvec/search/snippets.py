"""What to show of a hit: its text and the question in, the sentence that answers best, and where its words are, out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from sentvec.search.types import Hit, TextEncoder
from sentvec.search.words import marks, shared, words
from sentvec.text.chunking import sentences

ROOM = 264  # cells of a terminal, of which a Chinese letter takes two: three lines, read at a glance
_HEADING = re.compile(r"^[ ]{0,3}#{1,6}[ \t]+([^\n]*?)[ \t#]*$(?=\s)", re.MULTILINE)

_FENCE = re.compile(r"^[ ]{0,3}(?:```|~~~)[^\n]*$\n?", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*\|[ \t:|-]*-[ \t:|-]*$\n?", re.MULTILINE)
_TABLE_ROW = re.compile(r"^[ \t]*\|[ \t]*([^\n]*?)[ \t]*\|[ \t]*$", re.MULTILINE)
_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_ENDS_WIDE = re.compile(rf"[{_WIDE}]\Z")
_WIDE_LINES = re.compile(rf"(?<=[{_WIDE}])[ \t]*\r?\n[ \t]*(?=[{_WIDE}])")


@dataclass(frozen=True, slots=True)
class Highlight:
    """Where a hit's text answers.

    Attributes:
        start: first character of the sentence that answers best.
        end: one past its last character.
        words: (start, end) of the question's words in it, also counted from the beginning of the text.
    """

    start: int
    end: int
    words: tuple[tuple[int, int], ...]


def highlights(query: str, hits: Sequence[Hit], model: TextEncoder | None = None) -> list[Highlight]:
    """Find the sentence of each hit that answers best: nearest to the question by a model, or with most of its words.

    Args:
        query: the question.
        hits: the answers.
        model: the collection's model, if it is to be asked.
    """
    parts = [sentences(hit.text) or [hit.text] for hit in hits]
    scores = iter(_nearness(model, query, [part for split in parts for part in split]).tolist())
    asked = words(query)
    found = []
    for hit, split in zip(hits, parts, strict=True):
        nearness = [next(scores) for _ in split]
        best, start = int(np.argmax(nearness)), 0
        for n, part in enumerate(split):
            start = hit.text.index(part, start)
            if n == best:
                break
            start += len(part)
        inside = tuple((start + a, start + b) for a, b in marks(split[best], asked))
        found.append(Highlight(start, start + len(split[best]), inside))
    return found


def _nearness(model: TextEncoder | None, query: str, pieces: Sequence[str]) -> NDArray[np.float64]:
    """Return how near each piece is to the question: by the model, or by how many of its words it has."""
    if model is None:
        asked = words(query)
        return np.array([shared(piece, asked) for piece in pieces], np.float64)
    if not pieces:
        return np.zeros(0)
    vectors = model.encode_document(list(pieces), progress=False)
    lengths = np.linalg.norm(vectors, axis=1)
    scores = vectors @ model.encode_query([query], progress=False)[0] / np.where(lengths > 0, lengths, 1)
    found: NDArray[np.float64] = scores.astype(np.float64)
    return found


def snippets(model: TextEncoder | None, query: str, hits: Sequence[Hit], room: int = ROOM) -> list[str]:
    """Return a short extract of each hit, on one line.

    A text that fits is shown whole. Of a longer one, the sentence nearest to the question by the model is
    shown, with as many of those around it as fit.

    Args:
        model: the collection's model; without one, the sentence with most words of the question is shown.
        query: the question.
        hits: the answers.
        room: cells of a terminal that an extract may take.
    """
    parts = [[one_line(_HEADING.sub(r"\1 —", part)) for part in sentences(_readable(hit))] for hit in hits]
    # A sentence longer than the room is cut to windows, so that its best part can be shown too.
    parts = [[piece for part in split for piece in _windows(part, room)] for split in parts]
    long = [n for n, split in enumerate(parts) if cell_len(_joined(split)) > room]
    if not long:
        return [_joined(split) for split in parts]
    flat = [piece for n in long for piece in parts[n]]
    scores = _nearness(model, query, flat)
    shown = [_joined(split) for split in parts]
    first = 0
    for n in long:
        last = first + len(parts[n])
        shown[n] = _around(parts[n], int(np.argmax(scores[first:last])), room)
        first = last
    return shown


def _readable(hit: Hit) -> str:
    """Return a hit's text without marks, and with a dot between the cells of a table's row."""
    text = _without_marks(hit.text)
    for name in hit.metadata:
        text = text.replace(f"\n{name}: ", f" · {name}: ")
    return text


def _without_marks(text: str) -> str:
    """Take away what is there for a renderer of Markdown: fences of code, and the lines of tables."""
    rows = _TABLE_ROW.sub(lambda row: f"{row[1]};\n" if row[1] else "", _RULE.sub("", _FENCE.sub("", text)))
    return _WIDE_LINES.sub("", rows)


def _joined(parts: Sequence[str]) -> str:
    """Join sentences; after a Chinese mark there is no space, but there is one after Korean and after an emoji.

    >>> _joined(["One. 🙂", "Two.", "안녕", "你好。", "再见！"])
    'One. 🙂 Two. 안녕 你好。再见！'
    """
    return "".join(part if _ENDS_WIDE.search(part) else f"{part} " for part in parts).rstrip()


def one_line(text: str) -> str:
    """Put a text on one line, without the control characters by which it could steer a terminal.

    >>> one_line("two\\n  lines \\x1b[31m")
    'two lines [31m'
    """
    return " ".join("".join(c if c.isprintable() or c.isspace() else " " for c in text).split())


def _windows(part: str, room: int) -> list[str]:
    pieces = []
    while cell_len(part) > room:
        reach = room
        while cell_len(part[:reach]) > room:
            reach -= max(1, (cell_len(part[:reach]) - room) // 2)
        cut = part.rfind(" ", reach // 2, reach)
        cut = reach if cut < 0 else cut
        pieces.append(part[:cut].strip())
        part = part[cut:].strip()
    return [*pieces, part]


def _around(parts: Sequence[str], best: int, room: int) -> str:
    """Join the best sentence with those after it and before it, as far as they fit."""
    first = last = best
    used = cell_len(parts[best])
    while last + 1 < len(parts) and used + 1 + cell_len(parts[last + 1]) <= room:
        last += 1
        used += 1 + cell_len(parts[last])
    while first > 0 and used + 1 + cell_len(parts[first - 1]) <= room:
        first -= 1
        used += 1 + cell_len(parts[first])
    before, after = "… " if first > 0 else "", " …" if last + 1 < len(parts) else ""
    return f"{before}{_joined(parts[first : last + 1])}{after}"
