"""Where config.json puts the base of rotary positions: a mapping in, the base out, and what is not plain is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sentvec.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RotaryNumbers:
    """What an architecture has beyond BERT whose layers all turn queries and keys alike.

    Attributes:
        base: base of the rotary positions.
    """

    base: float

    @property
    def rope(self) -> dict[str, Any]:
        """The same, as transformers 5 has it in config.json."""
        return {"rope_type": "default", "rope_theta": self.base}


def rotary_base(raw: Mapping[str, Any], key: str, default: float, *, kind: str | None = None) -> float:
    """Read the base, from `rope_parameters` (transformers 5), or from the architecture's own key.

    Args:
        raw: the content of config.json.
        key: where older files have the base.
        default: the base where no key says.
        kind: the part of `rope_parameters` that counts, where layers of different kinds have one each.

    Raises:
        ConfigError: the base is no positive number, or positions are scaled in a way that is not computed here.
    """
    for name in ("rope_scaling", "rope_parameters"):
        given = raw.get(name)
        if isinstance(given, dict) and kind is not None and kind in given:
            given = given[kind]
        if given is None:
            continue
        plain = isinstance(given, dict) and given.get("rope_type", given.get("type", "default")) == "default"
        # of the default type, every other number in there would be a scaling that some reader applies
        if not plain or set(given) - {"rope_type", "type", "rope_theta"}:
            raise ConfigError(
                f"{name} in config.json is {str(given)[:200]}, which is not supported for this architecture. "
                f"Supported: rope_type default with a rope_theta. Use a checkpoint whose positions are not scaled."
            )
        if "rope_theta" in given:
            return _positive(f"rope_theta in {name}", given["rope_theta"])
    return _positive(key, default if raw.get(key) is None else raw[key])


def _positive(key: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ConfigError(f"config.json cannot be used: {key} is {value!r}, which should be a positive number.")
    return float(value)
