"""Pieces that several surfaces' descriptions of bodies are made of, and vectors as JSON."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from sentvec.runtime.engine import Array
from sentvec.serve.floats import numbers
from sentvec.serve.schema import NONE, Schema, one_of
from sentvec.serve.service import NUMBERS, Service

ONE_TEXT: Schema = {"type": "string", "minLength": 1}
MANY_TEXTS: Schema = {"type": "array", "items": ONE_TEXT, "minItems": 1}
ONE_IDS: Schema = {"type": "array", "items": {"type": "integer"}, "minItems": 1}
MANY_IDS: Schema = {"type": "array", "items": ONE_IDS, "minItems": 1}
INPUT: Schema = one_of(ONE_TEXT, MANY_TEXTS, ONE_IDS, MANY_IDS)
"""A text, texts, token ids of a text, or of several."""

VECTOR: Schema = {"type": "array", "items": {"type": "number"}}
MATRIX: Schema = {"type": "array", "items": VECTOR}
DIRECTION: Schema = {
    "anyOf": [{"type": "string", "enum": ["right", "left", "Right", "Left"]}, NONE],
    "default": "right",
}


def as_base64(vector: Array) -> bytes:
    """Return a vector as its bytes, little-endian float32."""
    return base64.b64encode(vector.astype("<f4", copy=False).tobytes())


def listed(given: Any) -> tuple[list[str] | None, list[list[int]] | None]:
    """Return an `INPUT` as texts, or as token ids."""
    if isinstance(given, str):
        return [given], None
    if isinstance(given[0], str):
        return given, None
    return None, given if isinstance(given[0], list) else [given]


async def written(service: Service, arrays: Sequence[Array]) -> bytes:
    """Return arrays of one or two axes as a JSON list; many numbers are written in a thread."""

    def write() -> bytes:
        return b"[%s]" % b",".join(map(_array, arrays))

    return await service.aside(write, sum(one.size for one in arrays) // NUMBERS)


def _array(one: Array) -> bytes:
    return b"[%s]" % (numbers(one) if one.ndim == 1 else b",".join(map(_array, one)))
