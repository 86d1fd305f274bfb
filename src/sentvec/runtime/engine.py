"""The one path of a text: texts in, results of the encoder out, in input order, a window of texts at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sentvec.batch import PackedBatch, TokenIds, pack
from sentvec.checkpoint.recipe import Recipe
from sentvec.errors import NonFiniteOutput
from sentvec.progress import track
from sentvec.runtime.plan import plan
from sentvec.runtime.report import Truncation
from sentvec.text.tokenizer import Text, Tokenizer

Array = NDArray[np.float32]
T = TypeVar("T")

BATCH_TOKENS = 4096
"""Tokens of a batch: enough to keep a few cores busy, few enough to stay in their caches."""

WINDOW = 8192
"""Texts that are tokenised and sorted by length together; memory for tokens does not grow past this many."""


@dataclass(frozen=True)
class Engine:
    """What a text needs on its way to the encoder.

    Attributes:
        tokenizer: the tokeniser.
        recipe: lengths and letter case.
        types: token types that the encoder knows.
        device: where batches go.
    """

    tokenizer: Tokenizer
    recipe: Recipe
    types: int
    device: torch.device

    def run(
        self,
        texts: Iterable[Text],
        forward: Callable[[PackedBatch], Tensor],
        empty: Callable[[int], T],
        place: Callable[[T, list[int], PackedBatch, Array], None],
        *,
        prefix: str = "",
        progress: bool | None = None,
    ) -> Iterator[T]:
        """Tokenise a window of texts, run it in batches of like length, and put results back in order.

        Args:
            texts: the texts; read no further ahead than one window.
            forward: what to run on each batch.
            empty: makes the result of a window from its number of texts.
            place: writes a batch's result into the window's: (window, places in it, batch, result).
            prefix: put in front of every text.
            progress: see `sentvec.progress.track`.

        Yields:
            One result for each window.

        Raises:
            InvalidInput: something is not a text; NonFiniteOutput: a result holds NaN or infinity.
        """
        total = len(texts) if isinstance(texts, Sequence) else None
        report = Truncation(self.recipe.max_seq_length)
        source = iter(texts)
        first = 0
        with track("Encoding", total, progress) as advance:
            while window := list(islice(source, WINDOW)):
                encoded = self.tokenize(window, prefix, first)
                report.look(encoded, first)
                result = empty(len(window))
                for places in plan([len(ids) for ids in encoded], BATCH_TOKENS):
                    batch = pack([encoded[i] for i in places], self.device)
                    with torch.inference_mode():  # around each batch, for it must not reach into the caller's code
                        values = forward(batch).cpu().numpy()
                    _check_finite(values, batch, [first + i for i in places])
                    place(result, places, batch, values)
                    advance(len(places))
                yield result
                first += len(window)
        report.log()

    def tokenize(self, window: Sequence[Text], prefix: str = "", first: int = 0) -> list[TokenIds]:
        """Encode a window of texts whose first one has the position `first` in the input."""
        if prefix or self.recipe.lower_case:
            window = [self._prepared(text, prefix) for text in window]
        encoded = self.tokenizer.encode(window, self.recipe.max_seq_length, first=first)
        if self.types < 2:  # RoBERTa has one token type, but a BERT vocabulary gives pairs two
            return [replace(ids, types=[0] * len(ids)) for ids in encoded]
        return encoded

    def uncounted(self, prefix: str) -> int:
        """Tokens at the start of every text that pooling must leave out."""
        if not prefix or self.recipe.include_prompt:
            return 0
        return self.tokenizer.prefix_length(self._lowered(prefix))

    def _prepared(self, text: Text, prefix: str) -> Text:
        if isinstance(text, str):
            return self._lowered(prefix + text)
        if isinstance(text, tuple | list) and len(text) == 2 and all(isinstance(part, str) for part in text):
            return self._lowered(prefix + text[0]), self._lowered(text[1])
        return text  # not a text: the tokeniser says so, naming its place

    def _lowered(self, text: str) -> str:
        return text.lower() if self.recipe.lower_case else text


def _check_finite(values: Array, batch: PackedBatch, places: list[int]) -> None:
    """Look for NaN and infinity in vectors (seqs, dim) or token states (tokens, hidden)."""
    finite = np.isfinite(values)
    if finite.all():
        return
    row = int(np.flatnonzero(~finite.all(axis=1))[0])
    if len(values) != len(places):  # a row is a token here: find the text it is in
        row = int(np.searchsorted(np.cumsum(batch.lengths), row, side="right"))
    raise NonFiniteOutput(
        f"the vector of text {places[row]} holds NaN or infinity. Try precision='float32'; "
        "if it is float32 already, the checkpoint's weights are damaged."
    )
