"""A model's name and files of examples in, a trained model in a folder out: the whole job in one call."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from sentvec.checkpoint.files import write_bytes
from sentvec.checkpoint.load import Checkpoint
from sentvec.errors import InvalidInput, MissingExtra
from sentvec.evaluate.find import Set, find_sets
from sentvec.evaluate.run import Settings, evaluate
from sentvec.runtime.embedder import Embedder
from sentvec.runtime.origin import Origin
from sentvec.train.batches import Dataset
from sentvec.train.card import Story, card
from sentvec.train.config import TrainConfig
from sentvec.train.loop import METRICS, RUN, Judge, Trained, check_folder, train
from sentvec.train.objectives import DEFAULTS, OBJECTIVES, Objective, names_for, objective
from sentvec.train.plot import picture, read_metrics
from sentvec.train.sampling import Sampler
from sentvec.train.step import EmbedderLearner
from sentvec.train.wrappers import adaptive_layers, matryoshka

_log = logging.getLogger("sentvec")

PICTURE = "training.png"


def train_embedder(
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
    """Train an embedder.

    Args:
        origin: the model, from `sentvec.runtime.origin.find`.
        datasets: examples; see `sentvec.train.read.read_dataset`.
        folder: where the model goes, with its card; and, under `run/`, settings, metrics and a state to go on from.
        config: settings.
        evaluate_on: a folder of sets that are scored during training; see `sentvec.evaluate.find.find_sets`.
        device: auto, cpu, cuda …
        resume: go on with the run in `folder`, if there is one.
        progress: see `sentvec.progress.track`.

    Raises:
        InvalidInput: a setting is not possible, a data set is of a kind that the loss does not learn from, or there
            are fewer examples than one batch needs.
        ModelError, OutputError, NonFiniteOutput: see `Embedder.from_pretrained` and `sentvec.train.loop.train`.
    """
    if not datasets:
        raise InvalidInput("there is no data to train on; give one data set or more.")
    check_folder(folder, resume, origin.folder)
    names = [config.loss or _default(one) for one in datasets]
    base = origin.load()
    width = base.recipe.width(base.encoder.config.hidden)
    objectives = [objective_for(name, one, config, width) for name, one in zip(names, datasets, strict=True)]
    judge = None if evaluate_on is None else _judge(find_sets(evaluate_on).sets)
    before = {} if judge is None else judge(origin.load())
    if before:
        _log.info("before training: %s", ", ".join(f"{name} {value:.4f}" for name, value in before.items()))
    learner = EmbedderLearner(base, objectives, config, device=device)
    source = Sampler(
        datasets,
        batch_size=config.batch_size,
        seed=config.seed,
        unique=config.unique,
        rank=learner.team.rank,
        world=learner.team.size,
    )
    for note in source.notes:
        _log.warning("%s", note)
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
    shown = _draw(folder, f"{origin.name}: {', '.join(dict.fromkeys(names))}")
    recipe = learner.checkpoint.recipe
    story = Story(
        base=origin.name,
        datasets=datasets,
        losses=names,
        config=config,
        steps=trained.steps,
        before=before,
        after=trained.scores,
        recipe=recipe,
        dim=width,
        picture=PICTURE if shown else None,
    )
    write_bytes(folder / "README.md", card(story).encode())
    return trained


def objective_for(name: str, dataset: Dataset, config: TrainConfig, width: int) -> Objective:
    """Build an objective for a data set.

    Args:
        name: as in `sentvec.train.objectives.OBJECTIVES`.
        dataset: what is learnt from; it tells the number of classes, where an objective asks for that.
        config: its options, and what it is wrapped in.
        width: features of a vector.

    Raises:
        InvalidInput: it does not learn from examples of this kind, or an option is not possible.
    """
    row = OBJECTIVES.get(name)
    known = {"dim": width, "classes": max(len(dataset.labels), 2)}
    needed = {} if row is None else {option: known[option] for option in row.needs if option in known}
    made = objective(name, **(needed | dict(config.loss_options)))
    if dataset.kind not in made.kinds:
        raise InvalidInput(
            f"loss {name!r} learns from {' or '.join(sorted(made.kinds))}, and {dataset.name} holds {dataset.kind}. "
            f"Losses for {dataset.kind}: {', '.join(names_for(dataset.kind))}. Or say what the columns are."
        )
    if config.matryoshka:
        made = matryoshka(made, (width, *config.matryoshka))
    return adaptive_layers(made, config.inner_layers) if config.inner_layers else made


def digest(datasets: Sequence[Dataset]) -> str:
    """Return a hash of all examples, so that a resumed run can tell that its data is what it was."""
    found = hashlib.sha256()
    for one in datasets:
        found.update(f"{one.name} {one.kind} {len(one)}".encode())
        for example in one.examples:
            found.update(repr((example.texts, example.value)).encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def _default(dataset: Dataset) -> str:
    if dataset.kind not in DEFAULTS:
        raise InvalidInput(f"{dataset.name} holds {dataset.kind}, for which no loss is the usual one; name one.")
    return DEFAULTS[dataset.kind]


def _judge(sets: Sequence[Set]) -> Judge[Checkpoint]:
    def judge(checkpoint: Checkpoint) -> dict[str, float]:
        embedder = Embedder(checkpoint, name="the model in training", device="cpu")
        report = evaluate(embedder, sets, settings=Settings(resamples=0), progress=False)
        scores = {f"{one.name} {one.main}": one.value for one in report.results}
        mean = sum(scores.values()) / len(scores)
        return scores if len(scores) == 1 else {"mean": mean} | scores

    return judge


def _draw(folder: Path, title: str) -> bool:
    try:
        write_bytes(folder / PICTURE, picture(read_metrics(folder / RUN / METRICS), title))
    except MissingExtra as error:
        _log.warning("no picture of the run: %s", error)
        return False
    return True
