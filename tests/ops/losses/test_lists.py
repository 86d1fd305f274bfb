"""Losses of lists equal sums written out over each list, and sentence-transformers' cross-encoder losses."""

from __future__ import annotations

import math

import pytest
import torch
from tests.ops.losses.oracle import gradients, list_loss, same, st_loss

from sentvec.errors import InvalidInput
from sentvec.ops.losses.lists import (
    RANKINGS,
    binary_cross_entropy,
    lambda_loss,
    list_net,
    margin_mse,
    rank_net,
    rectangle,
    score_divergence,
    softmax_cross_entropy,
)

OWNERS = torch.tensor([0, 2, 0, 1, 2, 0, 2, 2])  # list 1 has one document
GRADES = torch.tensor([2.0, 0.0, 0.0, 3.0, 1.0, 1.0, 0.0, 3.0])
LISTS = [[0, 2, 5], [3], [1, 4, 6, 7]]
WEIGHTINGS = ["lambdarank", "ndcg2", "ndcg2++"]


def pairs():
    """Documents of one list, the better one first."""
    return [(i, j) for row in LISTS for i in row for j in row if GRADES[i] > GRADES[j]]


def test_rectangle_keeps_the_order_of_documents():
    values, real = rectangle(torch.arange(8.0), OWNERS)
    assert [row[there].long().tolist() for row, there in zip(values, real, strict=True)] == LISTS


def test_softmax_cross_entropy_equals_a_sum_written_out():
    grades = torch.where(OWNERS == 0, 0, GRADES)  # the first list has nothing good and does not count

    def written_out(scores):
        rows = [(grades[row] / grades[row].sum() * scores[row].log_softmax(0)).sum() for row in LISTS[1:]]
        return -torch.stack(rows).mean()

    same(lambda scores: softmax_cross_entropy(scores, grades, OWNERS), written_out, torch.randn(8))


def test_list_net_equals_a_sum_written_out():
    def written_out(scores):
        return -torch.stack([(GRADES[row].softmax(0) * scores[row].log_softmax(0)).sum() for row in LISTS]).mean()

    same(lambda scores: list_net(scores, GRADES, OWNERS), written_out, torch.randn(8))


def test_rank_net_equals_a_sum_written_out():
    def written_out(scores):
        return -torch.stack([(1.5 * (scores[i] - scores[j])).sigmoid().log() for i, j in pairs()]).mean()

    same(lambda scores: rank_net(scores, GRADES, OWNERS, sigma=1.5), written_out, torch.randn(8))


@pytest.mark.parametrize("k", [None, 2])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_lambda_loss_equals_a_sum_written_out(weighting, k):
    def written_out(scores):
        place = {}
        for row in LISTS:
            place |= {i: 1 + sum(bool(scores[j] > scores[i]) for j in row) for i in row}
        losses = []
        for row in LISTS:
            best = sorted((2 ** float(GRADES[i]) - 1 for i in row), reverse=True)[:k]
            ideal = sum(gain / math.log2(2 + rank) for rank, gain in enumerate(best))
            for i, j in pairs():
                if i in row and (k is None or min(place[i], place[j]) <= k):
                    away = abs(place[i] - place[j])
                    change = abs(1 / math.log2(1 + place[i]) - 1 / math.log2(1 + place[j]))
                    step = 1 / math.log2(1 + away) - 1 / math.log2(2 + away)
                    weight = {"lambdarank": change, "ndcg2": step, "ndcg2++": 10 * step + change}[weighting]
                    gain = (2 ** float(GRADES[i]) - 2 ** float(GRADES[j])) / ideal
                    losses.append(-weight * gain * (scores[i] - scores[j]).sigmoid().log())
        return torch.stack(losses).mean()

    same(lambda scores: lambda_loss(scores, GRADES, OWNERS, weighting=weighting, k=k), written_out, torch.randn(8))


@pytest.mark.oracle
class TestSentenceTransformers:
    """Its lists, in order, are given to both."""

    order = torch.tensor([i for row in LISTS for i in row])

    def ours(self, loss, scores, **options):
        return loss(scores, GRADES[self.order], OWNERS[self.order], **options)

    def theirs(self, name, scores, **options):
        return list_loss(name, scores, [GRADES[row] for row in LISTS], **options)

    def test_list_net(self):
        scores = torch.randn(8)
        torch.testing.assert_close(self.ours(list_net, scores), self.theirs("ListNetLoss", scores))

    def test_rank_net(self):
        scores = torch.randn(8)
        expected = self.theirs("RankNetLoss", scores, reduction_log="natural")
        torch.testing.assert_close(self.ours(rank_net, scores), expected)

    @pytest.mark.parametrize("k", [None, 2])
    @pytest.mark.parametrize(
        ("weighting", "scheme"),
        list(zip(WEIGHTINGS, ["LambdaRankScheme", "NDCGLoss2Scheme", "NDCGLoss2PPScheme"], strict=True)),
    )
    def test_lambda_loss(self, weighting, scheme, k):
        from sentence_transformers.cross_encoder import losses

        scores, scheme = torch.randn(8), getattr(losses, scheme)()
        expected = self.theirs("LambdaLoss", scores, weighting_scheme=scheme, k=k, reduction_log="natural")
        torch.testing.assert_close(self.ours(lambda_loss, scores, weighting=weighting, k=k), expected)

    @pytest.mark.parametrize("temperature", [1.0, 2.0])
    def test_distilled_scores(self, temperature):
        query, documents = torch.randn(2, 6), [torch.randn(2, 6) for _ in range(3)]
        taught, owners = torch.randn(2, 3), torch.arange(2).repeat_interleave(3)
        scores = torch.stack([(query * column).sum(1) for column in documents], dim=1).flatten()
        expected = st_loss("DistillKLDivLoss", (query, *documents), taught, temperature=temperature)
        found = score_divergence(scores, taught.flatten(), owners, temperature=temperature)
        torch.testing.assert_close(found, expected)
        expected = st_loss("MarginMSELoss", (query, *documents), taught)
        torch.testing.assert_close(margin_mse(scores, taught.flatten(), owners), expected)


def test_margin_mse_equals_a_sum_written_out():
    def written_out(scores):
        margins = [(scores[row[0]] - scores[i]) - (GRADES[row[0]] - GRADES[i]) for row in LISTS for i in row[1:]]
        return (torch.stack(margins) ** 2).mean()

    same(lambda scores: margin_mse(scores, GRADES, OWNERS), written_out, torch.randn(8))


def test_score_divergence_equals_a_sum_written_out():
    def written_out(scores):
        total = 0
        for row in LISTS:
            ours, theirs = (scores[row] / 3).log_softmax(0), (GRADES[row] / 3).log_softmax(0)
            total = total + (theirs.exp() * (theirs - ours)).sum()
        return total / 3 * 9

    same(lambda scores: score_divergence(scores, GRADES, OWNERS, temperature=3.0), written_out, torch.randn(8))


def test_binary_cross_entropy_looks_at_each_document_alone():
    def written_out(scores):
        likely = [scores[i].sigmoid() if GRADES[i] > 1 else 1 - scores[i].sigmoid() for i in range(8)]
        return -torch.stack(likely).log().mean()

    same(lambda scores: binary_cross_entropy(scores, GRADES > 1, OWNERS), written_out, torch.randn(8))


@pytest.mark.parametrize("loss", RANKINGS.values())
class TestEvery:
    def test_one_document_teaches_nothing(self, loss):
        if loss is binary_cross_entropy:
            return  # it does not compare
        alone = lambda scores: loss(scores, torch.ones(1), torch.zeros(1).long())  # noqa: E731
        assert alone(torch.randn(1)) == 0
        assert gradients(alone, torch.randn(1))[0] == 0

    def test_scores_far_apart_stay_finite(self, loss):
        scores = torch.tensor([1e4, -1e4, 0.0, 1.0, 1e4, -1e4, -1e4, 0.0])
        of = lambda scores: loss(scores, GRADES / 3, OWNERS)  # noqa: E731
        assert of(scores).isfinite()
        assert gradients(of, scores)[0].isfinite().all()

    def test_bfloat16_is_computed_in_float32(self, loss):
        scores = torch.randn(8).bfloat16()
        assert loss(scores, GRADES / 3, OWNERS) == loss(scores.float(), GRADES / 3, OWNERS)

    def test_no_document_or_other_shapes_are_refused(self, loss):
        with pytest.raises(InvalidInput, match="there is no document"):
            loss(torch.zeros(0), torch.zeros(0), torch.zeros(0).long())
        with pytest.raises(InvalidInput, match=r"shapes \(8,\) and \(3,\) differ"):
            loss(torch.zeros(8), torch.zeros(3), OWNERS)
        with pytest.raises(InvalidInput, match=r"shapes \(8,\) and \(3,\) differ"):
            loss(torch.zeros(8), GRADES, OWNERS[:3])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: lambda_loss(s, GRADES, OWNERS, weighting="ndcg"), "'ndcg' is not known. Known: lambdarank, ndcg2, "),
        (lambda s: lambda_loss(s, GRADES, OWNERS, k=0), "k is 0; it must be above 0"),
        (lambda s: binary_cross_entropy(s, GRADES, OWNERS), "grades are from 0 to 3; they must be from 0 to 1"),
        (lambda s: softmax_cross_entropy(s, GRADES - 1, OWNERS), "grades are from -1 to 2; they must not be below 0"),
        (lambda s: lambda_loss(s, GRADES - 1, OWNERS), "grades are from -1 to 2; they must not be below 0"),
        (lambda s: rank_net(s, GRADES, OWNERS, sigma=0), "sigma is 0"),
        (lambda s: score_divergence(s, GRADES, OWNERS, temperature=0), "temperature is 0"),
    ],
)
def test_options_that_cannot_be_are_refused(call, said):
    with pytest.raises(InvalidInput, match=said):
        call(torch.randn(8))
