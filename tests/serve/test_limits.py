"""What a server does not take: too much, too slowly, badly formed, without a key."""

from __future__ import annotations

import json
import socket
import time

import pytest
from tests.serve.conftest import KEY
from tests.serve.running import Running

GOOD = {"inputs": ["the cat sat"]}
WITH = {"authorization": f"Bearer {KEY}"}


def read(connection: socket.socket) -> bytes:
    """Read until the other side closes."""
    found = b""
    try:
        while part := connection.recv(65536):
            found += part
    except (ConnectionResetError, BrokenPipeError):
        pass
    finally:
        connection.close()
    return found


def head(*lines: str, path: str = "/embed") -> bytes:
    fixed = (
        f"POST {path} HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
        f"authorization: Bearer {KEY}",
    )
    return "\r\n".join((*fixed, *lines, "", "")).encode()


class TestKeys:
    def test_either_key_opens(self, strict: Running) -> None:
        for key in (KEY, "other"):
            assert strict.post("/embed", GOOD, authorization=f"Bearer {key}").status == 200
            assert strict.post("/embed", GOOD, authorization=f"bearer {key}").status == 200

    @pytest.mark.parametrize("shown", ["", "Bearer", "Bearer ", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer other, a"])
    def test_nothing_else_does(self, strict: Running, shown: str) -> None:
        for path in ("/embed", "/v1/embeddings", "/info", "/metrics", "/nothing", "/documents"):
            answer = strict.post(path, GOOD, authorization=shown)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer"), path

    def test_health_needs_none(self, strict: Running) -> None:
        assert strict.get("/health").status == 200

    def test_openai_is_told_in_its_words(self, strict: Running) -> None:
        assert strict.post("/v1/embeddings", GOOD).json["error"]["code"] == "invalid_api_key"

    def test_it_is_checked_before_the_body_is_read(self, strict: Running) -> None:
        begun = time.monotonic()
        no_key = b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: 15000\r\n\r\n{"
        assert read(strict.raw(no_key)).startswith(b"HTTP/1.1 401")
        assert time.monotonic() - begun < 1

    def test_it_is_not_in_the_log_nor_told(self, strict: Running) -> None:
        told = strict.get("/info", **WITH)
        assert told.json["sentvec"]["settings"]["api_key"] == "set"
        assert KEY not in told.content.decode() + "\n".join(strict.lines)


class TestBodies:
    def test_declared_too_large(self, strict: Running) -> None:
        assert read(strict.raw(head("content-length: 20001") + b"{")).startswith(b"HTTP/1.1 413")

    def test_chunked_too_large(self, strict: Running) -> None:
        connection = strict.raw(head("transfer-encoding: chunked"))
        chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
        try:
            for _ in range(10):
                connection.sendall(chunk)
        except OSError:
            pass
        assert read(connection).startswith(b"HTTP/1.1 413")

    def test_chunked_is_fine(self, strict: Running) -> None:
        body = json.dumps(GOOD).encode()
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        answer = read(strict.raw(head("transfer-encoding: chunked", "connection: close") + chunks))
        assert answer.startswith(b"HTTP/1.1 200"), answer

    def test_endless_headers_and_trailers(self, strict: Running) -> None:
        for start in (head()[:-2] + b"x-a: ", head("transfer-encoding: chunked") + b"2\r\n{}\r\n0\r\nx-a: "):
            connection, sent = strict.raw(start), 0
            try:
                while sent < 1 << 26:
                    sent += connection.send(b"a" * 65536)
            except OSError:
                pass
            assert sent < 1 << 25
            assert strict.get("/health").status == 200
            connection.close()
        assert read(strict.raw(head()[:-2] + b"x-a: " + b"a" * 900_000))[:12] in (b"HTTP/1.1 431", b"")

    @pytest.mark.parametrize("length", ["-1", "x", "1" * 40, "0x10", "1, 2"])
    def test_odd_lengths(self, strict: Running, length: str) -> None:
        assert read(strict.raw(head(f"content-length: {length}") + b"{}"))[9:10] == b"4"

    def test_compressed(self, strict: Running) -> None:
        answer = strict.post("/embed", b"\x1f\x8b", content_encoding="gzip", **WITH)
        assert (answer.status, "compressed" in answer.json["error"]) == (415, True)

    def test_form(self, strict: Running) -> None:
        answer = strict.post("/embed", b"a=b", **WITH, **{"Content-Type": "application/x-www-form-urlencoded"})
        assert answer.status == 415

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"", "not JSON"),
            (b"{", "not JSON"),
            (b'{"inputs": NaN}', "NaN"),
            (b'{"inputs": -Infinity}', "Infinity"),
            (b'{"inputs": 1e999}', "beyond"),
            (b'{"inputs": "a", "inputs": "b"}', "twice"),
            (b'{"inputs": ' + b"9" * 9000 + b"}", "not JSON"),
            (b"[" * 9000 + b"]" * 9000, "inside each other"),
            (b'{"inputs":' + b"[" * 40 + b"]" * 40 + b"}", "inside each other"),
            (b'{"a":' * 3000 + b"1" + b"}" * 3000, "inside each other"),
            (b'{"inputs": "\xff"}', "UTF-8"),
            (b"[]", "a list"),
            (b'"a"', "the body is"),
        ],
        ids=range(13),
    )
    def test_what_is_no_json(self, strict: Running, body: bytes, said: str) -> None:
        answer = strict.post("/embed", body, **WITH)
        assert answer.status in (400, 422), answer.content
        assert said in answer.json["error"]

    def test_far_too_many_ids(self, strict: Running) -> None:
        for path in ("/embed", "/embed_all"):
            answer = strict.post(path, {"inputs": [5] * 5000}, **WITH)
            assert (answer.status, "5000 token ids" in answer.json["error"]) == (422, True), answer.content
            answer = strict.post(path, {"inputs": [[5]] * 21}, **WITH)
            assert (answer.status, "batch size 21" in answer.json["error"]) == (422, True), answer.content

    def test_half_a_character(self, strict: Running) -> None:
        answer = strict.post("/embed", b'{"inputs": "\\ud800"}', **WITH)
        assert (answer.status, "surrogate" in answer.json["error"]) == (422, True)

    def test_texts_and_tokens(self, strict: Running) -> None:
        assert "batch size 21" in strict.post("/embed", {"inputs": ["a"] * 21}, **WITH).json["error"]
        many = strict.post("/embed", {"inputs": ["a b c " * 13] * 20}, **WITH)
        assert (many.status, "800" in many.json["error"]) == (422, True), many.content
        long = strict.post("/embed", {"inputs": "a " * 100}, **WITH)
        assert (long.status, "102 tokens" in long.json["error"]) == (422, True), long.content


class TestTime:
    def test_slow_headers_are_cut(self, strict: Running) -> None:
        self.dribbles(strict, b"GET /health HTTP/1.1\r\nhost: x\r\nx-a: " + b"a" * 100)

    def test_slow_bodies_are_told_and_cut(self, strict: Running) -> None:
        found = self.dribbles(strict, b" " * 100, first=head("content-length: 5000"))
        assert found.startswith(b"HTTP/1.1 408")

    def test_a_line_of_nothing_is_cut(self, strict: Running) -> None:
        self.dribbles(strict, b"\r\n" * 50)

    def test_idle_connections_are_cut(self, strict: Running) -> None:
        begun = time.monotonic()
        assert read(strict.raw()) == b""
        assert time.monotonic() - begun < 4

    def test_those_who_send_slowly_take_nobodys_place(self, strict: Running) -> None:
        slow = [strict.raw(head("content-length: 100")) for _ in range(520)]  # more than may be under way
        assert strict.post("/embed", GOOD, **WITH).status == 200
        for one in slow:
            one.close()

    def test_those_who_read_nothing_are_cut(self, strict: Running) -> None:
        made = self.asks(strict, 1000)
        time.sleep(5)
        assert read(made).count(b"HTTP/1.1 200") < 900  # what the system held already comes yet
        assert not any("Exception" in line for line in strict.lines)

    def test_those_who_read_slowly_are_not(self, strict: Running) -> None:
        made, found = self.asks(strict, 600), b""
        made.settimeout(20)
        while part := made.recv(65536):
            found += part
            time.sleep(0.02)
        assert found.count(b"HTTP/1.1 200") == 600
        made.close()

    @staticmethod
    def asks(server: Running, times: int) -> socket.socket:
        """Ask for some twenty kilobytes again and again, and read none of it."""
        one = f"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n"
        last = one + "connection: close\r\n\r\n"
        return server.raw((one + "\r\n").encode() * (times - 1) + last.encode())

    @staticmethod
    def dribbles(server: Running, content: bytes, first: bytes = b"") -> bytes:
        connection = server.raw(first)
        begun = time.monotonic()
        connection.settimeout(0.1)
        found = b""
        for byte in content:
            try:
                connection.sendall(bytes([byte]))
                part = connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                part = b""
            found += part
            if not part:
                break
        assert time.monotonic() - begun < 4
        connection.close()
        return found


class TestPaths:
    def test_unknown(self, strict: Running) -> None:
        for path in ("/nothing", "/embed/../info", "/%2e%2e/etc/passwd", "/v1/embeddings/..%2f", "//"):
            assert strict.get(path, **WITH).status in (400, 404), path

    def test_wrong_method(self, strict: Running) -> None:
        answer = strict.get("/embed", **WITH)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")

    def test_head(self, strict: Running) -> None:
        answer = strict.ask("HEAD", "/health")
        assert (answer.status, answer.content) == (200, b"")

    def test_names_of_models_open_nothing(self, strict: Running, tiny: object) -> None:
        for name in ("../../etc/passwd", "/etc/passwd", "\\\\host\\share", "a\0b", str(tiny)):
            assert strict.post("/v1/embeddings", {"input": "a", "model": name}, **WITH).json["model"] == str(tiny)
            assert strict.post("/embed", {"inputs": "a", "prompt_name": name}, **WITH).status == 422


class TestHosts:
    @pytest.mark.parametrize(
        ("host", "status"),
        [
            *(("localhost", 200), ("127.0.0.1:80", 200), ("[::1]:8000", 200), ("LOCALHOST", 200)),
            *(("evil.example", 421), ("localhost.evil.example:8000", 421), ("[evil", 421)),
        ],
    )
    def test_names_of_others_are_refused_where_no_key_protects(self, server: Running, host: str, status: int) -> None:
        assert server.get("/info", host=host).status == status

    def test_a_key_protects(self, strict: Running) -> None:
        assert strict.get("/info", host="evil.example", **WITH).status == 200


class TestOrigins:
    def test_only_those_named(self, strict: Running) -> None:
        named = strict.post("/embed", GOOD, origin="https://example.org", **WITH)
        assert named.headers["access-control-allow-origin"] == "https://example.org"
        other = strict.post("/embed", GOOD, origin="https://example.com", **WITH)
        assert "access-control-allow-origin" not in other.headers
        asked = strict.ask("OPTIONS", "/embed", origin="https://example.org")
        assert (asked.status, asked.headers["access-control-allow-methods"]) == (204, "POST")
        assert strict.ask("OPTIONS", "/embed", origin="https://example.com", **WITH).status == 405


def test_log_lines_hold_no_texts(strict: Running) -> None:
    secret = "thesecretcat"
    strict.post("/embed", {"inputs": secret}, **WITH)
    strict.post("/embed", {"inputs": [secret, 5]}, **WITH)
    strict.get(f"/{secret}", **WITH)
    lines: list[dict] = []
    while [line["path"] for line in lines[-3:]] != ["/embed", "/embed", "other"]:  # the log is read by a thread
        time.sleep(0.05)
        lines = [json.loads(line) for line in strict.lines if '"request"' in line]
    assert {"path": "/embed", "status": 200, "texts": 1}.items() <= lines[-3].items()
    assert lines[-1]["path"] == "other"
    assert secret not in "\n".join(strict.lines)
