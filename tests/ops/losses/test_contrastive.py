"""Losses of a positive against all documents equal sums written out, and sentence-transformers."""

from __future__ import annotations

import math

import pytest
import torch
from tests.ops.losses.oracle import gist_loss, gradients, same, st_loss
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.ops.losses.contrastive import decoupled, guide_mask, info_nce, sigmoid

QUERIES, DOCUMENTS = 4, 7


def vectors(*counts: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(count, 6) for count in counts)


def written_out(
    q,
    d,
    targets=None,
    mask=None,
    temperature=0.05,
    smoothing=0.0,
):
    """InfoNCE, one query after the other."""
    losses = []
    for i in range(len(q)):
        target = i if targets is None else int(targets[i])
        kept = [j for j in range(len(d)) if mask is None or j == target or not mask[i, j]]
        scores = torch.stack([functional.cosine_similarity(q[i], d[j], dim=0) / temperature for j in kept])
        logs = scores - scores.exp().sum().log()
        losses.append(-(1 - smoothing) * logs[kept.index(target)] - smoothing * logs.mean())
    return torch.stack(losses).mean()


class TestInfoNCE:
    def test_equals_a_sum_written_out(self):
        same(info_nce, written_out, *vectors(QUERIES, DOCUMENTS))

    @pytest.mark.parametrize("smoothing", [0.0, 0.2])
    def test_targets_mask_and_smoothing(self, smoothing):
        targets = torch.tensor([3, 0, 6, 3])
        mask = torch.rand(QUERIES, DOCUMENTS) < 0.4
        mask[torch.arange(QUERIES), targets] = True  # a positive is never left out, whatever the mask says
        same(
            lambda q, d: info_nce(q, d, targets=targets, mask=mask, temperature=0.3, label_smoothing=smoothing),
            lambda q, d: written_out(q, d, targets, mask, 0.3, smoothing),
            *vectors(QUERIES, DOCUMENTS),
        )

    def test_smoothing_without_a_mask_is_torchs(self):
        q, d = vectors(QUERIES, DOCUMENTS)
        scores = functional.normalize(q) @ functional.normalize(d).T / 0.05
        expected = functional.cross_entropy(scores, torch.arange(QUERIES), label_smoothing=0.1)
        torch.testing.assert_close(info_nce(q, d, label_smoothing=0.1), expected)

    def test_both_directions(self):
        targets = torch.tensor([2, 2, 0, 5])  # two queries share a positive: neither counts against the other
        mask = torch.zeros(QUERIES, DOCUMENTS, dtype=torch.bool)
        mask[3, 0] = True
        left_out = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]).bool()
        same(
            lambda q, d: info_nce(q, d, targets=targets, mask=mask, symmetric=True, temperature=0.5),
            lambda q, d: (
                (written_out(q, d, targets, mask, 0.5) + written_out(d[targets], q, mask=left_out, temperature=0.5)) / 2
            ),
            *vectors(QUERIES, DOCUMENTS),
        )

    def test_a_learned_temperature_has_the_gradient_of_the_sum(self):
        q, d = vectors(QUERIES, DOCUMENTS)
        found = gradients(lambda t: info_nce(q, d, temperature=t), torch.tensor(0.2))
        torch.testing.assert_close(found, gradients(lambda t: written_out(q, d, temperature=t), torch.tensor(0.2)))

    def test_dot_product(self):
        q, d = vectors(QUERIES, DOCUMENTS)
        expected = functional.cross_entropy(q @ d.T / 0.05, torch.arange(QUERIES))
        torch.testing.assert_close(info_nce(q, d, similarity="dot"), expected)

    @pytest.mark.oracle
    def test_equals_sentence_transformers(self):
        q, p, n = vectors(QUERIES, QUERIES, QUERIES)
        ours = info_nce(q, torch.cat([p, n]))
        torch.testing.assert_close(ours, st_loss("MultipleNegativesRankingLoss", (q, p, n)))
        both = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
        ours = info_nce(q, torch.cat([p, n]), symmetric=True)
        torch.testing.assert_close(ours, st_loss("MultipleNegativesRankingLoss", (q, p, n), **both))

    def test_bfloat16_loses_only_what_its_vectors_lost(self):
        q, d = (part.bfloat16() for part in vectors(QUERIES, DOCUMENTS))
        found = info_nce(q, d, temperature=0.01)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, info_nce(q.float(), d.float(), temperature=0.01))

    def test_the_smallest_temperature_stays_finite(self):
        q, d = vectors(QUERIES, DOCUMENTS)
        loss = lambda q, d: info_nce(q, -d, temperature=1e-4, symmetric=True, label_smoothing=0.1)  # noqa: E731
        assert math.isfinite(loss(q, d))
        assert all(part.isfinite().all() for part in gradients(loss, q, d))

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"temperature": 0.0}, "temperature is 0.0; it must be above 0"),
            ({"temperature": float("nan")}, "temperature is nan"),
            ({"label_smoothing": 1.0}, "label_smoothing is 1.0; it must be from 0 to below 1"),
            ({"targets": torch.zeros(3, dtype=torch.int64)}, r"targets are \(3,\); give one number for each of the 4"),
            ({"mask": torch.zeros(4, 4).bool()}, r"mask is \(4, 4\); it must be \(queries, documents\), \(4, 7\)"),
            ({"similarity": "cosin"}, "similarity 'cosin' is not known"),
        ],
    )
    def test_what_cannot_be_is_refused(self, options, said):
        with pytest.raises(InvalidInput, match=said):
            info_nce(*vectors(QUERIES, DOCUMENTS), **options)

    @pytest.mark.parametrize(
        ("q", "d", "said"),
        [
            (torch.zeros(0, 6), torch.zeros(2, 6), "give at least one query"),
            (torch.zeros(2, 5), torch.zeros(2, 6), r"queries are \(2, 5\) and documents \(2, 6\)"),
            (torch.zeros(3, 6), torch.zeros(2, 6), "3 queries have 2 documents; pass targets"),
        ],
    )
    def test_shapes_that_do_not_fit_are_named(self, q, d, said):
        with pytest.raises(InvalidInput, match=said):
            info_nce(q, d)


TARGETS = torch.tensor([2, 2, 0, 5])
"""Two queries share a positive."""


def some_left_out() -> torch.Tensor:
    mask = torch.rand(QUERIES, DOCUMENTS) < 0.3
    mask[0, 2] = True  # its own positive, which stays
    return mask


class TestDecoupled:
    @staticmethod
    def written_out(q, d, targets, mask, temperature):
        losses = []
        for i, target in enumerate(targets.tolist()):
            near = [functional.cosine_similarity(q[i], document, dim=0) / temperature for document in d]
            others = [near[j].exp() for j in range(len(d)) if j != target and not mask[i, j]]
            if others:
                losses.append(torch.stack(others).sum().log() - near[target])
        return torch.stack(losses).mean()

    def test_equals_a_sum_written_out(self):
        mask = some_left_out()
        mask[3] = True  # a query with no negative is not in the mean
        same(
            lambda q, d: decoupled(q, d, targets=TARGETS, mask=mask, temperature=0.3),
            lambda q, d: self.written_out(q, d, TARGETS, mask, 0.3),
            *vectors(QUERIES, DOCUMENTS),
        )

    def test_both_directions(self):
        own = torch.arange(QUERIES)
        mask = torch.zeros(QUERIES, DOCUMENTS).bool()
        mask[0, 1] = True
        same(
            lambda q, d: decoupled(q, d, mask=mask, symmetric=True),
            lambda q, d: (
                (self.written_out(q, d, own, mask, 0.1) + self.written_out(d[:QUERIES], q, own, mask.T, 0.1)) / 2
            ),
            *vectors(QUERIES, DOCUMENTS),
        )

    def test_a_batch_of_one_has_nothing_to_learn_from(self):
        q, d = vectors(1, 1)
        assert decoupled(q, d) == 0
        assert all(part.abs().max() == 0 for part in gradients(decoupled, q, d))


class TestSigmoid:
    def test_equals_a_sum_written_out(self):
        mask = some_left_out()

        def written_out(q, d):
            total = 0
            for i in range(QUERIES):
                for j in range(DOCUMENTS):
                    sign = 1 if j == TARGETS[i] else -1
                    if sign == 1 or not mask[i, j]:
                        score = functional.cosine_similarity(q[i], d[j], dim=0)
                        total = total - (sign * (score / 0.2 - 3)).sigmoid().log()
            return total / QUERIES

        same(
            lambda q, d: sigmoid(q, d, targets=TARGETS, mask=mask, temperature=0.2, bias=-3),
            written_out,
            *vectors(QUERIES, DOCUMENTS),
        )

    def test_far_from_the_truth_it_stays_finite(self):
        q, _ = vectors(1, 1)
        assert float(sigmoid(q, -q, temperature=1e-3)) == pytest.approx(1000 + 10)


class TestGuideMask:
    @pytest.mark.parametrize("relative", [False, True])
    def test_equals_comparisons_written_out(self, relative):
        q, d = vectors(QUERIES, DOCUMENTS)
        expected = torch.zeros(QUERIES, DOCUMENTS).bool()
        for i, target in enumerate(TARGETS.tolist()):
            near = functional.cosine_similarity(q[i][None], d)
            limit = near[target] - 0.1 * (abs(near[target]) if relative else 1)
            expected[i] = near > limit
            expected[i, target] = False
        assert 0 < expected.sum() < expected.numel()
        assert torch.equal(guide_mask(q, d, targets=TARGETS, margin=0.1, relative=relative), expected)

    @pytest.mark.oracle
    @pytest.mark.parametrize("strategy", ["absolute", "relative"])
    def test_with_infonce_it_equals_sentence_transformers(self, strategy):
        (q, *documents), (asked, *judged) = vectors(*[QUERIES] * 3), vectors(*[QUERIES] * 3)
        only = {"contrast_anchors": False, "contrast_positives": False}
        expected = gist_loss((q, *documents), (asked, *judged), margin_strategy=strategy, margin=0.1, **only)
        mask = guide_mask(asked, torch.cat(judged), margin=0.1, relative=strategy == "relative")
        torch.testing.assert_close(info_nce(q, torch.cat(documents), mask=mask, temperature=0.01), expected)
