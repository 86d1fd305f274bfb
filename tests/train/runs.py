"""Small runs of training for tests: batches made in code, a tiny model, a program that trains until it is killed."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from sentvec.checkpoint.load import Checkpoint, load
from sentvec.train.batches import Batch
from sentvec.train.config import TrainConfig
from sentvec.train.loop import Trained, train
from sentvec.train.objectives import objective
from sentvec.train.step import EmbedderLearner

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "dogs", "were", "not", "able", "to", "see", "it", "in", "time"]


def sentences(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 12))) for _ in range(count)]


def pairs(size: int, seed: int = 0) -> Batch:
    """Sentences, each with its words the other way round as its positive."""
    found = sentences(size, seed)
    return Batch("pairs", (tuple(found), tuple(" ".join(reversed(text.split())) for text in found)))


class Pairs:
    """Batches of pairs, shuffled anew in each epoch."""

    def __init__(self, size: int = 8, count: int = 6) -> None:
        self.size, self.count = size, count

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Batch]]:
        order = list(range(self.count))
        random.Random(epoch).shuffle(order)
        for number in order[start:]:
            yield 0, pairs(self.size, seed=number)

    def steps(self, epoch: int) -> int:
        return self.count


def learner(folder: Path, config: TrainConfig, loss: str = "infonce", **options: object) -> EmbedderLearner:
    return EmbedderLearner(load(folder), [objective(loss, **options)], config, device="cpu")


def go(
    model: Path,
    out: Path,
    *,
    judge=None,
    resume: bool = False,
    source=None,
    progress: bool | None = False,
    **settings: object,
) -> Trained:
    config = TrainConfig(**{"epochs": 3, "learning_rate": 1e-3, "save_every": 2} | settings)
    return train(
        learner(model, config),
        source or Pairs(),
        out,
        config,
        judge=judge,
        resume=resume,
        progress=progress,
        made_from={"data": "x"},
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load(folder).encoder.state_dict())


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    """Fail unless two sets of weights are equal, bit for bit."""
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


def length_score(checkpoint: Checkpoint) -> dict[str, float]:
    """A score that training changes: how long the first row of the word table is."""
    return {"length": float(checkpoint.encoder.embeddings.token_table.weight.detach().norm())}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("ready", flush=True)
    go(Path(sys.argv[1]), Path(sys.argv[2]), resume=True, epochs=int(sys.argv[3]), save_every=1)
