"""Calls that would hold up the event loop in, their results out, by threads that nothing else takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from sentvec.serve.refusals import Refused

T = TypeVar("T")


class Place:
    """A few threads for one kind of work, so that what is slow there holds up nothing else.

    Args:
        name: what the threads are called.
        threads: how many; what comes while all are busy waits, first come first served.
        patience_s: seconds after which it is refused.
    """

    def __init__(self, name: str, threads: int, patience_s: float) -> None:
        self._threads = ThreadPoolExecutor(threads, f"sentvec-{name}")
        self._room = asyncio.Semaphore(threads)
        self._patience_s = patience_s

    async def run(self, call: Callable[[], T], left: Callable[[], bool] = lambda: False) -> T:
        """Call something in a thread, with this task's context variables.

        Args:
            call: what to call.
            left: says whether the client has gone, so that the call is not worth making.

        Raises:
            Refused: there was no thread for it in time, or the client left before there was one.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                await self._room.acquire()
        except TimeoutError:
            raise Refused(
                "overloaded", "the request waited too long for its turn. Try again later.", retry_after=5.0
            ) from None
        try:
            if left():
                raise Refused("gone", "the client left.")
            return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, call)
        finally:
            self._room.release()

    def close(self) -> None:
        """Begin nothing any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
