"""A stream of texts in, vectors in the same order out, whoever encodes them: what all pools of workers share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from sentvec.checkpoint.recipe import Recipe
from sentvec.errors import InvalidInput
from sentvec.progress import track
from sentvec.runtime.engine import Array
from sentvec.runtime.report import Truncation
from sentvec.text.tokenizer import Text, checked

TASK_TEXTS = 1024
"""Texts of a task: enough that sending them costs nothing beside encoding them, few enough that a worker's death
costs little, that progress shows, and that the last tasks end at about the same time."""


@dataclass(frozen=True)
class Blueprint:
    """All that another process needs to make the same model.

    Attributes:
        name: as in `Embedder.name`, for machines that do not have the folder.
        folder: the model's files.
        precision: number format of the encoder.
        pooling: names of poolings.
        max_seq_length: most tokens of a text.
        fingerprint: what the model that was made must have.
    """

    name: str
    folder: Path
    precision: str
    pooling: tuple[str, ...]
    max_seq_length: int
    fingerprint: str


class Model(Protocol):
    """What workers need of a model; `Embedder` is one."""

    name: str
    folder: Path | None
    device: torch.device
    precision: str

    @property
    def recipe(self) -> Recipe:
        """Pooling, and the most tokens of a text."""

    @property
    def fingerprint(self) -> str:
        """What the workers' models must have too."""

    def save_pretrained(self, folder: str) -> None:
        """Write it, for workers to load."""


def blueprint_of(model: Model, folder: Path) -> Blueprint:
    """Describe a model whose files are in `folder`."""
    recipe = model.recipe
    found = (model.name, folder, model.precision, recipe.pooling, recipe.max_seq_length, model.fingerprint)
    return Blueprint(*found)


@dataclass(frozen=True)
class Task:
    """Texts that one worker encodes at once.

    Attributes:
        first: position of the first of them in the input.
        texts: the texts.
        options: prompt, prompt_name, dim and normalize, as for `Embedder.encode`.
    """

    first: int
    texts: list[Text]
    options: dict[str, Any]

    @property
    def rows(self) -> str:
        """Say which rows of the input these are."""
        return f"{self.first} to {self.first + len(self.texts) - 1}"


@dataclass
class Answer:
    """What a worker gives back for a task.

    Attributes:
        vectors: float32 (texts, dim).
        report: what was cut off.
        tokens: tokens that the encoder read.
    """

    vectors: Array
    report: Truncation
    tokens: int = field(default=0)


@runtime_checkable
class Pool(Protocol):
    """Workers that encode with one model: processes on this machine, or actors on many."""

    @property
    def depth(self) -> int:
        """How many tasks may be under way, or done and not yet fetched."""

    @property
    def blueprint(self) -> Blueprint:
        """The model that they encode with."""

    def submit(self, task: Task) -> Future[Answer]:
        """Begin a task, and return where its answer, or what it failed with, will be."""


def spread(
    texts: Iterable[Text],
    pool: AbstractContextManager[Pool],
    options: dict[str, Any],
    *,
    limit: int,
    progress: bool | None = None,
) -> Generator[Array, None, None]:
    """Encode a stream of texts with a pool.

    No more of the input is read than keeps the workers busy. What was read before the input broke, or before a text
    that is none, is encoded and given out before the error is raised, so that `encode_to` can keep it.

    Args:
        texts: the texts.
        pool: who encodes them; left when the stream ends, however it does.
        options: see `Task`.
        limit: the model's `max_seq_length`, for the report of what was cut off.
        progress: see `sentvec.progress.track`.

    Yields:
        float32 (rows, dim): the vectors of one task after another.

    Raises:
        InvalidInput, NonFiniteOutput: as for `Embedder.encode`; WorkerDied: see there.
    """
    total = len(texts) if isinstance(texts, Sequence) else None
    report = Truncation(limit)
    # a prompt may be of a class of the caller's own, which workers do not know
    options = {name: str.__str__(value) if isinstance(value, str) else value for name, value in options.items()}
    with pool as workers, track("Encoding", total, progress) as advance:
        for answer in in_order(_tasks(iter(texts), options), workers.submit, workers.depth):
            report.add(answer.report)
            advance(len(answer.vectors), tokens=answer.tokens)
            yield answer.vectors
    report.log()


def in_order(tasks: Iterator[Task], submit: Callable[[Task], Future[Answer]], depth: int) -> Iterator[Answer]:
    """Keep up to `depth` tasks under way, and give out their answers in the order of the tasks."""
    under_way: deque[Future[Answer]] = deque()
    broken: Exception | None = None
    more = True
    while more or under_way:
        while more and len(under_way) < depth:
            try:
                task = next(tasks, None)
            except Exception as error:
                task, broken = None, error
            if task is None:
                more = False
            else:
                under_way.append(submit(task))
        if under_way:
            yield under_way.popleft().result()
    if broken is not None:
        raise broken


def _tasks(source: Iterator[Text], options: dict[str, Any]) -> Iterator[Task]:
    first = 0
    while True:
        texts: list[Text] = []
        broken: Exception | None = None
        try:
            for text in islice(source, TASK_TEXTS):
                texts += checked([text], first + len(texts))
        except Exception as error:  # raised below, once the texts before it are on their way
            broken = error
        if texts:
            yield Task(first, texts, options)
        if broken is not None:
            raise broken
        if len(texts) < TASK_TEXTS:
            return
        first += len(texts)


def count_or_names(workers: object, names: Callable[[int], Sequence[str]]) -> list[str]:
    """Return the device of each worker, where `workers` is their number or these devices.

    Raises:
        InvalidInput: it is neither.
    """
    if isinstance(workers, int) and not isinstance(workers, bool) and workers >= 1:
        return list(names(workers))
    listed: list[object] = list(workers) if isinstance(workers, list | tuple) else []
    devices = [name for name in listed if isinstance(name, str)]
    if devices and len(devices) == len(listed):
        return devices
    raise InvalidInput(
        f"workers is {workers!r}; give a number of processes, 1 or more, or a list with the device of each, "
        "such as ['cuda:0', 'cuda:1']."
    )
