"""What callers of a task give, in; the same as a list, and whether it was one alone, out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput
from sentvec.runtime.engine import Array
from sentvec.text.tokenizer import Text

T = TypeVar("T")
Result = dict[str, Any]
"""One finding, under the keys that the field uses: label, score, entity_group, word, start, end, answer …"""


def listed(inputs: Any) -> tuple[list[Any], bool]:
    """Return the inputs as a list, and whether there was one alone: a str, a dict or a tuple, not a list of them.

    Raises:
        InvalidInput: it is neither one input nor several.
    """
    if isinstance(inputs, str | Mapping | tuple):
        return [inputs], True
    if isinstance(inputs, bytes | bytearray) or not isinstance(inputs, Iterable):
        raise InvalidInput(f"the input is {type(inputs).__name__}; give a str, or a list or other iterable of str.")
    return list(inputs), False


def text_or_pair(given: object, place: int) -> Text:
    """Return a str, or a pair of them, which may be a dict with `text` and `text_pair`.

    Raises:
        InvalidInput: it is neither.
    """
    if isinstance(given, Mapping):
        extra = given.keys() - {"text", "text_pair"}
        if extra or "text" not in given:
            raise InvalidInput(f"text {place} is a dict of {', '.join(map(str, given))}; give text and text_pair.")
        given = (given["text"], given["text_pair"]) if given.get("text_pair") is not None else given["text"]
    if isinstance(given, str):
        return given
    if isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(part, str) for part in given):
        return given[0], given[1]
    raise InvalidInput(
        f"text {place} is {type(given).__name__} ({str(given)[:60]!r}); give a str, or a pair of texts as a tuple or "
        'as {"text": …, "text_pair": …}.'
    )


def plain_text(given: object, place: int) -> str:
    """Return a str.

    Raises:
        InvalidInput: it is none.
    """
    if isinstance(given, str):
        return given
    raise InvalidInput(f"text {place} is {type(given).__name__} ({str(given)[:60]!r}); give a str.")


def texts_of(given: object, what: str) -> list[str]:
    """Return a list, or another iterable, of str.

    Raises:
        InvalidInput: it is none; `what` says what each of them is.
    """
    if isinstance(given, str | bytes | bytearray) or not isinstance(given, Iterable):
        raise InvalidInput(f"{what}s are {type(given).__name__} ({str(given)[:60]!r}); give a list of str.")
    texts = list(given)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidInput(f"{what} {place} is {type(text).__name__} ({str(text)[:60]!r}); give a str.")
    return texts


def one_of(value: T, known: Iterable[T], name: str) -> T:
    """Return a value that is known.

    Raises:
        InvalidInput: it is not.
    """
    choices = list(known)
    if value not in choices:
        raise InvalidInput(f"{name} {value!r} is not known. Known: {', '.join(map(str, choices))}.")
    return value


def whole(value: object, name: str, *, least: int = 1) -> int:
    """Return a whole number that is large enough.

    Raises:
        InvalidInput: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInput(f"{name} is {value!r}, which should be a whole number, {least} or more.")
    return value


def softmax(logits: Array) -> Array:
    """Turn logits (…, n) into shares that sum to one.

    >>> softmax(np.array([0.0, 0.0], np.float32)).tolist()
    [0.5, 0.5]
    """
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: NDArray[np.float32] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def sigmoid(logits: Array) -> Array:
    """Turn logits into shares from 0 to 1, each by itself.

    >>> sigmoid(np.array([0.0, -1000.0], np.float32)).round(6).tolist()
    [0.5, 0.0]
    """
    # float32 ends at exp(88); below, the share is zero to all places
    shares: NDArray[np.float32] = (1 / (1 + np.exp(-np.maximum(logits, -88)))).astype(np.float32)
    return shares
