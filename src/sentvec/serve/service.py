"""What surfaces call: texts in; vectors, states, scores and findings out, through one queue to the processes."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from sentvec.batch import TokenIds
from sentvec.runtime.heap import give_back
from sentvec.serve import costs
from sentvec.serve.budgets import budget
from sentvec.serve.generation import Generation
from sentvec.serve.metrics import Metrics
from sentvec.serve.places import Place
from sentvec.serve.queue import Request
from sentvec.serve.reader import Reader
from sentvec.serve.refusals import Refused, refusal, wanted
from sentvec.serve.settings import Settings
from sentvec.serve.work import Work
from sentvec.text.tokenizer import Text

_log = logging.getLogger("sentvec.serve")

HERE = 4096
"""Most characters that are tokenised in the event loop; more go to a thread, which costs more than so few."""

MUCH = 1 << 20
"""Characters whose tokens take so much memory that it is worth the time to give it back."""

NUMBERS = 50
"""Numbers that are written as JSON in the time in which a character is tokenised."""

T = TypeVar("T")

MOST_SEEN = 1024
"""Most tokens that are looked at: a map of attention for each head of each layer, a gigabyte in all."""

PROOF_S = 0.5
"""Seconds for which one text that came back proves that the engine works."""

MOST_NUMBERS = 1 << 23
"""Most numbers of an answer that holds a vector for every token: a hundred megabytes of JSON."""


@dataclass
class Asked:
    """One client's request, as far as the engine must know it; `Service.asking` makes it.

    Attributes:
        now: the models that it is answered with, from its first word to its last, whatever is loaded meanwhile.
        left: says whether the client has gone.
        begun: when it arrived, on the monotonic clock.
        tokens, texts: what it cost, for its log line and headers.
        judged: whether a reranker or a task's head ran.
        tokenised_s, queued_s, encoded_s: where its time went.
        steps: the same, as (name, begun, ended) on the monotonic clock.
    """

    now: Generation
    left: Callable[[], bool] = lambda: False
    begun: float = field(default_factory=time.monotonic)
    tokens: int = 0
    texts: int = 0
    judged: bool = False
    tokenised_s: float = 0.0
    queued_s: float = 0.0
    encoded_s: float = 0.0
    steps: list[tuple[str, float, float]] = field(default_factory=list)


class Service:
    """The engine that all surfaces share.

    Args:
        settings: see there.
        check: raises where models that were read cannot serve.
    """

    def __init__(self, settings: Settings, check: Callable[[Generation], None] = lambda made: None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self._check = check
        self.begun = time.time()
        self.threads = ThreadPoolExecutor(max(2, min(8, os.cpu_count() or 1)), "sentvec-tokenise")
        self.bodies = Place("bodies", 2, settings.deadline_s)  # parsing holds the interpreter: more would gain nothing
        self._now: Generation | None = None
        self._made: Generation | None = None  # what was loaded last, or is being loaded
        self._ending = False
        self._proved = -PROOF_S  # when a text last came back, on the monotonic clock
        self._reloading = threading.Lock()
        self.metrics.watch("te_queue_size", "Requests that are admitted and not yet answered.", self._queued)
        self.metrics.watch("te_queue_tokens", "Tokens that wait for a batch.", self._waiting)

    def _queued(self) -> int:
        return self._now.queue.requests if self._now is not None else 0

    def _waiting(self) -> int:
        return self._now.queue.waiting if self._now is not None else 0

    @property
    def now(self) -> Generation:
        """The models that new requests go to."""
        if self._now is None:
            raise Refused("unhealthy", "the models are not loaded yet.", retry_after=5.0)
        return self._now

    @property
    def reader(self) -> Reader:
        """What is known of the embedder."""
        return self.now.reader

    def load(self) -> None:
        """Load the models, or load them again beside the ones that serve, which then serve what they were asked.

        Raises:
            SentvecError: a model cannot be loaded; the ones before it go on.
        """
        with self._reloading:
            made = Generation(self.settings, self.metrics)
            self._made = made
            if self._ending:  # since before it was there to be told
                made.crew.stop()
            try:
                self._check(made)
                made.start()
            except BaseException as error:
                made.close()
                if self._ending:
                    raise Refused("unhealthy", "the server is shutting down.") from error
                raise
            before, self._now = self._now, made
            if before is not None:
                before.drain()
                _log.info("models loaded again", extra={"facts": {"fingerprint": made.loaded.fingerprint[:12]}})

    def abandon(self) -> None:
        """Do not wait for models that are being loaded again: nobody will ask them anything."""
        self._ending = True
        if self._made is not None and self._made is not self._now:
            self._made.crew.stop()

    def close(self) -> None:
        """End the processes; what still waits is refused."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.bodies.close()
        if self._now is not None:
            self._now.close()

    @contextmanager
    def asking(self, left: Callable[[], bool] = lambda: False) -> Iterator[Asked]:
        """Hold on to the models that are there now while a request is answered."""
        now = self.now
        now.hold(1)
        while now is not self._now:  # replaced before it was held, so that nobody waits for this request to end
            now.hold(-1)
            now = self.now
            now.hold(1)
        try:
            yield Asked(now, left)
        finally:
            now.hold(-1)

    async def aside(self, call: Callable[[], T], size: int) -> T:
        """Call what takes as long as tokenising so many characters: here, or in a thread where others would wait."""
        if size <= HERE:
            return call()
        work = call if size < MUCH else partial(_tidied, call)
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)

    async def read(
        self,
        texts: Sequence[Text],
        asked: Asked,
        *,
        prefix: str = "",
        truncate: bool | None = None,
        left: bool = False,
    ) -> list[TokenIds]:
        """Tokenise texts, within the limits of a request."""
        begun = time.monotonic()
        self.limit_texts(len(texts))
        cut = self.settings.truncate if truncate is None else truncate
        lengths = [len(text) if isinstance(text, str) else len(text[0]) + len(text[1]) for text in texts]
        characters, most = sum(lengths), asked.now.reader.limit
        about = sum(min(length // costs.CHARACTERS, most) for length in lengths) if characters > HERE else 0
        with wanted(), asked.now.queue.reserved(about):
            rows = await self.aside(partial(asked.now.reader.read, texts, prefix, truncate=cut, left=left), characters)
        ended = time.monotonic()
        asked.tokenised_s += ended - begun
        asked.steps.append(("tokenise", begun, ended))
        return rows

    def limit_texts(self, count: int) -> None:
        """Refuse more texts than a request may have."""
        if count > self.settings.max_texts:
            raise Refused(
                "too_many",
                f"batch size {count} > maximum allowed batch size {self.settings.max_texts}. Send several requests.",
            )

    def limit_numbers(self, count: int) -> None:
        """Refuse an answer of more numbers than one may have."""
        if count > MOST_NUMBERS:
            raise Refused(
                "too_many",
                f"the states of these texts' tokens are {count:,} numbers, but {MOST_NUMBERS:,} are the most of an "
                "answer. Send several requests.",
            )

    def limit_tokens(self, count: int) -> None:
        """Refuse more tokens than a request may have."""
        if count > self.settings.max_tokens:
            raise Refused(
                "too_many",
                f"the request has {count:,} tokens, but {self.settings.max_tokens:,} are the most. Send several.",
            )

    async def vectors(
        self,
        texts: Sequence[Text],
        asked: Asked,
        *,
        prompt_name: str | None = None,
        dim: int | None = None,
        normalize: bool | None = None,
        truncate: bool | None = None,
        left: bool = False,
    ) -> list[Any]:
        """Encode texts; the same vectors as `Embedder.encode`, float32 (dim,) each."""
        now = asked.now
        with wanted():
            prefix = now.reader.prefix(prompt_name)
            finish = now.reader.finish(prefix, dim, normalize)
        rows = await self.read(texts, asked, prefix=prefix, truncate=truncate, left=left)
        return await self.run(Work("vectors", finish), rows, [len(row) for row in rows], asked)

    async def ids_vectors(
        self, ids: Sequence[Sequence[int]], asked: Asked, *, dim: int | None = None, normalize: bool | None = None
    ) -> list[Any]:
        """Encode token ids as they are."""
        now = asked.now
        self.limit_texts(len(ids))
        with wanted():
            finish = now.reader.finish("", dim, normalize)
        rows = await self.aside(lambda: now.reader.verbatims(ids), sum(map(len, ids)))
        return await self.run(Work("vectors", finish), rows, [len(row) for row in rows], asked)

    async def states(
        self, texts: Sequence[Text], asked: Asked, *, prompt_name: str | None = None, **how: Any
    ) -> list[Any]:
        """Return the states of all tokens, float32 (tokens, hidden) for each text."""
        now = asked.now
        with wanted():
            prefix = now.reader.prefix(prompt_name)
        return await self.rows_states(await self.read(texts, asked, prefix=prefix, **how), asked)

    async def rows_states(self, rows: Sequence[TokenIds], asked: Asked) -> list[Any]:
        """Return the states of all tokens of rows that are token ids already."""
        self.limit_numbers(sum(map(len, rows)) * asked.now.reader.hidden)
        return await self.run(Work("states"), rows, [len(row) for row in rows], asked)

    async def rows_vectors(self, rows: Sequence[TokenIds], asked: Asked) -> list[Any]:
        """Encode rows that are token ids already."""
        now = asked.now
        work = Work("vectors", now.reader.finish("", None, None))
        return await self.run(work, rows, [len(row) for row in rows], asked)

    async def scores(
        self, pairs: Sequence[tuple[str, str]], asked: Asked, *, raw: bool, truncate: bool | None, left: bool = False
    ) -> list[float]:
        """Score pairs with the reranker."""
        if asked.now.loaded.reranker is None:
            raise Refused(
                "unsupported", "no reranker is loaded; start the server with --reranker MODEL to have /rerank."
            )
        cut = self.settings.truncate if truncate is None else truncate
        work = Work("scores", name="raw" if raw else "", whole=not cut, left=left)
        return await self.run(work, pairs, [costs.tokens(a) + costs.tokens(b) for a, b in pairs], asked)

    async def task(
        self,
        name: str,
        inputs: Sequence[Any],
        asked: Asked,
        *,
        truncate: bool | None = None,
        left: bool = False,
        **options: Any,
    ) -> list[Any]:
        """Run a task's head on inputs."""
        loaded = [one for one, _ in asked.now.loaded.tasks]
        if name not in loaded:
            raise Refused(
                "unsupported",
                f"no model for {name} is loaded; loaded: {', '.join(loaded) or 'none'}. Start the server with "
                f"--task {name}=MODEL.",
            )
        cut = self.settings.truncate if truncate is None else truncate
        work = Work(
            "task",
            name=name,
            whole=not cut,
            left=left,
            options=tuple(sorted((key, _frozen(value)) for key, value in options.items())),
        )
        limit = asked.now.task_limits[name]
        return await self.run(work, inputs, [costs.of_task(name, one, options, limit) for one in inputs], asked)

    async def view(self, name: str, asked: Asked, **arguments: Any) -> Any:
        """Look inside the embedder; memory grows with the square of the tokens, times layers and heads."""
        texts = [value for value in arguments.values() if isinstance(value, str)]
        tokens = sum(map(len, await self.read(texts, asked)))
        if tokens > MOST_SEEN:
            raise Refused(
                "too_long", f"the texts have {tokens} tokens, but {MOST_SEEN} can be looked at. Send a part of them."
            )
        return (await self.run(Work("view", name=name), [arguments], [tokens], asked))[0]

    async def healthy(self) -> None:
        """Send a text through the engine.

        Raises:
            Refused: it does not come back.
        """
        if time.monotonic() - self._proved < PROOF_S:
            return
        try:
            with self.asking() as asked:
                reader = asked.now.reader
                ids, _ = reader.engine.tokenizer.assemble([])
                async with asyncio.timeout(self.settings.deadline_s):
                    await self.run(Work("vectors", reader.finish("", None, None)), [ids], [len(ids)], asked)
        except Refused as refused:
            if refused.kind != "overloaded" or time.monotonic() - self.now.queue.gave > self.settings.stuck_s:
                raise Refused("unhealthy", f"unhealthy: {refused.message}") from None
            return  # it works, too much: something came back not long ago
        except TimeoutError:
            raise Refused("unhealthy", "unhealthy: a text did not come back in time.") from None
        self._proved = time.monotonic()

    async def run(self, work: Work, rows: Sequence[Any], costs: Sequence[int], asked: Asked) -> list[Any]:
        """Let rows wait for their turn, and return their results.

        Raises:
            Refused: they are too many, there is no room, or they cannot be done.
        """
        if not rows:
            return []
        self.limit_texts(len(rows))
        tokens = sum(costs)
        self.limit_tokens(tokens)
        asked.tokens += tokens
        asked.texts += len(rows)
        asked.judged |= work.kind in ("scores", "task")
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()

        def done(_: Request) -> None:
            with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(_wake, waiting)

        deadline = time.monotonic() + self.settings.deadline_s
        request = Request(work, rows, costs, deadline, asked.left, done)
        with budget.get().spending(tokens):
            asked.now.queue.admit(request)
            await waiting
            if isinstance(request.error, Refused) and not request.batches:
                raise request.error  # nothing was done for it, so that it costs nothing
        taken, ended = request.admitted + request.queued_s, time.monotonic()
        asked.queued_s += request.queued_s
        asked.encoded_s += max(0.0, ended - taken)
        asked.steps += [("queue", request.admitted, taken), ("encode", taken, max(taken, ended))]
        if request.error is not None:
            raise refusal(request.error)
        return request.results


def _tidied(call: Callable[[], T]) -> T:
    try:
        return call()
    finally:
        give_back()


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
