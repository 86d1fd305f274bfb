"""All kinds of clients at once for a while: mixed sizes, bad requests, dropped connections; memory stays, none hangs.

Twenty seconds here; `make soak-serve` takes three minutes, and SENTVEC_SOAK_S says how many seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.serve.running import Running, _children, serving
from tests.serve.test_engine import some_texts

SECONDS = float(os.environ.get("SENTVEC_SOAK_S", "20"))
SLOWEST = 60.0


def resident(pid: int) -> int:
    """Return the memory that a process alone has, in MiB."""
    content = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^Private_\w+: +(\d+) kB", content, re.MULTILINE)) // 1024


def memory(server: Running) -> int:
    nests = _children(server.process.pid)
    return sum(resident(pid) for pid in (server.process.pid, *nests, *server.children()))


class Clients:
    """What all kinds of clients saw."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.seen: Counter[int] = Counter()
        self.slowest = 0.0
        self.stop = threading.Event()
        self.troubles: list[str] = []

    def good(self, draw: random.Random) -> None:
        texts = some_texts(draw.randrange(1 << 30), draw.choice((1, 1, 1, 4, 30)))
        path, key = draw.choice((("/embed", "inputs"), ("/v1/embeddings", "input"), ("/encode", "texts")))
        answer = self.ask(path, {key: texts})
        if answer == 200 and draw.random() < 0.1:
            self.server.get("/metrics")

    def bad(self, draw: random.Random) -> None:
        body = draw.choice((b"{", b"\xff", b'{"inputs": ""}', b'{"inputs": [1, "a"]}', b'{"inputs": NaN}', b"[" * 5000))
        self.ask(draw.choice(("/embed", "/v1/embeddings", "/rerank", "/nothing")), body)

    def leaving(self, draw: random.Random) -> None:
        body = json.dumps({"inputs": some_texts(draw.randrange(1 << 30), 30)}).encode()
        head = (
            b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        )
        whole = head % len(body) + body
        with contextlib.suppress(OSError):
            connection = self.server.raw(whole[: draw.randint(1, len(whole))])
            time.sleep(draw.random() / 5)
            connection.close()

    def ask(self, path: str, body: object) -> int:
        begun = time.monotonic()
        status = self.server.post(path, body).status
        self.slowest = max(self.slowest, time.monotonic() - begun)
        self.seen[status] += 1
        return status

    def loop(self, work: Callable[[random.Random], None], seed: int) -> None:
        draw = random.Random(seed)
        while not self.stop.is_set():
            try:
                work(draw)
            except Exception as error:
                self.troubles.append(repr(error))
                return


def test_soak(tiny: Path) -> None:
    with serving(tiny, "--processes", "2", "--receive", "10") as server:
        clients = Clients(server)
        works = [clients.good] * 6 + [clients.bad, clients.leaving]
        threads = [threading.Thread(target=clients.loop, args=(work, seed)) for seed, work in enumerate(works)]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS / 2)  # batches of all sizes have been seen by then
        before = memory(server)
        time.sleep(SECONDS / 2)
        clients.stop.set()
        for thread in threads:
            thread.join(SLOWEST)
        after = memory(server)
        print(f"{clients.seen}, slowest {clients.slowest:.2f} s, {before} MiB then {after} MiB")
        assert not any(thread.is_alive() for thread in threads)
        assert clients.troubles == []
        assert clients.seen[200] > SECONDS
        assert max(clients.seen) < 500
        assert clients.slowest < SLOWEST
        assert after < 1.1 * before + 30
        left = re.search(r"^te_queue_size (\d+)$", server.get("/metrics").content.decode(), re.MULTILINE)
        assert left is not None
        assert left[1] == "0"
        assert server.end() == 0
