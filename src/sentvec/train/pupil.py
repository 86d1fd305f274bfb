"""A model, a teacher and texts in; the model, or some of its layers, taught by the teacher, in a folder out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sentvec.checkpoint.load import Checkpoint
from sentvec.errors import InvalidInput
from sentvec.evaluate.find import find_sets
from sentvec.runtime.embedder import Embedder
from sentvec.runtime.origin import Origin, find
from sentvec.runtime.reranker import Reranker
from sentvec.train.batches import Batch, Dataset, Example, Kind
from sentvec.train.card import embedding
from sentvec.train.chosen import losses_for, objective_for
from sentvec.train.config import TrainConfig, refuse
from sentvec.train.distil import TaughtScores, TaughtVectors, shallow
from sentvec.train.imitate import LayerLearner
from sentvec.train.loop import Source, Trained, check_folder, train
from sentvec.train.run import digest, judge_of, sampler_of, tell
from sentvec.train.step import EmbedderLearner, Learner


def train_pupil(
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
    """Teach an embedder.

    Args:
        origin: the model that learns; `config.pupil_layers` are what is left of it.
        datasets: for vectors and layers, all their texts are learnt from; for scores, they are tuples.
        folder: where the model goes, with its card.
        config: `teacher`, `taught`, and the settings of any run.
        evaluate_on, device, resume, progress: as for `sentvec.train.run.train_embedder`.

    Raises:
        InvalidInput: a setting is not possible, or data is of a kind that such a teacher is not asked about.
        ModelError, OutputError, NonFiniteOutput: as for `train_embedder`; of the teacher too.
    """
    if config.teacher is None:
        raise InvalidInput("there is no teacher; name one, as teacher.")
    if not datasets:
        raise InvalidInput("there is no data to learn from; give one data set or more.")
    refuse(config, ("mine_every", "inner_layers"), "for a model without a teacher")
    check_folder(folder, resume, origin.folder)
    given = list(datasets) if config.taught == "scores" else [texts_of(one) for one in datasets]
    if config.taught == "scores" and (other := next((one for one in given if one.kind != "tuples"), None)):
        raise InvalidInput(
            f"a teacher scores queries with documents, and {other.name} holds {other.kind}; give a positive and "
            "negatives for each query."
        )
    pupil = origin.load()
    if config.pupil_layers:
        pupil = shallow(pupil, config.pupil_layers)
    width = pupil.recipe.width(pupil.encoder.config.hidden)
    learner, teacher = _begin(origin, pupil, config, width, given, device)
    judge = None if evaluate_on is None else judge_of(find_sets(evaluate_on).sets)
    before = {} if judge is None else judge(learner.copy())
    sampler = sampler_of(given, config, learner.team)
    source: Source[Batch] = sampler
    if isinstance(teacher, Embedder):
        source = TaughtVectors(sampler, teacher)
    elif isinstance(teacher, Reranker):
        source = TaughtScores(sampler, teacher)
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
    losses = [f"{config.taught} of {config.teacher}"] * len(datasets)
    use = embedding(pupil.recipe.max_seq_length, width, pupil.recipe.similarity)
    tell(origin, datasets, losses, config, trained, before, use)
    return trained


def texts_of(data: Dataset) -> Dataset:
    """Return each text of some data once, alone."""
    texts = dict.fromkeys(text for one in data.examples for text in one.texts)
    return replace(data, kind="texts", examples=[Example((text,)) for text in texts], labels=())


def _begin(
    origin: Origin, pupil: Checkpoint, config: TrainConfig, width: int, datasets: Sequence[Dataset], device: str
) -> tuple[Learner[Batch, Checkpoint], Embedder | Reranker | None]:
    """Return what learns, and a teacher that is asked for each batch; one of layers is a part of what learns."""
    assert config.teacher is not None
    found = find(config.teacher, local_files_only=origin.local_files_only)
    if config.taught == "layers":
        if any(name is not None for name, _ in config.losses(len(datasets))):
            raise InvalidInput("layers are learnt with losses of their own; leave loss out.")
        return LayerLearner(pupil, found.load(), config, device=device), None
    teacher: Embedder | Reranker
    widths: dict[str, int] = {}
    if config.taught == "scores":
        teacher = Reranker.from_pretrained(found.folder, device=device)
    else:
        teacher = Embedder(found.load(), name=found.name, device=device)
        widths = {} if teacher.dim == width else {"dim": width, "teacher_dim": teacher.dim}
    kind: Kind = "taught_scores" if config.taught == "scores" else "taught_vectors"
    learnt = [replace(one, kind=kind) for one in datasets]
    parts = [
        objective_for(name, widths | dict(options), one, config, width)
        for (name, options), one in zip(losses_for(learnt, config), learnt, strict=True)
    ]
    return EmbedderLearner(pupil, parts, config, device=device, origin=origin.name), teacher
