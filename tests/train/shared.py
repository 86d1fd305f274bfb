"""What each of several processes runs for test_together.py, started by torchrun."""

from __future__ import annotations

import atexit
import sys
from dataclasses import replace
from pathlib import Path

import torch
from tests.train.runs import Pairs, go, learner
from torch import distributed

from sentvec.train.config import TrainConfig


class Share(Pairs):
    """Each process's share of the batches."""

    def __init__(self, rank: int, of: int, **options: int) -> None:
        super().__init__(**options)
        self.rank, self.of = rank, of

    def batches(self, epoch, start=0):
        for number, batch in super().batches(epoch, start):
            count = len(batch)
            part = slice(count * self.rank // self.of, count * (self.rank + 1) // self.of)
            yield number, replace(batch, columns=tuple(column[part] for column in batch.columns))


def gradients(model: str, out: str, tokens: str) -> None:
    taught = learner(Path(model), TrainConfig(micro_tokens=int(tokens)))
    _, batch = next(Share(taught.team.rank, taught.team.size, size=7).batches(0))
    loss = taught.run(0, batch, 1.0, 1)
    taught.team.add_up([taught.encoder])
    grads = {name: p.grad for name, p in taught.encoder.named_parameters()}
    torch.save({"loss": loss, "grads": grads}, Path(out) / f"{taught.team.rank}.pt")


def rerank(model: str, out: str) -> None:
    from tests.train.test_rerank import rank_gradients

    taught, loss, grads = rank_gradients(Path(model))
    torch.save({"loss": loss, "grads": grads}, Path(out) / f"{taught.team.rank}.pt")


def run(model: str, out: str, adapters: str = "") -> None:
    import os

    source = Share(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    go(Path(model), Path(out), source=source, save_every=None, lora_rank=int(adapters) if adapters else None)


if __name__ == "__main__":
    # registered first, and so called last
    atexit.register(lambda: print(f"joined at the end: {distributed.is_initialized()}", flush=True))
    {"gradients": gradients, "rerank": rerank, "run": run}[sys.argv[1]](*sys.argv[2:])
