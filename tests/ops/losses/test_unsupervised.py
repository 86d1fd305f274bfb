"""Losses without labels equal sums written out, and sentence-transformers."""

from __future__ import annotations

import math

import pytest
import torch
from tests.ops.losses.oracle import gradients, same
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.ops.losses.unsupervised import BLOCK, alignment, contrastive_tension, uniformity


def test_contrastive_tension_equals_a_sum_written_out():
    def written_out(a, b):
        likely = [(a[i] @ b[i]).sigmoid() for i in range(3)]
        return -(likely[0].log() + (1 - likely[1]).log() + likely[2].log())

    equal = torch.tensor([True, False, True])
    same(lambda a, b: contrastive_tension(a, b, equal), written_out, torch.randn(3, 6), torch.randn(3, 6))


def test_alignment_equals_a_sum_written_out():
    def written_out(a, b):
        return torch.stack(
            [
                (functional.normalize(x, dim=0) - functional.normalize(y, dim=0)).pow(2).sum()
                for x, y in zip(a, b, strict=True)
            ]
        ).mean()

    same(alignment, written_out, torch.randn(3, 6), torch.randn(3, 6))


def test_uniformity_equals_the_paper():
    def written_out(x):
        return torch.pdist(functional.normalize(x)).pow(2).mul(-2).exp().mean().log()

    same(uniformity, written_out, torch.randn(5, 6))
    many = torch.randn(BLOCK + 3, 6)  # more than one block
    torch.testing.assert_close(uniformity(many), written_out(many))
    torch.testing.assert_close(gradients(uniformity, many), gradients(written_out, many))


def test_equal_vectors_are_the_least_uniform():
    assert float(uniformity(torch.ones(4, 3))) == pytest.approx(0, abs=1e-6)
    assert math.isfinite(uniformity(torch.ones(4, 3).bfloat16()))
    with pytest.raises(InvalidInput, match="1 vectors have no distances"):
        uniformity(torch.ones(1, 3))
