"""Vectors in, a flow out that was trained on them by maximum likelihood (BERT-flow, Li et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sentvec.errors import InvalidInput
from sentvec.nn.flow import Flow

SAMPLE = 32_768
"""Most vectors that are held."""

LEAST = 100
"""Fewest vectors: what is learned of fewer is their own places."""

_DEPTH = 6
_WIDTH = 256
_BATCH = 256
_UPDATES = 600
_WARM_UP = 100
_RATE = 1e-3
_NOISE = 0.01  # of the features' deviation


@torch.inference_mode(False)
@torch.enable_grad()  # whatever the caller has switched off
def fit_flow(vectors: Tensor, *, seed: int = 0) -> Flow:
    """Train a flow, and keep it as it was when vectors that were held out were most likely.

    A little noise is added in training: without it the likelihood grows without bound wherever vectors lie in a plane
    (a feature that never changes is enough), for squeezing that plane always pays.

    Args:
        vectors: (n, dim) float32 on the CPU; a tenth is held out.
        seed: of all that is left to chance.

    Raises:
        InvalidInput: the vectors are too few, have one feature, or are all the same.
    """
    count, dim = vectors.shape
    if count < LEAST:
        raise InvalidInput(f"{count} texts are too few for a flow, which has to see {LEAST} at least; give thousands.")
    if dim < 2:
        raise InvalidInput("vectors of one feature cannot go through a flow, which moves one half by the other.")
    random = torch.Generator().manual_seed(seed)
    noise = _NOISE * vectors.double().var(dim=0).mean().sqrt().float()
    if not noise > 0:
        raise InvalidInput(f"{count} texts have the same vector, which says nothing about how vectors vary.")

    def noisy(rows: Tensor) -> Tensor:
        return rows + noise * torch.randn(rows.shape, generator=random)

    mixed = vectors[torch.randperm(count, generator=random)]
    held, rows = noisy(mixed[: count // 10]), mixed[count // 10 :]
    flow = Flow(dim=dim, depth=_DEPTH, width=_WIDTH)
    flow.begin(noisy(rows), random)
    optimiser = torch.optim.Adam(flow.parameters(), lr=_RATE)
    warming = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda update: min(1.0, (update + 1) / _WARM_UP))
    best, state, updates = likelihood(flow, held), _copied(flow), 0
    while updates < _UPDATES:
        order = torch.randperm(len(rows), generator=random)
        for first in range(0, len(rows), _BATCH):
            loss = -flow.log_likelihood(noisy(rows[order[first : first + _BATCH]])).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(flow.parameters(), 50.0)
            optimiser.step()
            warming.step()
            updates += 1
        if (now := likelihood(flow, held)) > best:
            best, state = now, _copied(flow)
        elif updates > _WARM_UP:
            break
    flow.load_state_dict(state)
    return flow


@torch.no_grad()
def likelihood(flow: Flow, vectors: Tensor) -> float:
    """Return the mean log density of vectors (n, dim)."""
    return float(flow.log_likelihood(vectors).mean())


def _copied(flow: Flow) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in flow.state_dict().items()}
