"""Sockets with answers that are not read yet in; their end out: read, or given up after a time in which nothing was.

A socket that is closed lives on in the system until its answers are read, and megabytes of them are held for minutes
for a client that reads none. The system's own limit of that time (`TCP_USER_TIMEOUT`) ends slow readers as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys

MUCH = 65_536
"""Bytes that the system may have to itself."""


def unread(number: int) -> int:
    """Return the bytes that the other side has not taken of a socket, by its file's number; 0 where none can tell."""
    with contextlib.suppress(ImportError, OSError):  # Linux tells
        import fcntl
        import termios

        return int.from_bytes(fcntl.ioctl(number, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    return 0


def forget(number: int) -> None:
    """Let a socket's end, whenever it is closed, be a reset: what is unread is forgotten at once."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as same:  # it may have ended meanwhile
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


LOOKS = 4
"""How often nothing may have been taken between two looks: a slow reader's system takes much at a time, and rarely."""


class Unread:
    """Sockets that were closed before much of their answers was read.

    Args:
        seconds: between two looks; one of which nothing was taken for `LOOKS` of them is reset.
        most: how many there may be; beyond it, the one that came first is reset.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds, self._most = seconds, most
        self._held: dict[socket.socket, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, number: int) -> None:
        """Take over a socket that is about to be closed, if much is left to read."""
        left = unread(number)
        if left < MUCH:
            return
        with contextlib.suppress(OSError):  # no more files may be open: the system has it to itself
            same = socket.socket(fileno=os.dup(number))
            with contextlib.suppress(OSError):  # the client has ended it
                same.shutdown(socket.SHUT_WR)
            if len(self._held) >= self._most:
                self._give_up(next(iter(self._held)))
            self._wait(same, left, LOOKS)

    def _wait(self, one: socket.socket, left: int, looks: int) -> None:
        self._held[one] = asyncio.get_running_loop().call_later(self._seconds, self._look, one, left, looks)

    def _look(self, one: socket.socket, before: int, looks: int) -> None:
        left = unread(one.fileno())
        if left < MUCH:
            self._held.pop(one)
            one.close()
        elif left < before:
            self._wait(one, left, LOOKS)
        elif looks > 1:
            self._wait(one, left, looks - 1)
        else:
            self._give_up(one)

    def _give_up(self, one: socket.socket) -> None:
        self._held.pop(one).cancel()
        forget(one.fileno())
        one.close()
