"""What several commands share: options, opening a model, and text that cannot steer a terminal."""

from __future__ import annotations

import gc
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sentvec.runtime.embedder import Embedder

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"

Model = Annotated[str, typer.Option("--model", "-m", help="A folder, or a repository on the Hugging Face Hub.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
# controls (C0, DEL, C1), marks that turn the direction of text, and halves of characters
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

Offline = Annotated[bool, typer.Option("--local-files-only", help="Never touch the network.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@contextmanager
def imports() -> Iterator[None]:
    """Import torch without looking for garbage in it, then or later: that took a seventh of the way to a first vector.

    A command may do so, once. The package never does, for the collector is its user's.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def open_model(name: str, device: str = "auto", precision: str = "float32", offline: bool = False) -> Embedder:
    """Load a model; torch is imported here, and not before."""
    with imports():
        from sentvec.runtime.embedder import Embedder

    return Embedder.from_pretrained(name, device=device, precision=precision, local_files_only=offline)


def shown(text: str) -> str:
    r"""Return a text with everything escaped that could steer a terminal; names and prompts come from strangers.

    >>> shown("two\nlines, \x1b[2Jand none")
    'two\nlines, \\x1b[2Jand none'
    """
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    r"""Return a text for a place where a line or a tab ends it: `shown`, with line ends and tabs escaped as well.

    >>> one_line("two\nlines")
    'two\\nlines'
    """
    return shown(text).replace("\n", "\\n").replace("\t", "\\t")


def json_line(content: object) -> str:
    """Return JSON on one line, in which what could steer a terminal is escaped; it reads back as it was."""
    return escaped(json.dumps(content, ensure_ascii=False))


def escaped(text: str) -> str:
    """Return JSON in which what could steer a terminal is escaped; it reads back as it was."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
