"""Progress of long work: a count of steps in, a bar on a terminal or log lines elsewhere out; counts in words."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress

_log = logging.getLogger("sentvec")

BAR_AFTER_S = 2.0
LOG_EVERY_S = 10.0
_LABEL = 24  # letters of what a bar is called


class Advance(Protocol):
    """Called with the number of steps just done, and with the tokens in them where these are counted."""

    def __call__(self, steps: int, tokens: int = 0, *, label: str | None = None, note: str | None = None) -> None:
        """Count `steps` steps and `tokens` tokens as done, and from now on call the work `label` where one is given.

        A `note` of a few letters, what the work itself has to say of how it goes, stands in the place of its speed.
        """


def counted(number: int, thing: str) -> str:
    """Return a number with its thing.

    >>> counted(1, "row"), counted(2000, "row"), counted(0, "query")
    ('1 row', '2,000 rows', '0 queries')
    """
    many = f"{thing[:-1]}ies" if thing.endswith("ry") else f"{thing}s"
    return f"{number:,} {thing if number == 1 else many}"


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
        yield lambda steps, tokens=0, *, label=None, note=None: None
    elif sys.stderr.isatty():
        with _bar(label, total, after=0.0 if show else BAR_AFTER_S) as advance:
            yield advance
    else:
        yield _logged(label, total, every=LOG_EVERY_S, level=logging.WARNING if show else logging.INFO)


@dataclass
class _Display:
    """The bars of this process. A terminal has one cursor, so bars that are there at once share one display."""

    bars: Progress | None = None
    held: int = 0
    seen: bool = False


_display = _Display()
_guard = threading.RLock()  # a bar may end in the middle of another's beginning, when a signal ends the command


@contextmanager
def _bar(label: str, total: int | None, after: float) -> Iterator[Advance]:
    begun = time.monotonic()
    done = read = 0
    ended = False
    with _guard:
        if _display.bars is None:
            _display.bars = _bars()
        _display.held += 1
        bars = _display.bars
        task = bars.add_task(_cut(label), total=total, rate="", left="left" if total else "", visible=False)

    def appear() -> None:
        with _guard:
            if not ended:
                bars.update(task, visible=True)
                if not _display.seen:
                    bars.start()
                    _display.seen = True

    def advance(steps: int, tokens: int = 0, *, label: str | None = None, note: str | None = None) -> None:
        nonlocal done, read
        done, read = done + steps, read + tokens
        name = None if label is None else _cut(label)
        with _guard:
            if ended:
                return
        rate = _rate(done, read, time.monotonic() - begun) if note is None else note
        bars.update(task, advance=steps, description=name, rate=rate)

    # By a timer, not by the first step: that one alone may take long, and nothing would show that work goes on.
    timer = threading.Timer(after, appear)
    timer.daemon = True
    timer.start()
    try:
        yield advance
    finally:
        timer.cancel()
        with _guard:
            ended = True
            _display.held -= 1
            if _display.held:
                bars.remove_task(task)
            else:
                if _display.seen:
                    bars.stop()
                _display.bars, _display.seen = None, False


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    name, rate = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[rate]}")
    left = (TimeRemainingColumn(compact=True), TextColumn("{task.fields[left]}"))
    # the spinner moves during a step that takes minutes
    columns = (SpinnerColumn("line"), name, BarColumn(10), MofNCompleteColumn(), rate, *left)
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _cut(label: str) -> str:
    """Return the end of a long label, so that numbers beside it fit in 80 columns."""
    return label if len(label) <= _LABEL else f"…{label[1 - _LABEL :]}"


def _logged(label: str, total: int | None, every: float, level: int) -> Advance:
    called = label
    done = read = 0
    begun = last = time.monotonic()

    def advance(steps: int, tokens: int = 0, *, label: str | None = None, note: str | None = None) -> None:
        nonlocal done, read, last, called
        done, read, called = done + steps, read + tokens, label or called
        now = time.monotonic()
        if now - last >= every:
            last = now
            of = f" of {total}" if total is not None else ""
            rate = _rate(done, read, now - begun) if note is None else note
            left = f", {(total - done) * (now - begun) / done:.0f} s left" if total and done else ""
            _log.log(level, "%s: %d%s%s%s", called, done, of, rate and f", {rate}", left)

    return advance


def _rate(done: int, tokens: int, seconds: float) -> str:
    """Speed since the beginning; nothing for steps that take longer than a second each.

    >>> _rate(50, 1500, 2.0), _rate(50, 0, 2.0), _rate(1, 0, 60.0)
    ('25/s, 750 tokens/s', '25/s', '')
    """
    per = max(seconds, 1e-9)
    return ", ".join(
        f"{count / per:.0f}{what}" for count, what in ((done, "/s"), (tokens, " tokens/s")) if count >= per
    )
