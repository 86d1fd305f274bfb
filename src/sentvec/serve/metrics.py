"""Events in, Prometheus text out, under the names that text-embeddings-inference gives them."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from sentvec.serve.queue import Batch
from sentvec.serve.refusals import Kind

SECONDS = tuple(1.5e-5 * 1.5**i for i in range(35))
SIZES = tuple(float(2**i) for i in range(16))
FAILURES: dict[Kind, str] = {
    "overloaded": "overloaded",
    "too_many": "batch_size",
    "failed": "inference",
    "unsupported": "model_type",
    "gone": "dropped",
    "unauthorised": "unauthorized",
}
"""Kinds of refusals -> the label `err`; all others are "validation"."""


class Counter:
    """A number that only grows, for each value of its labels. Used from several threads.

    Args:
        name: as Prometheus knows it.
        about: what it counts.
        labels: names of its labels.
    """

    kind = "counter"

    def __init__(self, name: str, about: str, *labels: str) -> None:
        self.name, self.about = name, about
        self._labels = labels
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}
        self._guard = threading.Lock()

    def add(self, amount: float = 1, *labels: str) -> None:
        """Count."""
        with self._guard:
            self._values[labels] = self._values.get(labels, 0.0) + amount

    @property
    def total(self) -> float:
        """What was counted in all."""
        with self._guard:
            return sum(self._values.values())

    def lines(self) -> list[str]:
        """Return a line for each value of the labels."""
        with self._guard:
            values = list(self._values.items())
        return [f"{self.name}{_inside(zip(self._labels, key, strict=True))} {value:.12g}" for key, value in values]


class Histogram:
    """How values are spread over ranges. Used from several threads.

    Args:
        name: as Prometheus knows it.
        about: what is measured.
        bounds: upper ends of the ranges.
    """

    kind = "histogram"

    def __init__(self, name: str, about: str, bounds: Sequence[float]) -> None:
        self.name, self.about = name, about
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._guard = threading.Lock()

    def add(self, value: float) -> None:
        """Count a value."""
        place = bisect_left(self._bounds, value)
        with self._guard:
            self._counts[place] += 1
            self._sum += value

    def lines(self) -> list[str]:
        """Return how many values are at or below each bound, their sum and their number."""
        with self._guard:
            counts, total = list(self._counts), self._sum
        told, below = [], 0
        for bound, count in zip([*map("{:.6g}".format, self._bounds), "+Inf"], counts, strict=True):
            below += count
            told.append(f"{self.name}_bucket{_inside([('le', bound)])} {below}")
        return [*told, f"{self.name}_sum {total:.12g}", f"{self.name}_count {below}"]


class Gauge:
    """A number that is asked for when somebody looks."""

    kind = "gauge"

    def __init__(self, name: str, about: str, look: Callable[[], float]) -> None:
        self.name, self.about = name, about
        self._look = look

    def lines(self) -> list[str]:
        """Return its line."""
        return [f"{self.name} {self._look():.12g}"]


class Metrics:
    """All that one server counts."""

    def __init__(self) -> None:
        self.requests = Counter("te_request_count", "Requests for the engine.", "method")
        self.success = Counter("te_request_success", "Requests that were answered.", "method")
        self.failure = Counter("te_request_failure", "Requests that were refused or failed.", "err")
        self.texts = Counter("te_embed_count", "Texts whose vectors were asked for.")
        self.texts_done = Counter("te_embed_success", "Texts that were encoded.")
        self.judged = Counter("te_predict_count", "Texts and pairs that scores or findings were asked of.")
        self.judged_done = Counter("te_predict_success", "Texts and pairs that were scored.")
        self.tokens = Counter("te_request_tokens", "Tokens that were encoded.")
        self.responses = Counter("te_http_responses", "Answers by path and status code.", "path", "code")
        self.duration = Histogram("te_request_duration", "Seconds of a request.", SECONDS)
        self.tokenised = Histogram("te_request_tokenization_duration", "Seconds of tokenising.", SECONDS)
        self.queued = Histogram("te_request_queue_duration", "Seconds in the queue.", SECONDS)
        self.encoded = Histogram("te_request_inference_duration", "Seconds of encoding.", SECONDS)
        self.length = Histogram("te_request_input_length", "Tokens of a request.", SIZES)
        self.batch_texts = Histogram("te_batch_next_size", "Texts of a batch.", SIZES)
        self.batch_tokens = Histogram("te_batch_next_tokens", "Tokens of a batch.", SIZES)
        self.key_requests = Counter("te_key_requests", "Answers by a key's name and status code.", "key", "code")
        self.key_tokens = Counter("te_key_tokens", "Tokens by a key's name.", "key")
        self._gauges: list[Gauge] = []

    def watch(self, name: str, about: str, look: Callable[[], float]) -> None:
        """Ask for a number when somebody wants to know it."""
        self._gauges.append(Gauge(name, about, look))

    def answered(self, texts: int, tokens: int, seconds: tuple[float, float, float, float], *, judged: bool) -> None:
        """Count a request that went through the engine.

        Args:
            texts: how many it had.
            tokens: how many those had.
            seconds: in all, tokenising, in the queue, encoding.
            judged: whether a reranker or a task's head ran, and not the embedder.
        """
        method = "single" if texts == 1 else "batch"
        self.requests.add(1, method)
        self.success.add(1, method)
        for counter in (self.judged, self.judged_done) if judged else (self.texts, self.texts_done):
            counter.add(texts)
        self.tokens.add(tokens)
        self.length.add(tokens)
        for histogram, value in zip((self.duration, self.tokenised, self.queued, self.encoded), seconds, strict=True):
            histogram.add(value)

    def refused(self, kind: Kind) -> None:
        """Count a request that was not answered as asked."""
        self.failure.add(1, FAILURES.get(kind, "validation"))

    def batch_ran(self, batch: Batch, seconds: float) -> None:
        """Count a batch."""
        del seconds
        self.batch_texts.add(sum(len(places) for _, places in batch.parts))
        self.batch_tokens.add(batch.tokens)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        lines: list[str] = []
        for one in (*vars(self).values(), *self._gauges):
            if isinstance(one, Counter | Histogram | Gauge):
                lines += [f"# HELP {one.name} {one.about}", f"# TYPE {one.name} {one.kind}", *one.lines()]
        return ("\n".join(lines) + "\n").encode()


def _inside(labels: Iterable[tuple[str, str]]) -> str:
    """Put labels in braces; none of their values holds a quote, for none comes from a client.

    >>> _inside([("path", "/embed"), ("code", "200")])
    '{path="/embed",code="200"}'
    """
    pairs = ",".join(f'{name}="{value}"' for name, value in labels)
    return f"{{{pairs}}}" if pairs else ""
