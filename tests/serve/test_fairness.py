"""What one request costs others and itself: long rows, slow searches, answers that nobody waits for."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.serve.running import Running, serving

from sentvec.serve.places import Place
from sentvec.serve.refusals import Refused

LIMITED = {"authorization": "Bearer limited"}
FREE = {"authorization": "Bearer free"}


@pytest.fixture(scope="module")
def busy(tiny: Path, heads: dict[str, Path], collection: Path) -> Iterator[Running]:
    """Return a server of one process with small batches that may not take long."""
    env = {
        "SENTVEC_STUCK_S": "4",
        "SENTVEC_BATCH_TOKENS": "64",
        "SENTVEC_DEADLINE_S": "2",
        "SENTVEC_API_KEY": "free",
        "SENTVEC_CLIENTS": json.dumps({"limited": {"key": "limited", "tokens": 40}}),
    }
    task = f"token-classification={heads['token-classification']}"
    with serving(tiny, "--processes", "1", "--task", task, "--collection", str(collection), env=env) as running:
        yield running


@contextmanager
def stopped(server: Running) -> Iterator[int]:
    """Hold up the process that encodes, as a slow machine does."""
    (child,) = server.children()
    os.kill(child, signal.SIGSTOP)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGCONT)


def test_a_row_of_many_windows_has_as_many_times_as_long(busy: Running) -> None:
    with ThreadPoolExecutor(1) as threads:
        with stopped(busy) as child:
            long = {"inputs": "the cat sat on the mat " * 200, "parameters": {"aggregation_strategy": "simple"}}
            waiting = threads.submit(busy.post, "/tasks/token-classification", long, **FREE)
            time.sleep(6)
        assert waiting.result().status == 200
    assert busy.children() == [child]
    assert not any("has not answered" in line for line in busy.lines)


def test_what_was_refused_before_anything_was_done_costs_nothing(busy: Running) -> None:
    many = {"inputs": ["the cat sat"] * 7}  # 35 tokens of 40
    with ThreadPoolExecutor(1) as threads:
        with stopped(busy):
            first = threads.submit(busy.post, "/embed", {"inputs": "the cat"}, **FREE)
            time.sleep(0.3)
            assert busy.post("/embed", many, **LIMITED).status == 429
        assert first.result().status == 200
    assert busy.post("/embed", many, **LIMITED).status == 200
    assert 'te_key_tokens{key="limited"} 35' in busy.get("/metrics", **FREE).content.decode()
    assert busy.post("/search", {"query": "the cat"}, **LIMITED).status == 200  # counted too
    assert 'te_key_tokens{key="limited"} 39' in busy.get("/metrics", **FREE).content.decode()


def test_slow_searches_hold_up_no_large_bodies(busy: Running) -> None:
    large = {"inputs": ["the cat sat"], "more": "a" * 100_000}
    assert busy.post("/search", {"query": "the cat"}, **FREE).status == 200
    with ThreadPoolExecutor(40) as threads:
        with stopped(busy):
            searches = [threads.submit(busy.post, "/search", {"query": f"cat {i}"}, **FREE) for i in range(40)]
            time.sleep(0.5)
            assert busy.post("/tokenize", large, **FREE).status == 200
            assert not any(one.done() for one in searches)
        assert {one.result().status for one in searches} <= {200, 429}


def test_a_search_ends_when_its_client_leaves(busy: Running) -> None:
    def dropped() -> bool:
        return 'te_request_failure{err="dropped"}' in busy.get("/metrics", **FREE).content.decode()

    assert not dropped()
    body = b'{"query": "the mat"}'
    head = f"POST /search HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer free\r\ncontent-length: {len(body)}\r\n"
    with ThreadPoolExecutor(1) as threads:
        with stopped(busy):
            first = threads.submit(busy.post, "/embed", {"inputs": "the cat"}, **FREE)
            time.sleep(0.3)
            made = busy.raw(head.encode() + b"content-type: application/json\r\n\r\n" + body)
            time.sleep(0.3)
            made.close()
            late = time.monotonic() + 2.5
            while not dropped():
                assert time.monotonic() < late
                time.sleep(0.1)
        assert first.result().status == 200


def test_a_place_has_so_many_threads_and_so_much_patience() -> None:
    go, seen = threading.Event(), []

    async def work() -> None:
        place = Place("test", 1, 0.2)
        slow = asyncio.create_task(place.run(lambda: go.wait(10)))
        await asyncio.sleep(0.05)
        with pytest.raises(Refused, match="too long for its turn"):
            await place.run(lambda: seen.append("called"))
        waiting = asyncio.create_task(place.run(lambda: seen.append("gone"), lambda: True))
        await asyncio.sleep(0.05)
        go.set()
        assert await slow
        with pytest.raises(Refused, match="left"):
            await waiting
        await place.run(lambda: seen.append("free again"))
        place.close()

    asyncio.run(work())
    assert seen == ["free again"]
