"""Bytes of one connection in, requests of the application out: uvicorn's HTTP/1.1 with an eye on the clock.

Uvicorn waits for ever for a request that has begun. Here a connection is closed when a whole request has not arrived in
time, idle ones are closed when there are too many, and a client that leaves is noticed by what waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sentvec.extras import require
from sentvec.serve.app import LEFT
from sentvec.serve.parser import Parser
from sentvec.serve.unread import Unread, forget, unread

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Base
else:
    Base = require("uvicorn.protocols.http.httptools_impl", extra="serve").HttpToolsProtocol


AROUND = 1 << 19
"""Most bytes of a request besides its body: headers, trailers, what stands around chunks. The parser has no limit."""

_TOO_MUCH = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Idle:
    """Connections without a request, the one that has been so for longest first."""

    def __init__(self) -> None:
        self._waiting: dict[Any, None] = {}

    def add(self, one: Any) -> None:
        """Remember that a connection is idle from now on."""
        self._waiting[one] = None

    def drop(self, one: Any) -> None:
        """Forget that a connection was idle."""
        self._waiting.pop(one, None)

    def oldest(self) -> Any:
        """Return the one that has been idle for longest, or None."""
        return next(iter(self._waiting), None)


def guarded(receive_s: float, most: int) -> Callable[..., Base]:
    """Return the protocol, for `uvicorn.Config(http=...)`.

    Args:
        receive_s: seconds in which a whole request must have arrived.
        most: open connections; beyond it, the one that has sent no whole request for longest is closed, or else the
            one that has read nothing of its answers for longest.
    """
    idle, slow = Idle(), Idle()  # without a request; with answers that are not read
    closed = Unread(receive_s, max(1, most // 4))

    class Guarded(Base):
        """One connection."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.parser = Parser(self)  # type: ignore[assignment] # it has all that uvicorn asks of httptools' own
            self._cut: asyncio.TimerHandle | None = None
            self._gone = False
            self._answered: Any = None  # the request that is being answered; uvicorn knows only the last one that came
            self._around = 0  # bytes of the request that are not its body
            self._stalled: asyncio.TimerHandle | None = None
            self._unread = 0  # bytes of answers that waited to be read when we last looked
            self._arm()
            idle.add(self)
            if len(self.connections) > most:
                oldest = idle.oldest()
                if oldest is self:  # all others are busy, or keep us so
                    oldest = slow.oldest() or self
                oldest.give_way()

        def connection_lost(self, exc: Exception | None) -> None:
            self._gone = True
            if exc is None and (number := self._number()) is not None:
                closed.keep(number)
            self.pipeline.clear()
            if self._answered is not None:
                self._answered.disconnected = True
                self._answered.message_event.set()
            idle.drop(self)
            self._disarm()
            self.resume_writing()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._around += len(data)
            super().data_received(data)
            if self._around > AROUND and not self.transport.is_closing():
                if not self._busy():
                    self.transport.write(_TOO_MUCH)
                    self.transport.close()
                else:
                    self.transport.abort()
                return
            if not self._busy():
                self._arm()  # uvicorn has put out its own clock

        def on_message_begin(self) -> None:
            self._arm()
            super().on_message_begin()
            self.scope[LEFT] = self._left  # type: ignore[literal-required]

        def _start_asgi_task(self, cycle: Any, app: Any) -> None:
            self._answered = cycle
            super()._start_asgi_task(cycle, app)

        def on_body(self, body: bytes) -> None:
            self._around -= len(body)
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._around = 0
            idle.drop(self)
            self._disarm()
            super().on_message_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.transport.is_closing():  # but not closed, where there is something to read yet
                self._look_after()
            elif not self._busy():
                idle.add(self)

        def timeout_keep_alive_handler(self) -> None:
            self._end()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._look_after()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._leave()

        def _end(self) -> None:
            """Close the connection, but leave a slow reader the time to read what was answered."""
            if self._waiting():
                self.transport.close()
                self._look_after()
            else:
                self.transport.abort()

        def _look_after(self) -> None:
            self._leave()
            if not self._gone:
                slow.add(self)
                self._unread = self._waiting()
                self._stalled = self.loop.call_later(receive_s, self._unmoved)

        def give_way(self) -> None:
            """End the connection, for another one."""
            idle.drop(self)
            if self._stalled is not None:
                self._reset()
            else:
                self.transport.abort()

        def _leave(self) -> None:
            slow.drop(self)
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None

        def _unmoved(self) -> None:
            self._stalled = None
            if self._waiting() < self._unread:  # whoever reads slowly may go on
                self._look_after()
            else:
                self._reset()

        def _reset(self) -> None:
            """End the connection and forget what nobody reads, in the system's buffers too."""
            if (number := self._number()) is not None:
                forget(number)
            self.transport.abort()

        def _waiting(self) -> int:
            """Return the bytes that the client has not read, here and, where it tells (Linux), in the system."""
            size: int = self.transport.get_write_buffer_size()
            number = self._number()
            return size + (unread(number) if number is not None else 0)

        def _number(self) -> int | None:
            found = self.transport.get_extra_info("socket")
            number = -1 if found is None else found.fileno()
            return number if number >= 0 else None

        def _left(self) -> bool:
            return self._gone

        def _busy(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _arm(self) -> None:
            if self._cut is None and not self.transport.is_closing():
                self._cut = self.loop.call_later(receive_s, self._late)

        def _disarm(self) -> None:
            if self._cut is not None:
                self._cut.cancel()
                self._cut = None

        def _late(self) -> None:
            self._cut = None
            if not self._busy():  # else the application answers, and knows better how
                self._end()

    return Guarded
