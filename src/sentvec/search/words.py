"""Texts and questions in; words parted by spaces, and the query by which SQLite's FTS5 finds them, out.

Both go through FTS5's tokeniser `porter unicode61 remove_diacritics 2` afterwards, which forgets case, accents and the
endings of English words. It would take a Chinese sentence for one word, so that is cut to pairs of letters here. What
is a letter at all, Python decides: SQLite's own table of them is of another year.
"""

from __future__ import annotations

import re
import unicodedata

MOST_WORDS = 256  # of a question: FTS5 looks each of them up

# Written without spaces, or (Korean) with endings that would hide the word: letters of Chinese, Japanese and Korean.
_CJK = (
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0002fa1f\U00030000-\U000323af"
)
_RUN = re.compile(f"[{_CJK}]+")
_WORD = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_BROKEN_LINE = re.compile(rf"(?<=[{_CJK}])[ \t]*\r?\n[ \t]*(?=[{_CJK}])")
_MARKS = re.compile("[\u0300-\u036f]")  # accents, where no composed letter takes them up
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # FTS5 would stop at NUL; half a character cannot be bound at all


def segmented(text: str) -> str:
    """Return a text as FTS5 is to store it: its words alone, a run of Chinese, Japanese or Korean as overlapping pairs.

    A run's last letter stands by itself as well, so that every letter begins a word: a question of one letter asks for
    words that begin with it. Wide and composed forms become the usual ones (Unicode's NFKC).

    >>> segmented("我爱Python，３次")
    '我爱 爱 Python 3 次'
    """
    return " ".join(
        " ".join([*_pairs(word), word[-1]]) if _RUN.match(word) else word for word in _WORD.findall(_plain(text))
    )


def match_query(question: str) -> str:
    """Return an FTS5 query for texts that hold any word of a question, whatever else it holds.

    Every word is quoted, so nothing of the question is taken as an operator. Of a longer question the first 256
    different words count.

    Returns:
        The query, or "" where the question has no word.

    >>> match_query('NOT "cats" OR (text: 猫, 黑猫警长)')
    '"not" OR "cats" OR "or" OR "text" OR "猫" * OR "黑猫" OR "猫警" OR "警长"'
    """
    found: dict[str, None] = {}
    for match in _WORD.finditer(_plain(question)):
        word = match[0]
        if not _RUN.match(word):
            found[f'"{word.lower()}"'] = None
        elif len(word) == 1:
            found[f'"{word}" *'] = None
        else:
            found.update((f'"{pair}"', None) for pair in _pairs(word))
        if len(found) >= MOST_WORDS:
            break
    return " OR ".join(list(found)[:MOST_WORDS])


def words(text: str) -> set[str]:
    """Return the different words of a text in the form in which FTS5 compares them, for what shows where they match.

    >>> sorted(words("Élan vital: 黑猫警长"))
    ['elan', 'vital', '猫警', '警长', '黑猫']
    """
    found: set[str] = set()
    for match in _WORD.finditer(_bare(text)):
        found.update(_pairs(match[0]) if len(match[0]) > 1 and _RUN.match(match[0]) else (match[0],))
    return found


def shared(text: str, asked: set[str]) -> int:
    """Return how many of a question's words a text has; a single letter counts wherever it stands.

    >>> shared("黑猫警长", words("猫 警长 cat"))
    2
    """
    there = words(text)
    return len(there & asked) + sum(len(word) == 1 and word in text for word in asked - there if _RUN.match(word))


def marks(text: str, asked: set[str]) -> list[tuple[int, int]]:
    """Return where words of a question stand in a text: characters (start, end), in order, none within another.

    >>> marks("Élan vital: 黑猫警长", words("ELAN 猫警长"))
    [(0, 4), (13, 16)]
    """
    found: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        first = match.start()
        if len(match[0]) == 1 or not _RUN.match(match[0]):
            spans = [match.span()] if words(match[0]) & asked else []
        else:
            spans = [(first + n, first + n + 2) for n, pair in enumerate(_pairs(match[0])) if words(pair) & asked]
            alone = [(first + n, first + n + 1) for n, letter in enumerate(match[0]) if letter in asked]
            spans = sorted([*spans, *alone])
        for start, end in spans:
            if found and start <= found[-1][1] and start >= first and found[-1][0] >= first:
                found[-1] = (found[-1][0], max(end, found[-1][1]))
            else:
                found.append((start, end))
    return found


def _plain(text: str) -> str:
    return _BROKEN_LINE.sub("", _MARKS.sub("", _normal(text)))


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", _UNSTORABLE.sub(" ", text))


def _bare(text: str) -> str:
    """Return a text without case and accents, as FTS5's tokeniser would compare it."""
    return unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", _normal(text).lower())))


def _pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)]
