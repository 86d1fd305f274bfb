"""The ASGI application: a request in; key, limits, body, surface; an answer, a count and a log line out."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sentvec.serve.budgets import UNLIMITED, Budget, budget
from sentvec.serve.http import Call, Holding, Message, Receive, Reply, Route, Send, plain, read_body, read_json, reply
from sentvec.serve.refusals import Refused
from sentvec.serve.service import Asked, Service
from sentvec.serve.settings import Settings
from sentvec.serve.tracing import Spans

_log = logging.getLogger("sentvec.serve")

LEFT = "sentvec.left"
"""Where the protocol puts, in the scope, what says whether the client has gone; without it, nobody ever goes."""

ONCE = frozenset({b"host", b"authorization"})
"""Headers of which a request may have one."""

LARGEST = 64
"""How many bodies of the largest size there may be in memory."""

JSON = (b"content-type", b"application/json")


class App:
    """What answers requests.

    Args:
        service: the engine.
        routes: all paths that are answered.
        spans: told of what was answered.
    """

    def __init__(self, service: Service, routes: Sequence[Route], spans: Spans | None = None) -> None:
        self.service = service
        self.spans = spans
        self.settings = service.settings
        self.routes: dict[str, dict[str, Route]] = {}
        for route in routes:
            methods = self.routes.setdefault(route.path, {})
            assert route.method not in methods, f"{route.method} {route.path} is answered twice"
            methods[route.method] = route
        self.active = 0
        self._bodies = Holding(LARGEST * self.settings.max_body)
        self._hosts = _names(self.settings)
        self._keys = tuple(key.encode() for key in self.settings.keys)
        metrics = service.metrics
        plain_keys = len(self._keys) - len(self.settings.clients)
        named = [
            Budget(one, lambda name, tokens: metrics.key_tokens.add(tokens, name)) for one in self.settings.clients
        ]
        self._budgets = (*[UNLIMITED] * plain_keys, *named)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request; see the ASGI specification."""
        if scope["type"] != "http":
            return  # no lifespan, no websockets
        with self.service.asking(scope.get(LEFT, bool)) as asked:
            answer = await self._answered(scope, receive, asked)
        try:
            await _send(answer, send)
        except RuntimeError:  # of uvloop, where the client left while its answer waited to be read
            if not asked.left():
                raise

    async def _answered(self, scope: Mapping[str, Any], receive: Receive, asked: Asked) -> Reply:
        budget.set(UNLIMITED)  # of requests on one connection, the next may begin in the context of the last
        path, method = scope["path"], scope["method"]
        headers: dict[bytes, bytes] = dict(scope["headers"])
        route = self.routes.get(path, {}).get("GET" if method == "HEAD" else method)
        origin = self._allowed(headers)
        try:
            if len(headers) < len(scope["headers"]) and (twice := _twice(scope["headers"])):
                refused = Refused("malformed", f"the header {twice} stands twice.")
                answer = self._refusal(None, refused, (("connection", "close"),))  # of HTTP, not of one of the APIs
            elif scope["http_version"] == "1.0" and b"transfer-encoding" in headers:  # it knows none: one may read on
                refused = Refused("malformed", "HTTP/1.0 has no transfer-encoding.")
                answer = self._refusal(None, refused, (("connection", "close"),))
            elif method == "OPTIONS" and origin is not None and path in self.routes:
                answer = self._preflight(path)
            else:
                answer = await self._answer(route, path, method, headers, receive, asked)
        except Refused as refused:
            answer = self._refusal(route, refused)
        except asyncio.CancelledError:
            raise
        except Exception:  # the client gets an answer, the log the traceback
            _log.exception("a request to %s failed", path if route is not None else "an unknown path")
            answer = self._refusal(route, Refused("failed", "the server failed over this request; its log says how."))
        if origin is not None:
            extra = (("access-control-allow-origin", origin), ("vary", "origin"))
            answer = Reply(answer.body, answer.status, answer.kind, answer.headers + extra)
        self._count(route, method, answer, asked)
        if self.spans is not None:
            self.spans.tell(headers, method, route.path if route is not None else "other", answer.status, asked)
        return answer

    async def _answer(
        self,
        route: Route | None,
        path: str,
        method: str,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        asked: Asked,
    ) -> Reply:
        known = self.routes.get(path)
        self._check_host(headers)
        if self._keys and not (route is not None and route.open):
            self._check_key(headers)  # first: whoever has no key does not even learn what there is
        if known is None:
            raise Refused("not_found", f"there is nothing at {path[:100]!r}. GET /openapi.json lists what there is.")
        if route is None:
            allow = tuple(known)
            raise Refused("method", f"{method} is not for {path}; use {' or '.join(allow)}.", allow=allow)
        if not route.engine:
            body = await self._body(route, headers, receive, asked)
            return await route.handler(Call(self.service, body, asked, path))
        budget.get().request()
        self._check_room()
        body = await self._body(route, headers, receive, asked)
        self._check_room()
        self.active += 1  # only now, so that slow senders take nobody's place
        try:
            return await route.handler(Call(self.service, body, asked, path))
        finally:
            self.active -= 1

    def _check_room(self) -> None:
        most = self.settings.max_requests
        if self.active >= most:
            raise Refused("overloaded", f"{most} requests are under way, which is the most.", retry_after=1.0)

    async def _body(self, route: Route, headers: Mapping[bytes, bytes], receive: Receive, asked: Asked) -> Any:
        if route.body is None:
            return None
        with self._bodies.one() as hold:
            whole = await read_body(headers, receive, self.settings.max_body, self.settings.receive_s, hold)
            return await read_json(whole, route.body, self.service.bodies, asked.left)

    def _check_key(self, headers: Mapping[bytes, bytes]) -> None:
        scheme, _, shown = headers.get(b"authorization", b"").partition(b" ")
        shown = shown.strip() if scheme.lower() == b"bearer" else b""
        # every key is compared, whatever the first one says, so that time tells nothing
        fits = [hmac.compare_digest(shown, key) for key in self._keys]
        if not sum(fits):
            raise Refused("unauthorised", "a key is needed, or the one given is not known: Authorization: Bearer KEY.")
        budget.set(self._budgets[fits.index(True)])

    def _check_host(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse pages of other names that let those names point here (DNS rebinding), where no key protects."""
        if not self._hosts:
            return
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
        if name and name not in self._hosts:
            raise Refused(
                "misdirected",
                f"this server is not called {name[:60]!r}; use localhost, name it in SENTVEC_HOSTS, or set a key.",
            )

    def _allowed(self, headers: Mapping[bytes, bytes]) -> str | None:
        origin = headers.get(b"origin")
        allowed = self.settings.origins
        if origin is None or not allowed:
            return None
        name = origin.decode("latin-1")
        return name if name in allowed or "*" in allowed else None

    def _preflight(self, path: str) -> Reply:
        methods = ", ".join(self.routes[path])
        more = (
            ("access-control-allow-methods", methods),
            ("access-control-allow-headers", "authorization, content-type"),
            ("access-control-max-age", "600"),
        )
        return Reply(b"", 204, headers=more)

    def _refusal(self, route: Route | None, refused: Refused, more: Sequence[tuple[str, str]] = ()) -> Reply:
        self.service.metrics.refused(refused.kind)
        status, body = (route.word if route is not None else plain)(refused)
        headers = list(more)
        if refused.retry_after is not None:
            headers.append(("retry-after", f"{max(1, round(refused.retry_after))}"))
        if refused.allow:
            headers.append(("allow", ", ".join(refused.allow)))
        if refused.kind == "unauthorised":
            headers.append(("www-authenticate", "Bearer"))
        if refused.kind in ("unauthorised", "too_large", "late", "media"):
            headers.append(("connection", "close"))  # what is left of the body is not worth reading
        return reply(body, status, tuple(headers))

    def _count(self, route: Route | None, method: str, answer: Reply, asked: Asked) -> None:
        seconds = time.monotonic() - asked.begun
        metrics = self.service.metrics
        metrics.responses.add(1, route.path if route is not None else "other", str(answer.status))
        if name := budget.get().name:
            metrics.key_requests.add(1, name, str(answer.status))
        if asked.texts and answer.status == 200:
            parts = (seconds, asked.tokenised_s, asked.queued_s, asked.encoded_s)
            metrics.answered(asked.texts, asked.tokens, parts, judged=asked.judged)
        elif answer.status != 200 and route is not None and route.engine:
            metrics.requests.add(1, "batch" if asked.texts > 1 else "single")
        if self.settings.log_requests:
            facts = {
                "method": method,
                "path": route.path if route is not None else "other",
                "status": answer.status,
                "ms": round(1000 * seconds, 2),
                "queue_ms": round(1000 * asked.queued_s, 2),
                "texts": asked.texts,
                "tokens": asked.tokens,
            }
            _log.info("request", extra={"facts": facts})


def _names(settings: Settings) -> frozenset[str]:
    """Return the names that the server answers to; none where it answers to all."""
    own = {"localhost", "127.0.0.1", "::1"}
    if settings.keys or settings.host not in own or "*" in settings.names:
        return frozenset()
    return frozenset({*own, *settings.names})


def _twice(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the name of a header that stands twice and may not, for a proxy may have gone by the other one."""
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in seen and name in ONCE:
            return name.decode()
        seen.add(name)
    return None


async def _send(answer: Reply, send: Send) -> None:
    kind = JSON if answer.kind == "application/json" else (b"content-type", answer.kind.encode())
    headers = [kind, (b"content-length", str(len(answer.body)).encode())]
    headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in answer.headers]
    start: Message = {"type": "http.response.start", "status": answer.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": answer.body})


class Lines(logging.Formatter):
    """Log records in, lines of JSON out. Nothing that is logged holds a client's text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        told: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)
