"""Data, an objective and a model in; the model, trained, in a folder, out."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from torch import nn

from sentvec.checkpoint.files import locked, released, write_bytes
from sentvec.errors import InvalidInput, NonFiniteOutput, OutputError
from sentvec.nn.descent import descend
from sentvec.nn.passes import passes
from sentvec.progress import Advance, track
from sentvec.runtime.fast import recompute
from sentvec.train.averages import Average
from sentvec.train.config import TrainConfig
from sentvec.train.lora import ADAPTERS, adapters_in
from sentvec.train.optim import adamw, depth_of, groups, layer_count, rate_factor, set_rates
from sentvec.train.state import Position, Stateful, cut_log, load_state, save_state
from sentvec.train.step import Learner, drawn_from
from sentvec.train.stopping import asked_to_stop

_logger = logging.getLogger("sentvec")

LOG_STEPS = 10
"""Steps between two lines of metrics.jsonl; fewer where a run has few."""

RUN = "run"
STATE, BEST, METRICS, CONFIG = "state.pt", "best.pt", "metrics.jsonl", "config.toml"

M = TypeVar("M")
B = TypeVar("B")
S_co = TypeVar("S_co", covariant=True)

Renew = Callable[[int, Callable[[], M]], None]
"""Called before a step with its number and what gives the model as it is: what batches are made of may change."""

Judge = Callable[[M], Mapping[str, float]]
"""Scores of a model as it is; the first is the one that counts, and more is better."""


class Source(Protocol[S_co]):
    """Where batches come from: see `sentvec.train.sampling.Sampler`."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[int, S_co]]:
        """Yield (number of the data set, batch) of an epoch from its `start`-th batch on."""

    def steps(self, epoch: int) -> int:
        """Return how many batches an epoch has."""


@dataclass(frozen=True)
class Trained:
    """How a run ended.

    Attributes:
        folder: where the model is.
        steps: optimiser steps.
        loss: mean loss of the last steps.
        scores: those of the model in the folder; none where nothing was evaluated.
        seconds: time that it took, this time.
    """

    folder: Path
    steps: int
    loss: float
    scores: Mapping[str, float]
    seconds: float


def train(
    learner: Learner[B, M],
    source: Source[B],
    folder: Path,
    config: TrainConfig,
    *,
    judge: Judge[M] | None = None,
    renew: Renew[M] | None = None,
    made_from: Mapping[str, str] | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> Trained:
    """Train a model.

    The first Ctrl-C ends the run after the step that it is in, with a state to go on from; the second ends it at once.

    Args:
        learner: the model; it changes in place.
        source: batches.
        folder: where the model goes, and, under `run/`, settings, metrics and the state to go on from.
        config: settings.
        judge: scores during training; the best model by its first score is what the folder gets.
        renew: called before each step.
        made_from: what the model and the data are, by what a message can call them, for `resume` to compare.
        resume: go on with the run in the folder, if there is one.
        progress: see `sentvec.progress.track`.

    Raises:
        OutputError: the folder has a run already and `resume` is False, one of something else, or one under way.
        NonFiniteOutput: the loss or a weight is NaN or infinite; the last good state stays.
        KeyboardInterrupt: it was stopped.
    """
    check_folder(folder, resume)
    for name in ("patience", "evaluate_every"):
        if judge is None and getattr(config, name) is not None:
            raise InvalidInput(
                f"{name} is {getattr(config, name)}, and nothing is scored. Say what should be (--eval), or leave it."
            )
    run = _Run(learner, source, folder, config, judge, renew, made_from or {})
    (folder / RUN).mkdir(parents=True, exist_ok=True)
    with locked(folder / RUN) if run.first else nullcontext():
        check_folder(folder, resume)  # once more, now that no other run can begin there
        return run.go(progress)


def check_folder(folder: Path, resume: bool, model: Path | None = None) -> None:
    """Refuse a folder that a run cannot go to, before hours of work.

    Raises:
        OutputError: it has a run already and `resume` is False, is no folder, or is that of the model to be trained.
    """
    if model is not None and folder.exists() and folder.samefile(model):
        raise OutputError(f"{folder} holds the model that is to be trained. Give another folder.")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; give a folder to save to.")
    if (folder / RUN / STATE).exists() and not resume:
        raise OutputError(f"{folder} holds a run already. Go on with it (--resume), or give another folder.")


class _Run(Generic[B, M]):
    """One run. See `train`."""

    def __init__(
        self,
        learner: Learner[B, M],
        source: Source[B],
        folder: Path,
        config: TrainConfig,
        judge: Judge[M] | None,
        renew: Renew[M] | None,
        made_from: Mapping[str, str],
    ) -> None:
        self.renew = renew
        self.learner, self.source, self.folder, self.config, self.judge = learner, source, folder, config, judge
        self.encoder = learner.encoder
        self.adapters = adapters_in(learner.extra, config)
        learning = self.encoder if self.adapters is None else self.adapters
        self.others = others = [module for module in learner.extra.values() if module is not self.adapters]
        if config.gradient_checkpointing:
            recompute(nn.ModuleList([self.encoder, *others]))
        self.layers = layer_count(name for name, _ in self.encoder.named_parameters())
        if config.freeze > self.layers:
            raise InvalidInput(f"freeze is {config.freeze}, but the encoder has {self.layers} layers.")
        self.optimizer = adamw(
            groups(
                learning,
                others,
                rate=config.learning_rate,
                head_rate=config.learning_rate if config.head_rate is None else config.head_rate,
                decay=config.weight_decay,
                layer_decay=config.layer_decay,
            )
        )
        settings = {name: json.dumps(value, sort_keys=True, default=str) for name, value in asdict(config).items()}
        settings.pop("data")  # where files are does not count; what is in them, the caller says
        self.average = None if config.ema is None else Average((learning, *others), config.ema)
        kept = {} if self.average is None else {"average": self.average}
        self.state = Stateful(
            {"encoder": self.encoder, **learner.extra, **kept}, self.optimizer, settings | dict(made_from)
        )
        self.passes = passes() if next(self.encoder.parameters()).device.type == "cpu" else None
        self.team = learner.team
        self.first = self.team.rank == 0  # it alone writes, and judges
        self.position = Position()
        self.total = self._total()
        self.every = next(every for every in (1, 2, 5, LOG_STEPS) if every * LOG_STEPS >= min(self.total, LOG_STEPS**2))
        self.texts, self.loss, self.idle = 0, 0.0, True  # of this process, of the last steps, of the first steps

    def go(self, progress: bool | None) -> Trained:
        begun = self.begun = time.perf_counter()
        run = self.folder / RUN
        known = self.team.first_says((run / STATE).exists())
        if known:
            self.position = load_state(run / STATE, self.state)
        if self.first:
            for left in run.glob(".*.pt.*"):  # by a process that was killed while it saved
                left.unlink(missing_ok=True)
            cut_log(run / METRICS, self.position.step)
            write_bytes(run / CONFIG, self.config.to_toml().encode())
        self._freeze()
        patience = self.config.patience
        ended = patience is not None and self.position.waited >= patience
        with track("Training", self.total, progress) as advance, asked_to_stop(self.team) as asked:
            advance(self.position.step)
            while self.position.step < self.total and not ended:
                ended = self._epoch(advance, asked)
        return self._finish(time.perf_counter() - begun)

    def _total(self) -> int:
        steps = sum(-(-self.source.steps(epoch) // self.config.accumulate) for epoch in range(self.config.epochs))
        return steps if self.config.max_steps is None else min(steps, self.config.max_steps)

    def _epoch(self, advance: Advance, asked: Callable[[], bool]) -> bool:
        """Run what is left of an epoch, and say whether the run should end early."""
        config, position = self.config, self.position
        here = self.source.steps(position.epoch)
        gathered: list[tuple[int, B]] = []
        self._renew()
        for found in self.source.batches(position.epoch, position.batch):
            gathered.append(found)
            if len(gathered) < config.accumulate and position.batch + len(gathered) < here:
                continue
            self._step(gathered)
            position.batch += len(gathered)
            gathered = []
            advance(1, note=self._note())
            last = position.step >= self.total
            due = last or self._due(config.evaluate_every, here)
            if due and self._evaluate() and not last:
                return True
            stop = asked() and not last
            if stop or (not last and self._due(config.save_every, here)):  # the last one is saved when all is done
                self._save(STATE)
            if stop:
                raise KeyboardInterrupt(
                    f"stopped after step {position.step} of {self.total}. Go on with --resume and the same settings."
                )
            if last:
                return False
            self._renew()
        position.epoch, position.batch = position.epoch + 1, 0
        return False

    def _renew(self) -> None:
        if self.renew is not None:
            self.renew(self.position.step, self.learner.copy)

    def _due(self, every: int | None, here: int) -> bool:
        return self.position.batch >= here if every is None else self.position.step % every == 0

    def _step(self, gathered: list[tuple[int, B]]) -> None:
        position, config = self.position, self.config
        set_rates(
            self.optimizer, rate_factor(config.schedule, position.step, self.total, round(config.warmup * self.total))
        )
        for turn, (number, batch) in enumerate(gathered):
            seed = drawn_from(config.seed, position.step, turn)
            loss = self.learner.run(number, batch, 1.0 / len(gathered), seed)
            if not abs(loss) < float("inf"):
                raise NonFiniteOutput(
                    f"the loss at step {position.step} (epoch {position.epoch}, batch {position.batch + turn}, of data "
                    f"set {number}) is {loss}. {self._advice()}"
                )
            position.loss += loss
            position.counted += 1
            count = self.learner.count(batch)
            position.texts, self.texts = position.texts + count, self.texts + count
        if config.adversary is not None:
            self._attack(gathered, config.adversary)
        # what objectives own has its whole gradient already, in each process
        own = ("objective", ADAPTERS)
        shared = [module for name, module in self.learner.extra.items() if not name.startswith(own)]
        self.team.add_up([self.encoder, *shared])
        if self.adapters is not None:
            self.adapters.pull()
        descend(self.optimizer, self.passes, longest=config.clip)
        self._push()
        if self.average is not None:
            self.average.follow()
        position.step += 1
        self.loss = position.loss / position.counted
        if position.step % self.every == 0 or position.step == self.total:
            self.idle = self.idle and position.loss == 0
            if self.idle and position.step == min(LOG_STEPS, self.total):
                _logger.warning(
                    "the loss is exactly 0, so nothing is learnt: batches may have one example each, or one class"
                )
            self._log({"loss": self.loss, "learning_rate": self._rate(), "texts": position.texts})
            position.loss, position.counted = 0.0, 0
        if config.unfreeze_every is not None and position.step % config.unfreeze_every == 0:
            self._freeze()

    def _rate(self) -> float:
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    def _note(self) -> str:
        speed = self.texts / max(time.perf_counter() - self.begun, 1e-9)
        return f"loss {self.loss:.3g}, rate {self._rate():.1e}, {speed:.0f} texts/s"

    def _attack(self, gathered: list[tuple[int, B]], length: float) -> None:
        """Learn once more from the batches, with word embeddings moved to where the loss grows."""
        table = self.encoder.get_submodule("embeddings").get_parameter("token_table.weight")
        if table.grad is None:  # they are frozen
            return
        norm = table.grad.norm()
        if not norm > 0:
            return
        before = table.detach().clone()
        with torch.no_grad():
            table.add_(table.grad, alpha=float(length / norm))
        objectives = [module for name, module in self.learner.extra.items() if name.startswith("objective")]
        for one in objectives:
            one.eval()  # a batch that is seen a second time is not to be remembered a second time
        for turn, (number, batch) in enumerate(gathered):
            seed = drawn_from(self.config.seed, self.position.step, turn)
            self.learner.run(number, batch, 1.0 / len(gathered), seed)
        for one in objectives:
            one.train()
        with torch.no_grad():
            table.copy_(before)

    def _freeze(self) -> None:
        """Hold still what does not learn yet. Frozen parameters have no gradient, so the optimiser passes them over."""
        thawed = 0 if self.config.unfreeze_every is None else self.position.step // self.config.unfreeze_every
        frozen = self.config.freeze - thawed
        if frozen == self.layers > 0 and not any(list(module.parameters()) for module in self.others):
            raise InvalidInput(f"freeze is {frozen}, which leaves nothing that could learn; freeze fewer layers.")
        for name, parameter in self.encoder.named_parameters():
            still = frozen > 0 and depth_of(name, self.layers) <= frozen
            parameter.requires_grad_(not still and (self.adapters is None or name in self.adapters.targets))

    def _evaluate(self) -> bool:
        """Score the model as it is, keep it if it is the best, and say whether there was none better for too long."""
        if self.judge is None:
            return False
        scores: Mapping[str, float] = {}
        if self.first:
            with self._averaged():
                scores = self.judge(self.learner.copy())
        scores = {name: float(value) for name, value in self.team.first_says(scores).items()}
        self._log({f"score/{name}": value for name, value in scores.items()})
        value, position = next(iter(scores.values())), self.position
        # a score that is no number is no best one
        if not math.isnan(value) and (position.best is None or value > position.best):
            position.best, position.scores, position.waited = value, scores, 0
            self._save(BEST)
        else:
            position.waited += 1
        return self.config.patience is not None and position.waited >= self.config.patience

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Let the model be that of the averages, inside."""
        if self.average is None:
            yield
            return
        with self.average.in_place():
            self._push()
            yield
        self._push()

    def _push(self) -> None:
        if self.adapters is not None:
            self.adapters.push()

    def _save(self, name: str) -> None:
        if not self.first:
            return
        for part, module in self.state.modules.items():
            for weight, value in module.named_parameters():
                if not bool(value.isfinite().all()):
                    raise NonFiniteOutput(
                        f"after step {self.position.step} the weights {part}.{weight} hold NaN or infinity. "
                        f"{self._advice()}"
                    )
        save_state(self.folder / RUN / name, self.state, self.position)

    def _advice(self) -> str:
        rate = self.config.learning_rate
        return (
            f"Lower the learning rate ({rate}), or look for texts or scores that cannot be. The last saved state stays."
        )

    def _log(self, content: Mapping[str, float]) -> None:
        if not self.first:
            return
        with (self.folder / RUN / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": self.position.step, "epoch": self.position.epoch} | dict(content)) + "\n")

    def _finish(self, seconds: float) -> Trained:
        self._save(STATE)
        if self.first:
            if (self.folder / RUN / BEST).exists():
                load_state(self.folder / RUN / BEST, self.state)
            with self._averaged():
                for module in self.state.modules.values():
                    module.eval()
                self.learner.save(self.folder)
            released(self.folder / RUN)
        self.team.first_says(None)  # none goes on before the folder is whole
        return Trained(self.folder, self.position.step, self.loss, self.position.scores, seconds)
