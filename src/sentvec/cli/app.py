"""The `sentvec` command: arguments in, one file per command called, exit code out."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from types import FrameType
from typing import Annotated

import typer

from sentvec import __version__
from sentvec.cli import (
    cluster,
    compact,
    copy,
    dedupe,
    delete,
    encode,
    evaluate,
    fit,
    index,
    info,
    inspect,
    mine,
    mine_paraphrases,
    reencode,
    run,
    search,
    serve,
    similarity,
    snapshot,
    stats,
    train,
    verify,
)
from sentvec.cli.common import shown
from sentvec.errors import SentvecError

app = typer.Typer(
    name="sentvec",
    help="Text to vectors with BERT-family encoders, and search over your own files.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # as markup, "[[data]]" and "[float32]" are styles, and vanish from the help
    pretty_exceptions_enable=False,
)
app.command("encode")(encode.encode)
app.command("similarity")(similarity.similarity)
app.command("index")(index.index)
app.command("search")(search.search)
app.command("delete")(delete.delete)
app.command("compact")(compact.compact)
app.command("verify")(verify.verify)
app.command("stats")(stats.stats)
app.command("snapshot")(snapshot.snapshot)
app.command("copy")(copy.copy)
app.command("reencode")(reencode.reencode)
app.command("serve")(serve.serve)
app.command("info")(info.info)
app.command("evaluate")(evaluate.evaluate)
app.command("train")(train.train)
app.command("mine")(mine.mine)
app.command("run")(run.run)
app.command("fit")(fit.fit)
app.command("dedupe")(dedupe.dedupe)
app.command("mine-paraphrases")(mine_paraphrases.mine_paraphrases)
app.command("cluster")(cluster.cluster)
app.add_typer(inspect.app, name="inspect", help="Look inside a model: attention, similarity, layers, a map of texts.")


class _Stderr:
    """What is stderr at the moment: while a bar is shown, log lines go above it."""

    @staticmethod
    def write(text: str) -> int:
        """Write a text."""
        return sys.stderr.write(text)

    @staticmethod
    def flush() -> None:
        """Let what was written be seen."""
        sys.stderr.flush()


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
    logging.basicConfig(stream=_Stderr(), format="%(levelname)s: %(message)s", level=logging.WARNING)
    log = logging.getLogger("sentvec")
    log.addFilter(_cleaned)  # again and again it is the same one
    log.setLevel(logging.INFO if verbose else logging.WARNING)


def _cleaned(record: logging.LogRecord) -> bool:
    record.msg, record.args = shown(record.getMessage()), ()
    return True


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the command as an exception does, so that half-written files are taken away."""

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        sys.exit(128 + number)

    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    known = [getattr(signal, name) for name in names if hasattr(signal, name)]
    ours = [number for number in known if signal.getsignal(number) is signal.SIG_DFL]  # nohup ignores one on purpose
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def main() -> None:
    """Run the command line: errors become one line on stderr and exit code 1, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(encoding="utf-8")  # texts hold all kinds of letters, and files are read as UTF-8
    try:
        with _ended_by_signals():
            app()
    except SentvecError as error:
        typer.echo(f"error: {shown(str(error))}", err=True)
        sys.exit(1)
    except KeyboardInterrupt as error:
        typer.echo(shown(str(error) or "stopped"), err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe (head, say) left: not our fault. Python would complain at exit without this.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        typer.echo(shown(f"error: {error.strerror or error}: {error.filename or ''}".rstrip(": ")), err=True)
        sys.exit(1)
