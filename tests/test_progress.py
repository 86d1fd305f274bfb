"""A bar appears by itself and is taken away; elsewhere, log lines; never from a call after the end."""

from __future__ import annotations

import io
import sys

import pytest

from sentvec import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def timers(monkeypatch):
    """Timers that fire when the test calls them; returns (seconds, function) of each."""
    made = []

    class Timer:
        daemon = False

        def __init__(self, seconds, function):
            made.append((seconds, function))

        def start(self):
            pass

        cancel = start

    monkeypatch.setattr(progress.threading, "Timer", Timer)
    return made


@pytest.fixture
def on_terminal(monkeypatch):
    """Call it within the test, as pytest sets stderr between a fixture and its test."""

    def begin():
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        return stream

    return begin


def test_the_bar_appears_before_the_first_step(timers, on_terminal):
    terminal = on_terminal()
    with progress.track("Indexing", 10) as advance:
        ((seconds, appear),) = timers
        assert (seconds, terminal.getvalue()) == (2.0, "")
        appear()
        assert "Indexing" in terminal.getvalue() and "0/10" in terminal.getvalue()
        assert "left" in terminal.getvalue()
        advance(3)


def test_short_work_shows_nothing_even_if_the_timer_fires_late(timers, on_terminal):
    terminal = on_terminal()
    with progress.track("Indexing", 10) as advance:
        advance(10)
    timers[0][1]()
    assert terminal.getvalue() == ""


def test_an_error_takes_the_bar_away(timers, on_terminal):
    terminal = on_terminal()
    with pytest.raises(KeyboardInterrupt), progress.track("Indexing", 10, show=True):
        assert timers[0][0] == 0.0
        timers[0][1]()
        raise KeyboardInterrupt
    assert terminal.getvalue().rstrip().endswith("\x1b[2K")


def test_show_false_shows_nothing(timers, on_terminal):
    terminal = on_terminal()
    with progress.track("Indexing", 10, show=False) as advance:
        advance(1)
    assert (timers, terminal.getvalue()) == ([], "")
