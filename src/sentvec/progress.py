"""Progress of long work: a count of steps in, a bar on a terminal or log lines elsewhere out."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]
_log = logging.getLogger("sentvec")

BAR_AFTER_S = 2.0
LOG_EVERY_S = 10.0


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
        yield lambda _steps: None
    elif sys.stderr.isatty():
        with _bar(label, total, after=0.0 if show else BAR_AFTER_S) as advance:
            yield advance
    else:
        yield _logged(label, total, every=LOG_EVERY_S, level=logging.WARNING if show else logging.INFO)


@contextmanager
def _bar(label: str, total: int | None, after: float) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(label, total=total)
    begun = time.monotonic()
    started = False

    def advance(steps: int) -> None:
        nonlocal started
        if not started and time.monotonic() - begun >= after:
            bar.start()
            started = True
        bar.advance(task, steps)

    try:
        yield advance
    finally:
        if started:
            bar.stop()


def _logged(label: str, total: int | None, every: float, level: int) -> Advance:
    done = 0
    begun = last = time.monotonic()

    def advance(steps: int) -> None:
        nonlocal done, last
        done += steps
        now = time.monotonic()
        if now - last >= every:
            last = now
            of = f" of {total}" if total is not None else ""
            _log.log(level, "%s: %d%s, %.0f a second", label, done, of, done / (now - begun))

    return advance
