"""Metadata in, what servers can compare exactly out; a filter in, a plan over the same out.

Servers differ in what a filter on JSON means: whether 1 equals "1" or true, what a list is, whether null is absent.
So each passage carries *facts*: one token for each field that is there and for each of its values, hashed with their
types, and the smallest and largest number and text of each field. A list has a value below 5 exactly if its smallest
one is. A plan then needs no more of a server than "has this token" and "this bound is below that", and no negation of
what may be absent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sentvec.search.filters import Compared, Every, Exists, Filter, Not, Order, Path, Scalar, Some

_ORDERED = 1000  # letters of a text by which it is ordered: servers limit what they index
_LARGEST = 1.7e308
_WHOLE = 1 << 63
_OPPOSITE: dict[Order, Order] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a passage can be found by: tokens, and bounds (numbers and texts) by their keys."""

    tokens: tuple[str, ...]
    bounds: Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class Has:
    """One of the tokens is there; with no tokens, nothing meets it."""

    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lacks:
    """None of the tokens is there; with no tokens, everything meets it."""

    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stands:
    """The bound is there, and stands so to the value."""

    key: str
    order: Order
    value: float | str


@dataclass(frozen=True, slots=True)
class Both:
    """All parts hold."""

    parts: tuple[Plan, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of the parts holds."""

    parts: tuple[Plan, ...]


Plan = Has | Lacks | Stands | Both | Either


def facts(metadata: Mapping[str, Any]) -> Facts:
    """Return the facts of a passage's metadata."""
    tokens: dict[str, None] = {}
    bounds: dict[str, float | str] = {}
    _gather((), metadata, tokens, bounds)
    return Facts(tuple(tokens), bounds)


def _gather(path: Path, value: Any, tokens: dict[str, None], bounds: dict[str, float | str]) -> None:
    if path:
        tokens[_token(path, "there")] = None
    if isinstance(value, Mapping):
        for name, part in value.items():
            _gather((*path, name), part, tokens, bounds)
        return
    for one in value if isinstance(value, list | tuple) else [value]:
        if isinstance(one, Mapping | list | tuple):
            continue
        tokens[_value_token(path, one)] = None
        if one is None or isinstance(one, bool):
            continue
        tokens[_token(path, _kind(one))] = None
        bound = _bound(one)
        low, high = _key(path, one, "<"), _key(path, one, ">")
        bounds[low] = min(bounds.get(low, bound), bound)
        bounds[high] = max(bounds.get(high, bound), bound)


def plan(given: Filter, *, holds: bool = True) -> Plan:
    """Return what a passage's facts must be for a filter to hold, or not to."""
    if isinstance(given, Not):
        return plan(given.part, holds=not holds)
    if isinstance(given, Every | Some):
        parts = tuple(plan(part, holds=holds) for part in given.parts)
        every = isinstance(given, Every) == holds
        if not parts:
            return Lacks(()) if every else Has(())
        return Both(parts) if every else Either(parts)
    if isinstance(given, Compared):
        key, value = _key(given.path, given.value, given.order), _bound(given.value)
        if holds:
            return Stands(key, given.order, value)
        return Either((Lacks((_token(given.path, _kind(given.value)),)), Stands(key, _OPPOSITE[given.order], value)))
    if isinstance(given, Exists):
        tokens: tuple[str, ...] = (_token(given.path, "there"),)
    else:
        tokens = tuple(_value_token(given.path, value) for value in given.values)
    return Has(tokens) if holds else Lacks(tokens)


def _token(path: Path, *told: object) -> str:
    text = json.dumps([list(path), *told])
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _value_token(path: Path, value: Scalar) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and not -_WHOLE <= value < _WHOLE:
        value = _bounded(value)  # as SQLite reads it
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _token(path, "is", value)


def _kind(value: object) -> str:
    return "text" if isinstance(value, str) else "number"


def _bound(value: float | str) -> float | str:
    return value[:_ORDERED] if isinstance(value, str) else _bounded(value)


def _bounded(value: float) -> float:
    return float(max(-_LARGEST, min(value, _LARGEST)))


def _key(path: Path, value: object, order: str) -> str:
    """Return the name of the smallest (for < and <=) or largest value of a field; no letter of the user's is in it."""
    return f"{_kind(value)}_{'low' if order[0] == '<' else 'high'}_{_token(path)}"
