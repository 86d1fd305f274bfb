"""Settings in; a process that listens, reloads on SIGHUP and drains on SIGTERM, until it has ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentvec.errors import InvalidInput
from sentvec.extras import require
from sentvec.serve.app import App, Lines
from sentvec.serve.routes import routes
from sentvec.serve.service import Service
from sentvec.serve.settings import Settings
from sentvec.serve.surfaces.search import check
from sentvec.serve.tracing import Spans

if TYPE_CHECKING:
    import uvicorn

_log = logging.getLogger("sentvec.serve")

ASIDE = 64
"""Files that are kept for processes and the collection, besides those that are open when the models are loaded."""

FEWEST = 16
"""Connections that there may be in any case."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        MissingExtra: the extra `serve` is not installed, or `otel` where spans are asked for.
        InvalidInput: the address cannot be listened on.
        SentvecError: a model or the collection cannot be loaded.
    """
    lib: Any = require("uvicorn", extra="serve")
    require("httptools", extra="serve")
    from sentvec.serve.protocol import guarded

    _set_up_log()
    _allow_files()
    spans = Spans() if settings.otel else None
    listener = _bound(settings)
    service = Service(settings, check)
    try:
        service.load()
        app = App(service, routes(service), spans)
        config = lib.Config(
            app,
            http=guarded(settings.receive_s, _connections(settings)),
            loop="auto",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=2048,
            timeout_keep_alive=max(1, round(settings.receive_s)),
            timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        )
        _run(lib.Server(config), service, listener)
    finally:
        listener.close()
        service.close()
        if spans is not None:
            spans.close()
    _log.info("ended")


def _run(server: uvicorn.Server, service: Service, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of every client that sends nonsense

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loading: set[asyncio.Task[None]] = set()

        def reload() -> None:
            if len(loading) > 1:  # one loads and one waits: what comes after these is there for the one that waits
                return
            task = loop.create_task(_reload(service))
            loading.add(task)
            task.add_done_callback(loading.discard)

        if hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, reload)
        _listen(listener, server.config.backlog)
        facts = {"url": f"http://{f'[{host}]' if ':' in host else host}:{port}", "model": service.now.name}
        _log.info("listening", extra={"facts": facts})
        await server.serve(sockets=[listener])
        service.abandon()

    with _quiet_signals(), asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(main())


async def _reload(service: Service) -> None:
    _log.info("loading the models again")
    try:
        await asyncio.to_thread(service.load)
    except Exception as error:  # nobody waits for this: what is not said here is not said anywhere
        _log.error("the models cannot be loaded again, and those before serve on: %s", error)


@contextlib.contextmanager
def _quiet_signals() -> Iterator[None]:
    """Let uvicorn, which raises the signals that it drained for once more, end in peace."""
    names = [signal.SIGTERM, signal.SIGINT]
    before = [signal.signal(name, lambda number, frame: None) for name in names]
    try:
        yield
    finally:
        for name, handler in zip(names, before, strict=True):
            signal.signal(name, handler)


def _bound(settings: Settings) -> socket.socket:
    """Take the port now, and listen when the models are there: until then, clients are refused and try again."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except (OSError, ValueError, TypeError) as error:  # the last two for names that cannot be any
        listener.close()
        raise _taken(settings.host, settings.port, error) from None
    return listener


def _listen(listener: socket.socket, backlog: int) -> None:
    try:
        listener.listen(backlog)
    except OSError as error:  # another server took the port while this one loaded its models
        host, port = listener.getsockname()[:2]
        raise _taken(host, port, error) from None


def _taken(host: str, port: int, error: Exception) -> InvalidInput:
    why = getattr(error, "strerror", None) or error
    return InvalidInput(
        f"{host}:{port} cannot be listened on: {why}. Give another --host or --port; port 0 takes a free one."
    )


def _allow_files() -> None:
    """Allow as many open connections as the system lets a process allow itself."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _connections(settings: Settings) -> int:
    """Return how many connections there may be: beyond it the idle are closed, where without files all are refused."""
    most = settings.max_connections
    with contextlib.suppress(ImportError, OSError):  # where nobody tells, there is no such limit
        import resource

        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = len(list(Path("/proc/self/fd").iterdir()))
        free = max(FEWEST, (files - used - ASIDE) * 4 // 5)  # some are held on to when they are closed
        if files != resource.RLIM_INFINITY and free < most:
            _log.warning("%d connections are the most, for this process may have %d files open", free, files)
            return free
    return most


def _set_up_log() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    for name in ("sentvec.serve", "uvicorn.error", "opentelemetry"):
        log = logging.getLogger(name)
        log.handlers[:] = [handler]
        log.propagate = False
    _log.setLevel(logging.INFO)
