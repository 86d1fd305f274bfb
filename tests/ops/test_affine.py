"""What a fitted map promises of the vectors it was fitted on, and that sums over a stream are those over all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.ops.affine import (
    POSTPROCESSINGS,
    all_but_the_top,
    moments,
    pca,
    rotation,
    standardisation,
    whitening,
)


@pytest.fixture
def vectors():
    """Vectors that lie far from the origin and vary a thousand times more one way than another."""
    return torch.randn(500, 12) * torch.logspace(0, -3, 12) @ torch.linalg.qr(torch.randn(12, 12))[0] + 5


def applied(fitted, vectors):
    return (vectors.double() @ fitted.weight.T + fitted.bias).numpy()


def test_moments_of_a_stream_are_those_of_all(vectors):
    seen = None
    for part in vectors.split([1, 0, 200, 299]):
        seen = moments(part, seen)
    assert seen.count == 500
    np.testing.assert_allclose(seen.mean, vectors.double().mean(0), rtol=1e-12)
    np.testing.assert_allclose(seen.covariance, np.cov(vectors.double().numpy().T), rtol=1e-9, atol=1e-14)


def test_moments_keep_small_differences_far_from_the_origin():
    rows = torch.randn(1000, 3, dtype=torch.float64)
    far = moments(rows[500:] + 1e6, moments(rows[:500] + 1e6))
    np.testing.assert_allclose(far.covariance, np.cov(rows.numpy().T), atol=1e-8)


@pytest.mark.parametrize("dim", [None, 5])
def test_whitened_features_are_uncorrelated_and_of_variance_one(vectors, dim):
    found = applied(whitening(moments(vectors), dim), vectors)
    assert found.shape == (500, dim or 12)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(np.cov(found.T), np.eye(dim or 12), atol=1e-7)


def test_whitening_keeps_the_directions_of_most_variance(vectors):
    theirs = PCA(5, whiten=True).fit(vectors.double().numpy()).transform(vectors.double().numpy())
    found = applied(whitening(moments(vectors), 5), vectors)
    np.testing.assert_allclose(np.abs(found), np.abs(theirs), atol=1e-6)  # a direction is as good as its opposite


def test_pca_is_the_usual_one(vectors):
    theirs = PCA(4).fit(vectors.double().numpy())
    found = pca(moments(vectors), 4)
    np.testing.assert_allclose(found.weight.abs(), np.abs(theirs.components_), atol=1e-8)
    moved = theirs.transform(vectors.double().numpy())
    np.testing.assert_allclose(np.abs(applied(found, vectors)), np.abs(moved), atol=1e-7)


def test_directions_do_not_depend_on_chance(vectors):
    """The same map from the same texts, and each direction with its largest part positive."""
    weight = pca(moments(vectors)).weight
    assert torch.equal(weight, pca(moments(vectors)).weight)
    assert (weight.gather(1, weight.abs().argmax(1, keepdim=True)) > 0).all()


def test_all_but_the_top_takes_away_the_mean_and_the_first_direction(vectors):
    found = applied(all_but_the_top(moments(vectors)), vectors)
    first = pca(moments(vectors), 1).weight[0].numpy()
    assert found.shape == (500, 12)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(found @ first, 0, atol=1e-9)
    others = pca(moments(vectors)).weight[1:].numpy()
    off = (vectors.double() - vectors.double().mean(0)).numpy()
    np.testing.assert_allclose(found @ others.T, off @ others.T, atol=1e-9)


def test_all_but_the_top_takes_one_direction_for_each_hundred_features():
    weight = all_but_the_top(moments(torch.randn(300, 250))).weight
    assert int(torch.linalg.matrix_rank(weight)) == 248


def test_standardised_features_have_variance_one_and_constant_ones_become_zero(vectors):
    vectors = torch.cat([vectors[:, :3], torch.full((500, 1), 7.0), vectors[:, 4:]], dim=1)
    found = applied(standardisation(moments(vectors)), vectors)
    np.testing.assert_allclose(found.var(0, ddof=1), [1, 1, 1, 0] + [1] * 8, atol=1e-9)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-9)


@pytest.mark.parametrize("kind", ["whitening", "pca"])
def test_too_few_texts_are_told(kind, vectors):
    with pytest.raises(
        InvalidInput, match=r"7 texts vary in 6 directions.*too few for 12 features.*dim=6 or less \(--dim 6\)"
    ):
        POSTPROCESSINGS[kind](moments(vectors[:7]), None)
    assert POSTPROCESSINGS[kind](moments(vectors[:7]), 6).weight.shape == (6, 12)


def test_a_direction_that_no_vector_takes_is_left_out(vectors):
    """What a LayerNorm gives lies in a plane; scaled up to the others, its thickness would be noise."""
    flat = vectors - vectors.mean(1, keepdim=True)
    found = applied(whitening(moments(flat)), flat)
    assert found.shape == (500, 11)
    np.testing.assert_allclose(np.cov(found.T), np.eye(11), atol=1e-7)
    with pytest.raises(InvalidInput, match="500 texts vary in 11 directions, which is too few for 12 features"):
        whitening(moments(flat), 12)


@pytest.mark.parametrize("dim", [0, 13])
def test_an_impossible_dim_is_refused(dim, vectors):
    with pytest.raises(InvalidInput, match=rf"dim is {dim}, which should be a whole number from 1 to 12"):
        whitening(moments(vectors), dim)


def test_a_rotation_keeps_cosines_and_makes_signs_say_more():
    skewed = functional.normalize(torch.randn(800, 16) * torch.logspace(0, -1.5, 16))
    fitted = rotation(moments(skewed[:600]))
    np.testing.assert_allclose(fitted.weight @ fitted.weight.T, np.eye(16), atol=1e-9)
    assert not fitted.bias.any()
    new = skewed[600:].double()
    turned = new @ fitted.weight.T

    def kept(rows):  # the cosine of a vector and its signs
        return float((rows.abs().sum(1) / 4).mean())

    by_chance = torch.linalg.qr(torch.randn(16, 16, dtype=torch.float64))[0]
    assert kept(turned) > kept(new @ by_chance) + 0.01
    assert kept(turned) > kept(new) + 0.1
    assert torch.equal(rotation(moments(skewed[:600])).weight, fitted.weight)


def test_the_sample_is_spread_over_the_stream_and_bounded():
    rows, seen = torch.arange(53.0)[:, None], None
    for part in rows.split([1, 7, 13, 0, 32]):
        seen = moments(part, seen, 10)
        assert len(seen.sample) <= 10
    assert seen.sample.flatten().tolist() == [0, 8, 16, 24, 32, 40, 48]


@pytest.mark.parametrize("kind", ["all_but_the_top", "standardisation", "rotation"])
def test_dim_is_refused_where_all_features_stay(kind, vectors):
    with pytest.raises(InvalidInput, match=f"dim is 3, but {kind} keeps all features"):
        POSTPROCESSINGS[kind](moments(vectors), 3)
