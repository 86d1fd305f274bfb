"""What callers give, in; the same in one form, or a clear refusal before the first text, out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sentvec.checkpoint.load import Checkpoint
from sentvec.errors import ConfigError, InvalidInput
from sentvec.models.heads import Projection
from sentvec.text.tokenizer import Text


def check(checkpoint: Checkpoint) -> None:
    """Refuse what the checkpoint cannot do, before the first text."""
    recipe, numbers = checkpoint.recipe, checkpoint.encoder.config
    least = checkpoint.tokenizer.special_tokens + 1
    length = recipe.max_seq_length
    if not isinstance(length, int) or not least <= length <= numbers.max_tokens:
        raise InvalidInput(
            f"max_seq_length is {length!r}, but this model takes {least} to {numbers.max_tokens} tokens, "
            "special tokens included."
        )
    if not recipe.pooling:
        raise InvalidInput("pooling names nothing; give at least one, such as 'mean'.")
    if "pooler" in recipe.pooling and checkpoint.encoder.pooler is None:
        raise ConfigError("pooling 'pooler' needs the model's pooler, but the checkpoint has no weights for it.")
    first = next((step.linear.in_features for step in recipe.steps if isinstance(step, Projection)), None)
    width = numbers.hidden * len(recipe.pooling)
    if first not in (None, width):
        raise InvalidInput(f"pooling {recipe.pooling} gives {width} features, but the Dense after it takes {first}.")


def numbered(ids: Iterable[int | str], texts: Iterable[Text]) -> Iterator[tuple[int | str, Text]]:
    """Put ids and texts together, one of each."""
    try:
        yield from zip(ids, texts, strict=True)
    except ValueError as error:
        raise InvalidInput(f"ids and texts are not equally many ({error}).") from None


def iterable(texts: str | Iterable[Text]) -> Iterable[Text]:
    """Return the texts as something to go through; a str is one text."""
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, bytes | bytearray | Mapping) or not isinstance(texts, Iterable):
        raise InvalidInput(f"texts is {type(texts).__name__}; give a str, or a list or other iterable of str.")
    return texts


def possible_dim(dim: object, most: int) -> int:
    """Return a number of features to keep, if there are so many."""
    if isinstance(dim, bool) or not isinstance(dim, int) or not 1 <= dim <= most:
        raise InvalidInput(f"dim is {dim!r}, which should be a whole number from 1 to {most}.")
    return dim


def comparable(a: ArrayLike, b: ArrayLike) -> tuple[Tensor, Tensor]:
    """Return two sets of vectors as (n, dim) and (m, dim), if they are of one width."""
    try:
        left, right = (torch.from_numpy(np.atleast_2d(np.array(x, np.float32))) for x in (a, b))
    except (TypeError, ValueError):
        raise InvalidInput("similarity compares vectors of numbers; give texts to encode first.") from None
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise InvalidInput(
            f"vectors of shapes {tuple(left.shape)} and {tuple(right.shape)} cannot be compared; "
            "give (n, dim) and (m, dim)."
        )
    return left, right
