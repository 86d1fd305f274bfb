"""Progress of long work: a count of steps in, a bar on a terminal or log lines elsewhere out."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_log = logging.getLogger("sentvec")

BAR_AFTER_S = 2.0
LOG_EVERY_S = 10.0


class Advance(Protocol):
    """Called with the number of steps just done, and with the tokens in them where these are counted."""

    def __call__(self, steps: int, tokens: int = 0) -> None:
        """Count `steps` steps and `tokens` tokens as done."""


@contextmanager
def track(label: str, total: int | None, show: bool | None = None) -> Iterator[Advance]:
    """Yield a function that is called with the number of steps just done.

    Args:
        label: what is being done, such as ``"Encoding"``.
        total: number of steps, or None where it is not known beforehand.
        show: None shows a bar on a terminal once the work has taken two seconds, and a log line
            (level INFO) every ten seconds elsewhere; True shows from the start; False shows nothing.
    """
    if show is False:
        yield lambda steps, tokens=0: None
    elif sys.stderr.isatty():
        with _bar(label, total, after=0.0 if show else BAR_AFTER_S) as advance:
            yield advance
    else:
        yield _logged(label, total, every=LOG_EVERY_S, level=logging.WARNING if show else logging.INFO)


@contextmanager
def _bar(label: str, total: int | None, after: float) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    left = (TimeRemainingColumn(), TextColumn("left"))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, *left)
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(label, total=total, rate="")
    begun = time.monotonic()
    done = read = 0
    started = ended = False
    guard = threading.Lock()

    def start() -> None:
        nonlocal started
        with guard:
            if not ended:
                bar.start()
                started = True

    def advance(steps: int, tokens: int = 0) -> None:
        nonlocal done, read
        done, read = done + steps, read + tokens
        bar.update(task, advance=steps, rate=_rate(done, read, time.monotonic() - begun))

    # By a timer, not by the first step: that one alone may take long, and nothing would show that work goes on.
    timer = threading.Timer(after, start)
    timer.daemon = True
    timer.start()
    try:
        yield advance
    finally:
        timer.cancel()
        with guard:
            ended = True
            if started:
                bar.stop()


def _logged(label: str, total: int | None, every: float, level: int) -> Advance:
    done = read = 0
    begun = last = time.monotonic()

    def advance(steps: int, tokens: int = 0) -> None:
        nonlocal done, read, last
        done, read = done + steps, read + tokens
        now = time.monotonic()
        if now - last >= every:
            last = now
            of = f" of {total}" if total is not None else ""
            left = f", {(total - done) * (now - begun) / done:.0f} s left" if total and done else ""
            _log.log(level, "%s: %d%s, %s%s", label, done, of, _rate(done, read, now - begun), left)

    return advance


def _rate(done: int, tokens: int, seconds: float) -> str:
    """Speed since the beginning.

    >>> _rate(50, 1500, 2.0), _rate(50, 0, 2.0)
    ('25/s, 750 tokens/s', '25/s')
    """
    per = max(seconds, 1e-9)
    return f"{done / per:.0f}/s" + (f", {tokens / per:.0f} tokens/s" if tokens else "")
