"""`sentvec train`: a model and files of examples in; a model that learnt from them, its card and its log out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from sentvec.cli.common import Device, Offline, shown
from sentvec.errors import InvalidInput

if TYPE_CHECKING:
    from sentvec.runtime.origin import Origin
    from sentvec.train.batches import Kind
    from sentvec.train.config import TrainConfig
    from sentvec.train.loop import Trained


EMBEDDING, MASKED = "embedding", "masked-lm"
_TASK = (
    "embedding; or, with a head of its own: text-classification, regression, token-classification, "
    "question-answering; or masked-lm, on plain text."
)


def train(
    model: Annotated[str, typer.Option("--model", "-m", help="A folder, or a repository on the Hugging Face Hub.")],
    data: Annotated[list[str], typer.Option(help="A file or folder of examples; may be given again.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="The folder to save the trained model in.")],
    task: Annotated[str, typer.Option(help=_TASK)] = EMBEDDING,
    loss: Annotated[str | None, typer.Option(help="Name of the loss; else the usual one for the data.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings, as a run writes it.")] = None,
    evaluate_on: Annotated[
        Path | None, typer.Option("--eval", help="A folder of sets to score during training.")
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
    from sentvec.train.read import read_dataset
    from sentvec.train.report import describe
    from sentvec.train.run import train_embedder

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
    if output.exists() and not output.is_dir():
        raise InvalidInput(f"{output} is a file; give a folder to save to.")
    columns = {
        role: int(name) if name.isdigit() else name for role, name in (_named(c, "--column") for c in column or [])
    }
    datasets = []
    for source in data:
        datasets.append(
            read_dataset(source, kind=cast("Kind | None", kind), columns=columns or None, skip_bad=skip_bad)
        )
        typer.echo(shown(describe(datasets[-1])), err=True)
    origin = find(model, local_files_only=local_files_only, pooling=pooling, max_seq_length=max_seq_length)
    done = train_embedder(origin, datasets, output, chosen, evaluate_on=evaluate_on, device=device, resume=resume)
    _say(done)


def _say(done: Trained) -> None:
    scores = "".join(f"; {name} {value:.4f}" for name, value in done.scores.items())
    typer.echo(shown(f"{done.steps} steps in {done.seconds:.0f} s{scores}: {done.folder}"), err=True)


def _config(path: Path | None, given: dict[str, Any], settings: list[str]) -> TrainConfig:
    import json

    from sentvec.train.config import TrainConfig, read_config

    for one in settings:
        name, text = _named(one, "--set")
        try:
            given[name] = json.loads(text)
        except ValueError:
            given[name] = text  # a word
    if path is not None:
        return read_config(path, **given)
    try:
        return TrainConfig(**given)
    except TypeError as error:
        raise InvalidInput(f"--set names what is no setting ({str(error).rpartition('argument ')[2]}).") from None


def _named(text: str, option: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise InvalidInput(f"{option} is {text!r}; give it as name=value.")
    return name.strip().replace("-", "_"), value.strip()


def _with_head(
    task: str,
    origin: Origin,
    data: Path,
    output: Path,
    config: TrainConfig,
    held: Path | None,
    *,
    skip_bad: bool,
    **how: Any,
) -> Trained:
    from sentvec.train.tasks import Asked, read_documents, read_taught, train_head, train_masked

    if task == MASKED:
        if held is not None:
            raise InvalidInput("--task masked-lm is not scored during training; leave --eval away.")
        return train_masked(origin, read_documents(data), output, config, **how)
    taught = read_taught(task, data, skip_bad=skip_bad)
    labels = None if isinstance(taught, Asked) else taught.labels or None
    held_back = None if held is None else read_taught(task, held, labels, skip_bad=skip_bad)
    return train_head(origin, taught, output, config, held_back=held_back, **how)
