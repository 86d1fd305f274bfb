"""Losses of classes equal sums written out, and sentence-transformers."""

from __future__ import annotations

import math

import pytest
import torch
from tests.ops.losses.oracle import gradients, same, st_loss
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.ops.losses.classes import adaptive_margins, arcface, batch_triplets, circle

LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 3, 1, 2, 2, 0])  # class 3 has one text
COUNT = len(LABELS)


def vectors() -> torch.Tensor:
    return torch.randn(COUNT, 6)


def kin(i: int, labels: torch.Tensor = LABELS) -> tuple[list[int], list[int]]:
    """The others of the class of i, and those of other classes."""
    own = [j for j in range(len(labels)) if j != i and labels[j] == labels[i]]
    return own, [j for j in range(len(labels)) if labels[j] != labels[i]]


def distances_of(x: torch.Tensor, distance: str) -> torch.Tensor:
    if distance == "cosine":
        return 1 - functional.cosine_similarity(x[:, None], x[None], dim=-1)
    # the square root has no derivative at 0, where a vector meets itself
    squares = (x[:, None] - x[None]).pow(2).sum(dim=-1)
    return torch.where(squares > 0, squares, 1).sqrt() * (squares > 0)


def written_out(x, mining, margin, distance):
    far, losses = distances_of(x, distance), []
    for i in range(COUNT):
        own, others = kin(i)
        if mining == "hard" and own:
            gap = max(far[i, p] for p in own) - min(far[i, n] for n in others)
            losses.append((1 + gap.exp()).log() if margin is None else (gap + margin).clamp(min=0))
        for p in own if mining != "hard" else []:
            chosen = [far[i, n] for n in others]
            if mining == "semi_hard":
                farther = [d for d in chosen if d > far[i, p]]
                chosen = [min(farther) if farther else max(chosen)]
            losses += [(far[i, p] - d + margin).clamp(min=0) for d in chosen]
    losses = torch.stack(losses)
    return losses[losses > 0].mean() if mining == "all" else losses.mean()


MINED = [("all", 0.4), ("hard", 0.4), ("hard", None), ("semi_hard", 0.4)]


class TestBatchTriplets:
    @pytest.mark.parametrize("distance", ["cosine", "euclidean"])
    @pytest.mark.parametrize(("mining", "margin"), MINED)
    def test_equals_a_sum_written_out(self, mining, margin, distance):
        same(
            lambda x: batch_triplets(x, LABELS, mining=mining, margin=margin, distance=distance),
            lambda x: written_out(x, mining, margin, distance),
            vectors(),
        )

    @pytest.mark.oracle
    @pytest.mark.parametrize(
        ("name", "mining", "margin"),
        [
            ("BatchAllTripletLoss", "all", 5.0),
            ("BatchHardTripletLoss", "hard", 5.0),
            ("BatchHardSoftMarginTripletLoss", "hard", None),
            ("BatchSemiHardTripletLoss", "semi_hard", 5.0),
        ],
    )
    def test_equals_sentence_transformers(self, name, mining, margin):
        x, labels = vectors()[LABELS != 3], LABELS[LABELS != 3]  # it counts texts that are alone in their class
        ours = batch_triplets(x, labels, mining=mining, margin=margin, distance="euclidean")
        torch.testing.assert_close(ours, st_loss(name, (x,), labels), atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize(("mining", "margin"), MINED)
    @pytest.mark.parametrize("labels", [torch.zeros(COUNT).long(), torch.arange(COUNT)])
    def test_one_class_or_all_alone_teach_nothing(self, mining, margin, labels):
        loss = lambda x: batch_triplets(x, labels, mining=mining, margin=margin)  # noqa: E731
        assert loss(vectors()) == 0
        assert gradients(loss, vectors())[0].abs().max() == 0

    def test_all_triplets_take_the_memory_of_all_pairs(self):
        x, labels = torch.randn(900, 4), torch.randint(0, 3, (900,))  # 900³ numbers would be 3 GB
        assert batch_triplets(x, labels, mining="all").isfinite()

    def test_a_semi_hard_negative_is_farther_than_the_positive_not_as_far(self):
        x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [-1.0, 0.0]])
        # from the first, positive and one negative are at 1, the other at 2; from the second, the positive is at 1,
        # the negatives at 0 and 1: none is farther, and the farthest is at 1
        loss = batch_triplets(x, torch.tensor([0, 0, 1, 1]), mining="semi_hard", margin=0.4)
        others = [0.4, 0.0]  # from the third: positive at 1, negatives at 1 and 0; from the fourth: 1, and 2 and 1
        assert float(loss) == pytest.approx((0.0 + 0.4 + sum(others)) / 4)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"mining": "soft"}, "mining 'soft' is not known. Known: all, hard, semi_hard"),
            ({"mining": "all", "margin": None}, "'all' needs a margin; None, the soft margin, goes with 'hard' only"),
            ({"distance": "dot"}, "distance 'dot' is not known"),
            ({"labels": LABELS[1:]}, r"labels are \(10,\); give one number for each of 11 vectors"),
        ],
    )
    def test_refused(self, options, said):
        with pytest.raises(InvalidInput, match=said):
            batch_triplets(vectors(), **{"labels": LABELS, **options})


class TestCircle:
    def test_equals_a_sum_written_out(self):
        scale, margin, x = 8.0, 0.3, vectors()
        near = functional.cosine_similarity(x[:, None], x[None], dim=-1)  # the weights, which have no gradient

        def by_hand(x):
            s, losses = functional.cosine_similarity(x[:, None], x[None], dim=-1), []
            known = near.to(x.dtype)
            for i in range(COUNT):
                own, others = kin(i)
                if own:
                    high = sum((scale * max(known[i, j] + margin, 0) * (s[i, j] - margin)).exp() for j in others)
                    low = sum((-scale * max(1 + margin - known[i, j], 0) * (s[i, j] - 1 + margin)).exp() for j in own)
                    losses.append((1 + high * low).log())
            return torch.stack(losses).mean()

        ours = lambda x: circle(x, LABELS, margin=margin, scale=scale)  # noqa: E731
        torch.testing.assert_close(ours(x), by_hand(x))
        torch.testing.assert_close(gradients(ours, x), gradients(by_hand, x))

    def test_a_wide_scale_stays_finite(self):
        assert gradients(lambda x: circle(x, LABELS, scale=1e4), vectors())[0].isfinite().all()

    def test_one_class_teaches_nothing(self):
        found = gradients(lambda x: circle(x, torch.zeros(COUNT)), vectors())
        assert found[0].abs().max() == 0


class TestArcface:
    @pytest.mark.parametrize("margin", [0.3, torch.tensor([0.1, 0.9, 0.3, 0.5])])
    def test_equals_angles_written_out(self, margin):
        def by_hand(x, centres):
            losses = []
            for i, label in enumerate(LABELS.tolist()):
                cosines = functional.cosine_similarity(x[i][None], centres)
                add = float(margin[label] if isinstance(margin, torch.Tensor) else margin)
                angle = cosines[label].acos() + add
                own = angle.cos() if angle < math.pi else cosines[label] - add * math.sin(add)
                logits = torch.stack([own if c == label else cosines[c] for c in range(4)]) * 16
                losses.append(-logits.log_softmax(dim=0)[label])
            return torch.stack(losses).mean()

        same(lambda x, c: arcface(x, c, LABELS, margin=margin, scale=16), by_hand, vectors(), torch.randn(4, 6))

    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_at_the_centre_and_opposite_the_gradient_is_finite(self, sign):
        found = gradients(lambda c: arcface(sign * c, c, torch.arange(6)), torch.eye(6))
        assert found[0].isfinite().all()

    def test_farther_from_the_centre_always_costs_more(self):
        angles = torch.linspace(0, math.pi, 50)
        x, centres = torch.stack([angles.cos(), angles.sin()], dim=1), torch.tensor([[1.0, 0.0]])
        far = torch.tensor([[0.0, 0.0]])  # a centre at 0 has the cosine 0 with everything
        losses = [arcface(one[None], torch.cat([centres, far]), torch.tensor([0]), margin=0.5, scale=1) for one in x]
        assert (torch.stack(losses).diff() > 0).all()

    def test_rarer_classes_get_wider_margins(self):
        margins = adaptive_margins(torch.tensor([100, 3, 3, 20]))
        assert margins[:3].tolist() == pytest.approx([0.05, 0.5, 0.5])
        assert margins[0] < margins[3] < margins[1]
        assert adaptive_margins(torch.tensor([7, 7])).tolist() == pytest.approx([0.05, 0.05])

    def test_refused(self):
        with pytest.raises(InvalidInput, match=r"counts are \[3, 0\], .* give each class at least 1"):
            adaptive_margins(torch.tensor([3, 0]))
        with pytest.raises(InvalidInput, match=r"labels are \(2,\)"):
            arcface(vectors(), torch.randn(4, 6), LABELS[:2])
