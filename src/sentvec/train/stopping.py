"""Ctrl-C in; a word to the loop that it should stop after its step, out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from sentvec.train.together import Team


@contextmanager
def asked_to_stop(team: Team) -> Iterator[Callable[[], bool]]:
    """Yield what says whether somebody pressed Ctrl-C; in the middle of a step, weights are of no step.

    A second Ctrl-C is the usual one. Where several processes learn as one, or the caller has an answer of its own to
    Ctrl-C, or threads, all is left as it is.
    """
    asked = False
    here = threading.current_thread() is threading.main_thread()
    ours = here and team.size == 1 and signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        del frame
        asked = True
        signal.signal(number, signal.default_int_handler)

    if ours:
        signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
