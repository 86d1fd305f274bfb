"""Projections: every activation by its class path, and what is not known is refused."""

from __future__ import annotations

import pytest
import torch

from sentvec.errors import ConfigError
from sentvec.models.heads import Projection

NAMES = (
    "Identity Tanh ReLU GELU SiLU Sigmoid LeakyReLU Mish ELU CELU SELU ReLU6 Hardtanh Hardswish Hardsigmoid Hardshrink"
)
NAMES += " Softshrink Softplus Softsign Tanhshrink LogSigmoid"


@pytest.mark.parametrize("name", NAMES.split())
def test_activations(name):
    projection = Projection(in_dim=4, out_dim=3, act=f"torch.nn.modules.activation.{name}")
    vectors = torch.randn(5, 4)
    assert torch.equal(projection(vectors), getattr(torch.nn, name)()(projection.linear(vectors)))


@pytest.mark.parametrize("name", ["Swirl", "GLU", "RReLU", "PReLU", "Linear", ""])
def test_activations_that_are_not_known(name):
    """GLU changes the width, RReLU is random, PReLU has a weight that Dense does not name."""
    with pytest.raises(ConfigError, match="of a Dense module is not known. Known: Identity, Tanh"):
        Projection(in_dim=4, out_dim=3, act=name)
