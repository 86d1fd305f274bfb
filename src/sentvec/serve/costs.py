"""What a client asks of a task in, about how many tokens that runs through its model out: what is admitted goes by it.

Only the processes that encode have a task's tokeniser, so these are estimates. They need to see what multiplies a short
request: labels that each make a pair with the text, windows that overlap, choices that are spelled out one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHARACTERS = 4
"""Bytes of UTF-8 that stand for a token: letters of English words, a little more than one Chinese character."""

AROUND = 3
"""Special tokens around a pair."""

SPELLED = 64
"""Tokens that are written out, or spans of tokens that are looked at, in the time of encoding one; more in truth."""


def tokens(text: str) -> int:
    """Return about how many tokens a text has.

    >>> tokens("the cat sat on the mat"), tokens("今天天气很好")
    (7, 6)
    """
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return 2 + size // CHARACTERS


def of_task(name: str, given: Any, options: Mapping[str, Any], limit: int) -> int:
    """Return about how many tokens a task's model reads for one input.

    Args:
        name: the task.
        given: the input, checked by the task's route.
        options: the task's arguments.
        limit: most tokens that the model reads at a time.

    >>> of_task("zero-shot-classification", "a text of a dozen words or so", {"candidate_labels": ["a"] * 100}, 512)
    1500
    """
    if name == "zero-shot-classification":
        template = tokens(options.get("hypothesis_template", "This example is {}."))
        text = min(tokens(given), limit)
        return sum(text + template + tokens(label) - 2 for label in options["candidate_labels"])
    if name == "multiple-choice":
        return sum(tokens(given["prompt"]) + tokens(choice) for choice in given["choices"])
    if name == "token-classification":
        room = max(1, limit - AROUND)
        return _read(tokens(given), room, room // 4, options.get("stride"), limit)
    if name == "question-answering":
        room = max(1, limit - AROUND - tokens(given["question"]))
        context = tokens(given["context"])
        spans = min(room, context) * min(options.get("max_answer_len", 15), room)
        looked = min(options.get("top_k", 1), spans) // SPELLED
        return _read(context, room, min(128, room // 2), options.get("doc_stride"), limit + looked)
    if name == "fill-mask":
        text, targets = tokens(given), options.get("targets")
        asked: int = min(options.get("top_k", 5), 1 << 18 if targets is None else len(targets))
        return text + asked * min(text, limit) // SPELLED + sum(map(tokens, targets or ()))
    return tokens(str(given))


def _read(length: int, room: int, usual: int, overlap: int | None, limit: int) -> int:
    """Return the tokens of all windows over a text."""
    overlap = usual if overlap is None else overlap
    if length <= room or overlap >= room:  # one window; or what is refused as soon as it is seen
        return length + (limit - room)
    return limit * -(-(length - overlap) // (room - overlap))
