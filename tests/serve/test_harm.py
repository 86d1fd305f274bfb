"""Clients that mean harm, and very many that do nothing: they are refused or cut, and others are served meanwhile."""

from __future__ import annotations

import contextlib
import gzip
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serve.running import Running, serving
from tests.serve.test_limits import read
from tests.serve.test_soak import memory

from sentvec.errors import InvalidInput
from sentvec.serve.server import _bound, _listen
from sentvec.serve.settings import Settings

IDLE = 10_000
SLOW = 200
PATIENCE_S = 5.0
"""Most seconds for one small request, whatever others do: it takes milliseconds on a machine that is free."""

HEAD = b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
GOOD = {"inputs": "the cat sat"}


@pytest.fixture(scope="module")
def wide(tiny: Path) -> Iterator[Running]:
    """Return a server with the usual limits, but for its connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < IDLE + 500:
        pytest.skip(f"this system lets a process have {hard} files open, and {IDLE + 500} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with serving(tiny, "--processes", "1", "--receive", "120", env={"SENTVEC_MAX_CONNECTIONS": "11000"}) as running:
            yield running
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def slowest(server: Running, times: int = 20) -> float:
    """Return the seconds of the slowest of some small requests, each on a connection of its own."""
    found = 0.0
    for _ in range(times):
        begun = time.monotonic()
        assert server.post("/embed", GOOD).status == 200
        found = max(found, time.monotonic() - begun)
    return found


def test_ten_thousand_idle_connections_and_slow_senders(wide: Running) -> None:
    usual, before = slowest(wide), sum(memory(wide))
    idle: list[socket.socket] = []
    stop = threading.Event()

    def dribble(slow: list[socket.socket]) -> None:
        while not stop.wait(0.2):
            for one in slow:
                one.send(b"a")

    try:
        idle += [wide.raw() for _ in range(IDLE - SLOW)]
        idle += [wide.raw(HEAD + b"x-a: ") for _ in range(SLOW)]
        thread = threading.Thread(target=dribble, args=(idle[-SLOW:],))
        thread.start()
        arrived = slowest(wide, 1)  # when all others have been let in
        crowded = slowest(wide)
        each = 1024 * (sum(memory(wide)) - before) / IDLE
        stop.set()
        thread.join()
        for one in (idle[0], idle[IDLE // 2], idle[-SLOW - 1]):  # they are there, and any of them may speak yet
            one.sendall(HEAD + b"content-length: 18\r\nconnection: close\r\n\r\n" + b'{"inputs": "a cat"}'[:18])
            assert read(one).startswith(b"HTTP/1.1 ")
    finally:
        stop.set()
        for one in idle:
            one.close()
    print(f"slowest of twenty: {usual:.3f} s alone, {crowded:.3f} s among {IDLE:,}, which take {each:.1f} KiB each")
    print(f"the first one after they came: {arrived:.3f} s")
    assert crowded < PATIENCE_S
    assert each < 64
    assert slowest(wide) < PATIENCE_S


class TestBodies:
    def test_bombs_are_not_unpacked(self, wide: Running) -> None:
        bomb = gzip.compress(b'{"inputs": "' + bytes(100_000_000) + b'"}')
        before = memory(wide)[0]
        for coding in ("gzip", "deflate", "br", "zstd", "gzip, gzip"):
            assert wide.post("/embed", bomb, content_encoding=coding).status == 415, coding
        layered = HEAD + b"transfer-encoding: gzip, chunked\r\nconnection: close\r\n\r\n"
        connection = wide.raw(layered + b"%x\r\n%s\r\n0\r\n\r\n" % (len(bomb), bomb))
        assert read(connection)[9:10] in (b"4", b"5")  # 501 would be the word for it
        assert memory(wide)[0] < before + 50

    @pytest.mark.parametrize("unit", ["[", '{"inputs":', '[{"a":'])
    def test_a_hundred_thousand_inside_each_other(self, wide: Running, unit: str) -> None:
        for body in (unit * 100_000, '{"inputs": ' + unit * 100_000):
            answer = wide.post("/embed", body.encode())
            assert answer.status in (400, 422), answer.content
        assert slowest(wide, 3) < PATIENCE_S

    def test_texts_without_end_cost_little(self, wide: Running) -> None:
        body = {"inputs": "the cat " * 500_000}
        assert wide.post("/embed", body).status == 200
        before = memory(wide)[0]
        begun = time.monotonic()
        assert wide.post("/embed", body).status == 200
        print(f"a text of four megabytes: {time.monotonic() - begun:.3f} s, {memory(wide)[0] - before} MiB more")
        assert memory(wide)[0] < before + 40
        refused = wide.post("/tokenize", body)
        assert (refused.status, "more tokens" in refused.json["error"]) == (422, True)
        assert memory(wide)[0] < before + 80
        assert slowest(wide, 3) < PATIENCE_S

    def test_chunks_without_end(self, wide: Running) -> None:
        connection = wide.raw(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        sent, chunk = 0, b"10000\r\n" + b" " * 65536 + b"\r\n"
        try:
            while sent < 1 << 27:
                sent += connection.send(chunk)
        except OSError:
            pass
        assert sent < 1 << 25  # four megabytes are the most, and the system holds some
        found = read(connection)
        assert found[:12] in (b"HTTP/1.1 413", b"")  # what was sent meanwhile may have reset the connection

    def test_chunks_of_one_byte(self, wide: Running) -> None:
        connection = wide.raw(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 1 << 26:
                sent += connection.send(b"1;" + b"a" * 30 + b"\r\n \r\n" * 1000)
        except OSError:
            pass
        assert sent < 1 << 25
        connection.close()
        assert slowest(wide, 3) < PATIENCE_S

    @pytest.mark.parametrize(
        "lines",
        [
            b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
            b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            b"transfer-encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
            b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
            b"host: other\r\ncontent-length: 2\r\n\r\n{}",
        ],
        ids=["two lengths", "length and chunks", "two codings", "less than nothing", "beyond 64 bits", "two hosts"],
    )
    def test_what_two_servers_could_read_differently(self, wide: Running, lines: bytes) -> None:
        connection = wide.raw(HEAD + lines)
        connection.settimeout(10)
        assert read(connection).startswith(b"HTTP/1.1 400")


def test_those_who_ask_much_and_go_leave_no_lines_in_the_log(wide: Running) -> None:
    body = b'{"inputs": ["%s"]}' % (b"the cat sat on the mat " * 40)
    one = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
    before = len(wide.lines)
    nonsense = b"\x16\x03\x01"
    for wait, content in ((0.0, one * 50), (0.05, one * 50), (0.05, one * 20 + nonsense), (0.05, nonsense)):
        for _ in range(5):
            connection = wide.raw(content)
            time.sleep(wait)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
    assert slowest(wide, 3) < PATIENCE_S
    time.sleep(0.5)
    assert wide.lines[before:] == []


def test_a_port_that_is_taken_is_named(wide: Running, tiny: Path) -> None:
    command = [sys.executable, "-m", "sentvec", "serve", str(tiny), "--port", str(wide.port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"127.0.0.1:{wide.port} cannot be listened on: Address already in use." in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_while_models_are_loaded() -> None:
    free = Settings(port=0)
    with contextlib.closing(_bound(free)) as one:
        port = one.getsockname()[1]
        with contextlib.closing(_bound(Settings(port=port))) as other:  # neither listens yet
            _listen(one, 5)
            with pytest.raises(InvalidInput, match=f"127.0.0.1:{port} cannot be listened on: Address already in use"):
                _listen(other, 5)
