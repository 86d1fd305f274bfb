"""A value that a user gave and the type that it should have, in; whether it fits, and the type in plain words, out."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from torch import Tensor

_WORDS: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    NoneType: "none",
}


def fits(value: object, hint: Any) -> bool:
    """Say whether a value is of a type.

    >>> fits(1, float), fits(True, float), fits((1, "a"), tuple[int, ...]), fits({"a": 1}, Mapping[str, Any])
    (True, False, False, True)
    """
    parts = get_args(hint)
    kind = get_origin(hint)
    if kind in (Union, UnionType):
        return any(fits(value, part) for part in parts if part is not Tensor)
    if kind is Literal:
        return value in parts
    if kind is tuple:
        return isinstance(value, tuple) and all(fits(one, parts[0]) for one in value)
    if kind is Mapping:
        return isinstance(value, Mapping) and all(fits(one, parts[1]) for one in value.values())
    if hint in (int, float):  # True is an int to Python
        hint, value = int | hint, None if isinstance(value, bool) else value
    return not isinstance(hint, type | UnionType) or hint is Any or isinstance(value, hint)


def words(hint: Any) -> str:
    """Say what a type is.

    >>> words(int | None), words(tuple[int, ...]), words(Mapping[str, str])
    ('a whole number or none', 'a list (each a whole number)', 'a table (each a text)')
    """
    parts = get_args(hint)
    kind = get_origin(hint)
    if kind in (Union, UnionType):
        return " or ".join(words(part) for part in parts if part is not Tensor)
    if kind is Literal:
        return " or ".join(map(repr, parts))
    if kind is tuple:
        return f"a list (each {words(parts[0])})"
    if kind is Mapping:
        return "a table" if parts[1] is Any else f"a table (each {words(parts[1])})"
    return _WORDS.get(hint, str(hint))
