"""Objectives made of others: an objective in, one that learns at several widths, layers or goals at once out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.train.batches import Batch
from sentvec.train.objectives import OBJECTIVES, Objective
from sentvec.train.objectives_plain import Vectors


def matryoshka(
    inner: Objective, dims: Sequence[int], *, weights: Sequence[float] | None = None, per_step: int | None = None
) -> Objective:
    """Learn vectors whose first features are good vectors too (Kusupati et al. 2022, arXiv 2205.13147).

    The loss is the weighted sum of the inner objective's losses of the first `dim` features, for each of `dims`. A
    row that is cut is scaled to the length that it had, so what is normalised stays so.

    Args:
        inner: what is learned at each width; it must not own anything that has a width itself.
        dims: widths, the full one among them if that is to be learned; vectors must be as wide as the widest.
        weights: one for each of `dims`; None: 1 each.
        per_step: how many of `dims` are drawn for a step; None: all.

    Raises:
        InvalidInput: the inner objective has a width of its own, or a number is out of range.
    """
    if _has_width(inner):
        raise InvalidInput(
            f"objective {inner.name!r} learns something that is as wide as the vectors, or learns from vectors; "
            "it cannot be held to vectors of several widths."
        )
    _check_numbers("dims", dims, weights, per_step)
    body = Matryoshka(inner, tuple(dims), _weights(dims, weights), per_step)
    return Objective(
        body,
        name=f"matryoshka of {inner.name}",
        kinds=inner.kinds,
        views=inner.views,
        layers=inner.layers,
        twin=inner.twin,
    )


def adaptive_layers(
    inner: Objective,
    layers: Sequence[int],
    *,
    weights: Sequence[float] | None = None,
    per_step: int | None = 1,
    divergence: float = 1.0,
    temperature: float = 0.3,
) -> Objective:
    """Learn an encoder whose first layers are a good encoder too (Li et al. 2024, ESE, arXiv 2402.14776).

    The loss is the inner objective's of the last layer's vectors, plus, averaged over the inner layers of the step,
    its weighted loss of their vectors and how far the softmax over features is from that of the last layer's vectors.

    The step has to encode for `Objective.layers`: after the vectors of the last layer it hands over those of each of
    these layers, in their order, pooled and finished as the last layer's are.

    Args:
        inner: what is learned at each layer.
        layers: inner layers, counted from 1.
        weights: one for each of `layers`; None: 1 each.
        per_step: how many of `layers` are drawn for a step; None: all.
        divergence: weight of the divergence from the last layer's vectors, into which no gradient flows.
        temperature: of its softmax, and a factor on it, for its gradient grows as the temperature falls.

    Raises:
        InvalidInput: the inner objective asks for layers itself, or a number is out of range.
    """
    if inner.layers:
        raise InvalidInput(f"objective {inner.name!r} has inner layers already: {inner.layers}.")
    if not temperature > 0 or not divergence >= 0:
        raise InvalidInput(f"temperature {temperature} must be above 0, and divergence {divergence} not below.")
    _check_numbers("layers", layers, weights, per_step)
    body = AdaptiveLayers(inner, _weights(layers, weights), per_step, divergence, temperature)
    return Objective(
        body,
        name=f"adaptive layers of {inner.name}",
        kinds=inner.kinds,
        views=inner.views,
        layers=tuple(layers),
        twin=inner.twin,
    )


def together(parts: Sequence[tuple[float, Objective]]) -> Objective:
    """Learn towards several objectives at once, their losses weighted and added up.

    Where one needs two views and another one, the other is given the first.

    Args:
        parts: weights and objectives.

    Raises:
        InvalidInput: there is none, no kind of batch suits them all, a weight is negative, or their layers differ.
    """
    if not parts:
        raise InvalidInput("there is no objective to add up; give one or more.")
    names = " + ".join(f"{weight:g} {part.name}" for weight, part in parts)
    kinds = frozenset.intersection(*(part.kinds for _, part in parts))
    if not kinds:
        raise InvalidInput(f"no kind of batch suits all of {names}.")
    if any(not weight >= 0 for weight, _ in parts) or len({part.layers for _, part in parts}) > 1:
        raise InvalidInput(f"weights must not be negative, and inner layers be those of all, in {names}.")
    views, twin = max(part.views for _, part in parts), any(part.twin for _, part in parts)
    if twin and any(part.views != 1 + part.twin for _, part in parts):
        raise InvalidInput(f"the second view is of two encoders in one part of {names}, and of one in another.")
    body = Together([part for _, part in parts], [weight for weight, _ in parts], views)
    return Objective(body, name=names, kinds=kinds, views=views, layers=parts[0][1].layers, twin=twin)


class Matryoshka(nn.Module):
    """The body of `matryoshka`."""

    def __init__(
        self, inner: Objective, dims: tuple[int, ...], weights: tuple[float, ...], per_step: int | None
    ) -> None:
        super().__init__()
        self.inner = inner
        self.dims = dims
        self.weights = weights
        self.per_step = per_step

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss, ()."""
        width = vectors[0].shape[1]
        if width < max(self.dims):
            raise InvalidInput(f"vectors have {width} features; dims are {', '.join(map(str, self.dims))}.")
        losses = []
        for i in _drawn(len(self.dims), self.per_step):
            cut = tuple(shortened(part, self.dims[i]) for part in vectors)
            losses.append(self.weights[i] * self.inner(cut, batch))
        return torch.stack(losses).sum()


class AdaptiveLayers(nn.Module):
    """The body of `adaptive_layers`."""

    def __init__(
        self,
        inner: Objective,
        weights: tuple[float, ...],
        per_step: int | None,
        divergence: float,
        temperature: float,
    ) -> None:
        super().__init__()
        self.inner = inner
        self.weights = weights
        self.per_step = per_step
        self.divergence = divergence
        self.temperature = temperature

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss, ()."""
        size = len(vectors) // (1 + len(self.weights))  # columns x views
        last, *others = (vectors[start : start + size] for start in range(0, len(vectors), size))
        losses = []
        for i in _drawn(len(self.weights), self.per_step):
            losses.append(self.weights[i] * self.inner(others[i], batch))
            losses[-1] = losses[-1] + self.divergence * self._apart(torch.cat(others[i]), torch.cat(last).detach())
        loss: Tensor = self.inner(last, batch) + torch.stack(losses).mean()
        return loss

    def _apart(self, ours: Tensor, taught: Tensor) -> Tensor:
        logs, taught = ((part / self.temperature).log_softmax(dim=1) for part in (ours, taught))
        return functional.kl_div(logs, taught, reduction="batchmean", log_target=True) * self.temperature


class Together(nn.Module):
    """The body of `together`."""

    def __init__(self, parts: Sequence[Objective], weights: Sequence[float], views: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.weights = tuple(weights)
        self.views = views

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss, ()."""
        columns = len(batch.columns)
        layers = [vectors[i : i + columns * self.views] for i in range(0, len(vectors), columns * self.views)]
        losses = []
        for weight, part in zip(self.weights, self.parts, strict=True):
            assert isinstance(part, Objective)
            seen = tuple(one for layer in layers for one in layer[: columns * part.views])
            losses.append(weight * part(seen, batch))
        return torch.stack(losses).sum()


def shortened(vectors: Tensor, dim: int) -> Tensor:
    """Keep the first features of each row, and its length.

    Args:
        vectors: (n, features)
        dim: how many features stay.

    Returns:
        (n, dim); no gradient flows through the length.

    >>> shortened(torch.tensor([[3.0, 0.0, 4.0]]), 2).tolist()
    [[5.0, 0.0]]
    """
    if dim == vectors.shape[1]:
        return vectors
    lengths: Tensor = torch.linalg.vector_norm(vectors.detach(), dim=1, keepdim=True)
    return functional.normalize(vectors[:, :dim], dim=1) * lengths


def _drawn(count: int, some: int | None) -> list[int]:
    """Draw which are learned in this step, from torch's own generator; in their order."""
    return list(range(count)) if some is None else sorted(torch.randperm(count)[:some].tolist())


def _has_width(inner: Objective) -> bool:
    bodies = [part for part in inner.modules() if isinstance(part, Objective) and part.name in OBJECTIVES]
    return "taught_vectors" in inner.kinds or any("dim" in OBJECTIVES[part.name].needs for part in bodies)


def _weights(values: Sequence[int], weights: Sequence[float] | None) -> tuple[float, ...]:
    return (1.0,) * len(values) if weights is None else tuple(weights)


def _check_numbers(name: str, values: Sequence[int], weights: Sequence[float] | None, per_step: int | None) -> None:
    if not values or min(values) < 1 or len(set(values)) < len(values):
        raise InvalidInput(f"{name} are {list(values)}; give one or more, each above 0, none twice.")
    if weights is not None and (len(weights) != len(values) or not all(0 <= one < math.inf for one in weights)):
        raise InvalidInput(f"weights are {list(weights)}; give one, not below 0, for each of {name} {list(values)}.")
    if per_step is not None and not 1 <= per_step <= len(values):
        raise InvalidInput(f"per_step is {per_step}; it must be from 1 to {len(values)}, the number of {name}.")
