"""Encode on a Ray cluster: rows or a `ray.data.Dataset` in, the same folder of parts out that one process writes.

Actors encode, wherever the cluster puts them; this process reads the rows and writes the parts, in order. So a part is
finished exactly once, and `resume` goes on with a folder whatever began it: Ray, processes, or one process.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import tee
from types import ModuleType, TracebackType
from typing import Any

import torch

from sentvec.errors import InvalidInput, WorkerDied
from sentvec.extras import require
from sentvec.runtime.embedder import Embedder
from sentvec.runtime.spread import Answer, Blueprint, Model, Task, blueprint_of
from sentvec.runtime.stream import EncodeReport
from sentvec.runtime.worker import Worker, portable
from sentvec.runtime.workers import TRIES
from sentvec.text.tokenizer import Text

_UNDER_WAY = 2
"""Tasks that an actor has at a time: one that it encodes, and the next, which travels meanwhile."""

_PATIENCE = 10.0
"""Seconds to wait for CPUs that are not free."""


class RayWorkers:
    """Actors that encode with one model, as a pool for `Embedder.encode_to`. Use it in a ``with`` block, or close it.

    Ray is started on this machine, or the cluster at ``RAY_ADDRESS`` connected to, unless `ray.init` was called before.
    sentvec must be installed on every machine, and the model be there too: in the same folder (a shared disk, say),
    or to be found under its name; that it is the same model is checked.

    Args:
        model: the model; where it is on this machine does not matter, ``device="cpu"`` is enough.
        workers: how many actors.
        device: cpu, or cuda; "auto" is cuda where the cluster has GPUs.
        gpus: GPUs of each on cuda; a part of one, such as 0.5, lets actors share it.
        cpus: CPUs of each, and so the threads of an encoder on CPUs.

    Raises:
        InvalidInput: a number is not possible, no machine has so many CPUs or GPUs, or the model has no folder.
        MissingExtra: Ray is not installed.
    """

    def __init__(
        self, model: Model, workers: int = 2, *, device: str = "auto", gpus: float = 1, cpus: float = 1
    ) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1 or gpus <= 0 or cpus <= 0:
            raise InvalidInput(
                f"workers is {workers!r}, gpus {gpus!r} and cpus {cpus!r}; give 1 worker or more, and more than 0."
            )
        if device not in ("auto", "cpu", "cuda"):
            raise InvalidInput(
                f"device {device!r} cannot be used on Ray, which deals out GPUs. Known: auto, cpu, cuda."
            )
        if model.folder is None:
            raise InvalidInput(
                "the model has no folder that other machines could load it from. Save it with save_pretrained to a "
                "folder that they see, and load it from there."
            )
        self._ray = _started()
        if device == "auto":
            device = "cuda" if self._ray.cluster_resources().get("GPU", 0) else "cpu"
        _check_fits(self._ray, {"CPU": cpus, "GPU": gpus if device == "cuda" else 0})
        self.blueprint: Blueprint = blueprint_of(model, model.folder)
        self.depth = (_UNDER_WAY + 1) * workers
        self._guard = threading.Lock()
        self._waiting: deque[_Order] = deque()
        self._free: deque[Any] = deque()
        make = self._ray.remote(_Actor).options(
            num_cpus=cpus,
            num_gpus=gpus if device == "cuda" else 0,
            max_restarts=-1,
            max_task_retries=TRIES - 1,
            max_concurrency=_UNDER_WAY
            if device == "cuda"
            else 1,  # so that one task is tokenised while another has the GPU
        )
        self._actors = [make.remote(self.blueprint, device, max(1, int(cpus))) for _ in range(workers)]
        for actor in self._actors:  # work goes to actors that run; a cluster may have no room for some, or only later
            actor.pid.remote().future().add_done_callback(lambda found, actor=actor: self._joined(actor, found))

    @property
    def pids(self) -> list[int]:
        """Process ids of the actors, each on its machine; waits for those that are being started."""
        found: list[int] = self._ray.get([actor.pid.remote() for actor in self._actors])
        return found

    def submit(self, task: Task) -> Future[Answer]:
        """Give a task to the next actor that is free.

        Returns:
            Where its answer will be, or its error; `WorkerDied` if it killed several actors.
        """
        order = _Order(task)
        with self._guard:
            self._waiting.append(order)
        self._pair()
        return order.answer

    def close(self) -> None:
        """End the actors; Ray goes on."""
        with self._guard:
            waiting, self._waiting = self._waiting, deque()
            self._free.clear()
        for order in waiting:
            order.answer.cancel()
        if self._ray.is_initialized():
            for actor in self._actors:
                self._ray.kill(actor)
        self._actors = []

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _joined(self, actor: Any, found: Future[int]) -> None:
        if found.cancelled() or found.exception() is not None:
            return  # closed before it ran
        with self._guard:
            self._free.extend([actor] * _UNDER_WAY)
        self._pair()

    def _pair(self) -> None:
        while True:
            with self._guard:
                if not self._waiting or not self._free:
                    return
                order, actor = self._waiting.popleft(), self._free.popleft()
            done = actor.encode.remote(order.task).future()
            done.add_done_callback(lambda found, order=order, actor=actor: self._answered(order, actor, found))

    def _answered(self, order: _Order, actor: Any, found: Future[Any]) -> None:
        error = found.exception()
        answer: Any = found.result() if error is None else None
        if isinstance(error, self._ray.exceptions.RayError):
            order.answer.set_exception(
                WorkerDied(
                    f"{TRIES} Ray actors, one after the other, died over rows {order.task.rows} of the input "
                    f"({str(error).splitlines()[0]}). Rows before these are done. If memory ran out, take fewer "
                    "workers on a machine; or else look for an odd text among these rows."
                )
            )
        elif error is not None or isinstance(answer, Exception):
            order.answer.set_exception(error or answer)
        else:
            order.answer.set_result(answer)
        with self._guard:
            if self._actors:
                self._free.append(actor)
        self._pair()


@dataclass
class _Order:
    task: Task
    answer: Future[Answer] = field(default_factory=Future)


class _Actor:
    """What runs in an actor: a worker, made at the first task, so that its errors come back as a task's."""

    def __init__(self, blueprint: Blueprint, device: str, threads: int) -> None:
        logging.getLogger("sentvec").setLevel(logging.ERROR)  # what loading says, the driver said already
        self._blueprint, self._device = blueprint, device
        self._worker: Worker | None = None
        self._making = threading.Lock()
        torch.set_num_threads(threads)
        os.environ["RAYON_NUM_THREADS"] = str(threads)  # the tokeniser's; read when it first runs

    def pid(self) -> int:
        return os.getpid()

    def encode(self, task: Task) -> Answer | Exception:
        try:
            with self._making:
                if self._worker is None:
                    self._worker = Worker(self._blueprint, self._device)
            return self._worker.encode(task, self._worker.tokenise(task))
        except Exception as error:
            return portable(error)


def encode_to(
    folder: str | os.PathLike[str],
    rows: Any,
    model: Embedder,
    *,
    workers: int = 2,
    device: str = "auto",
    gpus: float = 1,
    cpus: float = 1,
    text_column: str = "text",
    id_column: str | None = None,
    **options: Any,
) -> EncodeReport:
    """Encode a dataset of Ray Data, or any iterable of texts, into a folder; `Embedder.encode_to` on a cluster.

    Args:
        folder: where this process writes; other machines need not see it.
        rows: a `ray.data.Dataset`, read as a stream and in its order; or texts.
        model: see `RayWorkers`, as for `workers`, `device`, `gpus` and `cpus`.
        text_column: the dataset's column with the texts.
        id_column: the dataset's column with the ids; rows are numbered where not given.
        options: as for `Embedder.encode_to`.

    Raises:
        InvalidInput: the dataset has no such column, or no CPU would be left to read it; and all that
            `Embedder.encode_to` raises.
    """
    ray = _started()
    texts, ids = rows, options.pop("ids", None)
    if isinstance(rows, require("ray.data", extra="ray").Dataset):
        _leave_room(ray, workers, cpus)
        named, texted = tee(_stream(rows, text_column, id_column))  # read in step
        texts = (text for _, text in texted)
        ids = (name for name, _ in named) if id_column is not None else None
    with RayWorkers(model, workers, device=device, gpus=gpus, cpus=cpus) as pool:
        return model.encode_to(folder, texts, ids=ids, workers=pool, **options)


class Encoder:
    """A step for pipelines of one's own: ``dataset.map_batches(Encoder, fn_constructor_args=("BAAI/bge-small-en",))``.

    Adds a column of vectors to each batch. It keeps no order, writes no parts and resumes nothing; `encode_to` does.

    Args:
        name: the model, as for `Embedder.from_pretrained`, and so are the `settings`.
        text_column: the column with the texts.
        vector_column: the column to make.
        options: as for `Embedder.encode`.
        settings: precision, device and others.
    """

    def __init__(
        self,
        name: str,
        text_column: str = "text",
        vector_column: str = "vector",
        options: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self._model = Embedder.from_pretrained(name, **settings)
        self._columns = text_column, vector_column
        self._options = options or {}

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Encode one batch: columns as arrays in, the same with one more out."""
        source, target = self._columns
        texts: list[Text] = [str(text) for text in batch[source]]
        return batch | {target: self._model.encode(texts, progress=False, **self._options)}


def _started() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere unless somebody asks for it
    ray = require("ray", extra="ray")
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    return ray


def _check_fits(ray: ModuleType, asked: dict[str, float]) -> None:
    """Refuse an actor that no machine can hold, which would be waited for without end."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for kind, count in asked.items():
        most = max((machine.get(kind, 0) for machine in machines), default=0)
        # a cluster that has none of a kind may be about to grow; a machine by itself that has CPUs is all there is
        grows = most == 0 and not (len(machines) == 1 and machines[0].get("CPU", 0))
        if count > most and not grows:
            raise InvalidInput(
                f"each worker is to have {count:g} {kind}s, but no machine of the cluster has more than {most:g}. "
                f"Give fewer with {kind.lower()}s=, or take another device."
            )


def _leave_room(ray: ModuleType, workers: int, cpus: float) -> None:
    """Refuse what would wait for ever: Ray Data reads with CPUs, and waits, where actors hold all of them."""
    end = time.monotonic() + _PATIENCE
    while (free := ray.available_resources().get("CPU", 0)) < workers * cpus + 1:
        if time.monotonic() < end:  # what others held is given back with some delay
            time.sleep(0.1)
            continue
        raise InvalidInput(
            f"{workers} workers of {cpus:g} CPUs each, and 1 CPU to read the dataset, are more than the {free:g} that "
            "the cluster has free. Give fewer workers, or a part of a CPU for each, such as cpus=0.5."
        )


def _stream(dataset: Any, text_column: str, id_column: str | None) -> Iterator[tuple[Any, Any]]:
    columns = [text_column] if id_column is None else [text_column, id_column]
    has = dataset.columns() or []
    if absent := [name for name in columns if name not in has]:
        raise InvalidInput(f"the dataset has no column {absent[0]!r} (it has: {', '.join(has)}). Name the column.")
    dataset = dataset.select_columns(columns)
    dataset.context.execution_options.preserve_order = True  # or a run could not be gone on with
    for batch in dataset.iter_batches(batch_size=1024, batch_format="pyarrow"):
        texts = batch.column(text_column).to_pylist()
        yield from zip(batch.column(id_column).to_pylist() if id_column is not None else texts, texts, strict=True)
