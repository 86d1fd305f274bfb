"""A bar appears by itself and is taken away; elsewhere, log lines; never from a call after the end."""

from __future__ import annotations

import io
import re
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


def lines(terminal):
    """Return what a terminal shows at the end: lines that were drawn over are gone."""
    shown, row = [""], 0
    for part in re.findall(r"\x1b\[\d*A|\x1b\[2K|\x1b\[[\d;?]*[a-zA-Z]|\r|\n|[^\x1b\r\n]+", terminal.getvalue()):
        if part.endswith("A") and part.startswith("\x1b"):
            row -= int(part[2:-1] or 1)
        elif part == "\x1b[2K":
            shown[row] = ""
        elif part == "\n":
            row += 1
            shown += [""] * (row + 1 - len(shown))
        elif part[0] not in "\x1b\r":
            shown[row] += part
    return [line for line in shown if line.strip()]


def test_a_bar_within_a_bar_has_a_line_of_its_own(timers, on_terminal):
    terminal = on_terminal()
    with progress.track("Sets", 2) as outer:
        with progress.track("Encoding", 10) as inner:
            for _, appear in timers:
                appear()
            outer(1, label="the second set, whose name is long")
            inner(10)
            progress._display.bars.refresh()
            first, second = lines(terminal)
            assert "second set, whose name is long"[-23:] in first and "1/2" in first
            assert "Encoding" in second and "10/10" in second
        progress._display.bars.refresh()
        (only,) = lines(terminal)
        assert "1/2" in only
    assert lines(terminal) == []


def test_a_call_after_the_end_is_passed_over(timers, on_terminal):
    on_terminal()
    with progress.track("Indexing", 10) as advance:
        pass
    advance(1)


def test_log_lines_call_the_work_by_its_new_name(monkeypatch, caplog):
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.0)
    caplog.set_level("INFO", logger="sentvec")
    with progress.track("Sets", 2) as advance:
        advance(1, label="second")
    assert caplog.messages[0].startswith("second: 1 of 2")


def test_a_note_stands_in_the_place_of_the_speed(timers, on_terminal, monkeypatch, caplog):
    terminal = on_terminal()
    with progress.track("Training", 10) as advance:
        timers[0][1]()
        advance(3, note="loss 0.25")
        progress._display.bars.refresh()
        (line,) = lines(terminal)
        assert "3/10" in line and "loss 0.25" in line and "/s" not in line
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.0)
    caplog.set_level("INFO", logger="sentvec")
    with progress.track("Training", 2) as advance:
        advance(1, note="loss 0.25")
    assert caplog.messages[0].startswith("Training: 1 of 2, loss 0.25, ")
