"""Which generation a collection uses, and which rows it has not: a store in, its books read and changed out."""

from __future__ import annotations

from sentvec.search.schema import damaged
from sentvec.search.store import Store
from sentvec.search.types import Active

RECALL = 0.95
"""The recall that an index should have where none was ever asked for."""


def active(store: Store) -> Active | None:
    """Return the generation in use, if there is one."""
    number = _number(store, "SELECT coalesce((SELECT value FROM meta WHERE key = 'generation'), -1)")
    if number == 0:
        return None
    found = list(
        store.select(
            "SELECT generation, kind, rows, last_row, manifest FROM generations WHERE generation = ?", (number,)
        )
    )
    if not found:
        raise damaged(store.folder, f"it does not say what its generation {number} is")
    return Active(*found[0])


def activate(store: Store, chosen: Active | None, seq: int) -> None:
    """Make a generation the one in use, within `writing()`; None is none.

    Args:
        store: the database.
        chosen: what it is.
        seq: the last removal before its rows were read; what was removed until then is not in it.
    """
    store.change("DELETE FROM generations")
    if chosen is not None:
        values = (chosen.generation, chosen.kind, chosen.rows, chosen.last_row, chosen.manifest)
        store.change("INSERT INTO generations VALUES (?, ?, ?, ?, ?)", values)
        # A number is not used twice: a reader that is late never mistakes one folder for another.
        store.change("INSERT OR REPLACE INTO meta VALUES ('last_generation', ?)", (chosen.generation,))
        # Where none is made, who reads without one goes on so, and must still be told what went.
        store.change("DELETE FROM removed WHERE seq <= ?", (seq,))
    number = 0 if chosen is None else chosen.generation
    store.change("UPDATE meta SET value = ? WHERE key = 'generation'", (number,))


def recall(store: Store) -> float:
    """Return the recall that an index was last asked to have."""
    ((wanted,),) = store.select("SELECT coalesce((SELECT value FROM meta WHERE key = 'recall'), ?)", (RECALL,))
    if not isinstance(wanted, int | float) or not 0 < wanted <= 1:
        raise damaged(store.folder, f"it says that its index should have the recall {wanted!r}")
    return float(wanted)


def remember_recall(store: Store, wanted: float) -> None:
    """Keep the recall that an index was asked to have, within `writing()`."""
    store.change("INSERT OR REPLACE INTO meta VALUES ('recall', ?)", (wanted,))


def last_generation(store: Store) -> int:
    """Return the number of the last generation that was in use."""
    return _number(store, "SELECT coalesce((SELECT value FROM meta WHERE key = 'last_generation'), 0)")


def last_row(store: Store, table: str) -> int:
    """Return the greatest row that has a vector, maybe in a table that is being filled, in order of rows."""
    return _number(store, f"SELECT coalesce(max(row), 0) FROM {table}")  # noqa: S608, our own names


def last_removal(store: Store) -> int:
    """Return the number of the last removal."""
    return _number(store, "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'removed'), 0)")


def removed_after(store: Store, seq: int) -> tuple[list[int], int]:
    """Return the rows that were removed past `seq`, and the number of the last removal."""
    found = list(store.select("SELECT seq, row FROM removed WHERE seq > ? ORDER BY seq", (seq,)))
    return [row for _, row in found], found[-1][0] if found else seq


def removed_until(store: Store, row: int) -> int:
    """Return how many of the rows until `row` were removed since the active generation was made."""
    return _number(store, "SELECT count(*) FROM removed WHERE row <= ?", (row,))


def rows_after(store: Store, row: int) -> int:
    """Return how many passages there are past `row`."""
    return _number(store, "SELECT count(*) FROM passages WHERE row > ?", (row,))


def size(store: Store, table: str) -> int:
    """Return how many passages there are, or how many of them have a vector in a table that is being filled."""
    if table == "vectors":
        return store.counts()[0]
    return _number(store, f"SELECT count(*) FROM {table}")  # noqa: S608, our own names


def _number(store: Store, sql: str, values: tuple[int, ...] = ()) -> int:
    ((number,),) = store.select(sql, values)
    return int(number)
