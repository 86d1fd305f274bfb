"""Batches of pairs in; the same with hard negatives that the model of the moment finds, every so many steps anew, out.

Negatives that a model found before it learnt are hard no longer (Xiong et al. 2021, ANCE, arXiv 2007.00808).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from sentvec.checkpoint.files import write_bytes
from sentvec.checkpoint.load import Checkpoint
from sentvec.errors import InvalidInput, OutputError
from sentvec.runtime.embedder import Embedder
from sentvec.train.batches import Batch, Dataset, Example
from sentvec.train.config import TrainConfig
from sentvec.train.mine import MineConfig, Mined, mine
from sentvec.train.sampling import Sampler
from sentvec.train.step import drawn_from
from sentvec.train.together import Team

_log = logging.getLogger("sentvec")

Pair = tuple[str, str]


class Remined:
    """Batches whose pairs have negatives of the moment; see `sentvec.train.loop.Source` and `Renew` there.

    The order of the pairs is that of the sampler, whatever is found, so a run can go on anywhere; and what was found
    is kept in files, so it goes on with the negatives that it had.

    Args:
        source: batches; those of pairs get negatives.
        config: `mine_every`, `mine`, prompts and seed.
        folder: where the files go, ``mined-STEP.jsonl``, as `sentvec mine` writes them.
        team: the processes; the first one searches.
        documents: where to look; None looks among all positives of a data set.
        device: where to encode.
    """

    def __init__(
        self,
        source: Sampler,
        config: TrainConfig,
        folder: Path,
        team: Team,
        *,
        documents: Sequence[str] | None = None,
        device: str = "auto",
    ) -> None:
        assert config.mine_every is not None
        self._source, self._config, self._folder, self._team = source, config, folder, team
        self._every, self._documents, self._device = config.mine_every, documents, device
        self._found: dict[Pair, tuple[str, ...]] = {}
        self._of: int | None = None

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Batch]]:
        """Yield (number of the data set, batch) of an epoch from its `start`-th batch on."""
        for number, batch in self._source.batches(epoch, start):
            yield number, self._with_negatives(batch) if batch.kind == "pairs" else batch

    def steps(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        return self._source.steps(epoch)

    def renew(self, step: int, model: Callable[[], Checkpoint]) -> None:
        """Look for negatives if it is time; a run that goes on reads those that were found before.

        Args:
            step: number of the step that comes next.
            model: gives the model as it is.

        Raises:
            InvalidInput: before the first step, no pair has a negative.
            OutputError: the file that a run goes on with is not there, or damaged.
        """
        due = step - step % self._every
        if due == self._of:
            return
        path = self._folder / f"mined-{due}.jsonl"
        rows: list[tuple[str, ...]] = []
        if self._team.rank == 0:
            if due == step:
                rows = self._look(step, model())
                lines = [json.dumps({"query": q, "pos": [p], "neg": n}, ensure_ascii=False) for q, p, *n in rows]
                write_bytes(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"))
            else:
                rows = _read(path)
        self._found = {(query, right): tuple(wrong) for query, right, *wrong in self._team.first_says(rows)}
        self._of = due

    def _look(self, step: int, model: Checkpoint) -> list[tuple[str, ...]]:
        # training puts its own prompts in front of texts, and none of the checkpoint's
        recipe = replace(model.recipe, prompts=dict(self._config.prompts), default_prompt=None)
        embedder = Embedder(replace(model, recipe=recipe), name="the model in training", device=self._device)
        config = MineConfig(**{"seed": drawn_from(self._config.seed, step)} | dict(self._config.mine))
        rows: list[tuple[str, ...]] = []
        for data in self._source.datasets:
            if data.kind == "pairs":
                mined = self._mined(embedder, data, config, step)
                rows += [] if mined is None else [one.texts for one in mined.dataset.examples]
        return rows

    def _mined(self, embedder: Embedder, data: Dataset, config: MineConfig, step: int) -> Mined | None:
        try:
            mined = mine(embedder, data, self._documents, config, progress=False)
        except InvalidInput as error:
            if step == 0:
                raise
            _log.warning("step %d: %s Learning goes on without.", step, error)
            return None
        _log.info("step %d: %s", step, str(mined).splitlines()[0])
        return mined

    def _with_negatives(self, batch: Batch) -> Batch:
        queries, positives = batch.columns
        found = [self._found.get(pair, ()) for pair in zip(queries, positives, strict=True)]
        counts = torch.tensor([len(some) for some in found], dtype=torch.int64)
        owners = torch.arange(len(found)).repeat_interleave(counts)
        return Batch("tuples", (queries, positives, tuple(text for some in found for text in some)), owners)


def without_negatives(data: Dataset) -> Dataset:
    """Return the pairs of tuples, for negatives to be found; other data as it is."""
    if data.kind != "tuples":
        return data
    return replace(data, kind="pairs", examples=[Example(one.texts[:2]) for one in data.examples])


def _read(path: Path) -> list[tuple[str, ...]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogatepass").split("\n")  # other signs end lines elsewhere
        rows = [json.loads(line) for line in lines if line]
        return [(row["query"], *row["pos"], *row["neg"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{path} holds the negatives that the run goes on with, and cannot be read ({error}). Begin a new run."
        ) from None
