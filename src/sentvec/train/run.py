"""A model's name and files of examples in, a trained model in a folder out: the whole job in one call."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sentvec.checkpoint.files import write_bytes
from sentvec.checkpoint.load import Checkpoint
from sentvec.errors import InvalidInput, MissingExtra
from sentvec.evaluate.find import Set, find_sets
from sentvec.evaluate.run import Settings, evaluate
from sentvec.runtime.checks import check
from sentvec.runtime.embedder import Embedder
from sentvec.runtime.origin import Origin
from sentvec.train.batches import Dataset
from sentvec.train.card import Learnt, Story, Use, card, embedding
from sentvec.train.chosen import losses_for, objective_for
from sentvec.train.config import TrainConfig, refuse
from sentvec.train.loop import METRICS, RUN, Judge, Trained, check_folder, train
from sentvec.train.plot import picture, read_metrics
from sentvec.train.remine import Remined, without_negatives
from sentvec.train.sampling import Sampler
from sentvec.train.step import EmbedderLearner
from sentvec.train.together import Team

_log = logging.getLogger("sentvec")

PICTURE = "training.png"


def train_embedder(
    origin: Origin,
    datasets: Sequence[Dataset],
    folder: Path,
    config: TrainConfig,
    *,
    evaluate_on: Path | None = None,
    documents: Sequence[str] | None = None,
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
        documents: where negatives are looked for again and again, with `mine_every`; None looks among all positives.
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
    refuse(config, ("teacher",), "for `sentvec.train.pupil.train_pupil`")
    check_folder(folder, resume, origin.folder)
    mined = config.mine_every is not None
    given = [without_negatives(one) for one in datasets] if mined else datasets
    if mined and not any(one.kind == "pairs" for one in given):
        raise InvalidInput("mine_every finds negatives for pairs, and no data set holds any; leave it out.")
    # those that get negatives are tuples by the time that they are learnt from
    learnt = [replace(one, kind="tuples") if mined and one.kind == "pairs" else one for one in given]
    losses = losses_for(learnt, config)
    base = origin.load()
    check(base)
    width = base.recipe.width(base.encoder.config.hidden)
    objectives = [
        objective_for(name, options, one, config, width, device=device, local_files_only=origin.local_files_only)
        for (name, options), one in zip(losses, learnt, strict=True)
    ]
    judge = None if evaluate_on is None else judge_of(find_sets(evaluate_on).sets)
    before = {} if judge is None else judge(origin.load())
    if before:
        _log.info("before training: %s", ", ".join(f"{name} {value:.4f}" for name, value in before.items()))
    learner = EmbedderLearner(base, objectives, config, device=device, origin=origin.name)
    source = sampler_of(given, config, learner.team)
    remined = Remined(source, config, folder / RUN, learner.team, documents=documents, device=device) if mined else None
    told = json.dumps(losses, sort_keys=True, default=lambda one: type(one).__qualname__)
    trained = train(
        learner,
        remined or source,
        folder,
        config,
        judge=judge,
        renew=None if remined is None else remined.renew,
        made_from={"model": origin.name, "data": digest(datasets), "losses": told},
        resume=resume,
        progress=progress,
    )
    recipe = learner.checkpoint.recipe
    use = embedding(recipe.max_seq_length, width, recipe.similarity)
    tell(origin, datasets, [name for name, _ in losses], config, trained, before, use)
    return trained


def tell(
    origin: Origin,
    datasets: Sequence[Dataset],
    losses: Sequence[str],
    config: TrainConfig,
    trained: Trained,
    before: Mapping[str, float],
    use: Use,
) -> None:
    """Put a picture of the run and a card beside a trained model.

    Args:
        origin: the model that was trained.
        datasets: what it was trained on.
        losses: the loss for each of these.
        config: settings.
        trained: how the run ended.
        before: scores of the model that was trained.
        use: what the model is for.
    """
    both = zip(datasets, losses, strict=True)
    tell_of(origin, [Learnt(one.name, one.kind, len(one), loss) for one, loss in both], config, trained, before, use)


def tell_of(
    origin: Origin,
    learnt: Sequence[Learnt],
    config: TrainConfig,
    trained: Trained,
    before: Mapping[str, float],
    use: Use,
) -> None:
    """Do what `tell` does, for what was learnt from whatever it was."""
    shown = _draw(trained.folder, f"{origin.name}: {', '.join(dict.fromkeys(one.loss for one in learnt))}", before)
    story = Story(
        base=origin.name,
        learnt=learnt,
        config=config,
        steps=trained.steps,
        before=before,
        after=trained.scores,
        use=use,
        picture=PICTURE if shown else None,
    )
    write_bytes(trained.folder / "README.md", card(story).encode())


def sampler_of(datasets: Sequence[Dataset], config: TrainConfig, team: Team) -> Sampler:
    """Return what gives a run its batches, and say what a user should know of them."""
    source = Sampler(
        datasets,
        batch_size=config.batch_size,
        seed=config.seed,
        unique=config.unique,
        rank=team.rank,
        world=team.size,
    )
    for note in source.notes:
        _log.warning("%s", note)
    return source


def digest(datasets: Sequence[Dataset]) -> str:
    """Return a hash of all examples, so that a resumed run can tell that its data is what it was."""
    found = hashlib.sha256()
    for one in datasets:
        found.update(f"{one.name} {one.kind} {len(one)}".encode())
        for example in one.examples:
            found.update(repr((example.texts, example.value)).encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def judge_of(sets: Sequence[Set]) -> Judge[Checkpoint]:
    """Return what scores an embedder on sets."""

    def judge(checkpoint: Checkpoint) -> dict[str, float]:
        embedder = Embedder(checkpoint, name="the model in training", device="cpu")
        report = evaluate(embedder, sets, settings=Settings(resamples=0), progress=False)
        scores = {f"{one.name} {one.main}": one.value for one in report.results}
        mean = sum(scores.values()) / len(scores)
        return scores if len(scores) == 1 else {"mean": mean} | scores

    return judge


def _draw(folder: Path, title: str, before: Mapping[str, float]) -> bool:
    try:
        write_bytes(folder / PICTURE, picture(read_metrics(folder / RUN / METRICS), title, before))
    except MissingExtra as error:
        _log.warning("no picture of the run: %s", error)
        return False
    return True
