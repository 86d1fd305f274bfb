"""`sentvec encode`: texts in, a file or a folder of vectors out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentvec.cli.common import DEFAULT_MODEL, Device, Model, Offline, json_line, open_model
from sentvec.cli.output import Output, whole
from sentvec.cli.rows import Row, read_rows, read_texts
from sentvec.errors import InvalidInput
from sentvec.progress import counted

if TYPE_CHECKING:
    from sentvec.runtime.embedder import Embedder
    from sentvec.runtime.workers import Spread


_STORES = ("float32", "float16", "int8", "bits")


def encode(
    source: Annotated[
        Path | None, typer.Argument(help="A text, .jsonl, .csv, .tsv or .parquet file; - or none: stdin.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A .npy or .jsonl file, or a folder.")] = None,
    model: Model = DEFAULT_MODEL,
    field: Annotated[str, typer.Option(help="Field or column that holds the text.")] = "text",
    prompt: Annotated[str | None, typer.Option(help="Text to put in front of every text.")] = None,
    prompt_name: Annotated[str | None, typer.Option(help="Stored prompt to put in front of every text.")] = None,
    dim: Annotated[int | None, typer.Option(help="Keep this many features.")] = None,
    store: Annotated[str, typer.Option(help="File: keep numbers as float32, float16, int8 or bits.")] = "float32",
    precision: Annotated[str, typer.Option(help="float32, bfloat16, float16, int8 or auto.")] = "float32",
    device: Device = "auto",
    local_files_only: Offline = False,
    resume: Annotated[bool, typer.Option("--resume", help="Folder: go on where a run was stopped.")] = False,
    id_field: Annotated[str | None, typer.Option(help="Folder: field or column that holds the id.")] = None,
    file_format: Annotated[str, typer.Option("--format", help="Folder: parquet or npy.")] = "parquet",
    shard_rows: Annotated[int, typer.Option(help="Folder: rows of a part.")] = 32_768,
    workers: Annotated[int | None, typer.Option(help="Encode in this many processes (or Ray actors).")] = None,
    devices: Annotated[str | None, typer.Option(help="A process on each, such as cuda:0,cuda:1.")] = None,
    engine: Annotated[str, typer.Option(help="local, or ray: on the cluster at RAY_ADDRESS, or here.")] = "local",
) -> None:
    """Encode texts, one a line, into vectors.

    `.npy` holds one float32 array (texts, dim); `.jsonl`, which also goes to standard output, one object
    with "text" and "vector" a line. The output appears under its name only once it is complete. A name without an
    ending is a folder of parts, for any number of texts: finished parts survive a kill, and --resume goes on.
    --store int8 takes a byte for each feature, bits one for eight; both lose least after `sentvec fit rotation`.
    """
    _check_store(store, output)
    team = _Team(engine, workers, devices, device)
    options: dict[str, Any] = {"prompt": prompt, "prompt_name": prompt_name, "dim": dim}
    if store == "int8":
        options["normalize"] = True  # its one scale is for vectors of length one, whatever the model ends with
    if output is not None and not output.suffix:
        rows = read_rows(source, field, id_field)
        embedder = open_model(model, team.own, precision, local_files_only)
        with team.gathered(embedder) as spread:
            parts = {"file_format": file_format, "shard_rows": shard_rows, "resume": resume}
            _encode_to(output, embedder, rows, **parts, **options, workers=spread)
        return
    if resume or id_field is not None:
        raise InvalidInput(
            f"--resume and --id-field need a folder to write to, but -o is {output}; leave its ending away."
        )
    if output is not None:
        _check_output(output, source)
    texts = read_texts(source, field)
    embedder = open_model(model, team.own, precision, local_files_only)
    with team.gathered(embedder) as spread:
        options["workers"] = spread
        if output is None:
            _write_lines(None, _pairs(embedder, texts, store, options))
            return
        with whole(output) as file:
            if output.suffix == ".npy":
                count = _write_npy(file, embedder, texts, store, options)
            else:
                count = _write_lines(file, _pairs(embedder, texts, store, options))
    kept = "" if store == "float32" else f" as {store}"
    typer.echo(f"{counted(count, 'vector')} of {dim or embedder.dim} features{kept}: {output}", err=True)


@dataclass(frozen=True)
class _Team:
    """Who encodes: what was asked for, checked before the model is loaded."""

    engine: str
    workers: int | None
    devices: str | None
    device: str

    def __post_init__(self) -> None:
        if self.engine not in ("local", "ray"):
            raise InvalidInput(f"engine {self.engine!r} is not known. Known: local, ray.")
        if self.devices is not None and (self.workers is not None or self.engine == "ray"):
            raise InvalidInput(
                "--devices names a process for each device of this machine; leave --workers and --engine away, "
                "or leave --devices away."
            )

    @property
    def own(self) -> str:
        """Device of this process's own model, which only counts and compares where others encode."""
        return "cpu" if self.devices is not None or self.engine == "ray" else self.device

    @contextmanager
    def gathered(self, embedder: Embedder) -> Iterator[Spread]:
        if self.engine == "local":
            yield self.workers if self.devices is None else [name.strip() for name in self.devices.split(",")]
            return
        from sentvec.bulk.ray import RayWorkers

        with RayWorkers(embedder, 2 if self.workers is None else self.workers, device=self.device) as pool:
            yield pool


def _encode_to(folder: Path, embedder: Embedder, rows: Iterator[Row], **options: Any) -> None:
    named, texted = tee(rows)  # read in step, so that no more than one row is held
    ids = (number if name is None else name for number, (name, _) in enumerate(named))
    done = embedder.encode_to(folder, (text for _, text in texted), ids=ids, **options)
    before = f", {done.resumed} of them from before" if done.resumed else ""
    typer.echo(f"{counted(done.rows, 'vector')} in {counted(done.shards, 'part')}{before}: {folder}", err=True)


def _check_output(path: Path, source: Path | None) -> None:
    """Refuse, before hours of work, what could not be written after them."""
    if path.suffix not in (".npy", ".jsonl"):
        raise InvalidInput(f"{path}: vectors are written as .npy or .jsonl; the name must end in one of them.")
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder; give the name of a file.")
    if source is not None and source.exists() and path.exists() and path.samefile(source):
        raise InvalidInput(f"{path} is the file with the texts, which vectors would replace; give another name.")
    if not path.parent.is_dir():
        raise InvalidInput(f"{path}: there is no folder {path.parent}; make it first.")


def _check_store(store: str, output: Path | None) -> None:
    if store not in _STORES:
        raise InvalidInput(f"--store {store!r} is not known. Known: {', '.join(_STORES)}.")
    if store != "float32" and output is not None and not output.suffix:
        raise InvalidInput(f"a folder holds float32; with --store {store}, give -o a name that ends in .npy or .jsonl.")


def _write_npy(file: Output, embedder: Embedder, texts: Iterator[str], store: str, options: dict[str, Any]) -> int:
    import numpy as np

    from sentvec.index.compact import CODES

    codes = CODES[store](embedder.encode(texts, **options))
    np.save(file, codes)
    return len(codes)


def _pairs(
    embedder: Embedder, texts: Iterator[str], store: str, options: dict[str, Any]
) -> Iterator[tuple[str, list[float]]]:
    from sentvec.index.compact import CODES

    kept, encoded = tee(texts)  # no more is held than the encoder reads ahead
    for vectors in embedder.encode_stream(encoded, **options):
        yield from zip(islice(kept, len(vectors)), CODES[store](vectors).tolist(), strict=True)


def _write_lines(file: Output | None, pairs: Iterator[tuple[str, list[float]]]) -> int:
    count = 0
    for text, vector in pairs:
        if file is None:
            typer.echo(_line(text, vector))
        else:
            file.write(f"{_line(text, vector)}\n".encode())
        count += 1
    return count


def _line(text: str, vector: list[float]) -> str:
    # nine digits tell every float32 apart, and no more are needed
    numbers = ",".join(f"{x:.9g}" for x in vector)
    return f'{{"text": {json_line(text)}, "vector": [{numbers}]}}'
