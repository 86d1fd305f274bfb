"""Tasks in, answers out, from processes of this machine that share one copy of the weights.

Processes are started as programs, not by `multiprocessing`: a script needs no ``if __name__ == "__main__"``, and
nothing of it is run again. Each has a thread here that feeds it. A process that dies is replaced, and what it held
is given to the next one, a task at a time, so that a task that kills processes is found and named.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType

import torch

from sentvec.checkpoint.weights import SAFE, SAFE_INDEX
from sentvec.errors import InvalidInput, WorkerDied
from sentvec.runtime.process import Died, Nest, Process, Refused, started
from sentvec.runtime.spread import Answer, Blueprint, Model, Pool, Task, blueprint_of, count_or_names

_log = logging.getLogger("sentvec")

TRIES = 3
"""How many processes, or actors of Ray, may die over one task."""

Spread = int | Sequence[str] | Pool | None
"""How many processes, or the device of each, or a pool that is there already, or None for this process alone."""


@dataclass
class _Order:
    task: Task
    answer: Future[Answer] = field(default_factory=Future)
    deaths: int = 0


class Workers:
    """Processes that encode with one model. Use it in a ``with`` block, or close it; a process starts when needed.

    Args:
        model: the model; its weights are mapped from its folder, once for all processes. A model that has no folder,
            or one without safetensors files, is saved to a temporary one first.
        workers: how many processes, or the device of each: ``["cuda:0", "cuda:1"]``. A device may stand twice. A
            number of processes shares the model's device; on CUDA, they go to all devices in turn.

    Raises:
        InvalidInput: `workers` is neither.
    """

    def __init__(self, model: Model, workers: int | Sequence[str] | None) -> None:
        self._model = model
        self._devices = count_or_names(workers, lambda count: _devices(model.device, count))
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._keepers: list[_Keeper] = []
        self._nest = Nest() if sys.platform == "linux" else None  # elsewhere, libraries do not survive a fork
        self._saved: tempfile.TemporaryDirectory[str] | None = None
        self._closed = False
        self._home = os.getpid()
        self._guard = threading.Lock()

    @property
    def depth(self) -> int:
        """How many tasks may be under way, or done and not yet fetched."""
        return 3 * len(self._devices)

    @property
    def pids(self) -> list[int]:
        """Process ids of those that run now."""
        return [keeper.process.pid for keeper in self._keepers if keeper.process is not None]

    @cached_property
    def blueprint(self) -> Blueprint:
        """The model that they encode with."""
        model = self._model
        folder = model.folder
        if folder is None or not any((folder / name).is_file() for name in (SAFE, SAFE_INDEX)):
            self._saved = tempfile.TemporaryDirectory(prefix="sentvec-")
            folder = Path(self._saved.name) / "model"
            model.save_pretrained(str(folder))
        return blueprint_of(model, folder)

    def submit(self, task: Task) -> Future[Answer]:
        """Give a task to the next process that is free.

        Returns:
            Where its answer will be, or its error; `WorkerDied` if it killed several processes.

        Raises:
            InvalidInput: these workers are closed, or belong to the process that this one was forked from.
        """
        if os.getpid() != self._home:  # the threads that feed them did not come along
            raise InvalidInput("these workers belong to the process that this one was forked from; make new ones here.")
        with self._guard:
            if self._closed:
                raise InvalidInput("these workers are closed; make new ones with Workers(model, ...).")
            if len(self._keepers) < len(self._devices):
                keeper = _Keeper(self._orders, *self._way(self._devices[len(self._keepers)]))
                keeper.thread.start()
                self._keepers.append(keeper)
            order = _Order(task)
            self._orders.put(order)
        return order.answer

    def _way(self, device: str) -> tuple[Callable[[], Process], int]:
        """Return how a process for a device is started, and how many tasks to give it at a time."""
        blueprint, threads = self.blueprint, max(1, torch.get_num_threads() // len(self._devices))
        if not device.startswith("cpu"):
            return lambda: started(blueprint, device, threads), 2
        # beside an encoder on the CPU there is nothing to gain by tokenising ahead, and the last tasks would be
        # shared out less evenly
        nest = self._nest
        if nest is None:
            return lambda: started(blueprint, device, threads), 1
        return lambda: nest.fork(blueprint, threads), 1

    def close(self) -> None:
        """End the processes; what is not yet encoded is cancelled."""
        if os.getpid() != self._home:
            return
        with self._guard:
            self._closed = True
        for keeper in self._keepers:
            keeper.stop()
            self._orders.put(None)
        if self._nest is not None:
            self._nest.stop()
        for keeper in self._keepers:
            keeper.thread.join()
        if self._nest is not None:
            self._nest.close()
        while not self._orders.empty():
            order = self._orders.get()
            if order is not None:
                order.answer.cancel()
        if self._saved is not None:
            self._saved.cleanup()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def pool_of(model: Model, workers: Spread) -> AbstractContextManager[Pool]:
    """Return the pool that `workers` is, to be left as it is, or a new one, to be closed.

    Raises:
        InvalidInput: it is neither, or encodes with another model.
    """
    if not isinstance(workers, Pool):
        return Workers(model, workers)
    theirs = workers.blueprint
    if (theirs.fingerprint, theirs.precision) != (model.fingerprint, model.precision):
        raise InvalidInput(f"these workers encode with another model, {theirs.name}; make them with this one.")
    return nullcontext(workers)


class _Keeper:
    """The thread that feeds one process, and starts another when it dies."""

    def __init__(self, orders: SimpleQueue[_Order | None], start: Callable[[], Process], ahead: int) -> None:
        self.process: Process | None = None
        self.thread = threading.Thread(target=self._run, name="sentvec-worker", daemon=True)
        self._orders = orders
        self._start = start
        self._ahead = ahead
        self._held: deque[_Order] = deque()  # sent, and not yet answered
        self._again: deque[_Order] = deque()  # what a process held when it died
        self._stopped = False
        self._guard = threading.Lock()

    def stop(self) -> None:
        """End the process, and with it the thread."""
        with self._guard:
            self._stopped = True
            if self.process is not None:
                self.process.kill()

    def _run(self) -> None:
        while not self._stopped:
            try:
                if not self._send():
                    self._receive()
            except Died:
                if not self._stopped:
                    self._replace()
            except Exception as error:  # refused; or no more pipes, say: whoever waits must hear of it
                self._bury()
                reason = error.args[0] if isinstance(error, Refused) else error
                while self._held:
                    self._held.popleft().answer.set_exception(reason)
        for order in (*self._held, *self._again):
            order.answer.cancel()
        self._bury()

    def _send(self) -> bool:
        """Send one more task, if there is room and one waits; wait for one only where nothing else is to do."""
        alone = bool(self._again) or any(order.deaths for order in self._held)
        if len(self._held) >= (1 if alone else self._ahead):
            return False
        try:
            order = self._again.popleft() if self._again else self._orders.get(block=not self._held)
        except Empty:
            return False
        if order is None:
            self._stopped = True
            return True
        self._held.append(order)
        (self.process or self._begin()).send(order.task)
        return True

    def _receive(self) -> None:
        assert self.process is not None
        answer = self.process.receive()
        order = self._held.popleft()
        if isinstance(answer, Exception):
            order.answer.set_exception(answer)
        else:
            order.answer.set_result(answer)

    def _begin(self) -> Process:
        process = self._start()
        with self._guard:
            if self._stopped:  # while it started
                process.end()
                raise Died
            self.process = process
        process.ready()
        return process

    def _bury(self) -> str:
        with self._guard:
            process, self.process = self.process, None
        return process.end() if process is not None else "could not be started"

    def _replace(self) -> None:
        how = self._bury()
        while self._held:
            order = self._held.popleft()
            order.deaths += 1
            if order.deaths < TRIES:
                _log.warning("a worker process %s; rows %s are encoded again by a new one", how, order.task.rows)
                self._again.append(order)
                continue
            order.answer.set_exception(
                WorkerDied(
                    f"{TRIES} worker processes, one after the other, died over rows {order.task.rows} of the input; "
                    f"the last {how}. Rows before these are done. If memory ran out, take fewer workers; or else "
                    "look for an odd text among these rows."
                )
            )


def _devices(device: torch.device, count: int) -> list[str]:
    if device.type != "cuda":
        return [str(device)] * count
    return [f"cuda:{i % torch.cuda.device_count()}" for i in range(count)]
