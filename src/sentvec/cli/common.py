"""What several commands share: options, and opening a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sentvec.runtime.embedder import Embedder

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"

Model = Annotated[str, typer.Option("--model", "-m", help="A folder, or a repository on the Hugging Face Hub.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Offline = Annotated[bool, typer.Option("--local-files-only", help="Never touch the network.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def open_model(name: str, device: str = "auto", precision: str = "float32", offline: bool = False) -> Embedder:
    """Load a model; torch is imported here, and not before."""
    from sentvec.runtime.embedder import Embedder

    return Embedder.from_pretrained(name, device=device, precision=precision, local_files_only=offline)
