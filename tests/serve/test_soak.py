"""All kinds of clients at once for a while: mixed sizes, bad requests, dropped connections, bursts of more than there
is room for; memory stays, none hangs, none fails.

Twenty seconds here; `make soak-serve` takes three minutes, and SENTVEC_SOAK_S says how many seconds.
SENTVEC_SOAK_REPORT names a Markdown file for the figures, and SENTVEC_SOAK_MODEL another model than a tiny one.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.serve.running import Answer, Running, _children, serving
from tests.serve.test_engine import some_texts

SECONDS = float(os.environ.get("SENTVEC_SOAK_S", "20"))
SLOWEST = 60.0
ROOM = "12000"
"""Tokens that may wait: less than a burst has, and more than all others together."""

BURST, PAUSE_S = 16, 4.0
REFUSED_S = 1.0
"""Seconds in which half of all refusals must come: nobody waits for one, however busy this machine is."""

ABOUT = """`make soak-serve`: six clients with 1 to 30 texts of 1 to 250 words on three APIs, one that sends nonsense,
one that leaves in the middle, one that sends sixteen requests of sixty texts at once, one that asks for /health. There
may be no answer of 5xx, no request without an answer, and at most 5 % and 20 MiB between the two medians of memory."""


def resident(pid: int) -> int:
    """Return the memory that a process alone has, in MiB."""
    content = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^Private_\w+: +(\d+) kB", content, re.MULTILINE)) // 1024


def memory(server: Running) -> tuple[int, int, int]:
    """Return the memory of the server's own process, of the one that holds the models, and of those that encode."""
    nests = _children(server.process.pid)
    return resident(server.process.pid), sum(map(resident, nests)), sum(map(resident, server.children()))


class Clients:
    """What all kinds of clients saw."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.seen: Counter[int] = Counter()
        self.slowest = 0.0
        self.refusals: list[float] = []
        self.health: list[float] = []
        self.left = 0
        self.stop = threading.Event()
        self.troubles: list[str] = []
        self._guard = threading.Lock()

    def good(self, draw: random.Random) -> None:
        texts = some_texts(draw.randrange(1 << 30), draw.choice((1, 1, 1, 4, 30)))
        path, key = draw.choice((("/embed", "inputs"), ("/v1/embeddings", "input"), ("/encode", "texts")))
        answer = self.ask(path, {key: texts})
        if answer.status == 200 and draw.random() < 0.1:
            self.server.get("/metrics")

    def bad(self, draw: random.Random) -> None:
        body = draw.choice((b"{", b"\xff", b'{"inputs": ""}', b'{"inputs": [1, "a"]}', b'{"inputs": NaN}', b"[" * 5000))
        assert 400 <= self.ask(draw.choice(("/embed", "/v1/embeddings", "/rerank", "/nothing")), body).status < 500

    def leaving(self, draw: random.Random) -> None:
        body = json.dumps({"inputs": some_texts(draw.randrange(1 << 30), 30)}).encode()
        head = (
            b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        )
        whole = head % len(body) + body
        with contextlib.suppress(OSError):  # it leaves in the middle, and may be answered before that
            connection = self.server.raw(whole[: draw.choice((draw.randint(1, len(whole)), len(whole)))])
            time.sleep(draw.random() / 5)
            connection.close()
        self.left += 1

    def bursting(self, draw: random.Random) -> None:
        texts = [some_texts(draw.randrange(1 << 30), 60) for _ in range(BURST)]
        with ThreadPoolExecutor(BURST) as threads:
            found = list(threads.map(lambda one: self.ask("/embed", {"inputs": one}), texts))
        assert {one.status for one in found} <= {200, 429}
        self.stop.wait(PAUSE_S)

    def looking(self, draw: random.Random) -> None:
        begun = time.monotonic()
        assert self.server.get("/health").status == 200
        self.health.append(time.monotonic() - begun)
        self.stop.wait(draw.random())

    def ask(self, path: str, body: object) -> Answer:
        begun = time.monotonic()
        answer = self.server.post(path, body)
        seconds = time.monotonic() - begun
        with self._guard:
            self.slowest = max(self.slowest, seconds)
            self.seen[answer.status] += 1
            if answer.status == 429:
                assert int(answer.headers["retry-after"]) >= 1
                self.refusals.append(seconds)
        return answer

    def loop(self, work: Callable[[random.Random], None], seed: int) -> None:
        draw = random.Random(seed)
        while not self.stop.is_set():
            try:
                work(draw)
            except Exception as error:  # the test ends with it, in the thread that can fail
                self.troubles.append(repr(error))
                return


def emptied(server: Running) -> bool:
    """Say whether what clients asked for who have just left is soon forgotten."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        left = re.search(r"^te_queue_size (\d+)$", server.get("/metrics").content.decode(), re.MULTILINE)
        if left is not None and left[1] == "0":
            return True
        time.sleep(0.1)
    return False


def watched(server: Running) -> list[tuple[float, int, int, int]]:
    """Return the seconds and the memory at intervals, until the time is over."""
    begun = time.monotonic()
    found: list[tuple[float, int, int, int]] = []
    while (passed := time.monotonic() - begun) < SECONDS:
        found.append((passed, *memory(server)))
        time.sleep(min(10.0, SECONDS / 40))
    return found


def report(clients: Clients, samples: list[tuple[float, int, int, int]], early: float, late: float) -> str:
    """Write the figures down."""
    from benchmarks.machine import machine

    refusals, health = sorted(clients.refusals), sorted(clients.health)
    told = {
        "seconds": f"{SECONDS:g}",
        "model": os.environ.get("SENTVEC_SOAK_MODEL", "a tiny one"),
        "answers": ", ".join(f"{count:,} × {status}" for status, count in sorted(clients.seen.items())),
        "connections dropped by clients": f"{clients.left:,}",
        "longest answer": f"{clients.slowest:.2f} s",
        "429: median, 99th of 100, longest": ", ".join(f"{one:.3f} s" for one in _ranks(refusals)),
        "/health: median, 99th of 100, longest": ", ".join(f"{one:.3f} s" for one in _ranks(health)),
        "memory: median of the first and the last quarter after warming up": f"{early:.0f} MiB, {late:.0f} MiB",
    }
    lines = ["# A server that runs for long", "", ABOUT, "", "| what | figure |", "|---|---|"]
    lines += [f"| {name} | {figure} |" for name, figure in told.items()]
    lines += [
        "",
        "Private memory, MiB:",
        "",
        "| after, s | server | holds the models | encode |",
        "|---:|---:|---:|---:|",
    ]
    step = max(1, len(samples) // 12)
    lines += [f"| {at:.0f} | {own} | {nest} | {encode} |" for at, own, nest, encode in samples[::step]]
    return "\n".join([*lines, "", machine("uvicorn"), ""])


def _ranks(ordered: list[float]) -> tuple[float, ...]:
    return tuple(ordered[min(len(ordered) - 1, int(part * len(ordered)))] for part in (0.5, 0.99, 1)) if ordered else ()


def test_soak(tiny: Path) -> None:
    model = os.environ.get("SENTVEC_SOAK_MODEL") or tiny
    with serving(model, "--processes", "2", "--receive", "10", "--queue-tokens", ROOM) as server:
        clients = Clients(server)
        works = [clients.good] * 6 + [clients.bad, clients.leaving, clients.bursting, clients.looking]
        threads = [threading.Thread(target=clients.loop, args=(work, seed)) for seed, work in enumerate(works)]
        for thread in threads:
            thread.start()
        samples = watched(server)
        clients.stop.set()
        for thread in threads:
            thread.join(SLOWEST)
        hung = any(thread.is_alive() for thread in threads)
        before = next(sum(rest) for at, *rest in samples if at >= SECONDS / 2)
        after = sum(memory(server))
        # batches of all sizes have been seen after half of a short run and after a minute of a long one
        warm = [sum(rest) for at, *rest in samples if at >= min(60.0, SECONDS / 2)]
        quarter = max(1, len(warm) // 4)
        early, late = statistics.median(warm[:quarter]), statistics.median(warm[-quarter:])
        told = report(clients, samples, early, late)
        print(told)
        if path := os.environ.get("SENTVEC_SOAK_REPORT"):
            Path(path).write_text(told, encoding="utf-8")
        assert not hung
        assert clients.troubles == []
        assert clients.seen[200] > SECONDS
        assert max(clients.seen) < 500
        assert clients.slowest < SLOWEST
        assert clients.refusals, "nothing was refused, so that nothing is known of overload"
        assert statistics.median(clients.refusals) < REFUSED_S
        assert after < 1.1 * before + 30
        assert late <= 1.05 * early + 20  # flat: what an allocator takes now and then, and no more in an hour
        assert emptied(server)
        assert server.end() == 0
