"""What was cut off: token ids in, one warning a call out, or one for several calls."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentvec.batch import TokenIds

_log = logging.getLogger("sentvec")
_together: ContextVar[list[Truncation] | None] = ContextVar("together", default=None)


@contextmanager
def gathered() -> Iterator[None]:
    """Say once, at the end, what the calls of any models inside have cut off: they are parts of one piece of work."""
    found: list[Truncation] = []
    token = _together.set(found)
    try:
        yield
    finally:
        _together.reset(token)
        if found:
            _log.warning(
                "%d texts were longer than %d tokens and lost their end (%d tokens in all); the longest has %d tokens",
                sum(one.cut for one in found), found[0].limit, sum(one.lost for one in found),
                max(one.longest for one in found),
            )  # fmt: skip


class Truncation:
    """Counts texts that were longer than the model takes.

    Attributes:
        cut: how many texts lost their end.
        texts: how many texts were looked at.
        longest: tokens of the longest of them before it was cut, special tokens included.
        where: position of that text in the input.
        lost: tokens lost in all.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.cut = self.texts = self.longest = self.where = self.lost = 0

    def look(self, ids: TokenIds, place: int, times: int = 1) -> None:
        """Count a text that comes `times` times in the input, first at the position `place`."""
        self.texts += times
        if ids.lost:
            self.cut += times
            self.lost += times * ids.lost
            if len(ids) + ids.lost > self.longest:
                self.longest, self.where = len(ids) + ids.lost, place

    def add(self, later: Truncation) -> None:
        """Count what another one has counted in later texts."""
        self.texts += later.texts
        self.cut += later.cut
        self.lost += later.lost
        if later.longest > self.longest:
            self.longest, self.where = later.longest, later.where

    def log(self) -> None:
        """Say what was cut, if anything was, or leave that to `gathered`."""
        held = _together.get()
        if self.cut and held is not None:
            held.append(self)
        elif self.cut:
            _log.warning(
                "%d of %d texts were longer than %d tokens and lost their end (%d tokens in all); "
                "the longest, text %d, has %d tokens",
                self.cut, self.texts, self.limit, self.lost, self.where, self.longest,
            )  # fmt: skip
