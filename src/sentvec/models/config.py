"""Read config.json once: a mapping with Hugging Face's keys in, a frozen dataclass of plain numbers out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sentvec.errors import ConfigError


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
_LARGEST = 1 << 24  # no table of a real checkpoint has more rows; a hostile config must not ask for terabytes
_DEEPEST = 1024  # nor for layers that take hours to build


def read_config(
    raw: Mapping[str, Any], keys: Keys = BERT_KEYS, *, types: int = 2, position_offset: int = 0
) -> EncoderConfig:
    """Read the numbers of an encoder; what old files leave out gets BERT's own value.

    Args:
        raw: the content of config.json, or of Google's bert_config.json.
        keys: the architecture's names for our fields.
        types: rows of the token type table where the file does not say; 0 for an architecture without one.
        position_offset: row of the position table used by a text's first token.

    Raises:
        ConfigError: keys are missing or have the wrong kind of value (all of them are listed together), or
            the checkpoint asks for position embeddings that are not absolute.
    """
    kind = raw.get("position_embedding_type") or "absolute"
    if kind != "absolute":
        raise ConfigError(
            f"position_embedding_type {kind!r} in config.json is not supported for this architecture. "
            "Supported: absolute. Use a checkpoint trained with absolute position embeddings."
        )
    faults = [f"{keys[field][0]} is missing" for field in _REQUIRED if raw.get(keys[field][0]) is None]
    values: dict[str, Any] = {"intermediate": None, "positions": 512, "types": types}
    for field, (key, kind_of) in keys.items():
        value = raw.get(key)
        if value is None:
            continue
        if (fault := _fault(key, value, kind_of, _DEEPEST if field == "layers" else _LARGEST)) is not None:
            faults.append(fault)
        values[field] = value
    if faults:
        raise ConfigError(f"config.json cannot be used: {'; '.join(faults)}.")
    if values["intermediate"] is None:
        values["intermediate"] = 4 * values["hidden"]
    return EncoderConfig(**values, position_offset=position_offset)


def write_config(config: EncoderConfig, keys: Keys = BERT_KEYS) -> dict[str, Any]:
    """Return the same numbers under the keys of config.json."""
    return {key: getattr(config, field) for field, (key, _) in keys.items()}


def _fault(key: str, value: object, kind: type, largest: int) -> str | None:
    if kind is int and (not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= largest):
        return f"{key} is {value!r}, which should be a whole number from 1 to {largest}"
    if kind is float and (not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1):
        return f"{key} is {value!r}, which should be a number from 0 up to 1"
    if kind is str and not isinstance(value, str):
        return f"{key} is {value!r}, which should be a name"
    return None
