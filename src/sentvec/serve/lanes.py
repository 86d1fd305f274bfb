"""A queue of batches in, processes that are kept busy with it and replaced when they die out."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

import torch

from sentvec.errors import WorkerDied
from sentvec.runtime.process import Died, Nest, Process, Refused, adopting, started
from sentvec.serve.queue import Batch, Queue
from sentvec.serve.work import Loaded, Order

_log = logging.getLogger("sentvec.serve")

CHILD = "sentvec.serve.child"
SETTINGS = {"GOMP_SPINCOUNT": "5000", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256"}
"""Threads that share a batch spin between its steps, for to sleep and wake takes longer, but for microseconds only:
clients and the server need the cores, too. And oneDNN keeps code for 256 shapes rather than 1,024: fused layers meet
fewer, and those that are not fused meet ever others, which took 28 MB and left gaps that grew."""

AHEAD = 2
"""Batches that a process has at most: the one that it runs and, when there is enough for a full one, the next."""


LOOK_S = 1.0
"""Seconds between two looks at what holds the models."""

AGAIN_S = 30.0
"""Seconds until they are loaded again where that failed."""


class Crew:
    """Processes that run the batches of one queue. On Linux they are forked from one that holds the models, and share
    their memory.

    Args:
        loaded: the models.
        queue: where batches come from.
        device: where the models go; one process for each device other than the processor.
        lanes: how many processes.
        threads: of each process; it has those of processes that are idle as well.
        stuck_s: seconds for one full batch, after which a process is killed and replaced; a row of more tokens than a
            batch has gets as many times as long.
        seen: told of every batch that was run, with its seconds.
    """

    def __init__(
        self,
        loaded: Loaded,
        queue: Queue,
        *,
        device: torch.device,
        lanes: int,
        threads: int = 1,
        stuck_s: float,
        seen: Callable[[Batch, float], None],
    ) -> None:
        forks = sys.platform == "linux" and device.type == "cpu"
        self._nest = Nest(CHILD, SETTINGS, spare=adopting()) if forks else None
        self._loaded, self._device, self._threads = loaded, device, threads
        self._stuck_s = stuck_s
        self._ended = threading.Event()
        self.queue = queue
        self.lanes = [_Lane(queue, self._start, threads, seen) for _ in range(lanes)]

    def start(self) -> None:
        """Start the processes, and wait until they have the models.

        Raises:
            SentvecError: a model cannot be loaded.
        """
        for lane in self.lanes:
            lane.begin()
        for lane in self.lanes:
            lane.thread.start()
        threading.Thread(target=self._watch, name="sentvec-watch", daemon=True).start()
        if self._nest is not None:
            threading.Thread(target=self._mend, args=(self._nest,), name="sentvec-mend", daemon=True).start()

    def stop(self) -> None:
        """Do not wait for models that are being loaded."""
        self._ended.set()
        if self._nest is not None:
            self._nest.stop()

    def close(self) -> None:
        """End the processes when the queue, which must be closed, is empty."""
        for lane in self.lanes:
            if lane.thread.is_alive():
                lane.thread.join()
            lane.end()
        self.stop()
        if self._nest is not None:
            self._nest.close()

    @property
    def pids(self) -> list[int]:
        """Ids of the processes."""
        return [lane.process.pid for lane in self.lanes if lane.process is not None]

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._stuck_s / 2)):
            for lane in self.lanes:
                lane.look(self._stuck_s)
            self.queue.expire()

    def _mend(self, nest: Nest) -> None:
        """Have what holds the models replaced as soon as it is killed, not only when a process is wanted of it."""
        wait = LOOK_S
        while not self._ended.wait(wait):
            wait = LOOK_S
            try:
                nest.mend(self._loaded)
            except Exception as error:  # processes that live serve on, and nobody waits for this
                if not self._ended.is_set():
                    _log.error("the models cannot be held ready: %s", _cause(error))
                wait = AGAIN_S

    def _start(self) -> Process:
        if self._nest is not None:
            return self._nest.fork(self._loaded, self._threads)
        return started(self._loaded, str(self._device), self._threads, module=CHILD)


class _Lane:
    """One process, and the thread that feeds it."""

    def __init__(
        self, queue: Queue, start: Callable[[], Process], threads: int, seen: Callable[[Batch, float], None]
    ) -> None:
        self.process: Process | None = None
        self.thread = threading.Thread(target=self._run, name="sentvec-lane", daemon=True)
        self._queue, self._start, self._threads, self._seen = queue, start, threads, seen
        self._held: deque[Batch] = deque()
        self._free = 0.0  # when the process was last known to be idle

    def begin(self) -> Process:
        try:
            process = self._start()
            process.ready()
        except Refused as refused:
            raise refused.args[0] from None
        self.process = process
        return process

    def end(self) -> str:
        process, self.process = self.process, None
        return process.end() if process is not None else "could not be started"

    def look(self, most: float) -> None:
        """Kill the process if it has run one batch for so many seconds, or in proportion if it is more than full."""
        process, held = self.process, self._held.copy()  # its own thread goes on meanwhile
        if process is None or not held:
            return
        most *= max(1.0, held[0].tokens / self._queue.budget)
        if time.monotonic() - self._free > most:
            _log.error("a process has not answered for %.0f s", most)
            self._free = time.monotonic()  # the next one has as long
            process.kill()

    def _run(self) -> None:
        while True:
            try:
                if not self._feed():
                    return
                self._fetch()
            except Died:
                self._bury(None)
            except Exception as error:  # whoever waits must hear of it, and the lane must go on
                _log.exception("a lane failed")
                self._bury(error)
                time.sleep(0.2)

    def _feed(self) -> bool:
        """Send what the process can take; False when the queue is closed and nothing is left."""
        while len(self._held) < AHEAD:
            batch = self._queue.take(wait=not self._held, full=bool(self._held))
            if batch is None:
                break
            if not self._held:
                self._free = time.monotonic()
            self._held.append(batch)
            (self.process or self.begin()).send(Order(batch.work, batch.rows, self._threads, batch.shares))
        return bool(self._held)

    def _fetch(self) -> None:
        assert self.process is not None
        answer = self.process.receive()
        now = time.monotonic()
        seconds, self._free = now - self._free, now
        batch = self._held[0]  # held on to until its requests are answered, whatever happens here
        if isinstance(answer, Exception):
            self._queue.fail(batch, answer)
        else:
            self._seen(batch, seconds)
            self._queue.give(batch, answer, seconds)
        self._held.popleft()

    def _bury(self, error: Exception | None) -> None:
        how = self.end()
        if error is None:
            _log.warning("a process that encodes %s; another takes its place", how)
        held = list(self._held)
        self._held.clear()
        for batch in held:
            again = error is None
            self._queue.fail(
                batch, error or WorkerDied(f"processes died over this request; the last {how}."), died=again
            )


def _cause(error: Exception) -> object:
    return error.args[0] if isinstance(error, Refused) else f"{type(error).__name__} {error}".rstrip()
