"""Losses of scored and labelled pairs equal sums written out, and sentence-transformers."""

from __future__ import annotations

import pytest
import torch
from tests.ops.losses.oracle import gradients, same, st_loss

from sentvec.errors import InvalidInput
from sentvec.ops.losses.common import row_cosines
from sentvec.ops.losses.pairs import (
    contrastive,
    cosent,
    cosine_mse,
    logistic,
    online_contrastive,
    pair_features,
    pearson,
    r_drop,
    row_angles,
)

SCORES = torch.tensor([0.2, 0.9, 0.2, 0.5, 0.0])
LABELS = torch.tensor([1, 0, 1, 0, 0])


def columns() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(5, 6), torch.randn(5, 6)


class TestCoSENT:
    def test_equals_a_sum_written_out(self):
        def written_out(cosines):
            total = 1.0
            for i in range(5):
                for j in range(5):
                    if SCORES[i] < SCORES[j]:
                        total = total + ((cosines[i] - cosines[j]) / 0.3).exp()
            return total.log()

        same(lambda cosines: cosent(cosines, SCORES, temperature=0.3), written_out, torch.rand(5))

    @pytest.mark.oracle
    def test_equals_sentence_transformers(self):
        a, b = columns()
        torch.testing.assert_close(cosent(row_cosines(a, b), SCORES), st_loss("CoSENTLoss", (a, b), SCORES))

    def test_equal_scores_teach_nothing(self):
        cosines = torch.rand(5)
        assert cosent(cosines, torch.ones(5)) == 0
        assert gradients(lambda x: cosent(x, torch.ones(5)), cosines)[0].abs().max() == 0

    def test_refused(self):
        with pytest.raises(InvalidInput, match=r"shapes \(5,\) and \(4,\) differ"):
            cosent(torch.rand(5), torch.rand(4))
        with pytest.raises(InvalidInput, match="temperature is -1"):
            cosent(torch.rand(5), SCORES, temperature=-1)


class TestAnglE:
    @pytest.mark.parametrize("dim", [6, 5])
    def test_equals_complex_division(self, dim):
        def by_division(a, b):
            half = (dim + 1) // 2
            a, b = (torch.nn.functional.pad(part, (0, 2 * half - dim)) for part in (a, b))
            left, right = (torch.complex(part[:, :half], part[:, half:]) for part in (a, b))
            # each quotient times |b_i|², so that the sum is over the whole vectors' lengths
            quotient = left / right * right.abs() ** 2 / (a.norm(dim=1) * b.norm(dim=1))[:, None]
            return (quotient.real + quotient.imag).sum(dim=1).abs()

        a, b = torch.randn(5, dim), torch.randn(5, dim)
        torch.testing.assert_close(row_angles(a, b), by_division(a, b))
        same(lambda a, b: row_angles(a, b) @ a[:, 0], lambda a, b: by_division(a, b) @ a[:, 0], a, b)

    @pytest.mark.oracle
    def test_with_cosent_it_equals_sentence_transformers(self):
        a, b = columns()
        torch.testing.assert_close(cosent(row_angles(a, b), SCORES), st_loss("AnglELoss", (a, b), SCORES))


class TestContrastive:
    def test_equals_a_sum_written_out(self):
        def written_out(s):
            rows = [(1 - s[i]) ** 2 if LABELS[i] else (0.9 - (1 - s[i])).clamp(min=0) ** 2 for i in range(5)]
            return torch.stack(rows).mean() / 2

        same(lambda s: contrastive(s, LABELS, margin=0.9), written_out, torch.rand(5))

    @pytest.mark.oracle
    @pytest.mark.parametrize("name", ["ContrastiveLoss", "OnlineContrastiveLoss"])
    @pytest.mark.parametrize("labels", [LABELS, torch.ones(5).long(), torch.zeros(5).long()])
    def test_equals_sentence_transformers(self, name, labels):
        a, b = columns()
        ours = {"ContrastiveLoss": contrastive, "OnlineContrastiveLoss": online_contrastive}[name]
        torch.testing.assert_close(
            ours(row_cosines(a, b), labels, margin=0.9), st_loss(name, (a, b), labels, margin=0.9)
        )

    def test_online_learns_from_hard_pairs_only(self):
        similarities, labels = torch.tensor([0.9, 0.5, 0.6, 0.0, 0.7]), torch.tensor([1, 1, 0, 0, 1])
        found = gradients(lambda s: online_contrastive(s, labels), similarities)[0]
        assert found.ne(0).tolist() == [False, True, True, False, False]
        assert torch.autograd.gradcheck(lambda s: online_contrastive(s, labels), similarities.double().requires_grad_())


class TestLogistic:
    def test_equals_a_sum_written_out(self):
        def written_out(s):
            likely = (s / 0.3 - 1).sigmoid()
            return -torch.stack([(likely if one else 1 - likely)[i] for i, one in enumerate(LABELS)]).log().mean()

        same(lambda s: logistic(s, LABELS, temperature=0.3, bias=-1), written_out, torch.rand(5))

    def test_far_from_the_truth_it_stays_finite(self):
        assert float(logistic(torch.tensor([-1.0]), torch.tensor([1]), temperature=1e-4)) == pytest.approx(1e4)


class TestScores:
    @pytest.mark.oracle
    def test_cosine_mse_equals_sentence_transformers(self):
        a, b = columns()
        expected = st_loss("CosineSimilarityLoss", (a, b), SCORES)
        torch.testing.assert_close(cosine_mse(row_cosines(a, b), SCORES), expected)

    def test_cosine_mse_in_bfloat16_is_computed_in_float32(self):
        cosines = torch.rand(5).bfloat16()
        assert cosine_mse(cosines, SCORES) == cosine_mse(cosines.float(), SCORES)

    def test_pearson_equals_numpy(self):
        cosines = torch.rand(5)
        expected = 1 - torch.corrcoef(torch.stack([cosines, SCORES]))[0, 1]
        torch.testing.assert_close(pearson(cosines, SCORES), expected)
        assert torch.autograd.gradcheck(lambda s: pearson(s, SCORES.double()), cosines.double().requires_grad_())

    def test_pearson_of_equal_scores_is_1(self):
        assert pearson(torch.rand(5), torch.ones(5)) == 1
        assert gradients(lambda s: pearson(s, SCORES), torch.ones(5))[0].isfinite().all()


class TestInference:
    @pytest.mark.oracle
    def test_features_under_a_softmax_equal_sentence_transformers(self):
        from sentence_transformers.sentence_transformer.losses import SoftmaxLoss
        from tests.ops.losses.oracle import Given

        model = Given()
        model.device = "cpu"
        theirs, (a, b), labels = SoftmaxLoss(model, 6, 3), columns(), torch.tensor([0, 1, 2, 1, 0])
        expected = theirs([{"sentence_embedding": part} for part in (a, b)], labels)
        ours = torch.nn.functional.cross_entropy(theirs.classifier(pair_features(a, b)), labels)
        torch.testing.assert_close(ours, expected)

    def test_r_drop_equals_the_paper_written_out(self):
        def written_out(first, second):
            total = 0
            for x, y, label in zip(first.log_softmax(1), second.log_softmax(1), [0, 2, 1, 1], strict=True):
                there, back = (x.exp() * (x - y)).sum(), (y.exp() * (y - x)).sum()
                total = total - x[label] - y[label] + 0.7 * (there + back) / 2
            return total / 4

        labels = torch.tensor([0, 2, 1, 1])
        same(lambda x, y: r_drop(x, y, labels, weight=0.7), written_out, torch.randn(4, 3), torch.randn(4, 3))
