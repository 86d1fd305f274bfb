"""One packed batch in, one vector for each text out: the part of a text's path that runs on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sentvec.batch import PackedBatch
from sentvec.checkpoint.recipe import Normalize, Recipe
from sentvec.models.architecture import Encoder
from sentvec.nn.probe import Probe
from sentvec.ops.pooling import BOTH_ENDS, BY_PLACE, LEARNED, POOLINGS, drop_prefix
from sentvec.ops.postprocess import normalize, truncate


@dataclass(frozen=True, kw_only=True)
class Finish:
    """What one call asks for, beyond the recipe.

    Attributes:
        prompt_tokens: tokens at the start of every text that must not count in pooling.
        dim: features to keep, or None for all.
        unit: whether vectors end with length one; None leaves it to the recipe.
    """

    prompt_tokens: int = 0
    dim: int | None = None
    unit: bool | None = None


def token_states(encoder: Encoder, batch: PackedBatch) -> Tensor:
    """Return the last layer's hidden states in float32, (tokens, hidden)."""
    return encoder(batch).float()


def vectors(encoder: Encoder, recipe: Recipe, batch: PackedBatch, finish: Finish) -> Tensor:
    """Encode, pool, project and post-process one batch.

    Returns:
        (seqs, dim), float32.
    """
    return layer_vectors(encoder, recipe, batch, finish, ())[0]


def layer_vectors(
    encoder: Encoder, recipe: Recipe, batch: PackedBatch, finish: Finish, layers: tuple[int, ...]
) -> list[Tensor]:
    """Do the same with the states of inner layers.

    Args:
        encoder, recipe, batch, finish: as for `vectors`.
        layers: numbers of layers, from 1.

    Returns:
        The vectors of the last layer, then those of each of these; (seqs, dim) each, float32.
    """
    both_ends = not BOTH_ENDS.isdisjoint(recipe.pooling)
    probe = Probe(layers=(1, *layers)) if both_ends or layers else None
    last = encoder(batch, probe=probe)
    seen = {} if probe is None else probe.hidden_states
    return [
        _finished(recipe, _pool(encoder, recipe.pooling, batch, states, seen.get(1), finish.prompt_tokens), finish)
        for states in (last, *(seen[layer] for layer in layers))
    ]


def _finished(recipe: Recipe, pooled: Tensor, finish: Finish) -> Tensor:
    steps = recipe.steps
    if finish.unit is False and recipe.normalizes:
        steps = steps[:-1]
    for step in steps:
        pooled = normalize(pooled) if isinstance(step, Normalize) else step(pooled)
    cut = finish.dim is not None and finish.dim < pooled.shape[-1]
    if cut:
        pooled = truncate(pooled, finish.dim or 0)
    unit = recipe.normalizes if finish.unit is None else finish.unit
    if unit and (cut or not (steps and isinstance(steps[-1], Normalize))):
        pooled = normalize(pooled)
    return pooled


def _pool(
    encoder: Encoder,
    names: tuple[str, ...],
    batch: PackedBatch,
    last: Tensor,
    first: Tensor | None,
    prompt_tokens: int,
) -> Tensor:
    offsets = batch.offsets
    # averages of many numbers in half precision lose too much
    states = last.float()
    ends = states if first is None else torch.stack([first.float(), states])
    if prompt_tokens:
        ends, _ = drop_prefix(ends, batch.offsets, prompt_tokens)
        states, offsets = drop_prefix(states, batch.offsets, prompt_tokens)
    parts = []
    for name in names:
        if name in LEARNED:
            assert encoder.pooler is not None, "the embedder refuses this pooling where there is no pooler"
            parts.append(encoder.pooler(POOLINGS[name](last, batch.offsets)).float())
            continue
        more = {"left_out": prompt_tokens} if name in BY_PLACE else {}
        parts.append(POOLINGS[name](ends if name in BOTH_ENDS else states, offsets, **more))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
