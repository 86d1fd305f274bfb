"""The one path of a text: texts in, results of the encoder out, in input order, a window of texts at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sentvec.batch import PackedBatch, TokenIds, pack
from sentvec.checkpoint.recipe import Recipe
from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.progress import Advance, track
from sentvec.runtime.heap import give_back
from sentvec.runtime.plan import plan
from sentvec.runtime.report import Truncation
from sentvec.runtime.team import spread_over
from sentvec.text.tokenizer import Text, Tokenizer, checked

Array = NDArray[np.float32]
T = TypeVar("T")

BATCH_TOKENS = 2048
"""Most tokens of a batch on one core: enough for full speed, few enough to stay in its caches."""

DEVICE_TOKENS = 16_384
"""Most tokens of a batch on a GPU, which needs more to be busy. Not measured yet."""

WINDOW = 8192
"""Texts that are tokenised and sorted by length together. One window is encoded while the next is tokenised, so
memory for tokens does not grow past two windows, however long the input is."""


@dataclass(frozen=True)
class Rows:
    """Where the results of one batch belong.

    Attributes:
        places: positions of texts in the window.
        of: for each place, the row of the batch that holds its result: equal texts are encoded once.
    """

    places: list[int]
    of: list[int]


@dataclass(frozen=True)
class Window:
    """A window of texts, ready for the encoder.

    Attributes:
        first: position of its first text in the input.
        encoded: each different text once.
        places: for each of these, the positions in the window of the texts equal to it.
    """

    first: int
    encoded: list[TokenIds]
    places: list[list[int]]

    def __len__(self) -> int:
        """Return the number of texts."""
        return sum(map(len, self.places))


@dataclass(frozen=True)
class Job(Generic[T]):
    """What to do with texts, and what becomes of the results.

    Attributes:
        forward: what to run on each batch.
        empty: makes the result of a window from its number of texts.
        place: writes a batch's result into the window's: (window, where to, batch, result).
        prefix: put in front of every text.
    """

    forward: Callable[[PackedBatch], Tensor]
    empty: Callable[[int], T]
    place: Callable[[T, Rows, PackedBatch, Array], None]
    prefix: str = ""


@dataclass(frozen=True)
class Engine:
    """What a text needs on its way to the encoder.

    Attributes:
        tokenizer: the tokeniser.
        recipe: lengths and letter case.
        device: where batches go.
        whole: whether a text that is too long is refused, instead of cut.
        left: whether it loses its beginning, and not its end.
    """

    tokenizer: Tokenizer
    recipe: Recipe
    device: torch.device
    whole: bool = False
    left: bool = False

    def run(self, texts: Iterable[Text], job: Job[T], *, progress: bool | None = None) -> Generator[T, None, None]:
        """Tokenise windows of texts ahead, run them in batches of like length, and put results back in order.

        Args:
            texts: the texts; read no further ahead than two windows.
            job: what to do with them.
            progress: see `sentvec.progress.track`.

        Yields:
            One result for each window.

        Raises:
            InvalidInput: something is not a text; NonFiniteOutput: a result holds NaN or infinity.
        """
        total = len(texts) if isinstance(texts, Sequence) else None
        report = Truncation(self.recipe.max_seq_length)
        with track("Encoding", total, progress) as advance:
            for window in self._windows(iter(texts), job.prefix):
                yield self.encode(window, job, report, advance)
                if len(window) == WINDOW:  # there may be many more
                    give_back()
        report.log()

    def window(self, texts: list[Text], prefix: str, first: int) -> Window:
        """Tokenise texts, of which the first stands at position `first` of the input; equal ones once."""
        texts = checked(texts, first)
        places: dict[Text, list[int]] = {}
        for place, text in enumerate(texts):
            places.setdefault(text, []).append(place)
        named = [first + found[0] for found in places.values()]
        return Window(first, self.tokenize(list(places), prefix, named), list(places.values()))

    def encode(self, window: Window, job: Job[T], report: Truncation, advance: Advance) -> T:
        """Run one window, count in `report` what was cut, and tell `advance` of each batch."""
        for ids, found in zip(window.encoded, window.places, strict=True):
            report.look(ids, window.first + found[0], times=len(found))
        result = job.empty(len(window))

        def run(chosen: list[int]) -> tuple[PackedBatch, Array]:
            batch = pack([window.encoded[i] for i in chosen], self.device)
            with torch.inference_mode():  # around each batch, for it must not reach into the caller's code
                return batch, job.forward(batch).cpu().numpy()

        cores = self.device.type == "cpu"
        threads = torch.get_num_threads() if cores else 1
        batches = plan([len(ids) for ids in window.encoded], BATCH_TOKENS if cores else DEVICE_TOKENS, threads)
        for chosen, (batch, values) in spread_over(threads, batches, run):
            _check_finite(values, batch, [window.first + window.places[i][0] for i in chosen])
            pairs = [(at, row) for row, i in enumerate(chosen) for at in window.places[i]]
            job.place(result, Rows([at for at, _ in pairs], [row for _, row in pairs]), batch, values)
            advance(len(pairs), tokens=len(batch.ids))
        return result

    def tokenize(self, texts: Sequence[Text], prefix: str = "", places: Sequence[int] | None = None) -> list[TokenIds]:
        """Encode texts; `places` are their positions in the caller's input, for messages."""
        if prefix or self.recipe.lower_case:
            texts = [self._prepared(text, prefix) for text in texts]
        least = self.tokenizer.pair_special_tokens + 2
        if self.recipe.max_seq_length < least and any(not isinstance(text, str) for text in texts):
            raise InvalidInput(
                f"max_seq_length is {self.recipe.max_seq_length}, but a pair of texts takes {least} tokens or more, "
                "special tokens included. Raise it."
            )
        encoded = self.tokenizer.encode(texts, self.recipe.max_seq_length, places=places, left=self.left)
        if self.whole:
            _refuse_long(encoded, range(len(texts)) if places is None else places, self.recipe.max_seq_length)
        return encoded

    def sources(self, text: Text, prefix: str = "") -> list[int | None]:
        """Say which text of a pair each token of `tokenize([text], prefix)` is of, see `Tokenizer.sources`."""
        return self.tokenizer.sources(self._prepared(text, prefix), self.recipe.max_seq_length)

    def uncounted(self, prefix: str) -> int:
        """Tokens at the start of every text that pooling must leave out.

        Raises:
            InvalidInput: the prefix leaves no room for a text, so that all vectors would be the same.
        """
        if not prefix:
            return 0
        length = len(self.tokenizer.spans(self._lowered(prefix)))
        if length + self.tokenizer.special_tokens >= self.recipe.max_seq_length:
            raise InvalidInput(
                f"the prompt has {length} tokens, which leaves nothing of the {self.recipe.max_seq_length} that the "
                "model reads. Give a shorter prompt, or raise max_seq_length."
            )
        return 0 if self.recipe.include_prompt else self.tokenizer.prefix_length(self._lowered(prefix))

    def _windows(self, source: Iterator[Text], prefix: str) -> Iterator[Window]:
        """Read texts here, in the caller's thread, and tokenise them one window ahead in another."""
        texts = list(islice(source, WINDOW))
        if len(texts) < WINDOW:  # all there is: a thread would only cost time
            if texts:
                yield self.window(texts, prefix, 0)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="sentvec-tokenise") as ahead:
            first = 0
            coming: Future[Window] | None = None
            while texts:
                ready, coming = coming, ahead.submit(self.window, texts, prefix, first)
                if ready is not None:
                    yield ready.result()
                first += len(texts)
                texts = list(islice(source, WINDOW))
            assert coming is not None
            yield coming.result()

    def _prepared(self, text: Text, prefix: str) -> Text:
        if isinstance(text, str):
            return self._lowered(prefix + text)
        return self._lowered(prefix + text[0]), self._lowered(text[1])

    def _lowered(self, text: str) -> str:
        return text.lower() if self.recipe.lower_case else text


def _refuse_long(encoded: Sequence[TokenIds], places: Sequence[int], limit: int) -> None:
    for ids, place in zip(encoded, places, strict=True):
        if ids.lost:
            raise InvalidInput(
                f"text {place} has {len(ids) + ids.lost} tokens, but the model reads {limit}, special tokens included. "
                "Shorten it, or pass truncate=True to lose its end."
            )


def _check_finite(values: Array, batch: PackedBatch, positions: list[int]) -> None:
    """Look for NaN and infinity in vectors (seqs, dim) or token states (tokens, hidden)."""
    finite = np.isfinite(values)
    if finite.all():
        return
    row = int(np.flatnonzero(~finite.all(axis=1))[0])
    if len(values) != len(positions):  # a row is a token here: find the text it is in
        row = int(np.searchsorted(np.cumsum(batch.lengths), row, side="right"))
    error = NonFiniteOutput(
        f"the vector of text {positions[row]} holds NaN or infinity. Try precision='float32'; "
        "if it is float32 already, the checkpoint's weights are damaged."
    )
    error.place = positions[row]
    raise error
