"""A model's folder in, live objects out: encoder, tokeniser and recipe."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sentvec.checkpoint.files import present, read_json
from sentvec.checkpoint.names import Translated, has_pooler, to_ours
from sentvec.checkpoint.recipe import Recipe
from sentvec.checkpoint.sentence import read_modules, read_recipe
from sentvec.checkpoint.tokenizer import read_special, read_tokenizer
from sentvec.checkpoint.weights import read_weights
from sentvec.errors import ConfigError, ModelNotFound, TokenizerError
from sentvec.models.architecture import Encoder, build_empty
from sentvec.models.config import EncoderConfig
from sentvec.models.registry import architecture
from sentvec.text.tokenizer import Tokenizer

_log = logging.getLogger("sentvec")

CONFIGS = ("config.json", "bert_config.json")


@dataclass(frozen=True)
class Checkpoint:
    """A model that was read from a folder.

    Attributes:
        encoder: the encoder, in float32 on the CPU, in evaluation mode.
        tokenizer: the tokeniser.
        recipe: from token states to a vector.
        model_type: the architecture's name in the registry.
        config: config.json as it was read, for writing it back.
        special: names of the special tokens, such as ``{"cls_token": "[CLS]"}``, as the folder's files give them.
        ignored: names of tensors in the file that are no part of the encoder.
    """

    encoder: Encoder
    tokenizer: Tokenizer
    recipe: Recipe
    model_type: str
    config: Mapping[str, Any]
    special: Mapping[str, str]
    ignored: tuple[str, ...]


@dataclass(frozen=True)
class Parts:
    """What every kind of checkpoint has; the attributes are those of `Checkpoint`, and:

    Attributes:
        heads: the tensors of task heads, under the names that `sentvec.models.head_table` knows.
        origin: the file that the weights are from, for messages.
    """

    encoder: Encoder
    tokenizer: Tokenizer
    model_type: str
    config: Mapping[str, Any]
    special: Mapping[str, str]
    ignored: tuple[str, ...]
    heads: Mapping[str, Tensor]
    origin: str

    def checkpoint(self, recipe: Recipe) -> Checkpoint:
        """Put a recipe to it."""
        return Checkpoint(
            self.encoder, self.tokenizer, recipe, self.model_type, self.config, self.special, self.ignored
        )


def load(root: Path) -> Checkpoint:
    """Read a Hugging Face or sentence-transformers folder.

    Raises:
        ModelError: anything in the folder is absent, broken, or does not fit together.
    """
    modules = read_modules(root)
    parts = load_parts(modules[0].folder if modules else root)
    numbers = parts.encoder.config
    return parts.checkpoint(read_recipe(root, modules, hidden=numbers.hidden, max_tokens=numbers.max_tokens))


def load_parts(folder: Path) -> Parts:
    """Read a Hugging Face folder: configuration, tokeniser and weights.

    Raises:
        ModelError: see `load`.
    """
    config = _read_config(folder)
    tokenizer = read_tokenizer(folder)
    model_type = _model_type(config, tokenizer)
    encoder, weights, origin = load_encoder(folder, config, model_type)
    numbers = encoder.config
    if tokenizer.vocab_size > numbers.vocab:
        raise TokenizerError(
            f"the tokeniser in {folder} has ids up to {tokenizer.vocab_size - 1}, but the model's vocabulary has "
            f"{numbers.vocab} rows. They are not of the same model."
        )
    _check_layout(tokenizer, numbers, folder)
    special = read_special(folder)
    return Parts(encoder, tokenizer, model_type, config, special, weights.ignored, weights.heads, origin)


def load_encoder(folder: Path, config: Mapping[str, Any], model_type: str) -> tuple[Encoder, Translated, str]:
    """Build an encoder and fill it with the folder's weights.

    Returns:
        The encoder, the folder's weights, and the file that they are from.

    Raises:
        ConfigError, WeightsError: see `load`.
    """
    row = architecture(model_type)
    numbers = row.read(config)
    raw, origin = read_weights(folder)
    module = build_empty(row, numbers, pooler=has_pooler(raw, row))
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    translated = to_ours(raw, row, row.places(numbers), shapes, str(folder / origin))
    module.load_state_dict(translated.tensors, assign=True)
    empty = [name for name, tensor in (*module.named_parameters(), *module.named_buffers()) if tensor.is_meta]
    assert not empty, f"{empty} are in no checkpoint; compute them in forward"
    module.requires_grad_(True).eval()
    if translated.ignored:
        _log.info("%s: left out on purpose: %s", origin, ", ".join(translated.ignored))
    return module, translated, str(folder / origin)


def _read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise ModelNotFound(f"{folder} is not a folder.")
    for name in CONFIGS:
        if present(folder / name):
            return read_json(folder / name)
    raise ConfigError(f"{folder} holds no config.json, so it is not a model's folder.")


def _check_layout(tokenizer: Tokenizer, numbers: EncoderConfig, folder: Path) -> None:
    """Refuse special tokens and token types, as laid around texts, that the model has no row for."""
    ids, types = tokenizer.layout
    if ids and ids[-1] >= numbers.vocab:
        raise TokenizerError(
            f"the tokeniser in {folder} puts token {ids[-1]} around a text, but the model's vocabulary has "
            f"{numbers.vocab} rows. They are not of the same model."
        )
    if numbers.types > 1 and types[-1] >= numbers.types:  # a model with one type or none does not look at them
        raise TokenizerError(
            f"the tokeniser in {folder} uses token type {types[-1]}, but the model has {numbers.types} types. "
            "They are not of the same model."
        )


def _model_type(config: Mapping[str, Any], tokenizer: Tokenizer) -> str:
    """Decide the architecture: by `model_type`, unless the files say that it is wrong."""
    given = config.get("model_type")
    if given is None:
        _log.info("config.json has no model_type: read as bert")
        return "bert"
    if not isinstance(given, str):
        raise ConfigError(f"model_type in config.json is {given!r}, which should be a name.")
    if given in ("roberta", "xlm-roberta") and tokenizer.kind == "WordPiece":
        # RoBERTa's position table has spare rows for padding (514 of them for 512 tokens). Checkpoints such as
        # chinese-roberta-wwm are BERT in all but the training recipe: BERT's vocabulary and a table without them.
        positions = config.get("max_position_embeddings", 512)
        is_bert = isinstance(positions, int) and positions % 64 == 0
        _log.warning(
            "config.json says %s, but the vocabulary is BERT's; the position table of %s rows has %s, "
            "so the model is read as %s",
            given, positions, "no spare ones" if is_bert else "spare ones for padding", "bert" if is_bert else given,
        )  # fmt: skip
        return "bert" if is_bert else given
    return given
