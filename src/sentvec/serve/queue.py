"""Requests of many clients in, batches for whichever process is free out: admission, order, deadlines, failures.

All of a request is admitted or none of it, by its tokens. Batches take rows across clients. A row's turn is decided by
start-time fair queueing (Goyal, Vin & Cheng 1996): a request's rows follow each other at the distance of their tokens,
so that a short text does not wait behind ten thousand of somebody else's, and those do not wait for ever either.
Nothing waits for a batch to fill: they are large when processes are busy, and small when they are not.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, count
from typing import Any

from sentvec.serve.refusals import Refused
from sentvec.serve.work import Work

LEAST = 128
"""Fewest tokens that are shared out among idle processes; fewer are one batch, on the cores of all of them."""

TRIES = 3
"""How many processes may die over one request."""


@dataclass(eq=False)
class Request:
    """Rows that are answered together.

    Attributes:
        work: what is done with them.
        rows: the rows.
        costs: tokens of each row.
        deadline: when nobody needs the answer any more, on the monotonic clock.
        left: says whether the client has gone.
        done: called once, from any thread, when there are results or `error` says why not.
        results: what became of each row.
        error: why there is no answer, or None.
        queued_s: seconds until its last row was taken.
        batches: how many batches its rows were in.
    """

    work: Work
    rows: Sequence[Any]
    costs: Sequence[int]
    deadline: float
    left: Callable[[], bool]
    done: Callable[[Request], None]
    results: list[Any] = field(init=False)
    error: Exception | None = field(default=None, init=False)
    queued_s: float = field(default=0.0, init=False)
    batches: int = field(default=0, init=False)
    deaths: int = field(default=0, init=False)
    over: bool = field(default=False, init=False)
    admitted: float = field(default=0.0, init=False)
    missing: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.results = [None] * len(self.rows)
        self.missing = len(self.rows)

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return sum(self.costs)


@dataclass(frozen=True)
class Batch:
    """Rows of equal work that are run together.

    Attributes:
        work: what is done.
        parts: each request with the places of its rows.
        tokens: of all of them.
        shares: how many processes' cores it may have: more than one where the others have nothing to do.
    """

    work: Work
    parts: tuple[tuple[Request, tuple[int, ...]], ...]
    tokens: int
    shares: int = 1

    @property
    def rows(self) -> list[Any]:
        """The rows, in the order of the parts."""
        return [request.rows[place] for request, places in self.parts for place in places]


class Queue:
    """What waits. Safe to use from several threads.

    Args:
        capacity: most tokens admitted and not yet answered. A request of more is admitted when nothing else is there.
        budget: most tokens of a batch; a row of more gets one of its own.
        lanes: how many processes take batches, for an estimate of how long things wait.
    """

    def __init__(self, capacity: int, budget: int, lanes: int = 1) -> None:
        self.capacity = capacity
        self.budget = budget
        self.lanes = lanes
        self.held = 0
        self.waiting = 0
        self.requests = 0
        self.rate = 0.0
        self.closed = False
        self.gave = time.monotonic()  # when a batch last came back
        self.idle = 0  # threads that wait for a batch: processes with nothing to do
        self._lines: dict[Hashable, list[tuple[float, int, Request, int]]] = {}
        self._virtual = 0.0
        self._numbers = count()
        self._guard = threading.Condition()

    def check(self, tokens: int = 0) -> None:
        """Refuse at once what there is no room for.

        Raises:
            Refused: overloaded, with the seconds after which there should be room.
        """
        if self.held and self.held + tokens > self.capacity:
            wait = math.ceil(self.held / (self.rate * self.lanes)) if self.rate else 1
            raise Refused(
                "overloaded",
                f"the server is overloaded: {self.held:,} tokens are waiting, and it admits {self.capacity:,}. "
                f"Try again in {max(1, wait)} s, or send less at a time.",
                retry_after=float(max(1, wait)),
            )

    @contextmanager
    def reserved(self, tokens: int) -> Iterator[None]:
        """Keep room for a request while its tokens are counted, so that what there is no room for costs nothing.

        Args:
            tokens: about how many it has.

        Raises:
            Refused: as `check`.
        """
        with self._guard:
            self.check(tokens)
            self.held += tokens
        try:
            yield
        finally:
            with self._guard:
                self.held -= tokens

    def admit(self, request: Request) -> None:
        """Let a request wait for its turn; all of it or, with `Refused`, nothing."""
        with self._guard:
            tokens = request.tokens
            if self.closed:
                raise Refused("unhealthy", "the server is shutting down.", retry_after=1.0)
            self.check(tokens)
            request.admitted = time.monotonic()
            self.held += tokens
            self.requests += 1
            order = sorted(range(len(request.rows)), key=lambda i: -request.costs[i])  # like lengths share a batch
            starts = accumulate((request.costs[i] for i in order), initial=self._virtual)
            self._push(request.work, [(tag, request, place) for tag, place in zip(starts, order, strict=False)])

    def take(self, *, wait: bool, full: bool = False) -> Batch | None:
        """Return the next batch.

        Args:
            wait: for one, until the queue is closed.
            full: only if a whole batch of tokens is there.
        """
        with self._guard:
            while True:
                if not full or self.waiting >= self.budget:
                    batch = self._next()
                    if batch is not None:
                        return batch
                if not wait or self.closed:
                    return None
                self.idle += 1
                self._guard.wait()
                self.idle -= 1

    def give(self, batch: Batch, results: Sequence[Any], seconds: float) -> None:
        """Hand the results of a batch to its requests."""
        ended: list[Request] = []
        with self._guard:
            self.gave = time.monotonic()
            rate = batch.tokens / max(seconds, 1e-6) / batch.shares
            self.rate = rate if not self.rate else 0.9 * self.rate + 0.1 * rate
            at = 0
            for request, places in batch.parts:
                for place in places:
                    request.results[place] = results[at]
                    at += 1
                request.batches += 1
                request.missing -= len(places)
                if not request.missing and not request.over:
                    self._end(request)
                    ended.append(request)
        for request in ended:
            request.done(request)

    def fail(self, batch: Batch, error: Exception, *, died: bool = False) -> None:
        """Run the requests of a batch again, each alone; the one that fails alone has the error for an answer.

        Args:
            batch: what was run.
            error: what came of it.
            died: whether the process ended over it, which is worth another try or two.
        """
        ended: list[Request] = []
        with self._guard:
            for request, places in batch.parts:
                request.deaths += died
                again = request.deaths < TRIES if died else len(batch.parts) > 1
                if again and not request.over:
                    line = (request.work, next(self._numbers))  # nobody else's rows come into it
                    self._push(line, [(self._virtual, request, place) for place in places])
                elif not request.over:
                    request.error = error
                    self._end(request)
                    ended.append(request)
        for request in ended:
            request.done(request)

    def expire(self) -> None:
        """Answer what waits for too long, or for nobody: where no process takes anything, nothing else does."""
        ended: list[Request] = []
        with self._guard:
            for request in {entry[2] for line in self._lines.values() for entry in line}:
                if not request.over and (late := self._late(request)) is not None:
                    request.error = late
                    self._end(request)
                    ended.append(request)
        for request in ended:
            request.done(request)

    def close(self, error: Exception | None = None) -> None:
        """Admit no more; with an error, answer all that waits with it."""
        ended: list[Request] = []
        with self._guard:
            self.closed = True
            if error is not None:
                for line in self._lines.values():
                    for _, _, request, _ in line:
                        if not request.over:
                            request.error = error
                            self._end(request)
                            ended.append(request)
                self._lines.clear()
                self.waiting = 0
            self._guard.notify_all()
        for request in ended:
            request.done(request)

    def _push(self, line: Hashable, entries: Sequence[tuple[float, Request, int]]) -> None:
        heap = self._lines.setdefault(line, [])
        for tag, request, place in entries:
            heapq.heappush(heap, (tag, next(self._numbers), request, place))
            self.waiting += request.costs[place]
        self._guard.notify()

    def _next(self) -> Batch | None:
        """Take rows of the line whose head comes first, until it is full, or has its share beside idle processes."""
        ended: list[Request] = []
        budget = min(self.budget, max(LEAST, -(-self.waiting // (1 + self.idle))))
        while self._lines:
            name = min(self._lines, key=lambda one: self._lines[one][0][:2])
            line = self._lines[name]
            parts: dict[Request, list[int]] = {}
            tokens = 0
            while line:
                tag, _, request, place = line[0]
                cost = request.costs[place]
                if not request.over and (late := self._late(request)) is not None:
                    request.error = late
                    self._end(request)
                    ended.append(request)
                if not request.over:
                    if parts and tokens + cost > budget:
                        break
                    parts.setdefault(request, []).append(place)
                    tokens += cost
                    # the clock goes on by what each of those that are here would have had of an even share
                    self._virtual = max(self._virtual, tag) + cost / self.requests
                heapq.heappop(line)
                self.waiting -= cost
            if not line:
                del self._lines[name]
            for request in ended:  # `done` only hands it to the event loop
                request.done(request)
            ended.clear()
            if parts:
                if self._lines:
                    self._guard.notify()  # another process may be free for the rest
                now = time.monotonic()
                for request in parts:
                    request.queued_s = now - request.admitted
                work = next(iter(parts)).work
                shares = 1 if self._lines else 1 + self.idle
                return Batch(work, tuple((request, tuple(places)) for request, places in parts.items()), tokens, shares)
        return None

    def _late(self, request: Request) -> Refused | None:
        if request.left():
            return Refused("gone", "the client left.")
        if time.monotonic() > request.deadline:
            return Refused("overloaded", "the request waited too long for its turn. Try again later.", retry_after=5.0)
        return None

    def _end(self, request: Request) -> None:
        request.over = True
        self.held -= request.tokens
        self.requests -= 1
