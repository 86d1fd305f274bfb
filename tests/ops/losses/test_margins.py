"""Losses of margins equal sums written out, and sentence-transformers."""

from __future__ import annotations

import pytest
import torch
from tests.ops.losses.oracle import gradients, same, st_loss
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.ops.losses.margins import bpr, hinge, triplet

QUERIES, DOCUMENTS = 4, 7
TARGETS = torch.tensor([2, 2, 0, 5])


def vectors(*counts: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(count, 6) for count in counts)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("loss", "of_gap"),
    [
        (lambda q, d, **options: hinge(q, d, margin=0.3, **options), lambda gap: (gap + 0.3).clamp(min=0)),
        (lambda q, d, **options: bpr(q, d, temperature=0.2, **options), lambda gap: (1 + (gap / 0.2).exp()).log()),
    ],
)
def test_in_batch_margins_equal_a_sum_written_out(loss, of_gap, masked):
    mask = torch.rand(QUERIES, DOCUMENTS) < (0.4 if masked else 0)

    def written_out(q, d):
        losses = []
        for i, target in enumerate(TARGETS.tolist()):
            near = functional.cosine_similarity(q[i][None], d)
            losses += [of_gap(near[j] - near[target]) for j in range(DOCUMENTS) if j != target and not mask[i, j]]
        return torch.stack(losses).mean()

    same(lambda q, d: loss(q, d, targets=TARGETS, mask=mask), written_out, *vectors(QUERIES, DOCUMENTS))


@pytest.mark.parametrize("loss", [hinge, bpr])
def test_no_negative_means_nothing_to_learn(loss):
    q, d = vectors(1, 1)
    assert loss(q, d) == 0
    assert all(part.abs().max() == 0 for part in gradients(loss, q, d))


class TestTriplet:
    @pytest.mark.parametrize(("distance", "margin"), [("cosine", 0.5), ("euclidean", 1.0)])
    def test_equals_a_sum_written_out(self, distance, margin):
        def apart(a, b):
            return (
                1 - functional.cosine_similarity(a, b, dim=0) if distance == "cosine" else (a - b).pow(2).sum().sqrt()
            )

        def written_out(a, p, n):
            gaps = [apart(a[i], p[i]) - apart(a[i], n[i]) + margin for i in range(QUERIES)]
            return torch.stack([gap.clamp(min=0) for gap in gaps]).mean()

        columns = vectors(QUERIES, QUERIES, QUERIES)
        same(lambda *v: triplet(*v, margin=margin, distance=distance), written_out, *columns)

    @pytest.mark.oracle
    def test_equals_sentence_transformers(self):
        columns = vectors(QUERIES, QUERIES, QUERIES)
        ours = triplet(*columns, margin=5.0, distance="euclidean")
        torch.testing.assert_close(ours, st_loss("TripletLoss", columns), atol=1e-5, rtol=1e-5)

    def test_equal_vectors_have_a_gradient_that_is_a_number(self):
        a, n = vectors(QUERIES, QUERIES)
        found = gradients(lambda a, p, n: triplet(a, p, n, margin=9.0, distance="euclidean"), a, a, n)
        assert all(part.isfinite().all() for part in found)

    def test_refused(self):
        with pytest.raises(InvalidInput, match="distance 'cos' is not known. Known: cosine, euclidean"):
            triplet(*vectors(2, 2, 2), distance="cos")
        with pytest.raises(InvalidInput, match=r"shapes \(2, 6\) and \(1, 6\) differ"):
            triplet(*vectors(2, 2, 1))
