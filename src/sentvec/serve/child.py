"""A process that encodes for the server: rows in, their vectors, scores or findings out.

The server's own process never runs a model: a crash, a kill or a leak in here costs it a process, which is forked anew.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from sentvec.errors import InvalidInput, ModelError
from sentvec.inspect.capture import trace
from sentvec.inspect.why import explain_similarity
from sentvec.runtime.embedder import Embedder
from sentvec.runtime.engine import Array, Engine, Window
from sentvec.runtime.heap import give_back
from sentvec.runtime.jobs import state_job, vector_job
from sentvec.runtime.report import Truncation
from sentvec.runtime.reranker import Reranker
from sentvec.runtime.worker import main as serve_one
from sentvec.runtime.worker import nest as serve_many
from sentvec.serve.work import Loaded, Order, Work
from sentvec.tasks.pipeline import Task, pipeline

TIDY = 512
"""Orders after which freed memory goes back to the system."""

CROWDED = 64
"""Orders for which a process keeps to its own cores once several gave it less than one would have: something else wants
them, and threads that wait for each other at every step wait long for one that has no core."""


class Servant:
    """All models of a server, and what is done with them.

    Args:
        loaded: which models.
        device: where to put them.

    Raises:
        ModelError: one cannot be loaded, or the embedder is not the one that the server has.
    """

    def __init__(self, loaded: Loaded, device: str) -> None:
        where: dict[str, Any] = {"device": device, "local_files_only": loaded.local_files_only}
        self.embedder = Embedder.from_pretrained(
            loaded.model,
            precision=loaded.precision,
            pooling=loaded.pooling,
            max_seq_length=loaded.max_seq_length,
            revision=loaded.revision,
            **where,
        )
        if self.embedder.fingerprint != loaded.fingerprint:
            raise ModelError(f"{loaded.model} has changed while the server loaded it. Start the server again.")
        self.engine = Engine(self.embedder.tokenizer, self.embedder.recipe, self.embedder.device)
        self.reranker: Reranker | None = None
        if loaded.reranker is not None:
            self.reranker = Reranker.from_pretrained(loaded.reranker, precision=loaded.precision, **where)
        self.tasks: dict[str, Task] = {
            name: pipeline(name, model, precision=loaded.precision, truncate=True, **where)
            for name, model in loaded.tasks
        }
        self._orders = 0
        self._crowded = 0  # orders for which no more cores are taken

    def warm(self) -> None:
        """Make the embedder's weights ready for the processor, without a text: the tokeniser would start threads."""
        ids, _ = self.embedder.tokenizer.assemble([0, 0])
        self.encode(Order(Work("vectors"), [ids]), None)

    def tokenise(self, task: Order) -> None:
        """Do nothing: the server has done it."""

    def encode(self, task: Order, ready: object) -> Sequence[Any] | Array:
        """Run an order.

        Returns:
            As many results as rows: float32 arrays (dim,) or (tokens, hidden), numbers, or what the task gives.

        Raises:
            InvalidInput: a row cannot be used.
            NonFiniteOutput: a result holds NaN or infinity.
        """
        del ready
        self._orders += 1
        if self._orders % TIDY == 0:
            give_back()
        shared = task.shares > 1 and not self._crowded
        threads = task.threads * task.shares if shared else task.threads
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        begun, spent = time.perf_counter(), time.process_time()
        try:
            return self._done(task.work, list(task.rows))
        finally:
            if task.shares > 1:
                starved = shared and time.process_time() - spent < time.perf_counter() - begun
                self._crowded = CROWDED if starved else max(0, self._crowded - 1)

    def _done(self, work: Work, rows: list[Any]) -> Sequence[Any] | Array:
        match work.kind:
            case "vectors" | "states":
                return self._encoded(work, rows)
            case "scores":
                return self._scores(rows, work)
            case "task":
                return list(self._task(work)(rows, **dict(work.options)))
            case "view":
                return [self._view(work.name, row) for row in rows]

    def _encoded(self, work: Work, rows: list[Any]) -> Sequence[Array] | Array:
        model = self.embedder
        window = Window(0, rows, [[i] for i in range(len(rows))])
        report = Truncation(model.max_seq_length)
        if work.kind == "states":
            return self.engine.encode(window, state_job(model.encoder, prefix=""), report, _quiet)
        width = work.finish.dim or model.recipe.width(model.encoder.config.hidden)
        job = vector_job(model.encoder, model.recipe, work.finish, width=width, prefix="")
        return self.engine.encode(window, job, report, _quiet)

    def _task(self, work: Work) -> Any:
        task: Any = self.tasks[work.name]
        task.model.engine = replace(task.model.engine, whole=work.whole, left=work.left)
        return task

    def _scores(self, pairs: list[tuple[str, str]], work: Work) -> Sequence[float]:
        model = self.reranker
        assert model is not None, "the server asks for scores only where it has a reranker"
        if work.whole:
            for place, ids in enumerate(model.tokenizer.encode(pairs)):
                if len(ids) > model.max_seq_length:
                    raise InvalidInput(
                        f"text {place} has {len(ids)} tokens beside the query, but the model reads "
                        f"{model.max_seq_length}. Shorten it, or ask for truncation."
                    )
        scores: list[float] = model.score(pairs, raw=work.name == "raw", left=work.left, progress=False).tolist()
        return scores

    def _view(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Look inside the embedder, and return what a page draws."""
        if name == "why":
            found = explain_similarity(self.embedder, arguments["a"], arguments["b"])
            strongest = [asdict(pair) for pair in found.strongest()]
            told = {"score": found.score, "rows": found.rows, "columns": found.columns, "strongest": strongest}
            return told | {"matrix": np.round(found.matrix, 6).tolist()}
        seen = trace(self.embedder, arguments["text"], arguments["text_pair"])
        layers, heads = seen.attentions.shape[:2]
        layer, head = arguments["layer"], arguments["head"]
        if layer > layers or head > heads:
            raise InvalidInput(f"layer {layer}, head {head}: there are {layers} layers of {heads} heads.")
        chosen = seen.attentions[layer - 1]  # (heads, tokens, tokens)
        shown = chosen.mean(axis=0) if head == 0 else chosen[head - 1]
        told = {"tokens": seen.labels, "layers": layers, "heads": heads}
        return told | {"attention": np.round(shown.astype(np.float64), 4).tolist()}


def _quiet(steps: int, tokens: int = 0, *, label: str | None = None, note: str | None = None) -> None:
    """Show no progress."""


def main() -> None:
    """Load the models and serve one pipe."""
    serve_one(Servant)


def nest() -> None:
    """Load the models once and fork processes that serve a pipe each."""
    serve_many(Servant)
