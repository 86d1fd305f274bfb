"""Vectors keep on the plane what the method promises: PCA scikit-learn's axes, the others their neighbours."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from sentvec.errors import InvalidInput, MissingExtra
from sentvec.inspect.projection import project


def clusters(seed=0, dim=16):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(3, dim)) * 5
    groups = np.repeat([0, 1, 2], 20)
    return (centres[groups] + generator.normal(size=(60, dim))).astype(np.float32), groups


def apart(points, groups):
    """Share of points whose nearest neighbour is of their group."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    return float((groups[distances.argmin(axis=1)] == groups).mean())


def test_pca_equals_scikit_learn_up_to_signs():
    decomposition = pytest.importorskip("sklearn.decomposition", reason="scikit-learn is not installed")
    vectors, _ = clusters()
    expected = decomposition.PCA(n_components=2).fit(vectors)
    found = project(vectors)
    np.testing.assert_allclose(np.abs(found.points), np.abs(expected.transform(vectors)), atol=1e-4)
    np.testing.assert_allclose(found.explained, expected.explained_variance_ratio_, atol=1e-6)


def test_pca_gives_the_same_signs_for_the_same_axes():
    vectors, _ = clusters()
    shuffled = np.random.default_rng(1).permutation(len(vectors))
    np.testing.assert_allclose(project(vectors).points[shuffled], project(vectors[shuffled]).points, atol=1e-8)


@pytest.mark.parametrize("shape", [(2, 1), (2, 5), (5, 1)])
def test_pca_of_little(shape):
    found = project(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    assert found.points.shape == (shape[0], 2)
    assert np.isfinite(found.points).all()


def test_pca_of_equal_vectors():
    found = project(np.ones((4, 3), np.float32))
    assert not found.points.any()
    assert found.explained == (0, 0)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("method", "package"), [("pca", "numpy"), ("tsne", "sklearn"), ("umap", "umap")])
def test_groups_stay_together(method, package):
    pytest.importorskip(package, reason=f"{package} is not installed (the extra inspect)")
    vectors, groups = clusters()
    found = project(vectors, method)
    assert found.points.shape == (60, 2)
    assert apart(found.points, groups) == 1
    np.testing.assert_array_equal(found.points, project(vectors, method).points)  # a seed gives it again
    assert (found.explained is None) == (method != "pca")


class Absent:
    """A finder in whose world a package is not installed."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(("method", "package"), [("tsne", "sklearn"), ("umap", "umap")])
def test_a_package_that_is_not_there_is_named(monkeypatch, method, package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(package), *sys.meta_path])
    with pytest.raises(MissingExtra, match=r'pip install "sentvec\[inspect\]"'):
        project(clusters()[0], method)


@pytest.mark.parametrize(
    ("count", "method", "said"),
    [(1, "pca", "at least 2 texts, but 1"), (4, "tsne", "at least 5"), (9, "mds", "'mds' is not known. Known: pca")],
)
def test_what_cannot_be_laid_out_is_refused(count, method, said):
    with pytest.raises(InvalidInput, match=said):
        project(clusters()[0][:count], method)


@pytest.mark.parametrize("vectors", [np.full((3, 4), np.nan), np.full((3, 4), np.inf), np.ones(4), np.ones((3, 4, 2))])
def test_vectors_that_are_none_are_refused(vectors):
    with pytest.raises(InvalidInput, match="cannot be laid out; give finite numbers"):
        project(vectors)
