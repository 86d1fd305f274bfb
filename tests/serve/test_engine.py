"""The promises of the engine, on a server that runs: equal vectors whatever the mix, no request lost, none hung."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.builders import add_modules, tiny_bert
from tests.serve.running import Running, serving

if TYPE_CHECKING:
    from sentvec import Embedder

WORDS = ("a", "quick", "brown", "fox", "jumps", "over", "the lazy dog", "and", "今天", "天气", "很好", "3.14159", "we")


def some_texts(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.choice((1, 3, 8, 20, 60, 250)))) for _ in range(count)]


def test_vectors_equal_encode_bit_for_bit_whatever_the_mix(server: Running, minilm: Embedder) -> None:
    pool = some_texts(0, 50)
    expected = dict(zip(pool, minilm.encode(pool), strict=True))
    short = dict(zip(pool, minilm.encode(pool, dim=100), strict=True))

    def client(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(4):
            texts = draw.choices(pool, k=draw.choice((1, 1, 2, 11)))
            dim = draw.choice((None, None, 100))
            answer = server.post("/embed", {"inputs": texts, "dimensions": dim})
            assert answer.status == 200, answer.content
            wanted = expected if dim is None else short
            assert np.array_equal(np.array(answer.json, np.float32), np.array([wanted[text] for text in texts]))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(client, range(8)))


def test_a_killed_process_loses_no_request(server: Running) -> None:
    def client(seed: int) -> set[int]:
        return {server.post("/embed", {"inputs": some_texts(seed, 6)}).status for _ in range(3)}

    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(client, seed) for seed in range(4)]
        for _ in range(2):
            time.sleep(0.3)
            os.kill(random.choice(server.children()), signal.SIGKILL)
        assert [one.result() for one in waiting] == [{200}] * 4
    assert any("another takes its place" in line for line in server.lines)
    begun = time.monotonic()
    while len(server.children()) < 2:  # the one that was idle is missed when it is needed
        server.post("/embed", {"inputs": some_texts(1, 60)})
        assert time.monotonic() - begun < 30
    assert server.get("/health").status == 200


def test_one_bad_request_fails_alone(server: Running) -> None:
    good = {"inputs": ["a text"]}
    bad = b'{"inputs": ["\\ud800"]}'
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda body: server.post("/embed", body).status, [good, bad] * 12))
    assert found == [200, 422] * 12


def test_clients_that_leave_cost_nothing_and_hold_up_nobody(server: Running) -> None:
    body = b'{"inputs": [%s]}' % b",".join([b'"%s"' % (b"word " * 250)] * 60)
    request = b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    gone = [server.raw(request % len(body) + body) for _ in range(20)]
    time.sleep(0.3)
    for connection in gone:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    time.sleep(0.1)
    begun = time.monotonic()
    assert server.post("/embed", {"inputs": "a"}).status == 200
    assert time.monotonic() - begun < 10  # all twenty would take half a minute and more
    assert 'te_request_failure{err="dropped"}' in server.get("/metrics").content.decode()


@pytest.fixture(scope="module")
def small(tiny: Path) -> Iterator[Running]:
    """Return a server with little room."""
    room = {"SENTVEC_MAX_CONNECTIONS": "50", "SENTVEC_QUEUE_TOKENS": "300", "SENTVEC_STUCK_S": "10"}
    with serving(tiny, "--processes", "1", "--max-requests", "30", env=room) as running:
        yield running


class TestSmall:
    """In this order: the last test ends the server."""

    def test_overload_is_answered_at_once(self, small: Running) -> None:
        body = {"inputs": ["the cat sat on the mat " * 8] * 60}
        with ThreadPoolExecutor(24) as threads:
            answers = list(threads.map(lambda _: small.post("/embed", body), range(72)))
        assert {answer.status for answer in answers} == {200, 429}
        refused = [answer for answer in answers if answer.status == 429]
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert refused[0].json["error_type"] == "Overloaded"
        assert small.post("/embed", body).status == 200  # more than the queue's tokens, but nothing else is there

    def test_many_idle_connections_keep_nobody_out(self, small: Running) -> None:
        idle = [small.raw() for _ in range(300)]
        assert small.post("/embed", {"inputs": "the cat"}).status == 200
        for connection in idle:
            connection.close()

    def test_a_process_that_hangs_is_replaced(self, small: Running) -> None:
        (child,) = small.children()
        os.kill(child, signal.SIGSTOP)
        assert small.post("/embed", {"inputs": "the cat"}).status == 200
        assert small.children() != [child]

    def test_sigterm_drains(self, small: Running) -> None:
        with ThreadPoolExecutor(1) as threads:
            body = {"inputs": ["the cat sat on the mat " * 8] * 2000}
            waiting = threads.submit(small.post, "/embed", body)
            time.sleep(0.2)
            small.process.send_signal(signal.SIGTERM)
            answer = waiting.result()
        assert (answer.status, len(answer.json)) == (200, 2000)
        assert small.process.wait(60) == 0


def test_sighup_loads_again_without_a_failed_request(tmp_path: Path) -> None:
    folder = add_modules(tiny_bert(tmp_path / "model"), "Pooling", "Normalize")
    with serving(folder, "--processes", "1") as running:
        before = running.post("/embed", {"inputs": "the cat"}).json
        add_modules(tiny_bert(folder, seed=5), "Pooling", "Normalize")
        running.process.send_signal(signal.SIGHUP)
        seen = []
        while not any("models loaded again" in line for line in running.lines):
            answer = running.post("/embed", {"inputs": "the cat"})
            seen.append(answer.status)
            assert len(seen) < 20_000
        assert set(seen) == {200}
        after = running.post("/embed", {"inputs": "the cat"}).json
        assert after != before
        (folder / "config.json").write_text("{}")
        running.process.send_signal(signal.SIGHUP)
        while not any("serve on" in line for line in running.lines):
            time.sleep(0.1)
        assert running.post("/embed", {"inputs": "the cat"}).json == after
