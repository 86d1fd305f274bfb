"""A model and texts in, what the texts say about the model's vectors out: maps that follow pooling, and calibration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Protocol

import numpy as np
import torch

from sentvec.checkpoint.fitted import Fitted
from sentvec.checkpoint.recipe import Normalize, Recipe, Step
from sentvec.errors import InvalidInput
from sentvec.models.architecture import Encoder
from sentvec.models.heads import Projection
from sentvec.nn.flow import Flow
from sentvec.ops.affine import POSTPROCESSINGS, SAMPLE, Affine, Moments, check_dim, moments
from sentvec.ops.calibration import Calibration, calibration
from sentvec.runtime.checks import iterable
from sentvec.runtime.engine import Array
from sentvec.runtime.flow import SAMPLE as FLOW_SAMPLE
from sentvec.runtime.flow import fit_flow
from sentvec.runtime.workers import Spread
from sentvec.text.tokenizer import Text

FLOW = "flow"
"""The one map that is no linear one, and that other libraries cannot read."""

_PAIRS = 256  # scored at a time, as the diagonal of a table of so many by so many

_ALIKE = 1e-10  # of the mean's square: a spread of so little is that of rounding

Pair = tuple[str, str]
"""Two texts."""


class Model(Protocol):
    """What fitting needs of a model; `Embedder` is one."""

    device: torch.device
    precision: str
    encoder: Encoder

    @property
    def recipe(self) -> Recipe:
        """From token states to a vector."""

    def encode_stream(
        self,
        texts: Iterable[Text],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        progress: bool | None = None,
        workers: Spread = None,
    ) -> Iterable[Array]:
        """Yield vectors, float32 (rows, dim)."""

    def similarity(self, a: Array, b: Array) -> Array:
        """Compare vectors, float32 (n, m)."""


def fit_postprocessing(
    model: Model, kind: str, texts: Iterable[Text], *, dim: int | None = None, **options: Any
) -> Recipe:
    """Fit a map on the vectors of texts, and put it behind the recipe's steps.

    Where the recipe ends with length one, the new one does too. Where it cuts vectors, the cut becomes a step, for
    the map was fitted on vectors that were cut.

    Args:
        model: the model.
        kind: name in `sentvec.ops.affine.POSTPROCESSINGS`, or "flow".
        texts: read once, and not held.
        dim: features to keep; for whitening and pca.
        options: prompt, prompt_name, progress and workers, as for `Embedder.encode`.

    Raises:
        InvalidInput: the kind is not known; the model has such a map already; the texts are too few for it.
    """
    if kind not in (*POSTPROCESSINGS, FLOW):
        raise InvalidInput(f"post-processing {kind!r} is not known. Known: {', '.join((*POSTPROCESSINGS, FLOW))}.")
    recipe = model.recipe
    width = recipe.width(model.encoder.config.hidden)
    check_dim(kind, dim, min(recipe.dim or width, width))  # before hours of encoding
    _check_precision(model)
    if recipe.fitted is not None:
        raise InvalidInput(
            f"the model already applies {recipe.fitted.kind}, fitted on {recipe.fitted.texts} texts. "
            "Load the model that it was fitted from, and fit that."
        )
    if odd := sorted(set(options) - {"prompt", "prompt_name", "progress", "workers"}):
        raise InvalidInput(f"{odd[0]} is no option of fitting. Accepted: prompt, prompt_name, progress, workers.")
    seen: Moments | None = None
    for vectors in model.encode_stream(iterable(texts), **options):
        seen = moments(torch.from_numpy(vectors), seen, FLOW_SAMPLE if kind == FLOW else SAMPLE)
    if seen is None or seen.count < 2:
        raise InvalidInput(f"{seen.count if seen else 0} texts say nothing about how vectors vary; give many.")
    if float(seen.covariance.trace()) <= _ALIKE * float(seen.mean.square().sum()):
        raise InvalidInput(f"{seen.count} texts have the same vector, which says nothing about how vectors vary.")
    unit = [Normalize()] * recipe.normalizes
    cut: list[Step] = []
    if recipe.dim is not None:
        eye = torch.eye(len(seen.mean), width, dtype=torch.float64)
        cut = [_projection(Affine(eye, eye.new_zeros(len(eye))), model.device), *unit]
    found: Flow | Projection
    if kind == FLOW:
        found = fit_flow(seen.sample).to(model.device)
    else:
        found = _projection(POSTPROCESSINGS[kind](seen, dim), model.device)
    steps = (*recipe.steps, *cut, found, *unit)
    # a probability fitted on other vectors no longer holds
    return replace(recipe, steps=steps, dim=None, fitted=Fitted(kind=kind, texts=seen.count), calibration=None)


def fit_calibration(model: Model, pairs: Iterable[Pair], labels: Sequence[float], **options: Any) -> Calibration:
    """Fit the probability that two texts are related, given their similarity.

    Args:
        model: the model.
        pairs: two texts each.
        labels: one for each pair, from 0 (not related) to 1 (related).
        options: prompt, prompt_name, progress and workers, as for `Embedder.encode`.

    Raises:
        InvalidInput: see `sentvec.ops.calibration.calibration`; or something is no pair.
    """
    _check_precision(model)
    sides = list(pairs)
    if odd := next((i for i, pair in enumerate(sides) if isinstance(pair, str) or len(pair) != 2), None):
        raise InvalidInput(f"pair {odd} is {str(sides[odd])[:60]!r}; give two texts each.")
    if not sides or len(sides) != len(labels):
        raise InvalidInput(f"{len(sides)} pairs and {len(labels)} labels came; give pairs, and one label for each.")
    vectors = np.concatenate(list(model.encode_stream(list(chain.from_iterable(sides)), **options)))
    left, right = vectors[0::2], vectors[1::2]
    parts = [slice(first, first + _PAIRS) for first in range(0, len(left), _PAIRS)]
    scores = np.concatenate([np.zeros(0), *(model.similarity(left[part], right[part]).diagonal() for part in parts)])
    return calibration(torch.from_numpy(scores), torch.tensor([float(label) for label in labels]))


def probability(recipe: Recipe, scores: Array) -> Array:
    """Return the probabilities that similarities stand for, same shape.

    Raises:
        InvalidInput: the model was not calibrated.
    """
    if recipe.calibration is None:
        raise InvalidInput(
            "the model does not know what its similarities mean. Fit it on labelled pairs first: "
            "model.fit_calibration(pairs, labels), or: sentvec fit calibration."
        )
    found: Array = recipe.calibration.probability(torch.from_numpy(scores)).numpy()
    return found


def _check_precision(model: Model) -> None:
    if model.precision != "float32":
        raise InvalidInput(
            f"a model in {model.precision} cannot be fitted. Load it with precision='float32', fit and save it; "
            "what was saved runs in any number format."
        )


def _projection(fitted: Affine, device: torch.device) -> Projection:
    out_dim, in_dim = fitted.weight.shape
    projection = Projection(in_dim=in_dim, out_dim=out_dim, act="torch.nn.modules.linear.Identity")
    projection.load_state_dict({"linear.weight": fitted.weight, "linear.bias": fitted.bias})  # rounded to float32
    return projection.to(device)
