"""Losses of a positive against all documents equal sums written out, and sentence-transformers."""

from __future__ import annotations

import math

import pytest
import torch
from tests.ops.losses.oracle import gradients, same, st_loss
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.ops.losses.contrastive import info_nce

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
