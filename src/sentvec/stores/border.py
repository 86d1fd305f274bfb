"""What may enter a store and what may be asked of it: arguments in, the same checked out, or one clear error."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from sentvec.errors import (
    CollectionError,
    CollectionNotFound,
    InvalidInput,
    ModelMismatch,
    NonFiniteOutput,
    StoreUnavailable,
)
from sentvec.search.checks import id_list, json_text, storable
from sentvec.search.filters import Compared, Every, Filter, Not, Some, parse
from sentvec.search.types import Entry, Hit
from sentvec.stores.protocol import Array, Batch, Caps, Spec

MAX_ID = 512  # bytes: what Elasticsearch takes; the same everywhere, so that stores can be copied into each other
FORMAT = 1  # of what we keep on servers
_PLACE = ("source", "line", "end_line")


def batch_of(
    ids: Sequence[str],
    texts: Sequence[str],
    vectors: Array,
    metadata: Sequence[Mapping[str, Any]] | None = None,
) -> Batch:
    """Return passages that came from no file as a batch.

    Raises:
        InvalidInput: numbers that differ.
    """
    fields = [{}] * len(ids) if metadata is None else metadata
    if not len(ids) == len(texts) == len(vectors) == len(fields):
        raise InvalidInput(
            f"{len(ids)} ids, {len(texts)} texts, {len(vectors)} vectors and {len(fields)} metadata; give one of each."
        )
    entries = (Entry(i, text, None, None, None, given) for i, text, given in zip(ids, texts, fields, strict=True))
    return Batch(tuple(entries), np.asarray(vectors))


def checked(batch: Batch, spec: Spec, caps: Caps) -> list[str]:
    """Refuse a batch that cannot be stored as a whole; return the metadata of each passage as JSON.

    Raises:
        InvalidInput: an id, a text, metadata, or the shape or type of the vectors.
        NonFiniteOutput: a vector holds NaN or infinity.
    """
    _check_vectors(batch, spec)
    ids = [_id(entry.id, n) for n, entry in enumerate(batch.entries)]
    if len(set(ids)) < len(ids):
        twice = next(id_ for id_, times in Counter(ids).items() if times > 1)
        raise InvalidInput(f"id {twice!r} is given twice; ids must differ within one call.")
    for entry in batch.entries:
        size = len(storable(entry.text, f"the text of {entry.id!r}").encode())
        if caps.max_text and size > caps.max_text:
            raise InvalidInput(
                f"The text of {entry.id!r} has {size} bytes; this store takes {caps.max_text}. Cut it into passages."
            )
        if entry.source is not None:
            storable(entry.source, f"the source of {entry.id!r}")
    return [_metadata(entry) for entry in batch.entries]


def _check_vectors(batch: Batch, spec: Spec) -> None:
    vectors, shape = batch.vectors, (len(batch.entries), spec.dim)
    if not isinstance(vectors, np.ndarray) or vectors.dtype != np.float32 or vectors.shape != shape:
        raise InvalidInput(f"The vectors are {_told(vectors)}; accepted: float32 {shape}.")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise NonFiniteOutput(f"The vector of {batch.entries[int(np.argmin(finite))].id!r} holds NaN or infinity.")
    there = vectors.any(axis=1)
    if spec.metric == "cosine" and not there.all():
        raise InvalidInput(
            f"The vector of {batch.entries[int(np.argmin(there))].id!r} is all zeros, which has no cosine with any "
            "other; leave that passage out."
        )


def _id(id_: str, n: int) -> str:
    size = len(storable(id_, f"id {n}").encode())
    if not 0 < size <= MAX_ID:
        raise InvalidInput(f"id {n} has {size} bytes; accepted: 1 to {MAX_ID}.")
    return id_


def _metadata(entry: Entry) -> str:
    if not isinstance(entry.metadata, Mapping):
        raise InvalidInput(f"The metadata of {entry.id!r} is {type(entry.metadata).__name__}; accepted: a dict.")
    try:
        text = json_text(dict(entry.metadata))
        if "\\u0000" in text.replace("\\\\", ""):
            raise ValueError("it holds a NUL character")
    except ValueError as error:
        raise InvalidInput(f"The metadata of {entry.id!r} cannot be stored as JSON: {error}.") from None
    return text


def asked_ids(ids: Sequence[str] | None, where: Mapping[str, Any] | None) -> tuple[list[str], Filter | None]:
    """Return the ids or the filter of a deletion; exactly one of both must be given."""
    if (ids is None) == (where is None):
        raise InvalidInput("Delete either by ids or by a filter (where): give one of them.")
    return ([], parse(where)) if where is not None else (id_list(ids or ()), None)


def one_question(vector: Array, spec: Spec) -> Array:
    """Return a question's vector (dim,) as the only one of several, (1, dim)."""
    if not isinstance(vector, np.ndarray) or vector.dtype != np.float32 or vector.shape != (spec.dim,):
        raise InvalidInput(f"The question's vector is {_told(vector)}; accepted: float32 ({spec.dim},).")
    return vector[None]


def asked_vectors(
    vectors: Array, k: int, where: Mapping[str, Any] | None, spec: Spec, caps: Caps, *, exact: bool
) -> Filter | None:
    """Check questions that are vectors, and return their filter."""
    if exact and not caps.exact:
        raise InvalidInput("This store cannot be told to compare every vector (exact); leave it out.")
    shape = vectors.shape if isinstance(vectors, np.ndarray) and vectors.dtype == np.float32 else ()
    if len(shape) != 2 or shape[1] != spec.dim:
        raise InvalidInput(f"The questions' vectors are {_told(vectors)}; accepted: float32 (n, {spec.dim}).")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise NonFiniteOutput(
            f"The question's vector {int(np.argmin(finite))} of {len(vectors)} holds NaN or infinity."
        )
    there = vectors.any(axis=1)
    if spec.metric == "cosine" and not there.all():
        raise InvalidInput(
            f"The question's vector {int(np.argmin(there))} of {len(vectors)} is all zeros, which has no cosine with "
            "any other."
        )
    return asked(k, where, caps)


def in_parts(vectors: Array, many: int) -> Iterator[Array]:
    """Give questions (n, dim) up to `many` at a time, which bounds what one answer of a server takes."""
    return (vectors[first : first + many] for first in range(0, len(vectors), many))


def _told(vectors: object) -> str:
    return f"{vectors.dtype} {vectors.shape}" if isinstance(vectors, np.ndarray) else type(vectors).__name__


def counted(many: int, name: str) -> int:
    """Return how many are wanted, where it is a number of at least one."""
    if isinstance(many, bool) or not isinstance(many, int) or many < 1:
        raise InvalidInput(f"{name} is {many!r}; accepted: a whole number of 1 or more.")
    return many


def asked(k: int, where: Mapping[str, Any] | None, caps: Caps) -> Filter | None:
    """Check how many are asked for, and return the filter."""
    counted(k, "k")
    if caps.max_k and k > caps.max_k:
        raise InvalidInput(f"k is {k}; this store gives at most {caps.max_k} at once.")
    found = None if where is None else parse(where)
    if found is not None and not caps.text_order and _orders_texts(found):
        raise InvalidInput("This store has no order of texts; compare them by ==, != and in, or order numbers.")
    return found


def asked_words(words: str, caps: Caps, url: str) -> str:
    """Check a question that is a text."""
    if not caps.words:
        raise InvalidInput(f"{url} cannot search by words; ask it by vectors, without --words and --hybrid.")
    if not storable(words, "the query").strip():
        raise InvalidInput("The query is empty; give some words.")
    return words


def _orders_texts(given: Filter) -> bool:
    if isinstance(given, Every | Some):
        return any(map(_orders_texts, given.parts))
    if isinstance(given, Not):
        return _orders_texts(given.part)
    return isinstance(given, Compared) and isinstance(given.value, str)


def place_of(entry: Entry) -> dict[str, Any]:
    """Return where a passage stands in its file, as stores keep it: nothing for one that came from none."""
    return {} if entry.source is None else {name: getattr(entry, name) for name in _PLACE}


def entry_of(id_: str, text: str, place: Mapping[str, Any], metadata: Mapping[str, Any]) -> Entry:
    """Return an entry from what a store has kept of it."""
    return Entry(id_, text, place.get("source"), place.get("line"), place.get("end_line"), metadata)


def hit(entry: Entry, score: float) -> Hit:
    """Return an entry with its score."""
    return Hit(entry.id, score, entry.text, entry.source, entry.line, entry.end_line, entry.metadata)


def spec_text(spec: Spec) -> str:
    """Return a spec as the JSON that stores keep."""
    held = {"model": spec.model, "fingerprint": spec.fingerprint, "dim": spec.dim, "metric": spec.metric}
    return json.dumps({"sentvec": FORMAT, **held})


def held_spec(text: str | None, url: str) -> Spec:
    """Return the spec that a store has kept.

    Raises:
        CollectionError: there is none, or one of a newer sentvec: what is there is not ours.
    """
    try:
        held = json.loads(text or "")
        version = held.pop("sentvec")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CollectionError(f"{url} is there, but sentvec did not make it. Give another name at the end.") from None
    if version != FORMAT:
        raise CollectionError(f"{url} has format {version}; this sentvec reads format {FORMAT}. Use a newer sentvec.")
    return Spec(**held)


def agreed(held: Spec, given: Spec | None, url: str) -> Spec:
    """Return the spec that a store has, where it is that of the model given.

    Raises:
        ModelMismatch: another model made its vectors.
    """
    if given is None or (held.fingerprint, held.dim, held.metric) == (given.fingerprint, given.dim, given.metric):
        return held
    raise ModelMismatch(
        f"{url} was made with the model {held.model!r} ({held.dim} numbers a vector, {held.metric}, fingerprint "
        f"{held.fingerprint[:12]}); given is {given.model!r} ({given.dim}, {given.metric}, {given.fingerprint[:12]}), "
        "whose vectors cannot be compared with those. Use that model, or a new name."
    )


def fitting(spec: Spec, caps: Caps, url: str) -> Spec:
    """Refuse a store for vectors that are too long for it."""
    if spec.dim > caps.max_dim:
        raise InvalidInput(f"{url} takes vectors of up to {caps.max_dim} numbers; the model's have {spec.dim}.")
    return spec


def absent(url: str) -> CollectionNotFound:
    """Return the error that says that there is no such store."""
    return CollectionNotFound(f"There is nothing at {url}. Make it with `sentvec index PATH --store {url}`.")


@contextmanager
def answering(
    url: str,
    gone: tuple[type[BaseException], ...],
    refused: tuple[type[BaseException], ...],
    lost: Callable[[BaseException], bool] = lambda error: False,
) -> Iterator[None]:
    """Turn the errors of a server's client into ours.

    Args:
        url: what to name.
        gone: errors that say that the server is not there.
        refused: errors that say that it refuses.
        lost: whether one of the latter says that the server is not there all the same.
    """
    try:
        yield
    except gone as error:
        raise unavailable(url, error) from error
    except refused as error:
        if lost(error):
            raise unavailable(url, error) from error
        raise CollectionError(f"{url} refused: {_short(error)}") from error


def unavailable(url: str, error: BaseException) -> StoreUnavailable:
    """Return the error that says that a server does not answer."""
    return StoreUnavailable(
        f"{url} does not answer ({_short(error)}). Is the server running, and host, port and network right? What was "
        "acknowledged is kept; run the same again when it is back."
    )


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
