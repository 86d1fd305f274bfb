"""Settings in; one set of loaded models, with the processes that run them and the queue in front of those, out."""

from __future__ import annotations

import os
import threading
import time

from sentvec.checkpoint.files import read_json_or_empty
from sentvec.checkpoint.hub import resolve
from sentvec.errors import InvalidInput
from sentvec.runtime.embedder import Embedder
from sentvec.serve.lanes import Crew
from sentvec.serve.metrics import Metrics
from sentvec.serve.queue import Queue, Request
from sentvec.serve.reader import Reader
from sentvec.serve.refusals import Refused
from sentvec.serve.settings import Settings
from sentvec.serve.work import Loaded, Work
from sentvec.tasks.pipeline import ALIASES, TASKS


class Generation:
    """One set of loaded models with their processes and queue. A reload makes a new one beside it.

    Args:
        settings: what to load.
        metrics: told of batches.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self._held = 0
        self._guard = threading.Lock()
        tasks = tuple(_task(one) for one in settings.task)
        self.task_limits = {name: _limit(model, settings) for name, model in tasks}
        model = Embedder.from_pretrained(
            settings.model,
            precision=settings.precision,
            device=settings.device,
            revision=settings.revision or None,
            local_files_only=settings.local_files_only,
            pooling=settings.pooling.split("+") if settings.pooling else None,
            max_seq_length=settings.max_seq_length or None,
        )
        self.reader = Reader.of(model)
        self.loaded = Loaded(
            model=settings.model,
            precision=model.precision,
            pooling=model.recipe.pooling,
            max_seq_length=model.max_seq_length,
            fingerprint=model.fingerprint,
            reranker=settings.reranker or None,
            tasks=tasks,
            local_files_only=settings.local_files_only,
            revision=settings.revision or None,
        )
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        lanes = settings.processes or (cores if model.device.type == "cpu" else 1)
        threads = max(1, cores // lanes)
        self.queue = Queue(settings.queue_tokens, settings.batch_tokens, lanes)
        self.crew = Crew(
            self.loaded,
            self.queue,
            device=model.device,
            lanes=lanes,
            threads=threads,
            stuck_s=settings.stuck_s,
            seen=metrics.batch_ran,
        )
        del model  # its weights are needed in the processes only

    @property
    def name(self) -> str:
        """What clients call the model."""
        return self.settings.served_name or self.settings.model

    def start(self) -> None:
        """Start the processes, and run a text through every one of them before anyone can ask for one.

        Raises:
            SentvecError: a model cannot be loaded.
        """
        self.crew.start()
        reader, queue = self.reader, self.queue
        ready = threading.Semaphore(0)
        room = reader.limit - reader.engine.tokenizer.special_tokens
        ids, _ = reader.engine.tokenizer.assemble([0] * min(room, 128))
        late = time.monotonic() + 600
        made = []
        for number in range(len(self.crew.lanes)):
            work = Work("vectors", reader.finish("", None, None), name=f"warm {number}")  # each is a batch of its own
            made.append(Request(work, [ids], [queue.budget], late, lambda: False, lambda _: ready.release()))
        for request in made:
            queue.admit(request)
        for _ in made:
            ready.acquire()
        for request in made:
            if request.error is not None:
                raise request.error

    def hold(self, change: int) -> None:
        """Count who is being answered with these models."""
        with self._guard:
            self._held += change

    def drain(self) -> None:
        """Wait until nobody is answered with these models any more, then end the processes."""
        while self._held:
            time.sleep(0.02)
        self.close()

    def close(self) -> None:
        """Refuse what waits, and end the processes."""
        self.queue.close(Refused("unhealthy", "the server is shutting down.", retry_after=5.0))
        self.crew.close()


def _task(given: str) -> tuple[str, str]:
    name, _, model = given.partition("=")
    name = ALIASES.get(name, name)
    if name not in TASKS or not model:
        raise InvalidInput(f"task {given!r} is not known; give TASK=MODEL with a task of {', '.join(TASKS)}.")
    return name, model


def _limit(model: str, settings: Settings) -> int:
    """Return the positions of a model, as its config.json has them: enough to tell what a task costs."""
    config = read_json_or_empty(resolve(model, local_files_only=settings.local_files_only) / "config.json")
    positions = config.get("max_position_embeddings")
    return positions if isinstance(positions, int) and positions > 0 else 512
