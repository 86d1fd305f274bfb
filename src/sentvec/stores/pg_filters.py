"""A filter in, an SQL condition on PostgreSQL's jsonb and the values bound to it out."""

from __future__ import annotations

import json
from typing import Any

from sentvec.search.filters import Compared, Every, Exists, Filter, Not, OneOf, Path, Some


class Bound:
    """The values of one statement, each under a name of its own."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def add(self, value: Any) -> str:
        """Return the mark that stands for a value."""
        name = f"f{len(self.values)}"
        self.values[name] = value
        return f":{name}"


def condition(given: Filter, column: str, bound: Bound) -> str:
    """Return the filter as an expression that is true or false, never NULL.

    Args:
        given: the filter.
        column: our own name of the jsonb column.
        bound: takes the values.
    """
    if isinstance(given, Not):
        return f"NOT ({condition(given.part, column, bound)})"
    if isinstance(given, Every | Some):
        joint = " AND " if isinstance(given, Every) else " OR "
        parts = [f"({condition(part, column, bound)})" for part in given.parts]
        return joint.join(parts) or ("true" if isinstance(given, Every) else "false")
    field = _field(given.path, column, bound)
    if isinstance(given, Exists):
        return f"{field} IS NOT NULL"
    if isinstance(given, OneOf):
        return _one_of(given, field, bound)
    return _compared(given, field, bound)


def _field(path: Path, column: str, bound: Bound) -> str:
    # By text keys, one after the other: #> would take "0" for a place in a list.
    return column + "".join(f" -> CAST({bound.add(name)} AS text)" for name in path)


def _one_of(given: OneOf, field: str, bound: Bound) -> str:
    # A list contains a scalar that is one of its elements; a scalar contains its equal, and 1 is 1.0 to jsonb.
    held = [f"{field} @> CAST({bound.add(json.dumps(value))} AS jsonb)" for value in given.values]
    return f"coalesce({' OR '.join(held)}, false)" if held else "false"


def _compared(given: Compared, field: str, bound: Bound) -> str:
    if isinstance(given.value, str):
        kind, mark = "string", f'CAST({bound.add(given.value)} AS text) COLLATE "C"'
        test = "({} #>> '{{}}') COLLATE \"C\" {} {}"
    else:
        kind, mark = "number", f"CAST({bound.add(json.dumps(given.value))} AS numeric)"
        test = "CAST({} AS numeric) {} {}"

    def of(value: str, otherwise: str) -> str:
        held = test.format(value, given.order, mark)
        return f"CASE jsonb_typeof({value}) WHEN '{kind}' THEN {held} {otherwise}ELSE false END"

    inside = f"EXISTS (SELECT 1 FROM jsonb_array_elements({field}) e WHERE {of('e.value', '')})"  # noqa: S608, ours
    return of(f"({field})", f"WHEN 'array' THEN {inside} ")
