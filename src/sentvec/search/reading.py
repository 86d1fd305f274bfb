"""Questions about a collection in, answers of one moment out: one connection, and the vectors as it sees them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from sentvec.search.generation import BadGeneration, GoneGeneration
from sentvec.search.opening import identity
from sentvec.search.schema import closed, damaged
from sentvec.search.store import CACHE_MIB, Store
from sentvec.search.view import View

_TRIES = 5  # transactions in which a generation may be replaced under a search
_Answer = TypeVar("_Answer")


class Reader:
    """A collection that is read; threads take turns.

    Attributes:
        known: what made its vectors.
    """

    def __init__(self, folder: Path, busy_s: float, *, mend: bool = False) -> None:
        """Open the collection in a folder; raises as `Store` does."""
        self._folder = folder
        self._store: Store | None = Store(folder, busy_s, mend=mend, cache_mib=CACHE_MIB)
        self._turn = threading.RLock()
        try:
            self.known = identity(self._store)
        except BaseException:
            self._store.close()
            raise
        self._view = View(folder, self.known)

    def plainly(self, question: Callable[[Store], _Answer]) -> _Answer:
        """Ask the database, which needs no vectors, and no transaction for a single query.

        Raises:
            CollectionError: the collection is closed.
        """
        with self._turn:
            if self._store is None:
                raise closed(self._folder)
            return question(self._store)

    def ask(self, question: Callable[[Store, View], _Answer]) -> _Answer:
        """Ask in a read transaction, with the vectors as of that transaction.

        Raises:
            CollectionError: the collection is closed, or cannot be read.
        """
        return self.plainly(lambda store: self._asked(store, question))

    @property
    def bad(self) -> Mapping[int, str]:
        """Generations that were found damaged, and in what."""
        return self._view.bad

    def _asked(self, store: Store, question: Callable[[Store, View], _Answer]) -> _Answer:
        for tries in range(2 * _TRIES):
            try:
                with store.reading():
                    self._view.refresh(store, patient=tries < _TRIES)
                    return question(store, self._view)
            except (BadGeneration, GoneGeneration):  # set aside, or replaced: the next transaction sees another
                continue
        raise damaged(self._folder, "its index files change while they are read")

    def close(self) -> None:
        """Close the connection and let go of the generation; a second call does nothing."""
        with self._turn:
            if self._store is not None:
                self._view.close()
                self._store.close()
                self._store = None
