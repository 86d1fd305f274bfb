"""Similarities equal scipy's distances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from sentvec.errors import InvalidInput
from sentvec.ops.postprocess import normalize, truncate
from sentvec.ops.similarity import SIMILARITIES, similarity

SCIPY = {
    "cosine": lambda a, b: 1 - cdist(a, b, "cosine"),
    "dot": lambda a, b: a @ b.T,
    "euclidean": lambda a, b: -cdist(a, b, "euclidean"),
    "manhattan": lambda a, b: -cdist(a, b, "cityblock"),
}


@pytest.mark.parametrize("name", SIMILARITIES)
def test_similarities_equal_scipy(name):
    a, b = torch.randn(4, 6), torch.randn(3, 6)
    expected = SCIPY[name](a.double().numpy(), b.double().numpy())
    np.testing.assert_allclose(similarity(name)(a, b).numpy(), expected, atol=1e-5)


def test_cosine_of_a_zero_vector_is_zero():
    assert similarity("cosine")(torch.zeros(1, 3), torch.ones(1, 3)).tolist() == [[0.0]]


def test_an_unknown_similarity_is_named():
    with pytest.raises(InvalidInput, match="'cosin' is not known. Known: cosine, dot, euclidean, manhattan"):
        similarity("cosin")


def test_truncate_then_normalize():
    x = torch.randn(2, 8)
    cut = normalize(truncate(x, 3))
    assert cut.shape == (2, 3)
    torch.testing.assert_close(cut.norm(dim=1), torch.ones(2))
