"""Texts to store in, their vectors out: each text that is not stored yet goes through the model once; and back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentvec.progress import Advance
from sentvec.search.checks import vectors_of_model
from sentvec.search.schema import damaged
from sentvec.search.store import Store
from sentvec.search.types import Row, TextEncoder

BATCH = 512  # texts committed at once by `add`, and the most encoded at once
STEP, STEP_S = 32, 0.5  # texts encoded at first; a step that took less than this many seconds doubles the next


class Encoding:
    """A model at work for a collection; its steps grow while it is fast."""

    def __init__(self, model: TextEncoder, dim: int) -> None:
        self._model, self._dim = model, dim
        self._step = STEP  # small ones move the bar of progress, large ones keep a fast device busy

    def vectors(self, rows: Sequence[Row], store: Store, advance: Advance) -> tuple[Mapping[str, bytes], int]:
        """Return digest -> vector of these rows, and how many were encoded."""
        texts = {row.digest: row.text for row in rows}
        found = store.vectors_of(texts)
        new = [key for key in texts if key not in found]
        advance(len(rows) - len(new))
        found.update(self.encoded({key: texts[key] for key in new}, advance))
        return found, len(new)

    def encoded(self, texts: Mapping[str, str], advance: Advance) -> dict[str, bytes]:
        """Return digest -> vector of texts, all of which go through the model."""
        found: dict[str, bytes] = {}
        left = list(texts)
        while left:
            part, left = left[: self._step], left[self._step :]
            begun = time.monotonic()
            vectors = self._model.encode_document([texts[key] for key in part], progress=False)
            vectors = vectors_of_model(vectors, (len(part), self._dim), self._model.name)
            found.update(zip(part, (v.astype("<f4").tobytes() for v in vectors), strict=True))
            advance(len(part))
            fast = time.monotonic() - begun < STEP_S
            self._step = min(2 * self._step, BATCH) if fast else max(self._step // 2, STEP)
        return found


def numbers(folder: Path, part: list[tuple[int, bytes]], dim: int) -> NDArray[np.float32]:
    """Return stored vectors as an array (n, dim).

    Raises:
        CollectionCorrupt: one is of a wrong length or not finite.
    """
    if any(len(vector) != 4 * dim for _, vector in part):
        raise damaged(folder, "it holds a vector of a wrong length")
    data = b"".join(vector for _, vector in part)
    vectors = np.frombuffer(data, dtype="<f4").reshape(len(part), dim).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise damaged(folder, "it holds a vector that is not finite")
    return vectors
