"""Two texts in, what each pair of their tokens adds to the cosine of their vectors out.

A mean-pooled vector is a sum over tokens, so the cosine of two of them is a sum over pairs of tokens: nothing is
estimated, and no second model is asked. Tokens count with their last hidden states, which have read their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sentvec.checkpoint.recipe import Recipe
from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.inspect.capture import Reading, labels
from sentvec.models.heads import Projection
from sentvec.nn.flow import Flow
from sentvec.nn.probe import Probe
from sentvec.ops.pooling import POOLINGS, drop_prefix
from sentvec.ops.postprocess import truncate
from sentvec.runtime.embedder import Embedder

SUMS = ("mean", "mean_sqrt", "weighted_mean", "first_last_mean")
"""Poolings that are sums over tokens. The others look at one token, take largest values, or end with a tanh."""


@dataclass(frozen=True)
class TokenPair:
    """One token of each text, and what the two add to the cosine together.

    Attributes:
        first, second: the tokens, as a person would read them.
        places: their row and column in `Explanation.matrix`.
        contribution: what they add; the contributions of all pairs sum to the cosine.
    """

    first: str
    second: str
    places: tuple[int, int]
    contribution: float


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why two texts are as similar as they are.

    Attributes:
        model: the model's name.
        rows, columns: the tokens of the first and of the second text that count in pooling, as a person would
            read them.
        matrix: (rows, columns) float64, what each pair of tokens adds; sums to `score`.
        score: the cosine of the two vectors.
    """

    model: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    matrix: NDArray[np.float64]
    score: float

    def strongest(self, count: int = 10) -> list[TokenPair]:
        """Return the pairs of tokens that add or take away most, the largest first."""
        order = np.argsort(-np.abs(self.matrix), axis=None, kind="stable")[:count]
        places = zip(*(axis.tolist() for axis in np.unravel_index(order, self.matrix.shape)), strict=True)
        return [TokenPair(self.rows[i], self.columns[j], (i, j), float(self.matrix[i, j])) for i, j in places]


def explain_similarity(
    model: Embedder,
    a: str,
    b: str,
    *,
    prompts: tuple[str | None, str | None] = (None, None),
    prompt_names: tuple[str | None, str | None] = (None, None),
) -> Explanation:
    """Split the cosine of two texts' vectors into what each pair of their tokens adds.

    Tokens of a prompt count where the checkpoint counts them. Learned projections without an activation are maps of
    single tokens too; a bias is shared by all tokens alike.

    Args:
        model: a model whose vectors are sums over tokens: see `SUMS`, with any number of Dense modules without an
            activation after it.
        a, b: the texts.
        prompts, prompt_names: for each of the two texts, as for `Embedder.encode`.

    Raises:
        InvalidInput: the model's vectors are no sums over tokens, or a text or prompt cannot be used.
        NonFiniteOutput: a vector holds NaN or infinity.
    """
    check_recipe(model.recipe)
    sides = [
        _parts(model, text, prompt, name) for text, prompt, name in zip((a, b), prompts, prompt_names, strict=True)
    ]
    (rows, left), (columns, right) = sides
    matrix = (left @ right.T).numpy()  # (rows, columns)
    if not np.isfinite(matrix).all():
        raise NonFiniteOutput(
            "what tokens add to the cosine holds NaN or infinity. Try precision='float32'; if it is float32 already, "
            "the checkpoint's weights are damaged."
        )
    return Explanation(
        model=model.name, rows=tuple(rows), columns=tuple(columns), matrix=matrix, score=float(matrix.sum())
    )


def check_recipe(recipe: Recipe) -> None:
    """Refuse a recipe whose vectors are no sums over tokens.

    Raises:
        InvalidInput: names the pooling or the activation that stands in the way.
    """
    if odd := [name for name in recipe.pooling if name not in SUMS]:
        raise InvalidInput(
            f"pooling {odd[0]!r} is no sum over tokens, so its cosine cannot be split among them. "
            f'Poolings that can: {", ".join(SUMS)}. Load the model with pooling="mean" to look at that instead.'
        )
    for step in recipe.steps:
        if isinstance(step, Flow):
            raise InvalidInput(
                "the model's vectors go through a flow, after which a vector is no sum over tokens any more, so its "
                "cosine cannot be split among them. Look at the model that the flow was fitted for."
            )
        if isinstance(step, Projection) and not isinstance(step.act, torch.nn.Identity):
            raise InvalidInput(
                f"the Dense module after pooling has the activation {type(step.act).__name__}, after which a vector "
                "is no sum over tokens any more, so its cosine cannot be split among them. "
                "Dense modules with the activation Identity can be."
            )


def _parts(model: Embedder, text: str, prompt: str | None, prompt_name: str | None) -> tuple[list[str], Tensor]:
    """Return a text's tokens that count, and what each adds to the vector of length one: (tokens, dim) float64."""
    read = Reading.of(model, [text], prompt, prompt_name)
    read.warn(model.max_seq_length)
    probe = Probe(layers=(1,))
    with torch.inference_mode():
        last = model.encoder(read.batch, probe=probe)
        ends = torch.stack([probe.hidden_states[1], last]).cpu().double()
        ends, offsets = drop_prefix(ends, read.batch.offsets.cpu(), read.uncounted)
        parts = _after(model.recipe, _pooled(model.recipe.pooling, ends, offsets, read.uncounted))
        if model.recipe.dim is not None:
            parts = truncate(parts, model.recipe.dim)
        parts = parts / _length(parts)
    names = labels(model.tokenizer, read.ids[0].ids)[read.uncounted :]
    return names, parts.clone()


def _pooled(names: tuple[str, ...], ends: Tensor, offsets: Tensor, left_out: int) -> Tensor:
    """Return what each token adds to the pooled vector: rows that sum to it.

    A pooling's weights are what it makes of the identity matrix.
    """
    tokens = ends.shape[1]
    one = torch.eye(tokens, dtype=ends.dtype)
    parts = []
    for name in names:
        if name == "first_last_mean":
            weights = POOLINGS[name](torch.stack([one, one]), offsets)
            states = ends.mean(dim=0)
        else:
            more = {"left_out": left_out} if name == "weighted_mean" else {}
            weights = POOLINGS[name](one, offsets, **more)  # (1, tokens)
            states = ends[1]
        parts.append(weights.T * states)
    return torch.cat(parts, dim=-1)


def _after(recipe: Recipe, parts: Tensor) -> Tensor:
    """Send what each token adds through the steps after pooling, so that rows go on summing to the vector."""
    for step in recipe.steps:
        if not isinstance(step, Projection):
            parts = parts / _length(parts)
            continue
        moved = parts @ step.linear.weight.cpu().double().T
        if step.linear.bias is not None:
            moved = moved + step.linear.bias.cpu().double() / max(len(parts), 1)
        if step.adds_input:
            moved = moved + (parts if step.residual is None else parts @ step.residual.weight.cpu().double().T)
        parts = moved
    return parts


def _length(parts: Tensor) -> Tensor:
    """Return the length of the vector that the rows sum to; 1 for a zero vector, which has cosine 0 with all."""
    length = parts.sum(dim=0).norm()
    return length if length > 0 else torch.ones_like(length)
