"""What a body must look like in, as the OpenAPI document shows it; the body with its defaults, or a refusal, out.

One description is both: what the document says is what is checked. It is JSON Schema (2020-12), of which `check` knows
what our surfaces use.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from sentvec.serve.refusals import Kind, Refused

Schema = Mapping[str, Any]

NONE: Schema = {"type": "null"}
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def text(**more: Any) -> Schema:
    """Return the description of a str."""
    return {"type": "string", **more}


def texts(most: int | None = None, **more: Any) -> Schema:
    """Return the description of a list of str that holds at least one."""
    return {"type": "array", "items": {"type": "string"}, "minItems": 1, **({"maxItems": most} if most else {}), **more}


def one_of(*choices: Schema, **more: Any) -> Schema:
    """Return the description of what is one of several."""
    return {"anyOf": list(choices), **more}


def optional(schema: Schema, default: Any = None) -> Schema:
    """Return the description of a field that may be left away or null, and is then `default`."""
    if default is None:
        return {"anyOf": [schema, NONE], "default": None}
    return {"anyOf": [schema, NONE], "default": default}


def record(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """Return the description of an object; other fields than these are passed over."""
    return {"type": "object", "properties": properties, "required": list(required)}


def check(value: Any, schema: Schema, where: str = "") -> Any:
    """Return a value with defaults filled in.

    Raises:
        Refused: it is not what the schema describes: "empty" for a text or list that may not be, else "malformed".
    """
    if "anyOf" in schema:
        return _any(value, schema, where)
    kind = schema.get("type")
    if kind is not None and not _is(value, kind):
        raise _odd(value, schema, where)
    if "enum" in schema and value not in schema["enum"]:
        raise _odd(value, schema, where)
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        raise _odd(value, schema, where, "empty")
    if kind in ("integer", "number") and not schema.get("minimum", -math.inf) <= value <= schema.get(
        "maximum", math.inf
    ):
        raise _odd(value, schema, where)
    if isinstance(value, list):
        return _list(value, schema, where)
    if isinstance(value, dict) and "properties" in schema:
        return _record(value, schema, where)
    return value


def _is(value: Any, kind: str) -> bool:
    if kind in ("integer", "number") and isinstance(value, bool):
        return False
    if kind == "integer" and isinstance(value, float):
        return False
    return isinstance(value, _TYPES[kind])


def _list(value: list[Any], schema: Schema, where: str) -> list[Any]:
    if len(value) < schema.get("minItems", 0):
        raise _odd(value, schema, where, "malformed" if value else "empty")
    if len(value) > schema.get("maxItems", math.inf):
        raise _odd(value, schema, where)
    items = schema.get("items")
    if items is None:
        return value
    if items.keys() == {"type"} and items["type"] in ("string", "integer"):  # a hundred thousand ids, say
        wanted = _TYPES[items["type"]]
        place = next((i for i, one in enumerate(value) if type(one) is not wanted), None)
        if place is not None:
            raise _odd(value[place], items, f"{where}[{place}]")
        return value
    return [check(one, items, f"{where}[{place}]") for place, one in enumerate(value)]


def _record(value: dict[str, Any], schema: Schema, where: str) -> dict[str, Any]:
    found = dict(value)
    for name, inner in schema["properties"].items():
        path = f"{where}.{name}" if where else name
        if name in value:
            found[name] = check(value[name], inner, path)
            if found[name] is None and inner.get("default") is not None:
                found[name] = inner["default"]
        elif name in schema.get("required", ()):
            raise Refused("malformed", f"{path} is missing; accepted: {_said(inner)}.", field=path)
        else:
            found[name] = inner.get("default")
    return found


def _any(value: Any, schema: Schema, where: str) -> Any:
    near: Refused | None = None
    for choice in schema["anyOf"]:
        try:
            return check(value, choice, where)
        except Refused as refused:
            # what is right as a whole and wrong inside, or empty, says more than a list of all that is possible
            if refused.kind == "empty" or (near is None and refused.field != where):
                near = refused
    raise near if near is not None else _odd(value, schema, where)


def _odd(value: Any, schema: Schema, where: str, kind: Kind = "malformed") -> Refused:
    name = where or "the body"
    if kind == "empty":
        return Refused("empty", f"`{name}` cannot be empty", field=where)
    return Refused(kind, f"{name} is {_shown(value)}; accepted: {_said(schema)}.", field=where)


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    told = (
        json.dumps(value, ensure_ascii=False) if not isinstance(value, int) or abs(value) < 1 << 64 else "a huge number"
    )
    return told if len(told) <= 60 else f"{told[:57]}…"


def _said(schema: Schema) -> str:
    """Say in words what a schema takes.

    >>> _said(optional(texts()))
    'a list of a string or null'
    """
    if "anyOf" in schema:
        return " or ".join(_said(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(json.dumps, schema["enum"]))
    kind = schema.get("type", "anything")
    if kind == "array":
        most = f" ({schema['maxItems']} at most)" if "maxItems" in schema else ""
        return f"a list of {_said(schema.get('items', {}))}{most}"
    names = {"string": "a string", "integer": "a whole number", "number": "a number", "boolean": "true or false"}
    said = names.get(kind, "an object" if kind == "object" else str(kind))
    if "minimum" in schema or "maximum" in schema:
        said += f" from {schema.get('minimum', '…')} to {schema.get('maximum', '…')}"
    return said
