"""What every store takes and gives back: passages with vectors in, hits out, wherever they are kept.

A store never sees a model: vectors come from outside, and `Spec` says which model made them. Filters are those of
`sentvec.search.filters`; entries and hits are those of a collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sentvec.search.types import Entry, Hit

Array = NDArray[np.float32]
Metric = Literal["cosine", "inner_product"]


@dataclass(frozen=True, slots=True)
class Spec:
    """What made a store's vectors.

    Attributes:
        model: the name or folder that the model can be loaded by.
        fingerprint: its fingerprint; vectors of another one are refused.
        dim: numbers in a vector.
        metric: how vectors are compared.
    """

    model: str
    fingerprint: str
    dim: int
    metric: Metric = "cosine"


@dataclass(frozen=True, slots=True)
class Batch:
    """Passages and their vectors: float32 (n, dim), one row for each entry.

    Where the metric is cosine, a store may give vectors back that are scaled to length 1.
    """

    entries: tuple[Entry, ...]
    vectors: Array


@dataclass(frozen=True, slots=True)
class Caps:
    """What a store can do.

    Attributes:
        words: how `search_text` ranks, "" where a store cannot search by words.
        text_order: whether filters may order texts (`{"name": {"<": "m"}}`).
        exact: whether a search can be told to compare every vector.
        durable: whether an acknowledged write is on the disk; "server" where its settings decide.
        max_dim: the most numbers in a vector.
        max_text: the most bytes of UTF-8 in a text; 0 is no limit of its own.
        max_k: the most hits of one search; 0 is no limit of its own.
    """

    words: str
    text_order: bool
    exact: bool
    durable: Literal["yes", "no", "server"]
    max_dim: int
    max_text: int = 0
    max_k: int = 0


class Store(Protocol):
    """Passages, their vectors, and search over both. All methods may be called from several threads.

    Every method raises `StoreUnavailable` where the server does not answer, and `CollectionError` where it refuses.
    A write that has raised may be in or not: writing it again is harmless.
    """

    @property
    def url(self) -> str:
        """Where it is, without a password."""

    @property
    def spec(self) -> Spec:
        """What made its vectors."""

    @property
    def caps(self) -> Caps:
        """What it can do."""

    def upsert(self, batch: Batch) -> int:
        """Store passages, in place of those of the same id. Returns how many; they are found by the next search.

        Raises:
            InvalidInput: an id twice, a text, id, metadata or vector that cannot be stored. Nothing is written then.
        """

    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Delete by ids or by a filter; returns how many there were."""

    def get(self, ids: Sequence[str]) -> Batch:
        """Return those of these ids that are there, in this order."""

    def search(
        self, vector: Array, k: int = 10, *, where: Mapping[str, Any] | None = None, exact: bool = False
    ) -> list[Hit]:
        """Find the k nearest to a vector (dim,), the best first.

        The score is the cosine, or the inner product. With `exact`, every vector is compared.
        """

    def search_many(
        self, vectors: Array, k: int = 10, *, where: Mapping[str, Any] | None = None, exact: bool = False
    ) -> list[list[Hit]]:
        """Find for each of many vectors (n, dim) what `search` finds for it, in fewer requests than one each.

        Where the store is written to meanwhile, answers may be of different moments.
        """

    def search_text(self, words: str, k: int = 10, *, where: Mapping[str, Any] | None = None) -> list[Hit]:
        """Find the k that have the words of a question; scores are the store's own. See `Caps.words`."""

    def ids_of_source(self, source: str) -> list[str]:
        """Return the ids of what came from a file, by its absolute path, in no order."""

    def scan(self, many: int = 256) -> Iterator[Batch]:
        """Give everything, each passage once, in batches of up to `many`; do not write meanwhile."""

    def count(self) -> int:
        """Return how many passages there are."""

    def optimize(self) -> None:
        """Build what makes searching fast, where the store does not do so by itself."""

    def close(self) -> None:
        """Let go of the server; a second call does nothing."""

    def __enter__(self) -> Store: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
