"""ASGI in, one request with its body within limits out; and an answer the other way."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sentvec.serve.places import Place
from sentvec.serve.refusals import STATUS, Refused
from sentvec.serve.schema import Schema, check
from sentvec.serve.service import Asked, Service

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

DEPTH = 32
"""Most lists and objects inside each other; no surface needs more than four."""

BIG = 65_536
"""Bytes from which a body is read as JSON in a thread."""


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        body: its bytes.
        status: its status code.
        kind: its content type.
        headers: further ones.
    """

    body: bytes
    status: int = 200
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Call:
    """A request that was read and checked.

    Attributes:
        service: the engine.
        body: its fields, with defaults; None where there is none.
        asked: what the engine must know.
        path: as the client sent it.
    """

    service: Service
    body: Any
    asked: Asked
    path: str


Handler = Callable[[Call], Awaitable[Reply]]
Worder = Callable[[Refused], tuple[int, Any]]


@dataclass(frozen=True)
class Route:
    """A path that is answered.

    Attributes:
        method: GET or POST.
        path: the path.
        handler: what answers.
        word: words a refusal: its status code and its body.
        about: what it does, for the OpenAPI document.
        body: what is accepted, or None for no body.
        answer: what is returned, for the document.
        open: whether it needs no key.
        engine: whether it uses the engine, and counts as a request that is under way.
    """

    method: str
    path: str
    handler: Handler
    word: Worder
    about: str
    body: Schema | None = None
    answer: Schema = field(default_factory=dict)
    open: bool = False
    engine: bool = True


def plain(refused: Refused) -> tuple[int, Any]:
    """Word a refusal as our own routes do."""
    return STATUS[refused.kind], {"error": refused.message, "error_type": refused.kind}


def reply(content: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """Answer with JSON."""
    whole = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Reply(whole.encode("utf-8", "replace"), status, headers=headers)


class Holding:
    """Bytes of large bodies that are here at a time: many clients may send one each, and never end.

    Args:
        most: of all of them; the first `BIG` bytes of each are not counted, so that small requests always fit.
    """

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0

    @contextmanager
    def one(self) -> Iterator[Callable[[int], None]]:
        """Give what counts bytes of one body, until it is no longer needed; it refuses what there is no room for."""
        mine = 0

        def add(size: int) -> None:
            nonlocal mine
            if self._held + size > self._most:
                raise Refused("overloaded", "too many large bodies are under way. Try again later.", retry_after=1.0)
            mine += size
            self._held += size

        try:
            yield add
        finally:
            self._held -= mine


async def read_body(
    headers: Mapping[bytes, bytes], receive: Receive, most: int, seconds: float, hold: Callable[[int], None]
) -> bytes:
    """Read a body; `hold` is told of its bytes.

    Raises:
        Refused: it is compressed, too large, not JSON by its headers, or does not arrive in time.
    """
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    if coding not in (b"identity", b""):
        raise Refused("media", "compressed bodies are not accepted. Send the JSON as it is.")
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if kind != b"application/json" and not kind.endswith(b"+json"):
        told = kind.decode("latin-1")[:60] or "none"
        raise Refused("media", f"the content type is {told}; accepted: application/json.")
    declared = headers.get(b"content-length", b"0")
    if len(declared) > 18 or int(declared) > most:
        raise _too_large(most)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused("gone", "the client left.")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > most:
                    raise _too_large(most)
                if size > BIG:
                    hold(min(len(parts[-1]), size - BIG))
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise Refused("late", f"the body did not arrive within {seconds:g} s.") from None


def _too_large(most: int) -> Refused:
    return Refused("too_large", f"the body has more than {most:,} bytes, which is the most. Send several requests.")


async def read_json(body: bytes, schema: Schema, place: Place, left: Callable[[], bool]) -> Any:
    """Read JSON, strictly, and check it; a large body in a place of its own, for a million lists take seconds.

    Raises:
        Refused: it is no JSON, or not what the schema describes.
    """
    if len(body) < BIG:
        return check(parse(body), schema)
    return await place.run(lambda: check(parse(body), schema), left)


def parse(body: bytes) -> Any:
    """Read JSON, strictly: UTF-8, no NaN, no key twice, no more than `DEPTH` inside each other.

    Raises:
        Refused: it is none.

    >>> parse(b'{"inputs": ["a"]}')
    {'inputs': ['a']}
    """
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_constant, parse_float=_finite, object_pairs_hook=_once)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise Refused("malformed", "the body is not UTF-8.") from None
    except ValueError as error:  # of json, and of int for a number of thousands of digits
        raise Refused("malformed", f"the body is not JSON: {str(error)[:120]}") from None
    if _deep(found):
        raise _too_deep()
    return found


def _too_deep() -> Refused:
    return Refused("malformed", f"the body has more than {DEPTH} lists and objects inside each other.")


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:20]} is beyond all numbers of 64 bits")
    return number


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:60]!r} stands twice")
    return found


def _deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEPTH + 1):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += [inner for inner in one.values() if isinstance(inner, dict | list)]
            elif isinstance(one, list):
                below += [inner for inner in one if isinstance(inner, dict | list)]
        if not below:
            return False
        level = below
    return True
