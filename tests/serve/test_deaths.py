"""Processes that are killed and models that are loaded anew while clients ask: no request is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path

import pytest
from tests.builders import add_modules, tiny_bert
from tests.serve.running import Running, _children, serving

BACK_S = 2.0
"""Seconds in which the service must be back."""

CLIENTS = 6
BODIES = [json.dumps({"inputs": ["the cat sat on the mat"] * count}).encode() for count in (1, 1, 2, 20)]


class Load:
    """Clients that ask again and again over connections that stay open, and when they were answered."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.times: list[float] = []
        self.statuses: set[int] = set()
        self.troubles: list[str] = []
        self.stop = threading.Event()

    def client(self, seed: int) -> None:
        draw = random.Random(seed)
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            while not self.stop.is_set():
                connection.request("POST", "/embed", draw.choice(BODIES), {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                self.statuses.add(answer.status)
                self.times.append(time.monotonic())
        except Exception as error:  # the test ends with it, in the thread that can fail
            self.troubles.append(repr(error))
        finally:
            connection.close()

    def gap(self, begun: float, ended: float) -> float:
        """Return the longest time in which nobody was answered."""
        moments = [begun, *sorted(one for one in self.times if begun <= one <= ended), ended]
        return max(after - before for before, after in pairwise(moments))


@contextmanager
def loaded(server: Running) -> Iterator[Load]:
    """Let clients ask while the block runs; all of them must have been answered."""
    load = Load(server)
    threads = [threading.Thread(target=load.client, args=(seed,)) for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(load.times) > 20 or bool(load.troubles))
        yield load
    finally:
        load.stop.set()
        for thread in threads:
            thread.join(70)
    assert load.troubles == []
    assert load.statuses == {200}


def wait_until(true: Callable[[], object], seconds: float = 60) -> None:
    late = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < late
        time.sleep(0.01)


def replaced(server: Running, child: int) -> bool:
    """Say whether another process alone does what this one did."""
    try:
        found = server.children()
    except FileNotFoundError:  # one of them ended while we looked
        return False
    return len(found) == 1 and found != [child]


def spared(server: Running) -> bool:
    """Say whether one process holds the models, and a spare one as well."""
    nests = _children(server.process.pid)
    return len(nests) == 1 and len(server.spares(_children(nests[0]))) == 1


def loads(server: Running) -> int:
    return sum("models loaded again" in line for line in server.lines)


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    """Return a server with one process that encodes, so that nobody stands in for it, and its model's folder."""
    folder = add_modules(tiny_bert(tmp_path_factory.mktemp("model") / "tiny"), "Pooling", "Normalize")
    with serving(folder, "--processes", "1") as running:
        yield running, folder


def test_the_only_process_is_killed_again_and_again(lone: tuple[Running, Path]) -> None:
    server, _ = lone
    gaps = []
    with loaded(server) as load:
        quiet = time.monotonic()
        time.sleep(1)
        usual = load.gap(quiet, time.monotonic())
        for _ in range(5):
            (child,) = server.children()
            begun = time.monotonic()
            os.kill(child, signal.SIGKILL)
            wait_until(partial(replaced, server, child))
            there = len(load.times) + 4 * CLIENTS  # else a slow machine's request may meet three kills, and is given up
            wait_until(lambda there=there: len(load.times) > there or load.troubles)
            gaps.append(load.gap(begun, time.monotonic()))
    print(f"longest time without an answer: {max(gaps):.3f} s after a kill, {usual:.3f} s otherwise")
    assert max(gaps) < BACK_S
    assert server.get("/health").status == 200


def test_the_one_that_holds_the_models_is_killed_too(lone: tuple[Running, Path]) -> None:
    server, _ = lone
    gaps = []
    for _ in range(2):  # the second time, what took its place is killed
        with loaded(server) as load:
            wait_until(partial(spared, server))
            (nest,) = _children(server.process.pid)
            (child,) = server.children()
            begun = time.monotonic()
            for pid in (nest, child):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_until(partial(replaced, server, child))
            time.sleep(0.5)
            gaps.append(load.gap(begun, time.monotonic()))
    print(f"longest time without an answer: {max(gaps):.3f} s, by the memory of a spare")
    assert max(gaps) < BACK_S


def test_those_that_encode_serve_on_while_models_are_loaded_anew(lone: tuple[Running, Path]) -> None:
    server, _ = lone
    with loaded(server) as load:
        wait_until(partial(spared, server))
        (nest,) = _children(server.process.pid)
        (child,) = server.children()
        begun = time.monotonic()
        for pid in (*server.spares(_children(nest)), nest):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: any(one not in (nest, child) and _children(one) for one in _children(server.process.pid)))
        gap, seconds = load.gap(begun, time.monotonic()), time.monotonic() - begun
        print(f"longest time without an answer: {gap:.3f} s while models were loaded anew for {seconds:.1f} s")
        assert gap < BACK_S
        os.kill(child, signal.SIGKILL)
        wait_until(partial(replaced, server, child))
    assert len(_children(server.process.pid)) == 1  # who was adopted is not left behind as a zombie


def test_models_are_loaded_anew_under_load(lone: tuple[Running, Path]) -> None:
    server, folder = lone
    text = {"inputs": "the cat"}
    answers = [server.post("/embed", text).json]
    with loaded(server) as load:
        for seed in (5, 6):
            add_modules(tiny_bert(folder, seed=seed), "Pooling", "Normalize")
            begun = time.monotonic()
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda times=seed - 4: loads(server) == times)
            print(f"longest time without an answer: {load.gap(begun, time.monotonic()):.3f} s while loading anew")
            answers.append(server.post("/embed", text).json)
            assert len(_children(server.process.pid)) == 1  # what served before has gone
    assert len({json.dumps(one) for one in answers}) == 3
