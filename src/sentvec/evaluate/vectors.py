"""Texts in, vectors out: those that a cache holds are read, the others are encoded and kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sentvec import __version__
from sentvec.checkpoint.recipe import Recipe
from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.evaluate.cache import Cache, keys_of
from sentvec.evaluate.tables import place_of, shortly
from sentvec.runtime.prompts import DOCUMENT, QUERY, prompt_of, with_stored
from sentvec.runtime.workers import Spread

Array = NDArray[np.float32]
Role = Literal["text", "query", "document"]
_KEPT = 8192  # texts after which vectors are kept, so that a run that is killed has not worked for nothing
_NAMES: dict[Role, tuple[str, ...]] = {"text": (), "query": QUERY, "document": DOCUMENT}


class Model(Protocol):
    """What is asked of a model; `Embedder` is one."""

    name: str
    precision: str

    @property
    def fingerprint(self) -> str:
        """Hex digest of all that decides what a vector is."""

    @property
    def recipe(self) -> Recipe:
        """Its prompts and its similarity."""

    @property
    def dim(self) -> int:
        """Features of a vector."""

    @property
    def similarity_name(self) -> str:
        """The similarity that it was trained for."""

    def encode(
        self, texts: Iterable[str], *, prompt: str | None = None, progress: bool | None = None, workers: Spread = None
    ) -> Array:
        """Encode texts into vectors, (n, dim)."""


@dataclass(frozen=True)
class Counts:
    """Where vectors came from.

    Attributes:
        encoded: texts that went through the model.
        cached: texts whose vectors were on the disk.
    """

    encoded: int = 0
    cached: int = 0


class Vectors:
    """A model behind a cache. Every text is encoded once, however often it occurs.

    Args:
        model: the model.
        cache: a folder for vectors; None keeps none.
        workers: as for `Embedder.encode`.
        progress: as for `Embedder.encode`.
    """

    def __init__(
        self, model: Model, *, cache: Path | None = None, workers: Spread = None, progress: bool | None = None
    ) -> None:
        self.model = model
        self.counts = Counts()
        self._folder = cache
        self._workers = workers
        self._progress = progress
        self._caches: dict[str, Cache] = {}

    @property
    def similarity(self) -> str:
        """Name of the similarity that the model was trained for."""
        return self.model.similarity_name

    def encode(self, texts: Sequence[str], role: Role = "text", files: Sequence[Path] = ()) -> Array:
        """Return the texts' vectors.

        Args:
            texts: n texts.
            role: puts the checkpoint's stored prompt for queries or for documents in front, where it has one.
            files: where the texts were read, for messages.

        Returns:
            (n, dim).

        Raises:
            InvalidInput: as for `Embedder.encode`.
            NonFiniteOutput: a vector holds NaN or infinity; the message names file and line of its text.
        """
        prompt = prompt_of(self.model.recipe, **with_stored(self.model.recipe, _NAMES[role], {}))
        keys, first, back = np.unique(keys_of(texts), return_index=True, return_inverse=True)
        out = np.empty((len(keys), self.model.dim), np.float32)
        cache = self._cache(prompt)
        known = cache.get(keys, out) if cache is not None else np.zeros(len(keys), dtype=bool)
        new = np.flatnonzero(~known)
        new = new[np.argsort(first[new])]  # in the order in which they come
        step = len(new) if cache is None else _KEPT
        for start in range(0, len(new), step or 1):
            some = new[start : start + step]
            out[some] = self._encoded([texts[int(place)] for place in first[some]], prompt, files)
            if cache is not None:
                cache.put(keys[some], out[some])
        self.counts = Counts(self.counts.encoded + len(new), self.counts.cached + int(known.sum()))
        return out[back]

    def _encoded(self, texts: Sequence[str], prompt: str, files: Sequence[Path]) -> Array:
        try:
            rows = self.model.encode(texts, prompt=prompt, progress=self._progress, workers=self._workers)
        except NonFiniteOutput as error:
            if error.place is None:
                raise
            raise _broken(texts[error.place], files) from None
        if rows.shape != (len(texts), self.model.dim):
            raise InvalidInput(
                f"the model {self.model.name} gave vectors of the shape {rows.shape} for {len(texts)} texts; it says "
                f"that they have {self.model.dim} features."
            )
        # `Embedder` has looked at the numbers already, but it is not the only model; and where squares are beyond
        # float32, so are similarities, which would be equal then without a word
        with np.errstate(over="ignore", invalid="ignore"):
            whole = np.isfinite(np.square(rows, dtype=np.float32).sum(axis=1))
        if not whole.all():
            raise _broken(texts[int(np.argmin(whole))], files)
        return rows

    def _cache(self, prompt: str) -> Cache | None:
        if self._folder is None:
            return None
        if prompt not in self._caches:
            setting = {
                "fingerprint": self.model.fingerprint,
                "precision": self.model.precision,
                "prompt": prompt,
                "dim": self.model.dim,
                "sentvec": __version__,  # a newer one may have mended a vector
            }
            self._caches[prompt] = Cache(self._folder, setting, self.model.dim)
        return self._caches[prompt]


def _broken(text: str, files: Sequence[Path]) -> NonFiniteOutput:
    return NonFiniteOutput(
        f"{place_of(text, files)}the vector of {shortly(text)} holds NaN or infinity, or numbers too large "
        "to be multiplied. Try precision='float32'; if it is float32 already, the checkpoint's weights are damaged."
    )
