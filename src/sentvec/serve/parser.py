"""Bytes of one connection in, a protocol's calls for each request out: httptools' parser, which stays with HTTP/1.1.

A request may wish to go on in another protocol, as Java's own client does with every first one (`Upgrade: h2c`). A
server may pass over the wish and answer. Httptools leaves the body of such a request away, and would read it as the
next request: behind a proxy, that could be anybody's.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from sentvec.extras import require

CALLS = ("on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body", "on_message_complete")
FRAMING = (b"content-length", b"transfer-encoding")


class Parser:
    """The parser of a connection.

    Args:
        protocol: what is called; its `headers` are those of the request that is being read.
    """

    def __init__(self, protocol: Any) -> None:
        self._lib: Any = require("httptools", extra="serve")
        self._protocol = protocol
        self._awaited = False
        self._parser = self._made()

    def __getattr__(self, name: str) -> Any:
        """Return what httptools' parser has: the request's method, its version."""
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> None:
        """Read on.

        Raises:
            HttpParserError: of httptools; it is no HTTP/1.1.
        """
        while True:
            try:
                self._parser.feed_data(data)
                return
            except self._lib.HttpParserUpgrade as wish:
                data = data[wish.args[0] :]
                if self._awaited:
                    self._parser = self._made(b"POST / HTTP/1.1\r\n%s\r\n" % self._framing())
                if not data:
                    return

    def should_upgrade(self) -> bool:
        """Return that nothing but HTTP/1.1 is spoken here."""
        return False

    def _made(self, head: bytes = b"") -> Any:
        """Return a parser that has read so much, of which nobody is told."""
        told = {name: getattr(self._protocol, name) for name in CALLS} | {"on_message_complete": self._complete}
        quiet = bool(head)

        def telling(call: Callable[..., None]) -> Callable[..., None]:
            return lambda *given: None if quiet else call(*given)

        calls = {name: telling(call) for name, call in told.items()} if head else told
        made = self._lib.HttpRequestParser(SimpleNamespace(**calls))
        if hasattr(made, "set_dangerous_leniencies"):  # as uvicorn has it: what comes after a last request is dropped
            made.set_dangerous_leniencies(lenient_data_after_close=True)
        if head:
            made.feed_data(head)
        quiet = False
        return made

    def _complete(self) -> None:
        self._awaited = self._parser.should_upgrade() and bool(self._framing())
        if not self._awaited:
            self._protocol.on_message_complete()

    def _framing(self) -> bytes:
        """Return the lines that say where the request's body ends; none if it has no body."""
        found = [one for one in self._protocol.headers if one[0] in FRAMING]
        if all(name == b"content-length" and int(value) == 0 for name, value in found):
            return b""
        return b"".join(b"%s: %s\r\n" % one for one in found)
