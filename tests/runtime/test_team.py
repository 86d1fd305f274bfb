"""Batches run side by side, each once, and errors and other threads come through unharmed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from tests.builders import tiny_bert

from sentvec.runtime.team import _team, spread_over

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 50])
def test_every_batch_once(threads, count):
    found = list(spread_over(threads, range(count), lambda n: n * n))
    assert sorted(found) == [(n, n * n) for n in range(count)]


def test_side_by_side_and_no_further_ahead_than_needed():
    started = []
    both = threading.Barrier(2)

    def run(n):
        started.append(n)
        if n < 2:
            both.wait(timeout=10)
        return n

    stream = spread_over(2, range(100), run)
    next(stream)
    time.sleep(0.05)
    assert len(started) <= 4
    stream.close()


def test_threads_of_a_team_have_one_core_and_others_keep_theirs():
    before = torch.get_num_threads()
    counts = {n for _, n in spread_over(3, range(9), lambda _: torch.get_num_threads())}
    assert counts == {1}
    assert torch.get_num_threads() == before
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [before]


def test_an_error_comes_through_and_the_team_goes_on():
    def run(n):
        if n == 5:
            raise ValueError("five")
        return n

    with pytest.raises(ValueError, match="five"):
        list(spread_over(2, range(20), run))
    assert len(list(spread_over(2, range(20), lambda n: n))) == 20


def test_several_callers_share_a_team():
    results = {}

    def call(name):
        results[name] = sorted(r for _, r in spread_over(2, range(30), lambda n: (name, n)))

    callers = [threading.Thread(target=call, args=(name,)) for name in "abc"]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=30)
    assert {name: len(found) for name, found in results.items()} == {"a": 30, "b": 30, "c": 30}
    assert all(found == [(name, n) for n in range(30)] for name, found in results.items())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_makes_a_team_of_its_own():
    list(spread_over(2, range(4), lambda n: n))
    child = os.fork()
    if child == 0:
        os._exit(0 if _team.cache_info().currsize == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert _team.cache_info().currsize > 0


FORKING = """
import os, sys, torch
from sentvec import Embedder
torch.set_num_threads(2)
large = torch.ones(512, 512)
model = Embedder.from_pretrained(sys.argv[1], device="cpu")
large @ large  # torch's threads begin
child = os.fork()
if child == 0:
    large @ large
    model.encode("a cat")
    os._exit(torch.get_num_threads())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_process_forked_from_one_whose_threads_run_does_not_wait_for_them(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", FORKING, str(tiny_bert(tmp_path))]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, process_group=0) as parent:
        try:
            assert parent.wait(timeout=300) == 1
        finally:
            with suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)
