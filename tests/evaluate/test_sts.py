"""STS: the correlations of sentence-transformers, and those of each way to take subsets together."""

from __future__ import annotations

import numpy as np
import pytest
from tests.evaluate.given import Given, Peer, near

from sentvec.errors import InvalidInput
from sentvec.evaluate.find import find_sets
from sentvec.evaluate.geometry import alignment, geometry
from sentvec.evaluate.sts import Sts, evaluate_sts
from sentvec.evaluate.vectors import Vectors


def make(counts, seed=0, dim=16):
    """Return pairs in subsets of these sizes, scored more or less as their vectors say; many scores are equal."""
    random = np.random.default_rng(seed)
    total = sum(counts)
    left = random.normal(size=(total, dim)) * random.uniform(0.5, 2, (total, 1))
    closeness = random.uniform(0.1, 3, (total, 1))
    right = near(left, 1.0, random) * closeness + random.normal(size=(total, dim))
    scores = np.clip(np.round(closeness[:, 0] * 2 + random.normal(size=total)), 0, 5)
    names = [f"left {i}" for i in range(total)], [f"right {i}" for i in range(total)]
    vectors = dict(zip((*names[0], *names[1]), np.concatenate([left, right]), strict=True))
    subsets = np.repeat(np.arange(len(counts)), counts)
    return Sts("set", tuple(names[0]), tuple(names[1]), scores, subsets), vectors


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["cosine", "dot", "euclidean", "manhattan"])
def test_correlations_are_those_of_sentence_transformers(kind):
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    one, vectors = make([400])
    model = Given(vectors, kind)
    ours = evaluate_sts(one, model.vectors)
    # it scales vectors to length one if a precision is named, so none is
    theirs = EmbeddingSimilarityEvaluator(list(one.left), list(one.right), one.scores)(Peer(model))
    assert ours.main == "spearman (all)"
    assert ours.value == pytest.approx(theirs[f"spearman_{kind}"], abs=1e-6)
    assert ours.scores["pearson (all)"] == pytest.approx(theirs[f"pearson_{kind}"], abs=1e-6)


def test_all_mean_and_weighted_mean_are_named_and_differ():
    from scipy.stats import pearsonr, spearmanr

    one, vectors = make([30, 100, 250])
    # the subsets are of different levels, as those of SemEval's years are
    one.scores[30:130] = np.clip(one.scores[30:130] + 2, 0, 5)
    model = Given(vectors)
    a, b = (model.encode(texts) for texts in (one.left, one.right))
    guessed = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    parts = [slice(0, 30), slice(30, 130), slice(130, 380)]
    found = evaluate_sts(one, model.vectors, "wmean")
    for name, correlation in (("spearman", spearmanr), ("pearson", pearsonr)):
        each = [correlation(guessed[part], one.scores[part]).statistic for part in parts]
        wanted = {
            "all": correlation(guessed, one.scores).statistic,
            "mean": np.mean(each),
            "wmean": np.average(each, weights=[30, 100, 250]),
        }
        assert len({round(value, 3) for value in wanted.values()}) == 3
        for way, value in wanted.items():
            assert found.scores[f"{name} ({way})"] == pytest.approx(value, abs=1e-6)
    assert found.main == "spearman (wmean)" and found.sizes == {"pairs": 380, "subsets": 3}
    assert found.sample.score(np.arange(380)) == pytest.approx(found.value)
    assert evaluate_sts(one, model.vectors, "mean").main == "spearman (mean)"


def test_a_set_without_subsets_has_only_one_way():
    one, vectors = make([50])
    found = evaluate_sts(one, Given(vectors).vectors, "wmean")
    assert found.main == "spearman (all)" and not any("mean" in name for name in found.scores)
    with pytest.raises(InvalidInput, match="'median' is not known. Known: all, mean, wmean"):
        evaluate_sts(one, Given(vectors).vectors, "median")


def test_geometry_is_that_of_the_different_texts_and_alignment_that_of_pairs_that_are_alike():
    one, vectors = make([60])
    twice = Sts("set", one.left * 2, one.right * 2, np.tile(one.scores, 2), np.tile(one.subsets, 2))
    model = Given(vectors)
    found = evaluate_sts(twice, model.vectors).scores
    shape = geometry(model.encode(vectors))
    assert found["uniformity"] == pytest.approx(shape.uniformity) and found["anisotropy"] == pytest.approx(
        shape.anisotropy
    )
    alike = np.flatnonzero(one.scores >= 4)
    a, b = (model.encode([texts[i] for i in alike]) for texts in (one.left, one.right))
    assert found["alignment"] == pytest.approx(alignment(a, b))


def test_a_model_that_gives_every_text_the_same_vector_has_no_correlation():
    one, vectors = make([20])
    found = evaluate_sts(one, Given({text: [1.0, 2.0] for text in vectors}).vectors)
    assert np.isnan(found.value)
    assert found.scores["uniformity"] == pytest.approx(0, abs=1e-6)
    assert found.scores["anisotropy"] == pytest.approx(1)


@pytest.mark.data
def test_all_minilm_has_its_published_score_on_stsb(shared_data, minilm):
    """82.03, as published on its model card's benchmark."""
    sets = find_sets(shared_data / "sts" / "stsb" / "stsb-en-test.csv").sets
    found = evaluate_sts(sets[0], Vectors(minilm, progress=False))
    assert 100 * found.value == pytest.approx(82.03, abs=0.01)
    assert found.sizes == {"pairs": 1379}
