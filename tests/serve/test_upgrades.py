"""Requests that wish for another protocol are answered in HTTP/1.1, with their bodies and nobody else's."""

from __future__ import annotations

import json
import socket
import time

import pytest
from tests.serve.running import Running
from tests.serve.test_limits import head, read

BODY = json.dumps({"inputs": ["the cat sat"]}).encode()
WISHES = {
    "h2c": ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAEAAEAAAAIAAAABAAMAAABk"),
    "websocket": ("connection: Upgrade", "upgrade: websocket", "sec-websocket-version: 13"),
}


def told(made: socket.socket, count: int) -> bytes:
    """Read so many answers, or until nothing comes."""
    found = b""
    made.settimeout(5)
    while found.count(b"HTTP/1.1") < count or not found.endswith((b"]", b"}", b">")):
        part = made.recv(65536)
        if not part:
            break
        found += part
    return found


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("pause", [0, 0.2], ids=["at once", "in parts"])
@pytest.mark.parametrize("framed", ["length", "chunks"])
def test_the_body_is_read(strict: Running, wish: str, pause: float, framed: str) -> None:
    lines = (f"content-length: {len(BODY)}",) if framed == "length" else ("transfer-encoding: chunked",)
    body = BODY if framed == "length" else b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    made = strict.raw()
    for part in (head(*WISHES[wish], *lines), body[:9], body[9:]):
        made.sendall(part)
        time.sleep(pause)
    found = told(made, 1)
    assert found.startswith(b"HTTP/1.1 200"), found
    made.sendall(head(f"content-length: {len(BODY)}", "connection: close") + BODY)  # and the connection goes on
    assert read(made).startswith(b"HTTP/1.1 200")


def test_a_body_is_never_the_next_request(strict: Running) -> None:
    hidden = head("content-length: 0", path="/tokenize").replace(b"POST /tokenize", b"GET /v1/models")
    made = strict.raw(head(*WISHES["h2c"], f"content-length: {len(hidden)}"))
    time.sleep(0.3)
    made.sendall(hidden + head(f"content-length: {len(BODY)}", "connection: close") + BODY)
    found = read(made)
    assert [part[:3] for part in found.split(b"HTTP/1.1 ")[1:]] == [b"422", b"200"], found
    assert b'"object"' not in found


@pytest.mark.parametrize("lines", [(), ("content-length: 0",), ("content-length: 00",)], ids=["none", "0", "00"])
def test_what_has_no_body_is_answered(strict: Running, lines: tuple[str, ...]) -> None:
    wish = head(*WISHES["websocket"], *lines)
    found = read(strict.raw(wish + wish.replace(b"POST /embed", b"GET /info") + head("connection: close")))
    assert [part[:3] for part in found.split(b"HTTP/1.1 ")[1:]] == [b"422", b"200", b"422"], found


def test_chunks_are_not_for_http_1_0(strict: Running) -> None:
    chunks = head("transfer-encoding: chunked", "connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0")
    assert read(strict.raw(chunks + b"2\r\n{}\r\n0\r\n\r\n")).startswith(b"HTTP/1.1 400")
