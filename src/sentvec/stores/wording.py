"""Texts and questions in, their words in the form in which servers compare them out; for stores that rank by words."""

from __future__ import annotations

import unicodedata

from sentvec.search.words import MOST_WORDS, segmented

_LONGEST = 60  # letters of a word that count
_MARKS = dict.fromkeys(range(0x300, 0x370))


def terms(text: str) -> list[str]:
    """Return the words of a text in order, without case and accents; Chinese, Japanese and Korean as pairs of letters.

    A run's last letter stands by itself as well, as in `sentvec.search.words.segmented`.

    >>> terms("Élan vital: 黑猫警长")
    ['elan', 'vital', '黑猫', '猫警', '警长', '长']
    """
    plain = unicodedata.normalize("NFD", segmented(text).lower()).translate(_MARKS)
    return [word[:_LONGEST] for word in unicodedata.normalize("NFC", plain).split()]


def asked_terms(question: str) -> list[str]:
    """Return the different words of a question; the last letter of a run only where it stands alone in the question.

    >>> asked_terms("Vital vital 黑猫 猫")
    ['vital', '黑猫', '猫']
    """
    found = terms(question)
    kept = [
        word
        for before, word in zip(["", *found], found, strict=False)
        if not (len(word) == 1 and len(before) == 2 and before[1] == word and not word.isascii())
    ]
    return list(dict.fromkeys(kept))[:MOST_WORDS]
