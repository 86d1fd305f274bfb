"""Cut a long text into overlapping passages at sentence ends: text and its token spans -> [Passage]."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from sentvec.errors import InvalidInput

Spans = Callable[[str], list[tuple[int, int]]]

OVERLAP = 0.15  # of the limit, where the caller does not say
BLOCK = 200_000  # characters given to the tokeniser at once: bounds its memory on very large files

_LINE_END = re.compile(r"\r\n|\n|\r")
# Possessive and atomic parts (++, *+, (?>)) keep every pattern linear on runs of marks a megabyte long.
_BOUNDARY = re.compile(
    r"""(?P<blank> (?>\r\n|\n|\r) [^\S\r\n]*+ (?>\r\n|\n|\r) \s*+ )
      | (?P<item>  (?>\r\n|\n|\r) (?= [\ \t]*+ (?: [-*+•|>] | \d{1,3}[.)] ) [\ \t] ) )
      | (?P<wide>  [。！？；…]++ ["'”’」』）】》)\]]*+ \s*+ )
      | (?P<stop>  (?<![.!?]) [.!?]++ ["'”’」』）)\]]*+ (?=\s) \s*+ )""",
    re.VERBOSE,
)
_HEADING = re.compile(
    r"""^(?: [ ]{0,3} \#{1,6} [ \t]++ \S [^\n]*
      | (?: (?P<over>[=\-~^]) (?P=over){2,200} [ \t]*+ \r?\n )?
        [ ]{0,3} [^\s\#>|*+-] [^\n]{0,200} \r?\n (?P<under>[=\-~^]) (?P=under){2,200} [ \t]*+ \r?
    )$""",
    re.VERBOSE | re.MULTILINE,
)
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
_WORD_BEFORE = re.compile(r"[^\s(\[\"'“‘]{1,12}$")
_ABBREVIATION = re.compile(
    r"mrs?|ms|dr|prof|st|jr|sr|vs|etc|e\.g|i\.e|cf|figs?|eq|sec|ch|nos?|vol|pp?|al|approx|inc|ltd|co"
)
_CLAUSE_END = frozenset(",;:，、：；")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a text.

    Attributes:
        text: the piece itself: ``whole[start:end]``.
        start: first character.
        end: one past the last character.
        line: the line of the first character, counted from 1.
        end_line: the line of the last character.
    """

    text: str
    start: int
    end: int
    line: int
    end_line: int


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence, or a piece of one that is too long: the smallest part that passages are made of."""

    start: int
    end: int
    tokens: int
    opens_section: bool
    opens_paragraph: bool


def passages(text: str, spans: Spans, limit: int, overlap: int | None = None) -> list[Passage]:
    """Cut a text into passages of at most `limit` tokens.

    Cuts fall at the ends of sentences (English and Chinese marks, blank lines, list items), where possible at
    the end of a paragraph. A heading (Markdown or reStructuredText) begins a new passage together with what
    follows it. A sentence longer than the limit is cut at a line end, a space or a comma, else between two
    tokens. Neighbours share whole sentences, except across a heading. Only white space is ever left out.

    Args:
        text: the whole text.
        spans: characters (start, end) of each token of a text, in order, without special tokens. Called once
            per 200,000 characters, and again only on pieces cut inside a word.
        limit: the most tokens that a passage may have, special tokens not counted.
        overlap: the most tokens that two neighbours share; 15 % of the limit where not given.

    Raises:
        InvalidInput: the limit is below 1, or the overlap is negative or not below the limit.

    >>> def words(text):
    ...     return [match.span() for match in re.finditer(r"\\w+|[^\\w\\s]", text)]
    >>> [piece.text for piece in passages("One two. Three four. Five!", words, limit=6, overlap=3)]
    ['One two. Three four.', 'Three four. Five!']
    """
    if overlap is None:
        overlap = int(limit * OVERLAP)
    if limit < 1 or not 0 <= overlap < limit:
        raise InvalidInput(
            f"limit is {limit} and overlap is {overlap}; accepted: limit of 1 or more, 0 <= overlap < limit."
        )
    units = _units(text, spans, limit)
    breaks = [match.end() for match in _LINE_END.finditer(text)]
    found = []
    for first, last in _packed(units, limit, overlap):
        start, end = units[first].start, units[last].end
        body = text[start:end]
        start += len(body) - len(body.lstrip())
        body = body.strip()
        if body:
            end = start + len(body)
            line, end_line = bisect_right(breaks, start) + 1, bisect_right(breaks, end - 1) + 1
            found.append(Passage(body, start, end, line, end_line))
    return found


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, trimmed, in order.

    >>> sentences("Dr. Wu came. 你好。再见！")
    ['Dr. Wu came.', '你好。', '再见！']
    """
    edges = [0, *sorted(_cuts(text, _sections(text))), len(text)]
    cut = (text[a:b].strip() for a, b in pairwise(edges))
    return [sentence for sentence in cut if sentence]


def _packed(units: list[_Unit], limit: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last unit of each passage."""
    first, done = 0, -1  # done: the last unit that an earlier passage holds
    while done + 1 < len(units):
        last, total = first, units[first].tokens
        while (
            last + 1 < len(units)
            and not units[last + 1].opens_section
            and (last < done + 1 or total + units[last + 1].tokens <= limit)
        ):
            last += 1
            total += units[last].tokens
        last = _paragraph_end(units, done, last, total, limit)
        yield first, last
        begun, first, done = first, last + 1, last
        if first == len(units) or units[first].opens_section:
            continue
        shared, room = 0, limit - units[first].tokens
        while first - 1 > begun and shared + units[first - 1].tokens <= min(overlap, room):
            first -= 1
            shared += units[first].tokens


def _paragraph_end(units: list[_Unit], done: int, last: int, total: int, limit: int) -> int:
    """Move the end of a passage back to the end of a paragraph, if the passage stays at least half full."""
    if last + 1 == len(units) or units[last + 1].opens_section or units[last + 1].opens_paragraph:
        return last
    for end in range(last, done + 1, -1):
        total -= units[end].tokens
        if 2 * total < limit:
            break
        if units[end].opens_paragraph:
            return end - 1
    return last


def _units(text: str, spans: Spans, limit: int) -> list[_Unit]:
    starts = _token_starts(text, spans)
    sections = _sections(text)
    kinds = _cuts(text, sections)
    edges = [0, *sorted(kinds), len(text)]
    opening = {start for start, _ in sections}
    units: list[_Unit] = []
    for start, end in pairwise(edges):
        if start == end:
            continue
        opens, paragraph = start in opening, kinds.get(start, False)
        i, j = bisect_left(starts, start), bisect_left(starts, end)
        if j - i <= limit:
            units.append(_Unit(start, end, max(1, j - i), opens, paragraph))
            continue
        for a, b, tokens in _pieces(text, spans, starts, (start, end), limit):
            first = a == start
            units.append(_Unit(a, b, max(1, tokens), opens and first, paragraph and first))
    return units


def _pieces(
    text: str, spans: Spans, starts: list[int], whole: tuple[int, int], limit: int
) -> Iterator[tuple[int, int, int]]:
    """Cut one sentence that is too long: (start, end, tokens) of each piece."""
    start, end = whole
    inside = False  # does the piece begin inside a word?
    while start < end:
        i, j = bisect_left(starts, start), bisect_left(starts, end)
        if j - i <= limit and not inside:
            yield start, end, j - i
            return
        cut, at_gap = (end, True) if j - i <= limit else _cut_near(text, starts, i, i + limit)
        tokens = bisect_left(starts, cut) - i
        if inside or not at_gap:
            # Part of a word may have more tokens than it had within the word: count it again.
            tokens = len(spans(text[start:cut]))
            reach = bisect_left(starts, cut) - i
            while tokens > limit and reach > 1:
                reach = max(1, reach - (tokens - limit))
                cut, at_gap = _cut_near(text, starts, i, i + reach)
                tokens = len(spans(text[start:cut]))
        yield start, cut, tokens
        start, inside = cut, not at_gap


def _cut_near(text: str, starts: list[int], first: int, last: int) -> tuple[int, bool]:
    """Find the best place to cut at or before token `last`: (character, is it between two words?)."""
    gap = None
    for token in range(last, first + (last - first) // 2, -1):
        if starts[token] == starts[first]:
            break
        before = text[starts[token] - 1]
        if before in "\r\n":
            return starts[token], True
        if gap is None and (before.isspace() or before in _CLAUSE_END):
            gap = starts[token]
    if gap is not None:
        return gap, True
    while last < len(starts) and starts[last] <= starts[first]:
        last += 1  # several tokens of one character stay together
    return (starts[last], False) if last < len(starts) else (len(text), True)


def _token_starts(text: str, spans: Spans) -> list[int]:
    """Return the first character of each token, never going back."""
    starts: list[int] = []
    reached = 0
    for begin, end in _blocks(text):
        for start, _ in spans(text[begin:end]):
            reached = max(reached, begin + start)
            starts.append(reached)
    return starts


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    while begin < len(text):
        end = begin + BLOCK
        if end < len(text):
            for mark in ("\n", " "):
                place = text.rfind(mark, begin + BLOCK // 2, end)
                if place >= 0:
                    end = place + 1
                    break
        yield begin, min(end, len(text))
        begin = end


def _sections(text: str) -> list[tuple[int, int]]:
    """Return (start, where its text begins) of each heading; headings in a row count as one."""
    fences = [match.start() for match in _FENCE.finditer(text)]
    found: list[tuple[int, int]] = []
    for match in _HEADING.finditer(text):
        if bisect_right(fences, match.start()) % 2:
            continue  # a comment within a code block
        end = match.end()
        while end < len(text) and text[end].isspace():
            end += 1
        if found and found[-1][1] >= match.start():
            found[-1] = (found[-1][0], end)
        else:
            found.append((match.start(), end))
    return found


def _cuts(text: str, sections: list[tuple[int, int]]) -> dict[int, bool]:
    """Return where sentences begin, and whether a paragraph begins there too."""
    kinds: dict[int, bool] = {}
    begun = 0
    for match in _BOUNDARY.finditer(text):
        cut = match.end()
        if match.lastgroup == "stop" and not _ends_sentence(text, match, begun):
            continue
        kinds[cut] = match.lastgroup == "blank" or len(_LINE_END.findall(match.group())) > 1
        begun = cut
    ordered = list(kinds)
    for start, body in sections:
        for cut in ordered[bisect_left(ordered, start) : bisect_right(ordered, body)]:
            del kinds[cut]  # a heading stays with the sentence that follows it
        kinds[start] = True
    kinds.pop(0, None)
    kinds.pop(len(text), None)
    return kinds


def _ends_sentence(text: str, match: re.Match[str], begun: int) -> bool:
    mark = match.start()
    following = text[match.end() : match.end() + 1]
    if following.islower():
        return False
    if text[mark] != "." or text[mark + 1 : mark + 2] == ".":
        return True
    word = _WORD_BEFORE.search(text, max(begun, mark - 13), mark)
    if word is None:
        return True
    before = word.group().lower()
    initial = len(before) == 1 and before.isascii() and before.isalpha() and word.group().isupper()
    # "1. First": a list item's number. What is copied here is either blank or ends a sentence, so that no part
    # of the text is copied twice.
    number = before.isdigit() and not text[begun : word.start()].strip()
    return not (initial or number or _ABBREVIATION.fullmatch(before))
