"""JSON over HTTP to one server: a path and a body in, the answer out, or an error that names the server."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
from typing import Any

from sentvec.errors import CollectionError
from sentvec.stores import border
from sentvec.stores.address import Address

_TIMEOUT_S = 60
_GATEWAY = (502, 503, 504)
_GONE = (OSError, http.client.HTTPException)


class Http:
    """One connection that is kept, and made again where the server has closed it. Threads take turns."""

    def __init__(self, address: Address, port: int) -> None:
        """Keep where the server is; the first call connects."""
        self._url = address.shown
        self._where = (address.host or "localhost", address.port or port)
        self._secure = address.scheme.endswith("https")
        self._headers = {"Accept": "application/json"}
        if address.user:
            both = f"{address.user}:{address.password or ''}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(both).decode()}"
        elif address.password:
            self._headers["Authorization"] = f"ApiKey {address.password}"
        self._turn = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None

    def call(self, method: str, path: str, body: Any = None, *, absent: bool = False) -> Any:
        """Return the server's answer to one request. Every request of ours may be repeated.

        Args:
            method: of HTTP.
            path: with what follows the question mark.
            body: to be sent as JSON, or lines of JSON as a str; nothing if None.
            absent: return None where the server says 404.

        Raises:
            StoreUnavailable: no answer.
            CollectionError: the answer is an error, or not JSON.
        """
        headers, data = dict(self._headers), None
        if body is not None:
            text = body if isinstance(body, str) else json.dumps(body)
            data = text.encode()
            headers["Content-Type"] = "application/x-ndjson" if isinstance(body, str) else "application/json"
        with self._turn:
            status, answer = self._sent(method, path, data, headers)
        if status in _GATEWAY:
            raise border.unavailable(self._url, OSError(f"HTTP {status}"))
        if absent and status == 404:
            return None
        try:
            told = json.loads(answer)
        except ValueError:
            told = None
        if status >= 400 or told is None:
            reason = told.get("error", told) if isinstance(told, dict) else answer[:300].decode("utf-8", "replace")
            raise CollectionError(f"{self._url} refused: HTTP {status}: {json.dumps(reason)[:300]}")
        return told

    def _sent(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        kept = self._connection is not None
        try:
            return self._once(method, path, data, headers)
        except _GONE as error:
            self._drop()
            if not kept:
                raise border.unavailable(self._url, error) from error
        try:  # a connection that was kept may have been closed long ago
            return self._once(method, path, data, headers)
        except _GONE as error:
            self._drop()
            raise border.unavailable(self._url, error) from error

    def _once(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        if self._connection is None:
            host, port = self._where
            if self._secure:
                context = ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        self._connection.request(method, path, data, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Close the connection."""
        with self._turn:
            self._drop()
