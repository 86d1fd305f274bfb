"""What callers give, in; the same in one form, or a clear refusal before the first text, out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sentvec.checkpoint.load import Checkpoint
from sentvec.checkpoint.recipe import Normalize
from sentvec.errors import ConfigError, InvalidInput
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
    first = next((step.in_dim for step in recipe.steps if not isinstance(step, Normalize)), None)
    width = numbers.hidden * len(recipe.pooling)
    if first not in (None, width):
        raise InvalidInput(f"pooling {recipe.pooling} gives {width} features, but the map after it takes {first}.")


def numbered(ids: Iterable[int | str], texts: Iterable[Text]) -> Iterator[tuple[int | str, Text]]:
    """Put ids and texts together, one of each, and all ids of one kind."""
    if isinstance(ids, str | bytes | Mapping) or not isinstance(ids, Iterable):
        raise InvalidInput(f"ids is {type(ids).__name__}; give an id for each text, all of them str or all int.")
    return _numbered(iter(ids), iter(texts))


def _numbered(ids: Iterator[int | str], texts: Iterator[Text]) -> Iterator[tuple[int | str, Text]]:
    none = object()  # not `zip`, whose ValueError looks like one of the caller's own
    kind: type | None = None
    for place, given in enumerate(ids):
        name = _id(given, place)
        kind = kind or type(name)
        if type(name) is not kind:
            raise InvalidInput(
                f"ids are of several kinds: id {place} is {name!r}, and those before it are {kind.__name__}; give all "
                "of them as str, or all as int."
            )
        text = next(texts, none)
        if text is none:
            raise InvalidInput(f"ids and texts are not equally many: there is no text for id {place}.")
        yield name, text  # type: ignore[misc]  # it is not `none`
    if next(texts, none) is not none:
        raise InvalidInput("ids and texts are not equally many: there are more texts than ids.")


def _id(given: object, place: int) -> int | str:
    """Return an id as a plain int or str, numpy's for example, if files can hold it."""
    if isinstance(given, str):
        try:
            given.encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"id {place} is {given!r}: half of a surrogate pair is no character.") from None
        return str.__str__(given)
    if isinstance(given, Integral) and not isinstance(given, bool) and -(1 << 63) <= int(given) < 1 << 63:
        return int(given)
    raise InvalidInput(
        f"id {place} is {given!r}, but an id must be a str, or an int of 64 bits. Convert it with str()."
    )


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
