"""Read config.json once: a mapping with Hugging Face's keys in, a frozen dataclass of plain numbers out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from types import MappingProxyType
from typing import Any

from sentvec.errors import ConfigError
from sentvec.nn.activations import ACTIVATIONS


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Numbers that shape an encoder of the BERT family.

    Attributes:
        vocab: number of token ids.
        hidden: width of the hidden states.
        layers: number of transformer layers.
        heads: attention heads of each layer.
        intermediate: width inside the feed-forward part.
        positions: rows of the position table.
        types: rows of the token type table.
        act: name of the feed-forward part's activation.
        norm_eps: epsilon of layer normalisation.
        dropout: dropped share of hidden states in training.
        attention_dropout: dropped share of attention probabilities in training.
        position_offset: row of the position table used by a text's first token.
        own: numbers that one architecture alone has, a frozen dataclass of its own file; None where there are none.
    """

    vocab: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    positions: int
    types: int
    act: str = "gelu"
    norm_eps: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.1
    position_offset: int = 0
    own: Any = None

    @property
    def max_tokens(self) -> int:
        """Longest text that the position table has rows for, special tokens included."""
        return self.positions - self.position_offset


Keys = Mapping[str, tuple[str, type]]
"""Our field -> its key in config.json, and what kind of value it must be."""

BERT_KEYS: Keys = MappingProxyType(
    {
        "vocab": ("vocab_size", int),
        "hidden": ("hidden_size", int),
        "layers": ("num_hidden_layers", int),
        "heads": ("num_attention_heads", int),
        "intermediate": ("intermediate_size", int),
        "positions": ("max_position_embeddings", int),
        "types": ("type_vocab_size", int),
        "act": ("hidden_act", str),
        "norm_eps": ("layer_norm_eps", float),
        "dropout": ("hidden_dropout_prob", float),
        "attention_dropout": ("attention_probs_dropout_prob", float),
    }
)
_REQUIRED = ("vocab", "hidden", "layers", "heads")
# options that any file of this family may carry, and the values that are computed
_ONLY = {"position_embedding_type": ("absolute",), "is_decoder": (False,), "add_cross_attention": (False,)}
_LARGEST = 1 << 24  # no table of a real checkpoint has more rows; a hostile config must not ask for terabytes
DEEPEST = 1024
"""Most layers that a file may ask for: more would take hours to build."""


def read_config(
    raw: Mapping[str, Any],
    keys: Keys = BERT_KEYS,
    *,
    types: int = 2,
    position_offset: int = 0,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    own: type | None = None,
    only: Mapping[str, tuple[Any, ...]] = MappingProxyType({}),
    may_be_none: tuple[str, ...] = (),
) -> EncoderConfig:
    """Read the numbers of an encoder; what old files leave out gets BERT's own value.

    Args:
        raw: the content of config.json, or of Google's bert_config.json.
        keys: the architecture's names for our fields, and for those of `own`.
        types: rows of the token type table where the file does not say; 0 for an architecture without one.
        position_offset: row of the position table used by a text's first token.
        defaults: our field -> its value where the file does not say and the architecture's is not BERT's.
        own: the frozen dataclass of numbers that this architecture alone has. A field without a default must
            stand in the file.
        only: key -> the values that sentvec computes, of options that would change the numbers. A key that is
            absent or null is fine.
        may_be_none: our fields that the file may say are 0, of tables that are not there then.

    Raises:
        ConfigError: keys are missing or have the wrong kind of value (all of them are listed together), or
            an option has a value that sentvec does not compute.
    """
    _refuse_options(raw, _ONLY | dict(only))
    needed = (*_REQUIRED, *(f.name for f in fields(own) if f.default is MISSING)) if own else _REQUIRED
    faults = [f"{keys[field][0]} is missing" for field in needed if raw.get(keys[field][0]) is None]
    values: dict[str, Any] = {"intermediate": None, "positions": 512, "types": types} | dict(defaults)
    for field, (key, kind_of) in keys.items():
        value = raw.get(key)
        if value is None:
            continue
        if field in may_be_none and type(value) is int and value == 0:
            values[field] = value
            continue
        if (fault := _fault(key, value, kind_of, DEEPEST if field == "layers" else _LARGEST)) is not None:
            faults.append(fault)
        elif field == "act" and value not in ACTIVATIONS:
            faults.append(f"{key} is {value!r}, which should be one of {', '.join(ACTIVATIONS)}")
        values[field] = value
    if faults:
        raise ConfigError(f"config.json cannot be used: {'; '.join(faults)}.")
    if values["intermediate"] is None:
        values["intermediate"] = 4 * values["hidden"]
    if own is not None:
        values["own"] = own(**{f.name: values.pop(f.name) for f in fields(own) if f.name in values})
    return EncoderConfig(**values, position_offset=position_offset)


def refuse_head_width(raw: Mapping[str, Any], key: str, numbers: EncoderConfig) -> None:
    """Refuse heads of another width than the states' divided by their number, which `key` of config.json can ask for.

    Raises:
        ConfigError: it does.
    """
    width = numbers.hidden // numbers.heads
    if raw.get(key) not in (None, width):
        raise ConfigError(
            f"{key} {raw[key]!r} in config.json is not supported for this architecture. Supported: {width}, "
            "the hidden size divided by the number of heads."
        )


def write_config(config: EncoderConfig, keys: Keys = BERT_KEYS) -> dict[str, Any]:
    """Return the same numbers under the keys of config.json."""
    return {key: getattr(config if hasattr(config, field) else config.own, field) for field, (key, _) in keys.items()}


def _refuse_options(raw: Mapping[str, Any], only: Mapping[str, tuple[Any, ...]]) -> None:
    for key, known in only.items():
        value = raw.get(key)
        if value is not None and value not in known:
            raise ConfigError(
                f"{key} {value!r} in config.json is not supported for this architecture. Supported: "
                f"{', '.join(str(one) for one in known)}. Use a checkpoint that was trained so."
            )


def _fault(key: str, value: object, kind: type, largest: int) -> str | None:
    if kind is int and (not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= largest):
        return f"{key} is {value!r}, which should be a whole number from 1 to {largest}"
    if kind is float and (not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1):
        return f"{key} is {value!r}, which should be a number from 0 up to 1"
    if kind is bool and not isinstance(value, bool):
        return f"{key} is {value!r}, which should be true or false"
    if kind is str and not isinstance(value, str):
        return f"{key} is {value!r}, which should be a name"
    return None
