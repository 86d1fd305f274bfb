"""A model's name and queries with documents in, a cross-encoder that learnt to order them in a folder out.

A cross-encoder reads a query and a document together (Nogueira & Cho 2019, arXiv 1901.04085). Losses of whole lists
need all scores of a batch at once, so scores take the path that vectors take: `sentvec.train.step.in_parts`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sentvec.batch import TokenIds, pack
from sentvec.checkpoint.headed import Headed, load_headed
from sentvec.errors import ConfigError, HeadNotFound, InvalidInput
from sentvec.evaluate.find import Set, find_sets
from sentvec.evaluate.rerank import Rerank, evaluate_reranker
from sentvec.evaluate.sts import Sts
from sentvec.ops.rank import spearman
from sentvec.runtime.engine import Engine
from sentvec.runtime.origin import Origin
from sentvec.runtime.plan import plan
from sentvec.runtime.prompts import prompt_of
from sentvec.runtime.reranker import TASK, Reranker
from sentvec.train.batches import Batch, Dataset
from sentvec.train.card import reranking
from sentvec.train.config import TrainConfig, refuse
from sentvec.train.heads import HeadLearner, limited, new_headed
from sentvec.train.loop import Judge, Trained, check_folder, train
from sentvec.train.rankings import ScoreLoss, as_lists, loss_for
from sentvec.train.run import digest, tell
from sentvec.train.sampling import Sampler
from sentvec.train.step import drawn_from, in_parts

_log = logging.getLogger("sentvec")

LABEL = "LABEL_0"
"""What transformers calls the one label of a reranker."""


class RerankLearner:
    """A cross-encoder, and a loss for each data set; see `sentvec.train.step.Learner`.

    Args:
        headed: a model with one logit for a pair; it is taken over, and changes in place.
        losses: one for each data set.
        config: number format, tokens at once.
        device: where.

    Attributes:
        encoder, extra, team: see `sentvec.train.step.Learner`.
    """

    def __init__(
        self, headed: Headed, losses: Sequence[ScoreLoss], config: TrainConfig, *, device: str = "auto"
    ) -> None:
        self._inner = HeadLearner(headed, config, device=device)
        self.encoder: nn.Module = self._inner.encoder
        self.extra: Mapping[str, nn.Module] = self._inner.extra
        self.team = self._inner.team
        self._checkpoint, (self._head,) = headed.checkpoint, headed.heads.values()
        self._losses, self._tokens = losses, config.micro_tokens
        self._engine = Engine(headed.checkpoint.tokenizer, headed.checkpoint.recipe, self._inner.device)

    def run(self, number: int, batch: Batch, scale: float, seed: int) -> float:
        """Add the gradient of `scale` times the loss of a batch of lists to all parameters, and return the loss."""
        queries, documents = batch.columns
        assert batch.owners is not None, "lists have owners"
        pairs = [(queries[i], text) for i, text in zip(batch.owners.tolist(), documents, strict=True)]
        rows = self._engine.tokenize(pairs, prompt_of(self._checkpoint.recipe))
        torch.manual_seed(drawn_from(seed, self.team.rank + 1))  # dropout differs between processes
        return in_parts(
            plan([len(row) for row in rows], self._tokens),
            lambda part: self._scores([rows[i] for i in part]),
            lambda found: self._learn(self._losses[number], found, batch, scale),
            torch.zeros(0, 1, device=self._inner.device),
        )

    def _scores(self, rows: Sequence[TokenIds]) -> Tensor:
        """Return the logits of pairs, (pairs, 1)."""
        packed = pack(rows, self._inner.device)
        logits: Tensor = self._head(self._inner.states(packed), packed, self._checkpoint.encoder)
        return logits

    def _learn(self, loss: ScoreLoss, found: Tensor, batch: Batch, scale: float) -> float:
        """Send the gradient of the loss of all processes' scores back into this one's."""
        (scores,), whole = self.team.gather([found], batch)
        value = loss(scores[:, 0], whole)
        torch.autograd.backward(value * scale)
        return float(value.detach())

    def count(self, batch: Batch) -> int:
        """Return how many pairs a batch has."""
        return len(batch.columns[1])

    def copy(self) -> Headed:
        """Return the model as it is, on the processor, ready to run."""
        return self._inner.copy()

    def save(self, folder: Path) -> None:
        """Write the model as sentence-transformers' CrossEncoder and transformers have it."""
        self._inner.save(folder)


def train_reranker(
    origin: Origin,
    datasets: Sequence[Dataset],
    folder: Path,
    config: TrainConfig,
    *,
    evaluate_on: Path | None = None,
    device: str = "auto",
    resume: bool = False,
    progress: bool | None = None,
) -> Trained:
    """Train a reranker.

    Args:
        origin: a reranker, which learns on, or an encoder, which gets a head for one score; from
            `sentvec.runtime.origin.find`.
        datasets: pairs with labels or scores, tuples, lists, or a teacher's scores; see
            `sentvec.train.read.read_dataset`.
        folder: where the model goes, with its card; and, under `run/`, settings, metrics and a state to go on from.
        config: settings; a batch has `batch_size` queries with all their documents.
        evaluate_on: a folder of sets that are scored during training: documents to rerank, or pairs with scores; see
            `sentvec.evaluate.find.find_sets`.
        device: auto, cpu, cuda …
        resume: go on with the run in `folder`, if there is one.
        progress: see `sentvec.progress.track`.

    Raises:
        InvalidInput: a setting is not possible, or a reranker cannot learn from a data set, or be scored on a set.
        ModelError, OutputError, NonFiniteOutput: see `Reranker.from_pretrained` and `sentvec.train.loop.train`.
    """
    if not datasets:
        raise InvalidInput("there is no data to train on; give one data set or more.")
    check_folder(folder, resume, origin.folder)
    refuse(
        config, ("matryoshka", "inner_layers", "prompts", "mine_every", "teacher"), "an embedder's; a reranker has none"
    )
    chosen = zip(config.losses(len(datasets)), datasets, strict=True)
    named = [loss_for(name, one, options) for (name, options), one in chosen]
    judge = None if evaluate_on is None else judge_of(find_sets(evaluate_on).sets)
    headed = begin(origin, config.seed)
    learner = RerankLearner(headed, [loss for _, loss in named], config, device=device)
    before = {} if judge is None else judge(learner.copy())
    source = Sampler(
        [as_lists(one) for one in datasets],
        batch_size=config.batch_size,
        seed=config.seed,
        unique=False,
        rank=learner.team.rank,
        world=learner.team.size,
    )
    trained = train(
        learner,
        source,
        folder,
        config,
        judge=judge,
        made_from={"model": origin.name, "data": digest(datasets)},
        resume=resume,
        progress=progress,
    )
    use = reranking(headed.checkpoint.recipe.max_seq_length)
    tell(origin, datasets, [name for name, _ in named], config, trained, before, use)
    return trained


def begin(origin: Origin, seed: int) -> Headed:
    """Load the model that is to learn: a reranker as it is, or an encoder with a new head.

    Args:
        origin: the model.
        seed: of a new head's weights.

    Raises:
        InvalidInput: the caller wants a pooling, which a reranker has not, or a length that cannot be.
        ModelError: see `sentvec.checkpoint.headed.load_headed`.
    """
    if "pooling" in origin.changes:
        raise InvalidInput("pooling is for embedders; a reranker's head reads what its architecture says.")
    try:
        headed = load_headed(origin.folder, TASK)
    except (HeadNotFound, ConfigError):  # an encoder alone, or an embedder
        headed = new_headed(origin.folder, TASK, (LABEL,), seed=seed)
    if len(headed.labels) != 1:
        _log.warning("%s has a head for %s; a new one with one score is put on.", origin.name, _few(headed.labels))
        headed = new_headed(origin.folder, TASK, (LABEL,), seed=seed)
    return limited(headed, origin.changes.get("max_seq_length"))


def _few(labels: Sequence[str]) -> str:
    return f"{len(labels)} labels ({', '.join(labels[:3])}{', …' if len(labels) > 3 else ''})"


def judge_of(sets: Sequence[Set]) -> Judge[Headed]:
    """Return what scores a reranker: MAP of documents to rerank, Spearman of pairs with scores.

    Raises:
        InvalidInput: a set is neither.
    """
    for one in sets:
        if not isinstance(one, Rerank | Sts):
            raise InvalidInput(
                f"{one.name} is a set for {type(one).__name__.lower()}; a reranker is scored on documents to rerank "
                '(JSON lines with "query", "positive" and "negative") and on pairs with scores.'
            )

    def judge(headed: Headed) -> Mapping[str, float]:
        model = Reranker(headed, name="the model in training", device="cpu")
        scores: dict[str, float] = {}
        for one in sets:
            if isinstance(one, Rerank):
                scores[f"{one.name} MAP"] = evaluate_reranker(one, lambda pairs: model.score(pairs, raw=True)).value
            elif isinstance(one, Sts):
                found = model.score(list(zip(one.left, one.right, strict=True)), raw=True)
                scores[f"{one.name} spearman"] = float(spearman(torch.from_numpy(found), torch.from_numpy(one.scores)))
        return scores if len(scores) == 1 else {"mean": sum(scores.values()) / len(scores)} | scores

    return judge
