"""What may enter a collection: arguments and vectors in, the same out, or an error that says what is wrong."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import CollectionError, InvalidInput, NonFiniteOutput
from sentvec.search.types import Row, text_digest


def storable(text: str, what: str) -> str:
    """Return the text, or raise InvalidInput where it is none that can be stored as UTF-8."""
    if not isinstance(text, str):
        raise InvalidInput(f"{what} is {type(text).__name__}; accepted: str.")
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
) -> list[Row]:
    """Return a row for each text; ids are random where not given.

    Raises:
        InvalidInput: numbers that differ, an id given twice, or a value that cannot be stored.
    """
    names = [uuid.uuid4().hex for _ in texts] if ids is None else id_list(ids)
    fields = [{}] * len(texts) if metadata is None else list(metadata)
    for what, values in (("ids", names), ("metadata", fields)):
        if len(values) != len(texts):
            raise InvalidInput(f"{len(texts)} texts and {len(values)} {what}; give one for each text.")
    if len(set(names)) < len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise InvalidInput(f"id {twice!r} is given twice; ids must differ within one call.")
    return [
        Row(name, storable(text, f"text {n}"), text_digest(text, fingerprint), metadata=_json(values, n))
        for n, (name, text, values) in enumerate(zip(names, texts, fields, strict=True))
    ]


def id_list(ids: Iterable[str]) -> list[str]:
    """Return ids as a list, or raise InvalidInput where one is no storable str."""
    if isinstance(ids, str):
        raise InvalidInput("ids is one str; give a list of ids, such as [id].")
    return [storable(id_, f"id {n}") for n, id_ in enumerate(ids)]


def _json(values: Mapping[str, Any], n: int) -> str:
    if not isinstance(values, Mapping):
        raise InvalidInput(f"metadata {n} is {type(values).__name__}; accepted: a dict that JSON can hold.")
    try:
        return storable(json.dumps(dict(values), ensure_ascii=False, allow_nan=False), f"metadata {n}")
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"metadata {n} cannot be stored as JSON: {error}.") from None


def vectors_of_model(vectors: NDArray[np.float32], shape: tuple[int, int], name: str) -> NDArray[np.float32]:
    """Refuse what a model should never return, before SQLite or faiss see it."""
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.shape != shape:
        raise CollectionError(f"The model {name!r} returned vectors of shape {vectors.shape}, not {shape}.")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise NonFiniteOutput(f"The model {name!r} returned NaN or infinity for text {int(np.argmin(finite))}.")
    return vectors
