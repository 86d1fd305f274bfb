"""Probabilities that are those of a logistic regression, a threshold that has the best F1, and clear refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.metrics import f1_score

from sentvec.errors import InvalidInput
from sentvec.ops.calibration import calibration


@pytest.fixture
def pairs():
    """Scores between 0.6 and 1, as users meet them, and labels that follow them loosely."""
    scores = 0.6 + 0.4 * torch.rand(400)
    return scores, (torch.rand(400) < torch.sigmoid(25 * (scores - 0.8))).float()


def test_it_is_the_fit_of_greatest_likelihood(pairs):
    scores, labels = (values.double().numpy() for values in pairs)
    drawn_in = np.where(labels > 0, (labels.sum() + 1) / (labels.sum() + 2), 1 / ((1 - labels).sum() + 2))

    def loss(weights):
        logits = weights[0] * (scores - 0.8) + weights[1]
        return np.mean(np.logaddexp(0, logits) - drawn_in * logits)

    slope, offset = minimize(loss, [1, 0], tol=1e-12).x
    found = calibration(*pairs)
    assert found.slope == pytest.approx(slope, rel=1e-3)
    assert found.offset == pytest.approx(offset - 0.8 * slope, rel=1e-3)
    assert found.pairs == 400


def test_probabilities_are_right_on_average(pairs):
    scores, labels = pairs
    found = calibration(scores, labels).probability(scores)
    assert float(found.mean()) == pytest.approx(float(labels.mean()), abs=0.01)
    high = found > 0.7
    assert float(found[high].mean()) == pytest.approx(float(labels[high].mean()), abs=0.05)


def test_no_threshold_has_a_better_f1(pairs):
    scores, labels = pairs
    best = max(f1_score(labels.numpy(), (scores >= score).numpy()) for score in scores)
    found = calibration(scores, labels).threshold
    assert f1_score(labels.numpy(), (scores >= found).numpy()) == pytest.approx(best)
    assert found not in scores  # between two, so that rounding does not turn a pair over


def test_equal_scores_are_on_one_side_of_the_threshold():
    found = calibration(torch.tensor([0.9, 0.5, 0.5, 0.1]), torch.tensor([1.0, 1, 0, 0]))
    assert found.threshold == pytest.approx(0.3)


def test_pairs_told_apart_without_a_mistake_do_not_make_a_wall():
    found = calibration(torch.tensor([0.1, 0.2, 0.8, 0.9]), torch.tensor([0.0, 0, 1, 1]))
    assert 0 < found.slope < 10
    assert found.threshold == pytest.approx(0.5)


def test_shares_of_opinions_count():
    scores = torch.linspace(0, 1, 50)
    hard, soft = (calibration(scores, labels) for labels in ((scores > 0.5).float(), scores))
    assert soft.slope < hard.slope
    assert float(soft.probability(torch.tensor(0.5))) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("scores", "labels", "told"),
    [
        ([0.1, 0.2], [0.0], "2.*scores and.*1.*labels"),
        ([], [], "are not pairs"),
        ([0.1, float("nan")], [0.0, 1.0], "score 1 is NaN"),
        ([0.1, 0.2], [0.0, 5.0], "label 1 is 5.0, which should be from 0"),
        ([0.1, 0.2], [0.0, float("nan")], "label 1 is nan"),
        ([0.1, 0.2], [1.0, 1.0], "labels of one kind"),
        ([0.1, 0.2, 0.3, 0.9], [1.0, 1.0, 0.0, 0.0], "scores do not rise with the labels"),
        ([0.5, 0.5, 0.5, 0.5], [1.0, 1.0, 0.0, 0.0], "scores do not rise with the labels"),
    ],
)
def test_what_says_nothing_is_refused(scores, labels, told):
    with pytest.raises(InvalidInput, match=told):
        calibration(torch.tensor(scores), torch.tensor(labels))
