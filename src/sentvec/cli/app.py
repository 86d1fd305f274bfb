"""The `sentvec` command: arguments in, one file per command called, exit code out."""

from __future__ import annotations

import logging
import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from sentvec import __version__
from sentvec.cli import encode, index, info, search, similarity
from sentvec.errors import SentvecError

app = typer.Typer(
    name="sentvec",
    help="Text to vectors with BERT-family encoders, and search over your own files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("encode")(encode.encode)
app.command("similarity")(similarity.similarity)
app.command("index")(index.index)
app.command("search")(search.search)
app.command("info")(info.info)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"sentvec {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what is decided on the way.")] = False,
) -> None:
    """Set up what all commands share: where log lines go."""
    del version
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s: %(message)s", level=logging.WARNING)
    logging.getLogger("sentvec").setLevel(logging.INFO if verbose else logging.WARNING)


def main() -> None:
    """Run the command line: errors become one line on stderr and exit code 1, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(encoding="utf-8")  # texts hold all kinds of letters, and files are read as UTF-8
    try:
        app()
    except SentvecError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe (head, say) left: not our fault. Python would complain at exit without this.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        typer.echo(f"error: {error.strerror or error}: {error.filename or ''}".rstrip(": "), err=True)
        sys.exit(1)
