"""`sentvec serve`: a model's name in, a server that runs until it is told to end out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sentvec.errors import InvalidInput


def serve(
    model: Annotated[str | None, typer.Argument(help="A folder, or a repository on the Hugging Face Hub.")] = None,
    host: Annotated[str | None, typer.Option(help="Where to listen. [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one. [8000]")] = None,
    collection: Annotated[str | None, typer.Option("--collection", "-c", help="For /search and /documents.")] = None,
    reranker: Annotated[str | None, typer.Option(help="A cross-encoder, for /rerank.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="TASK=MODEL, for the tasks' routes; several times.")] = None,
    served_name: Annotated[str | None, typer.Option(help="What clients call the model.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16, float16, int8 or auto. [float32]")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda … [auto]")] = None,
    processes: Annotated[int | None, typer.Option(help="That encode. [one for each core]")] = None,
    api_key: Annotated[
        str | None, typer.Option(help="Better in SENTVEC_API_KEY: others see arguments. Several with commas.")
    ] = None,
    cors: Annotated[str | None, typer.Option(help="Origins of web pages that may call; * is any. [none]")] = None,
    max_texts: Annotated[int | None, typer.Option(help="Most texts of a request. [2048]")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of a request. [300000]")] = None,
    max_body: Annotated[int | None, typer.Option(help="Most bytes of a request. [4194304]")] = None,
    max_requests: Annotated[int | None, typer.Option(help="Most requests at a time. [512]")] = None,
    queue_tokens: Annotated[int | None, typer.Option(help="Most tokens that wait. [524288]")] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds a request may wait for its turn. [60]")] = None,
    receive: Annotated[float | None, typer.Option(help="Seconds in which a request must arrive. [30]")] = None,
    drain: Annotated[float | None, typer.Option(help="Seconds to end requests after SIGTERM. [30]")] = None,
    no_truncate: Annotated[bool, typer.Option("--no-truncate", help="Refuse texts that are too long.")] = False,
    log_requests: Annotated[bool, typer.Option("--log-requests", help="A line for every request.")] = False,
    no_page: Annotated[bool, typer.Option("--no-page", help="Nothing at /.")] = False,
    local_files_only: Annotated[bool, typer.Option("--local-files-only", help="Never touch the network.")] = False,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
) -> None:
    """Serve a model over HTTP, for clients of OpenAI, text-embeddings-inference and bert-as-service.

    Every option is also a variable of the environment (SENTVEC_PORT) and a key of the file given with --config. SIGHUP
    loads the models again; SIGTERM answers what is under way and ends.
    """
    from sentvec.serve.settings import settings

    flags = {
        "model": model,
        "host": host,
        "port": port,
        "collection": collection,
        "reranker": reranker,
        "task": tuple(task or ()),
        "served_name": served_name,
        "precision": precision,
        "device": device,
        "processes": processes,
        "api_key": api_key,
        "cors": cors,
        "max_texts": max_texts,
        "max_tokens": max_tokens,
        "max_body": max_body,
        "max_requests": max_requests,
        "queue_tokens": queue_tokens,
        "deadline_s": deadline,
        "receive_s": receive,
        "drain_s": drain,
        "truncate": False if no_truncate else None,
        "log_requests": log_requests or None,
        "page": False if no_page else None,
        "local_files_only": local_files_only or None,
    }
    found = settings(flags, file=config)
    if not found.model:
        raise InvalidInput("name a model: sentvec serve MODEL, or SENTVEC_MODEL, or model in the file of --config.")
    from sentvec.serve.server import serve as run

    run(found)
