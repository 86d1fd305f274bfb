"""A recipe and what a caller asks for, in; the text to put in front of every text, out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentvec.checkpoint.recipe import Recipe
from sentvec.errors import ConfigError, InvalidInput
from sentvec.text.tokenizer import Tokenizer

QUERY = ("query",)
DOCUMENT = ("document", "passage", "corpus")
"""Names under which checkpoints store the prompt for documents; the first that is there counts."""


def prompt_of(recipe: Recipe, prompt: str | None = None, prompt_name: str | None = None) -> str:
    """Return the text to put in front: the one given, else the stored one of that name, else the default one.

    Raises:
        InvalidInput: both are given, the prompt is not a str, or no prompt of that name is stored.
    """
    if prompt is not None and prompt_name is not None:
        raise InvalidInput("give prompt or prompt_name, not both.")
    if prompt is not None:
        if not isinstance(prompt, str):
            raise InvalidInput(f"prompt is {type(prompt).__name__} ({prompt!r}); give a str.")
        return prompt
    name = prompt_name or recipe.default_prompt
    if name is None:
        return ""
    if name not in recipe.prompts:
        known = ", ".join(recipe.prompts) or "none; pass prompt= with the text itself"
        raise InvalidInput(f"prompt_name {name!r} is not stored with the model. Stored: {known}.")
    return recipe.prompts[name]


def with_stored(recipe: Recipe, names: tuple[str, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with the first stored prompt of these names, unless they ask for one themselves."""
    if options.get("prompt") is not None or options.get("prompt_name") is not None:
        return dict(options)
    stored = next((name for name in names if name in recipe.prompts), None)
    return dict(options) | ({"prompt_name": stored} if stored else {})


def passage_room(recipe: Recipe, tokenizer: Tokenizer) -> int:
    """Tokens that are left for a document once the special tokens and the stored prompt are in.

    Raises:
        ConfigError: nothing is left.
    """
    prompt = len(tokenizer.spans(prompt_of(recipe, **with_stored(recipe, DOCUMENT, {}))))
    left = recipe.max_seq_length - tokenizer.special_tokens - prompt
    if left < 1:
        raise ConfigError(
            f"the stored prompt for documents has {prompt} tokens, which leaves nothing of the "
            f"{recipe.max_seq_length} that the model reads. Raise max_seq_length."
        )
    return left
