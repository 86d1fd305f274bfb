"""What may enter a collection: arguments and vectors in, the same out, or an error that says what is wrong."""

from __future__ import annotations

import json
import re
import sys
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import CollectionError, InvalidInput, NonFiniteOutput
from sentvec.search.types import Row, text_digest

Value = TypeVar("Value")

NESTING = 100  # levels of lists and objects in metadata: what reads it again must not run out of stack
METADATA_LIMIT = 65_536  # characters of JSON that a record of a file may add to each of its hits
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # as JSON writes it; a backslash of its own is doubled
_JSON_SAYS = {
    "Out": "it holds a number that JSON has not: infinite, or none",
    "Exceeds": f"it holds a whole number of more than {sys.get_int_max_str_digits()} digits",
    "Circular": "it holds itself",
}
"""What is wrong, by the first word of what Python's own reader says of a value."""
_TOO_DEEP = f"it is nested deeper than {NESTING} levels"


def storable(text: str, what: str) -> str:
    """Return the text, or raise InvalidInput where it is none that every store can hold: UTF-8 without NUL."""
    if not isinstance(text, str):
        raise InvalidInput(f"{what} is {type(text).__name__}; accepted: str.")
    if "\0" in text:
        raise InvalidInput(
            f"{what} holds a NUL character at {text.index(chr(0))}; take it out with text.replace('\\0', '')."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{what} holds half a character (lone surrogate {text[error.start]!r} at {error.start}); "
            "clean it with text.encode('utf-8', 'replace').decode()."
        ) from None
    return text


def rows_to_add(
    texts: Sequence[str],
    ids: Sequence[str] | None,
    metadata: Sequence[Mapping[str, Any]] | None,
    fingerprint: str,
    first: int = 0,
) -> list[Row]:
    """Return a row for each text; ids are random where not given. In errors, the first text has the number `first`.

    Raises:
        InvalidInput: numbers that differ, an id given twice, or a value that cannot be stored.
    """
    names = [uuid.uuid4().hex for _ in texts] if ids is None else id_list(ids, first)
    fields = [{}] * len(texts) if metadata is None else as_list(metadata, "metadata")
    for what, values in (("ids", names), ("metadata", fields)):
        if len(values) != len(texts):
            since = f" from text {first} on" if first else ""
            raise InvalidInput(f"{len(texts)} texts and {len(values)} {what}{since}; give one for each text.")
    if len(set(names)) < len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise InvalidInput(f"id {twice!r} is given twice; ids must differ within one call.")
    return [
        Row(name, storable(text, f"text {n}"), text_digest(text, fingerprint), metadata=_json(values, n))
        for n, (name, text, values) in enumerate(zip(names, texts, fields, strict=True), first)
    ]


def id_list(ids: Iterable[str], first: int = 0) -> list[str]:
    """Return ids as a list, or raise InvalidInput where one is no storable str."""
    return [storable(id_, f"id {n}") for n, id_ in enumerate(as_list(ids, "ids"), first)]


def as_list(values: Iterable[Value], what: str) -> list[Value]:
    """Return values as a list; raises as `iterable`."""
    return list(iterable(values, what))


def iterable(values: Iterable[Value], what: str) -> Iterable[Value]:
    """Return values, or raise InvalidInput where they cannot be gone through, or are a single str."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidInput(f"{what} is one {type(values).__name__}; accepted: a list, even for a single one.")
    return values


def json_text(value: Any) -> str:
    """Return a value as JSON that can be stored and read again.

    Raises:
        ValueError: it is nested too deeply, or holds half a character, a number that is none, or another type.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except TypeError as error:
        raise ValueError(str(error)) from None
    except UnicodeEncodeError as error:
        raise ValueError(f"it holds half a character, {error.object[error.start]!r}") from None
    except ValueError as error:
        raise ValueError(_JSON_SAYS.get(str(error).split()[0], "it holds a number that JSON has not")) from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    level, depth = [value], 0
    while level := [part for part in level if isinstance(part, Mapping | list | tuple)]:
        depth += 1
        if depth > NESTING:
            raise ValueError(_TOO_DEEP)
        if any(isinstance(part, Mapping) and _one_name(part) for part in level):
            raise ValueError("two of its fields have one name in JSON, as 1 and '1' have")
        level = list(chain.from_iterable(part.values() if isinstance(part, Mapping) else part for part in level))
    return text


def _one_name(fields: Mapping[Any, Any]) -> bool:
    """Tell whether two fields would become one: JSON knows no names but texts."""
    if all(isinstance(name, str) for name in fields):
        return False
    return len(json.loads(json.dumps(dict.fromkeys(fields)))) < len(fields)


def bounded(fields: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return a record's fields as JSON, and what to tell of it: the longest are left out of one that is too long."""
    text = json.dumps(dict(fields), ensure_ascii=False)
    if len(text) <= METADATA_LIMIT:
        return text, None
    sizes = {name: len(json.dumps({name: part}, ensure_ascii=False)) for name, part in fields.items()}
    total, out = sum(sizes.values()), []
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if total <= METADATA_LIMIT:
            break
        out.append(name)
        total -= sizes[name]
    named = ", ".join(repr(name[:40]) for name in out[:3]) + (f" and {len(out) - 3} more" * (len(out) > 3))
    gone = set(out)
    kept = {name: part for name, part in fields.items() if name not in gone}
    return (
        json.dumps(kept, ensure_ascii=False),
        f"only the metadata {named}: more than {METADATA_LIMIT} characters in all",
    )


def _json(values: Mapping[str, Any], n: int) -> str:
    if not isinstance(values, Mapping):
        raise InvalidInput(f"metadata {n} is {type(values).__name__}; accepted: a dict that JSON can hold.")
    try:
        text = json_text(dict(values))
        if _NUL.search(text):
            raise ValueError("it holds a NUL character")
    except ValueError as error:
        raise InvalidInput(f"metadata {n} cannot be stored as JSON: {error}.") from None
    return text


def vectors_of_model(vectors: NDArray[np.float32], shape: tuple[int, int], name: str) -> NDArray[np.float32]:
    """Refuse what a model should never return, before SQLite or faiss see it."""
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.shape != shape:
        raise CollectionError(f"The model {name!r} returned vectors of shape {vectors.shape}, not {shape}.")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise NonFiniteOutput(f"The model {name!r} returned NaN or infinity for text {int(np.argmin(finite))}.")
    return vectors
