"""`sentvec train`: a model and files of examples in; a model that learnt from them, its card and its log out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentvec.cli.common import Device, Offline, shown
from sentvec.errors import InvalidInput
from sentvec.progress import counted

if TYPE_CHECKING:
    from sentvec.runtime.origin import Origin
    from sentvec.train.batches import Dataset
    from sentvec.train.config import TrainConfig
    from sentvec.train.loop import Trained


EMBEDDING, RERANK, MASKED = "embedding", "rerank", "masked-lm"
_TASK = (
    "embedding; rerank, for a cross-encoder; with a head of its own: text-classification, regression, "
    "token-classification, question-answering; or masked-lm, on plain text."
)


def train(
    model: Annotated[str, typer.Option("--model", "-m", help="A folder, or a repository on the Hugging Face Hub.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="The folder to save the trained model in.")],
    data: Annotated[
        list[str] | None,
        typer.Option(help="A file or folder of examples; may be given again. Else [[data]] of --config."),
    ] = None,
    task: Annotated[str, typer.Option(help=_TASK)] = EMBEDDING,
    loss: Annotated[str | None, typer.Option(help="Name of the loss; else the usual one for the data.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings, as a run writes it.")] = None,
    evaluate_on: Annotated[
        Path | None,
        typer.Option("--eval", help="Scored during training: a folder of sets, or a file as --data for other heads."),
    ] = None,
    documents: Annotated[
        Path | None, typer.Option(help="Where mine_every looks: a text, .jsonl, .csv or .tsv file. Else all positives.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="How often all examples are seen.  [1]")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Most steps; else as many as the epochs have.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples of a batch.  [32]")] = None,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Highest learning rate.  [2e-5]")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16.  [float32]")] = None,
    seed: Annotated[int | None, typer.Option(help="All that is random is drawn from it.  [0]")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Any other setting, as name=value.")] = None,
    kind: Annotated[str | None, typer.Option(help="What examples are, where columns' names do not say it.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="What a column is, as role=name: query=question.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="Names of the classes in the order of their numbers, between commas.")
    ] = None,
    scores: Annotated[str | None, typer.Option(help="The lowest and the highest score that can be: 0,5.")] = None,
    pooling: Annotated[str | None, typer.Option(help="Use this pooling instead of the checkpoint's.")] = None,
    max_seq_length: Annotated[int | None, typer.Option(help="Most tokens of a text.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out rows that cannot be used.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    device: Device = "auto",
    local_files_only: Offline = False,
) -> None:
    """Train a model on your own examples.

    Examples are pairs, triples, scored or labelled pairs, labelled texts, or texts alone; columns are recognised by
    their names, and what was found is said before training begins. The folder holds the model, a card that says how it
    was made, settings, a log and a picture of the run; a run that was stopped goes on with --resume.
    """
    from sentvec.runtime.origin import find
    from sentvec.train.loop import RUN, STATE
    from sentvec.train.taught import TASKS

    if task not in (EMBEDDING, RERANK, MASKED, *TASKS):
        raise InvalidInput(f"--task {task!r} is not known. Known: {', '.join((EMBEDDING, RERANK, *TASKS, MASKED))}.")
    given = {
        "loss": loss,
        "epochs": epochs,
        "max_steps": max_steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "precision": precision,
        "seed": seed,
    }
    chosen = _config(config, {name: value for name, value in given.items() if value is not None}, settings or [])
    reading: dict[str, Any] = {
        "kind": kind,
        "columns": _columns(column or []) or None,
        "labels": None if labels is None else [name.strip() for name in labels.split(",")],
        "scores": None if scores is None else _range(scores),
        "skip_bad": skip_bad,
    }
    how: dict[str, Any] = {"device": device, "resume": resume}
    chosen = _with_data(chosen, data or [], reading)
    if documents is not None:
        if task != EMBEDDING or chosen.mine_every is None or chosen.teacher is not None:
            raise InvalidInput("--documents is where mine_every looks for negatives of embeddings; set mine_every too.")
        how["documents"] = _texts(documents)
    if task not in (EMBEDDING, RERANK) and pooling is not None:
        raise InvalidInput(f"--pooling is for embeddings; --task {task} has none. Leave it out.")
    try:
        if task in (EMBEDDING, RERANK):
            datasets = _datasets(chosen, reading)
            origin = find(model, local_files_only=local_files_only, pooling=pooling, max_seq_length=max_seq_length)
            done = _on_sets(task, origin, datasets, output, chosen, evaluate_on=evaluate_on, **how)
        else:
            origin = find(model, local_files_only=local_files_only, max_seq_length=max_seq_length)
            paths = [one.path for one in chosen.data]
            done = _with_head(task, origin, paths, output, chosen, evaluate_on, reading, **how)
    except KeyboardInterrupt as stop:  # typer would end without its words, which say how to go on
        left = (output / RUN / STATE).exists()  # the second Ctrl-C ends a run in the middle of a step
        usual = "stopped. The last state was kept: go on from it with --resume" if left else "stopped"
        typer.echo(shown(str(stop) or usual), err=True)
        raise typer.Exit(130) from None
    _say(done)


def _say(done: Trained) -> None:
    scores = "".join(f"; {name} {value:.4f}" for name, value in done.scores.items())
    typer.echo(shown(f"{counted(done.steps, 'step')} in {done.seconds:.0f} s{scores}: {done.folder}"), err=True)


def _config(path: Path | None, given: dict[str, Any], settings: list[str]) -> TrainConfig:
    import json

    from sentvec.train.config import TrainConfig, read_config, unknown_setting

    for one in settings:
        name, text = _named(one, "--set")
        try:
            given[name] = json.loads(text)
        except ValueError as error:
            if text.startswith(("{", "[")):
                raise InvalidInput(
                    f"--set {name} is {text[:60]!r}, which is no JSON ({error}). Write it between single quotes, as "
                    """--set 'mine={"first": 5}' or --set 'matryoshka=[256, 64]'."""
                ) from None
            given[name] = text  # a word
    if unknown := unknown_setting(given):
        raise InvalidInput(f"--set names {unknown}")
    return TrainConfig(**given) if path is None else read_config(path, **given)


def _named(text: str, option: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise InvalidInput(f"{option} is {text!r}; give it as name=value.")
    return name.strip().replace("-", "_"), value.strip()


def _columns(given: list[str]) -> dict[str, str | int]:
    named = (_named(one, "--column") for one in given)
    return {role: int(name) if name.isdigit() else name for role, name in named}


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise InvalidInput(f"--scores is {text!r}; give the lowest and the highest, as 0,5.") from None
    return low, high


def _with_data(config: TrainConfig, data: list[str], reading: dict[str, Any]) -> TrainConfig:
    """Put the data that is given in the place of that of the settings."""
    from dataclasses import replace

    from sentvec.train.config import DataConfig

    how = {"kind": reading["kind"], "columns": reading["columns"] or {}}
    given = tuple(DataConfig(path=one, **how) for one in data)
    if not (given or config.data):
        raise InvalidInput("there is no data to learn from; give --data, or a --config that lists [[data]].")
    return replace(config, data=given) if given else config


def _texts(path: Path) -> list[str]:
    from sentvec.cli.rows import read_texts

    return [text for text in read_texts(path, "text") if text.strip()]


def _datasets(config: TrainConfig, reading: dict[str, Any]) -> list[Dataset]:
    from sentvec.train.read import read_dataset
    from sentvec.train.report import describe

    found = []
    for one in config.data:
        own = {"kind": one.kind or reading["kind"], "columns": dict(one.columns) or reading["columns"]}
        found.append(read_dataset(one.path, **(reading | own)))
        typer.echo(shown(describe(found[-1])), err=True)
    return found


def _on_sets(task: str, origin: Origin, datasets: list[Dataset], output: Path, config: TrainConfig, **how: Any) -> Any:
    if task == RERANK:
        from sentvec.train.rerank import train_reranker

        return train_reranker(origin, datasets, output, config, **how)
    if config.teacher is not None:
        from sentvec.train.pupil import train_pupil

        return train_pupil(origin, datasets, output, config, **how)
    from sentvec.train.run import train_embedder

    return train_embedder(origin, datasets, output, config, **how)


def _with_head(
    task: str,
    origin: Origin,
    data: list[str],
    output: Path,
    config: TrainConfig,
    held: Path | None,
    reading: dict[str, Any],
    **how: Any,
) -> Trained:
    from sentvec.train.tasks import train_head, train_masked
    from sentvec.train.taught import labels_of, read_documents, read_taught, told

    if len(data) > 1:
        raise InvalidInput(f"--task {task} learns from one file, and there are {len(data)}; put them together.")
    path = Path(data[0])
    if task == MASKED:
        if held is not None:
            raise InvalidInput("--task masked-lm is not scored during training; leave --eval away.")
        return train_masked(origin, read_documents(path), output, config, **how)
    taught = read_taught(task, path, **reading)
    typer.echo(shown(told(taught, path.stem)), err=True)
    held_back = None if held is None else read_taught(task, held, **(reading | {"labels": labels_of(taught) or None}))
    return train_head(origin, taught, output, config, held_back=held_back, **how)
