"""Answers that nobody reads are forgotten after a time, wherever they are held; who reads slowly gets all of them."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from tests.serve.conftest import KEY
from tests.serve.running import Running, serving

ONE = f"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n".encode()


def asking(server: Running, times: int, last: bytes) -> socket.socket:
    """Ask for some twenty kilobytes so many times, and have room for little of it."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    made.connect(("127.0.0.1", server.port))
    made.settimeout(20)
    made.sendall((ONE + b"\r\n") * (times - 1) + ONE + last + b"\r\n")
    return made


def held(server: Running, clients: list[socket.socket]) -> int:
    """Return the bytes that the system still wants to send to some clients."""
    ours = {f"{client.getsockname()[1]:04X}" for client in clients}
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, here, there, _, queues = line.split()[:5]
        if here.endswith(f":{server.port:04X}") and there.rpartition(":")[2] in ours:
            found += int(queues.partition(":")[0], 16)
    return found


def test_what_nobody_reads_is_forgotten(strict: Running) -> None:
    close = b"connection: close\r\n"
    ways = ((1000, close), (1000, b""), (60, close), (60, b""))  # more than the system takes, and less
    clients = [asking(strict, times, last) for times, last in ways]
    time.sleep(1)
    assert held(strict, clients) > 1_000_000
    late = time.monotonic() + 15
    while held(strict, clients):
        assert time.monotonic() < late, held(strict, clients)
        time.sleep(0.2)
    for client in clients:
        with pytest.raises(ConnectionResetError):
            while client.recv(65536):
                pass
        client.close()
    assert strict.get("/health").status == 200
    assert not any("Exception" in line or "Traceback" in line for line in strict.lines)


def test_those_who_read_nothing_keep_nobody_out(tiny: Path) -> None:
    with serving(tiny, "--processes", "1", env={"SENTVEC_MAX_CONNECTIONS": "30"}) as small:
        clients = [asking(small, 150, b"") for _ in range(35)]
        time.sleep(1)
        for _ in range(10):
            assert small.post("/embed", {"inputs": "the cat"}).status == 200
        for client in clients:
            client.close()


@pytest.mark.parametrize("last", [b"connection: close\r\n", b""], ids=["closed", "open"])
def test_who_reads_slowly_gets_everything(strict: Running, last: bytes) -> None:
    client, found = asking(strict, 12, last), b""
    while part := client.recv(20_000):
        found += part
        time.sleep(0.25)
    assert found.count(b"HTTP/1.1 200") == 12
    assert found.endswith(b"}")
    client.close()
