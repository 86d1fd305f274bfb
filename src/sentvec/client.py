"""bert-as-service's client for sentvec's server: texts in, vectors out, under the signatures that old code calls.

``from sentvec.client import BertClient`` in place of ``from bert_serving.client import BertClient``, and the port of
`sentvec serve` in place of two. It speaks HTTP with the standard library, and needs no torch.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from http.client import HTTPConnection, HTTPException
from itertools import islice
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from sentvec.errors import SentvecError

IN_FLIGHT = 8
"""Requests of `encode_async` that are under way at a time."""


class ServerError(SentvecError):
    """The server did not answer as asked; the message is its own."""


class Answer(NamedTuple):
    """What `fetch` gives: the request's number, its vectors, and its tokens where they were asked for."""

    id: int
    embedding: Any
    tokens: Any


class BertClient:
    """A client of one server, safe to use from several threads: each has a connection of its own.

    Args:
        ip: the server's name or address.
        port: the server's port.
        port_out: taken and not used: answers come on the same connection.
        output_fmt: ndarray or list.
        show_server_config: print what the server says of itself.
        identity: a name for this client.
        check_version, check_length, check_token_info: taken and not used: there is one version of this API, and the
            server says itself what it cuts.
        ignore_all_checks: do not ask the server for its status at the start.
        timeout: milliseconds to wait for an answer; -1 waits for ever.
        api_key: the server's key, where it asks for one.

    Raises:
        ServerError: the server refuses.
        TimeoutError: it does not answer in time.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the signature is bert-as-service's
        self,
        ip: str = "localhost",
        port: int = 8000,
        port_out: int = 0,
        output_fmt: str = "ndarray",
        show_server_config: bool = False,
        identity: str | None = None,
        check_version: bool = True,
        check_length: bool = True,
        check_token_info: bool = True,
        ignore_all_checks: bool = False,
        timeout: int = -1,
        *,
        api_key: str | None = None,
    ) -> None:
        del port_out, check_version, check_length, check_token_info
        if output_fmt not in ("ndarray", "list"):
            raise AttributeError(f'"output_fmt" must be "ndarray" or "list", not {output_fmt!r}')
        self.ip, self.port = ip, port
        self.identity = identity or uuid.uuid4().hex
        self.output_fmt = output_fmt
        self._seconds = None if timeout < 0 else timeout / 1000
        self._key = api_key
        self._threads: ThreadPoolExecutor | None = None
        self._pending: deque[tuple[int, Future[Answer]]] = deque()
        self._number = 0
        self._own = threading.local()
        self._open_ones: dict[threading.Thread, HTTPConnection] = {}
        self._guard = threading.Lock()
        if not ignore_all_checks:
            config = self.server_status
            if show_server_config:
                for name, value in config.items():
                    print(f"{name:>30} = {value}")  # noqa: T201 - asked for

    def encode(
        self,
        texts: Sequence[str] | Sequence[Sequence[str]],
        blocking: bool = True,
        is_tokenized: bool = False,
        show_tokens: bool = False,
        *,
        pooling: str | None = None,
    ) -> Any:
        """Encode texts.

        Args:
            texts: a list of str, ``a ||| b`` for a pair; or of lists of tokens.
            blocking: wait for the vectors; otherwise `fetch` or `fetch_all` gives them.
            is_tokenized: the texts are lists of tokens.
            show_tokens: return (vectors, tokens).
            pooling: NONE for a vector of every token, filled up with zeros to the longest text.

        Returns:
            float32 (n, dim), or (n, tokens, hidden) for NONE; lists for output_fmt "list"; None if not blocking.

        Raises:
            TypeError, ValueError: something is not a text, is empty, or there is none.
            ServerError: the server refuses.
            TimeoutError: it does not answer in time.
        """
        body = self._body(texts, is_tokenized, show_tokens, pooling)
        if not blocking:
            self._pending.append((body["id"], self._start(body)))
            return None
        answer = self._ask(self._mine(), body)
        return _kept(answer, show_tokens)

    def fetch(self, delay: float = 0.0) -> Generator[Answer, None, None]:
        """Yield answers to what was sent without blocking, as they come; the order is not that of the requests."""
        time.sleep(delay)
        while self._pending:
            done = wait([future for _, future in self._pending], return_when=FIRST_COMPLETED).done
            ready = [pair for pair in self._pending if pair[1] in done]
            for pair in ready:
                self._pending.remove(pair)
            for _, future in ready:
                yield future.result()

    def fetch_all(self, sort: bool = True, concat: bool = False) -> Any:
        """Return all answers to what was sent without blocking.

        Args:
            sort: in the order of the requests.
            concat: joined to one array, or list.
        """
        found = list(self.fetch())
        if sort:
            found.sort(key=lambda answer: answer.id)
        parts = [answer.embedding for answer in found]
        if not concat:
            return parts
        if self.output_fmt == "list":
            return [row for part in parts for row in part]
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)

    def encode_async(
        self,
        batch_generator: Iterable[Sequence[str]],
        max_num_batch: int | None = None,
        delay: float = 0.1,
        is_tokenized: bool = False,
        show_tokens: bool = False,
        *,
        pooling: str | None = None,
    ) -> Generator[Any, None, None]:
        """Yield the vectors of batches of texts, in order, while later ones are on their way.

        Args:
            batch_generator: batches.
            max_num_batch: stop after so many.
            delay: taken and not used: nothing here waits by the clock.
            is_tokenized, show_tokens, pooling: as for `encode`.
        """
        del delay
        waiting: deque[Future[Answer]] = deque()
        for texts in islice(batch_generator, max_num_batch):
            if len(waiting) >= IN_FLIGHT:
                yield _kept(waiting.popleft().result(), show_tokens)
            waiting.append(self._start(self._body(texts, is_tokenized, show_tokens, pooling)))
        while waiting:
            yield _kept(waiting.popleft().result(), show_tokens)

    @property
    def status(self) -> dict[str, Any]:
        """What this client is and has done."""
        return {
            "identity": self.identity,
            "num_request": self._number,
            "num_pending_request": len(self._pending),
            "pending_request": [number for number, _ in self._pending],
            "output_fmt": self.output_fmt,
            "port": self.port,
            "server_ip": self.ip,
        }

    @property
    def server_status(self) -> dict[str, Any]:
        """What the server says of itself and has done."""
        found: dict[str, Any] = self._exchange(self._mine(), "GET", "/status/server", None)
        return found

    server_config = server_status

    def close(self) -> None:
        """Close the connection; answers that nobody fetched are lost."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for connection in self._open_ones.values():
            connection.close()

    def __enter__(self) -> BertClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _body(self, texts: Any, is_tokenized: bool, show_tokens: bool, pooling: str | None) -> dict[str, Any]:
        _check(texts, is_tokenized)
        with self._guard:
            self._number += 1
            body = {"id": self._number, "texts": texts, "is_tokenized": is_tokenized, "show_tokens": show_tokens}
        return body if pooling is None else body | {"pooling": pooling}

    def _start(self, body: dict[str, Any]) -> Future[Answer]:
        with self._guard:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(IN_FLIGHT, "sentvec-client")
        return self._threads.submit(lambda: self._ask(self._mine(), body))

    def _mine(self) -> HTTPConnection:
        """Return this thread's connection; `http.client` opens it anew where it was closed."""
        found: HTTPConnection | None = getattr(self._own, "connection", None)
        if found is None:
            found = self._own.connection = HTTPConnection(self.ip, self.port, timeout=self._seconds)
            with self._guard:
                ended = [thread for thread in self._open_ones if not thread.is_alive()]
                for connection in [self._open_ones.pop(thread) for thread in ended]:
                    connection.close()
                self._open_ones[threading.current_thread()] = found
        return found

    def _ask(self, connection: HTTPConnection, body: dict[str, Any]) -> Answer:
        found = self._exchange(connection, "POST", "/encode", body)
        rows = found["result"]
        vectors = rows if self.output_fmt == "list" else np.array(rows, np.float32)
        return Answer(body["id"], vectors, found.get("tokens"))

    def _exchange(self, connection: HTTPConnection, method: str, path: str, body: Any) -> Any:
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {self._key}"} if self._key else {})
        sent = None if body is None else json.dumps(body).encode()
        for again in (False, True):
            try:
                connection.request(method, path, sent, headers)
                answer = connection.getresponse()
                content = answer.read()
                break
            except TimeoutError:
                connection.close()
                raise TimeoutError(f"no answer from {self.ip}:{self.port} in time") from None
            except (HTTPException, ConnectionError):
                connection.close()
                if again:  # a server closes connections that were idle for long; more than one is no accident
                    raise
        try:
            told = json.loads(content)
        except ValueError:  # of a proxy, say
            raise ServerError(f"{answer.status}: the answer is no JSON: {content[:80]!r}") from None
        if answer.status != 200:
            raise ServerError(f"{answer.status}: {told.get('description') or told.get('error') or told}")
        return told


def ConcurrentBertClient(max_concurrency: int = 10, **kwargs: Any) -> BertClient:  # noqa: N802 - bert-as-service's name
    """Return a client; several threads may share any one here, so `max_concurrency` is taken and not used."""
    del max_concurrency
    return BertClient(**kwargs)


def _kept(answer: Answer, show_tokens: bool) -> Any:
    return (answer.embedding, answer.tokens) if show_tokens else answer.embedding


def _check(texts: Any, is_tokenized: bool) -> None:
    if not isinstance(texts, list):
        raise TypeError(f'"texts" must be a list, but received {type(texts)}')
    if not texts:
        raise ValueError('"texts" must be a non-empty list')
    for place, text in enumerate(texts):
        if is_tokenized:
            if not isinstance(text, list):
                raise TypeError(f'with is_tokenized, "texts" must be lists of tokens, but item {place} is {type(text)}')
            if not text:
                raise ValueError(f"item {place} has no token")
        elif not isinstance(text, str):
            raise TypeError(f"all elements must be str, but item {place} is {type(text)}")
        elif not text.strip():
            raise ValueError(f"item {place} is an empty or blank string")
