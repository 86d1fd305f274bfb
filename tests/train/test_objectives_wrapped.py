"""Objectives at several widths, layers and goals are the sums that they say they are."""

from __future__ import annotations

import pytest
import torch
from tests.ops.losses.oracle import Given
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.train.batches import Batch
from sentvec.train.objectives import objective
from sentvec.train.wrappers import adaptive_layers, matryoshka, together

DIM = 6
BATCH = Batch("pairs", (("a", "b", "c"), ("x", "y", "z")))
TEXTS = Batch("texts", (("a", "b", "c"),))


def vectors(count: int = 2) -> tuple[torch.Tensor, ...]:
    return tuple(functional.normalize(torch.randn(3, DIM)).requires_grad_() for _ in range(count))


class TestMatryoshka:
    def test_equals_a_sum_written_out(self):
        given, inner = vectors(), objective("infonce", similarity="dot")
        found = matryoshka(inner, [6, 4, 2], weights=[1.0, 0.5, 2.0])(given, BATCH)
        four, two = (tuple(functional.normalize(part[:, :dim]) for part in given) for dim in (4, 2))
        expected = inner(given, BATCH) + 0.5 * inner(four, BATCH) + 2 * inner(two, BATCH)
        torch.testing.assert_close(found, expected)
        slopes = [torch.autograd.grad(loss, given, retain_graph=True) for loss in (found, expected)]
        torch.testing.assert_close(slopes[0], slopes[1])

    @pytest.mark.oracle
    def test_equals_sentence_transformers(self):
        from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss

        given, model = vectors(), Given()
        theirs = MatryoshkaLoss(model, MultipleNegativesRankingLoss(model), [6, 4, 2])
        expected = theirs([{"sentence_embedding": part} for part in given], None)
        torch.testing.assert_close(matryoshka(objective("infonce"), [6, 4, 2])(given, BATCH), expected)

    def test_what_is_not_normalised_keeps_its_length(self):
        given = tuple(3 * part for part in vectors())
        inner = objective("infonce", similarity="dot")
        cut = tuple(3 * functional.normalize(part[:, :2]) for part in given)
        torch.testing.assert_close(matryoshka(inner, [2])(given, BATCH), inner(cut, BATCH))

    def test_widths_are_drawn_from_torchs_generator(self):
        given, inner = vectors(), objective("infonce")
        learnt = matryoshka(inner, [6, 4, 2], per_step=1)
        alone = {dim: matryoshka(inner, [dim])(given, BATCH).item() for dim in (6, 4, 2)}
        losses = []
        for seed in [*range(12), *range(12)]:
            torch.manual_seed(seed)
            losses.append(learnt(given, BATCH).item())
        assert losses[:12] == losses[12:]
        assert set(losses) == set(alone.values())

    def test_views_and_kinds_are_those_of_the_inner_objective(self):
        learnt = matryoshka(objective("simcse"), [6, 2])
        assert (learnt.views, learnt.kinds) == (2, frozenset({"texts"}))
        assert learnt(vectors(), TEXTS).isfinite()
        with pytest.raises(InvalidInput, match="'matryoshka of simcse' learns from texts; this batch is pairs"):
            learnt(vectors(4), BATCH)

    @pytest.mark.parametrize(
        ("name", "options"),
        [("softmax", {"dim": 6, "classes": 3}), ("infonce_memory", {"dim": 6}), ("taught_vectors", {})],
    )
    def test_what_has_a_width_of_its_own_is_refused(self, name, options):
        with pytest.raises(InvalidInput, match=f"objective '{name}' learns something that is as wide as the vectors"):
            matryoshka(objective(name, **options), [6, 2])

    @pytest.mark.parametrize(
        ("dims", "options", "said"),
        [
            ([], {}, r"dims are \[\]; give one or more"),
            ([4, 4], {}, r"dims are \[4, 4\]; .* none twice"),
            ([0, 4], {}, r"dims are \[0, 4\]"),
            ([6, 4], {"weights": [1.0]}, r"weights are \[1.0\]; give one, not below 0, for each of dims \[6, 4\]"),
            ([6, 4], {"weights": [1.0, float("nan")]}, "weights are"),
            ([6, 4], {"per_step": 3}, "per_step is 3; it must be from 1 to 2, the number of dims"),
        ],
    )
    def test_numbers_out_of_range(self, dims, options, said):
        with pytest.raises(InvalidInput, match=said):
            matryoshka(objective("infonce"), dims, **options)

    def test_more_than_the_vectors_have(self):
        with pytest.raises(InvalidInput, match="vectors have 6 features; dims are 8, 4"):
            matryoshka(objective("infonce"), [8, 4])(vectors(), BATCH)


class TestAdaptiveLayers:
    def test_equals_a_sum_written_out(self):
        inner = objective("infonce")
        learnt = adaptive_layers(inner, [2, 4], weights=[0.5, 2.0], per_step=None, divergence=0.7, temperature=0.3)
        assert learnt.layers == (2, 4)
        given = vectors(6)
        last, second, fourth = given[:2], given[2:4], given[4:]

        def apart(layer):
            ours, taught = (torch.cat(part).div(0.3).softmax(dim=1) for part in (layer, last))
            return 0.3 * (taught * (taught.log() - ours.log())).sum(dim=1).mean()

        layers = 0.5 * inner(second, BATCH) + 2 * inner(fourth, BATCH) + 0.7 * (apart(second) + apart(fourth))
        torch.testing.assert_close(learnt(given, BATCH), inner(last, BATCH) + layers / 2)

    def test_the_last_layer_is_not_drawn_towards_the_others(self):
        learnt, inner = adaptive_layers(objective("infonce"), [3]), objective("infonce")
        given = vectors(4)
        found = torch.autograd.grad(learnt(given, BATCH), given[:2])
        torch.testing.assert_close(found, torch.autograd.grad(inner(given[:2], BATCH), given[:2]))

    def test_two_views(self):
        learnt = adaptive_layers(objective("simcse"), [1, 2], per_step=1)
        assert learnt(vectors(6), TEXTS).isfinite()
        with pytest.raises(InvalidInput, match="1 columns, 2 views, 3 layers"):
            learnt(vectors(2), TEXTS)

    def test_with_several_widths(self):
        learnt = adaptive_layers(matryoshka(objective("infonce"), [6, 2]), [1])
        assert learnt(vectors(4), BATCH).isfinite()
        assert matryoshka(adaptive_layers(objective("infonce"), [1]), [6, 2])(vectors(4), BATCH).isfinite()

    def test_refused(self):
        with pytest.raises(InvalidInput, match=r"has inner layers already: \(1,\)"):
            adaptive_layers(adaptive_layers(objective("infonce"), [1]), [2])
        with pytest.raises(InvalidInput, match=r"layers are \[0\]"):
            adaptive_layers(objective("infonce"), [0])
        with pytest.raises(InvalidInput, match="temperature 0 must be above 0"):
            adaptive_layers(objective("infonce"), [1], temperature=0)


class TestTogether:
    def test_equals_a_weighted_sum(self):
        given, parts = vectors(), [objective("infonce"), objective("alignment_uniformity")]
        found = together([(2.0, parts[0]), (0.5, parts[1])])(given, BATCH)
        torch.testing.assert_close(found, 2 * parts[0](given, BATCH) + 0.5 * parts[1](given, BATCH))

    def test_one_with_two_views_and_one_with_one(self):
        batch = Batch("labelled_pairs", BATCH.columns, values=torch.tensor([0, 1, 1]))
        first, second = objective("r_drop", dim=DIM, classes=2), objective("cosent")
        learnt = together([(1.0, first), (1.0, second)])
        given = vectors(4)
        assert (learnt.views, learnt.kinds) == (2, frozenset({"labelled_pairs"}))
        torch.testing.assert_close(learnt(given, batch), first(given, batch) + second(given[:2], batch))
        assert len(list(learnt.parameters())) == 2

    def test_what_has_a_width_is_found_inside(self):
        inner = together([(1.0, objective("cosent")), (1.0, objective("softmax", dim=DIM, classes=2))])
        with pytest.raises(InvalidInput, match="as wide as the vectors"):
            matryoshka(inner, [6, 2])

    def test_refused(self):
        with pytest.raises(InvalidInput, match="there is no objective to add up"):
            together([])
        with pytest.raises(InvalidInput, match="no kind of batch suits all of 1 infonce \\+ 0.5 cosent"):
            together([(1.0, objective("infonce")), (0.5, objective("cosent"))])
        with pytest.raises(InvalidInput, match="weights must not be negative"):
            together([(-1.0, objective("infonce"))])
