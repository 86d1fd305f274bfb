"""What was cut off: token ids in, one warning a call out."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sentvec.batch import TokenIds

_log = logging.getLogger("sentvec")


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

    def look(self, encoded: Sequence[TokenIds], first: int) -> None:
        """Count a window of texts whose first one has the position `first`."""
        self.texts += len(encoded)
        for place, ids in enumerate(encoded, start=first):
            if ids.lost:
                self.cut += 1
                self.lost += ids.lost
                if len(ids) + ids.lost > self.longest:
                    self.longest, self.where = len(ids) + ids.lost, place

    def log(self) -> None:
        """Say what was cut, if anything was."""
        if self.cut:
            _log.warning(
                "%d of %d texts were longer than %d tokens and lost their end (%d tokens in all); "
                "the longest, text %d, has %d tokens",
                self.cut, self.texts, self.limit, self.lost, self.where, self.longest,
            )  # fmt: skip
