"""What to show of a hit: its text and the question's vector in, the sentences that answer best out."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from rich.cells import cell_len

from sentvec.search.types import Hit, TextEncoder
from sentvec.text.chunking import sentences

ROOM = 264  # cells of a terminal, of which a Chinese letter takes two: three lines, read at a glance
_HEADING = re.compile(r"^[ ]{0,3}#{1,6}[ \t]+([^\n]*?)[ \t#]*$(?=\s)", re.MULTILINE)

_FENCE = re.compile(r"^[ ]{0,3}(?:```|~~~)[^\n]*$\n?", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*\|[ \t:|-]*-[ \t:|-]*$\n?", re.MULTILINE)
_TABLE_ROW = re.compile(r"^[ \t]*\|[ \t]*([^\n]*?)[ \t]*\|[ \t]*$", re.MULTILINE)
_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_WIDE_LINES = re.compile(rf"(?<=[{_WIDE}])[ \t]*\r?\n[ \t]*(?=[{_WIDE}])")


def snippets(model: TextEncoder, query: str, hits: Sequence[Hit], room: int = ROOM) -> list[str]:
    """Return a short extract of each hit, on one line.

    A text that fits is shown whole. Of a longer one, the sentence nearest to the question by the model is
    shown, with as many of those around it as fit.

    Args:
        model: the collection's model.
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
    vectors = model.encode_document(flat, progress=False)
    asked = model.encode_query([query], progress=False)[0]
    lengths = np.linalg.norm(vectors, axis=1)
    scores = vectors @ asked / np.where(lengths > 0, lengths, 1)
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
    """Join sentences; after a Chinese mark there is no space.

    >>> _joined(["One.", "Two.", "你好。", "再见！"])
    'One. Two. 你好。再见！'
    """
    return "".join(part if cell_len(part[-1:]) == 2 else f"{part} " for part in parts).rstrip()


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
