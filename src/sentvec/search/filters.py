r"""A filter as users write it in; a small tree that any store can translate, and SQL over JSON metadata, out.

::

    {"lang": "zh", "year": {">": 2020, "<=": 2025}, "$or": [{"tag": {"in": ["a", "b"]}}, {"author.name": "Wu"}]}

All conditions of one dict hold together. A dot goes into an object; `\\.` is a dot in a field's own name. A field that
is a list meets a condition if one of its elements does. Types are never mixed up: 1 equals 1.0, but neither "1" nor
true; null equals null, and not a field that is absent. `!=` and `$not` are exact opposites, so that they hold for
absent fields too. Texts are ordered by their characters' numbers.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from sentvec.errors import InvalidInput

Scalar = str | int | float | bool | None
Path = tuple[str, ...]
Order = Literal["<", "<=", ">", ">="]
Values = tuple[Any, ...]

DEPTH = 32  # filters within filters
CONDITIONS = 500  # in all: SQLite's own limits lie a little higher

_OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "exists")
_LARGEST = int(sys.float_info.max)
_WHOLE = 1 << 63  # SQLite keeps larger whole numbers as floats


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field equals one of the values."""

    path: Path
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """The field is a number, or a text, and stands so to the value."""

    path: Path
    order: Order
    value: int | float | str


@dataclass(frozen=True, slots=True)
class Exists:
    """The field is there, if only as null."""

    path: Path


@dataclass(frozen=True, slots=True)
class Every:
    """All parts hold; without parts, everything does."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one part holds."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Filter


Filter = OneOf | Compared | Exists | Every | Some | Not


def parse(where: Mapping[str, Any]) -> Filter:
    """Read a filter.

    Raises:
        InvalidInput: an operator, a value or a shape that is not known; the message names it.

    >>> parse({"year": {">": 2020}, "lang": "zh"})
    Every(parts=(Compared(path=('year',), order='>', value=2020), OneOf(path=('lang',), values=('zh',))))
    """
    found = _filter(where, "the filter", 1)
    count = _conditions(found)
    if count > CONDITIONS:
        raise InvalidInput(f"The filter has {count} conditions; accepted: {CONDITIONS}. Give values by 'in'.")
    return found


def sql(given: Filter, column: str) -> tuple[str, Values]:
    """Return the filter as an SQL expression that is 0 or 1, never NULL, and the values bound to its marks.

    Args:
        given: the filter.
        column: our own name of the column that holds JSON objects; nothing of the user's may stand in it.
    """
    if isinstance(given, Not):
        text, values = sql(given.part, column)
        return f"NOT ({text})", values
    if isinstance(given, Every | Some):
        parts = [sql(part, column) for part in given.parts]
        joint = " AND " if isinstance(given, Every) else " OR "
        text = joint.join(f"({part})" for part, _ in parts) or str(int(isinstance(given, Every)))
        return text, tuple(value for _, values in parts for value in values)
    where = "$" + "".join(f".{json.dumps(name, ensure_ascii=False)}" for name in given.path)
    if isinstance(given, Exists):
        return f"json_type({column}, ?) IS NOT NULL", (where,)
    test, value = (_one_of(given), _texts_and_numbers(given)) if isinstance(given, OneOf) else _compared(given)
    element = _case(test, "type", "atom", "0")
    inside = f"EXISTS (SELECT 1 FROM json_each({column}, ?) WHERE {element})"  # noqa: S608, our own text
    outside = _case(test, f"json_type({column}, ?)", f"json_extract({column}, ?)", inside)
    return outside, (where, where, value, where, value)


@dataclass(frozen=True, slots=True)
class _Test:
    """How a value of each JSON type is tested: by an expression that ends in a mark, or by a fixed 0 or 1."""

    fixed: Mapping[str, int]
    expression: str


def _case(test: _Test, type_: str, value: str, array: str) -> str:
    # The marks come in this order: the type's, the array's (path, value), the value's and the test's own.
    fixed = " ".join(f"WHEN '{name}' THEN {held}" for name, held in test.fixed.items())
    return (
        f"CASE {type_} {fixed} WHEN 'object' THEN 0 WHEN 'array' THEN {array} "
        f"ELSE coalesce({value} {test.expression}, 0) END"
    )


def _one_of(given: OneOf) -> _Test:
    # SQL reads true as 1 and knows no equal of null, so these are decided here, by JSON's own types.
    held = {"true": True, "false": False, "null": None}
    fixed = {name: int(any(value is alone for value in given.values)) for name, alone in held.items()}
    return _Test(fixed, "IN (SELECT value FROM json_each(?))")


def _texts_and_numbers(given: OneOf) -> str:
    return json.dumps([v for v in given.values if v is not None and not isinstance(v, bool)], ensure_ascii=False)


def _compared(given: Compared) -> tuple[_Test, int | float | str]:
    # SQL puts every number before every text.
    other = ("integer", "real") if isinstance(given.value, str) else ("text",)
    return _Test(dict.fromkeys(("true", "false", "null", *other), 0), f"{given.order} ?"), given.value


def _filter(where: object, what: str, depth: int) -> Filter:
    if not isinstance(where, Mapping) or not all(isinstance(name, str) for name in where):
        raise InvalidInput(f'{what} is {_shown(where)}; accepted: a dict such as {{"year": {{">": 2020}}}}.')
    if depth > DEPTH:
        raise InvalidInput(f"The filter is nested deeper than {DEPTH} levels; write it flatter.")
    parts = [part for name, value in where.items() for part in _entry(name, value, depth)]
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def _entry(name: str, value: object, depth: int) -> list[Filter]:
    if name in ("$and", "$or"):
        if not _is_list(value) or not value:
            raise InvalidInput(f"{name} is {_shown(value)}; accepted: a list of at least one filter.")
        parts = tuple(_filter(part, f"part {n} of {name}", depth + 1) for n, part in enumerate(value))
        return [Every(parts) if name == "$and" else Some(parts)]
    if name == "$not":
        return [Not(_filter(value, "$not", depth + 1))]
    if name.startswith("$"):
        raise InvalidInput(
            f"{name!r} is not known; accepted: '$and', '$or', '$not', or a field's name, '\\{name}' if that is one."
        )
    path = _path(name)
    if not isinstance(value, Mapping):
        return [_condition(path, "==", value, name)]
    if not value:
        raise InvalidInput(f"The condition of {name!r} is empty; accepted operators: {', '.join(_OPERATORS)}.")
    return [_condition(path, operator, operand, name) for operator, operand in value.items()]


def _condition(path: Path, operator: object, value: object, name: str) -> Filter:
    if operator == "==":
        return OneOf(path, (_scalar(value, name, "=="),))
    if operator == "!=":
        return Not(OneOf(path, (_scalar(value, name, "!="),)))
    if operator == "in":
        if not _is_list(value):
            raise InvalidInput(f"{name!r} in {_shown(value)}: accepted is a list of values.")
        return OneOf(path, tuple(_scalar(one, name, "in") for one in value))
    if operator == "exists":
        if not isinstance(value, bool):
            raise InvalidInput(f"{name!r} exists {_shown(value)}: accepted is true or false.")
        return Exists(path) if value else Not(Exists(path))
    if operator in ("<", "<=", ">", ">="):
        found = _scalar(value, name, operator)
        if found is None or isinstance(found, bool):
            raise InvalidInput(f"{name!r} {operator} {_shown(value)}: only numbers and texts have an order.")
        order: Order = operator
        return Compared(path, order, found)
    raise InvalidInput(
        f"The operator {_shown(operator)} of {name!r} is not known; accepted: {', '.join(_OPERATORS)}. "
        "A field inside an object is written with a dot: 'author.name'."
    )


def _scalar(value: object, name: str, operator: str) -> Scalar:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        _storable(value, f"{name!r} {operator}")
        return value
    if isinstance(value, int):
        if -_WHOLE <= value < _WHOLE:
            return int(value)
        value = float(value) if abs(value) <= _LARGEST else math.inf
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    hint = "; for a list of values, write {'in': [...]}" if _is_list(value) else ""
    raise InvalidInput(
        f"{name!r} {operator} {_shown(value)}: accepted is a text, a finite number, true, false or null{hint}."
    )


def _path(name: str) -> Path:
    r"""Part a field's name at its dots.

    >>> _path("a.b"), _path("a\\.b"), _path("\\$a"), _path("")
    (('a', 'b'), ('a.b',), ('$a',), ('',))
    """
    _storable(name, "a field's name")
    if "\0" in name:  # SQLite would read the name up to there, and so take another field
        raise InvalidInput(f"The field {name!a} holds a NUL character, which no stored field has; take it out.")
    parts, escaped = [""], False
    for letter in name:
        if letter == "." and not escaped:
            parts.append("")
        elif escaped or letter != "\\":
            parts[-1] += letter
        escaped = letter == "\\" and not escaped
    if escaped:
        raise InvalidInput(f"The field {name!a} ends in a single '\\'; write two for the sign itself.")
    return tuple(parts)


def _storable(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{what} {ascii(text)[:80]} holds half a character, which no text has.") from None


def _conditions(given: Filter) -> int:
    if isinstance(given, Every | Some):
        return 1 + sum(map(_conditions, given.parts))
    return 1 + _conditions(given.part) if isinstance(given, Not) else 1


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple)


def _shown(value: object) -> str:
    return ascii(value)[:80]
