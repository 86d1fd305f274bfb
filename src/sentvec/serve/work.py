"""What a process that encodes is told: what to load, and rows to run through it. Both travel between processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sentvec.runtime.forward import Finish

Kind = Literal["vectors", "states", "scores", "task", "view"]


@dataclass(frozen=True)
class Loaded:
    """Which models a process holds.

    Attributes:
        model: name or folder of the embedder.
        precision: its number format, resolved ("auto" is not).
        pooling: names of poolings, or None for the checkpoint's.
        max_seq_length: most tokens of a text, or None for the checkpoint's.
        fingerprint: what the embedder must have.
        reranker: name or folder of a cross-encoder, or None.
        tasks: (task's name, name or folder of a model) of each.
        local_files_only: never touch the network.
        revision: of the embedder.
    """

    model: str | Path
    precision: str
    pooling: tuple[str, ...] | None
    max_seq_length: int | None
    fingerprint: str
    reranker: str | None = None
    tasks: tuple[tuple[str, str], ...] = ()
    local_files_only: bool = False
    revision: str | None = None


@dataclass(frozen=True)
class Work:
    """What to do with rows. Rows of equal work may share a batch, whoever sent them.

    Attributes:
        kind: vectors and states: rows are `TokenIds`; scores: rows are (query, document); task: rows are the task's
            inputs; view: rows are dicts of arguments.
        finish: for vectors.
        name: which task or view, or "raw" for scores without the activation.
        whole: for scores and tasks: refuse texts that are too long, instead of cutting them.
        left: for scores and tasks: cut their beginnings, and not their ends.
        options: the task's arguments besides its inputs, as (name, value), in the order of names.
    """

    kind: Kind
    finish: Finish = field(default_factory=Finish)
    name: str = ""
    whole: bool = False
    left: bool = False
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Order:
    """Rows to be run together.

    Attributes:
        work: what is done.
        rows: the rows.
        threads: the process's own.
        shares: how many times as many it may take, because other processes are idle.
    """

    work: Work
    rows: Sequence[Any]
    threads: int = 1
    shares: int = 1
