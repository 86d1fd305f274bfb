"""Every objective learns from batches of its kinds, refuses others, and leaves known positives out."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.ops.losses.contrastive import info_nce
from sentvec.ops.losses.lists import RANKINGS
from sentvec.train.batches import Batch, Kind
from sentvec.train.objectives import DEFAULTS, OBJECTIVES, VALUED, names_for, objective
from sentvec.train.objectives_masks import known_positives

DIM = 6
QUERIES, DOCUMENTS = ("a", "b", "c", "d"), ("w", "x", "y", "z")
GUIDE_VECTORS = dict(
    zip("abcdwxyzlmnopqrst", torch.randn(17, 3, generator=torch.Generator().manual_seed(5)), strict=True)
)
NEEDED = {"dim": DIM, "classes": 2, "guide": lambda texts: torch.stack([GUIDE_VECTORS[text] for text in texts]).numpy()}
GRADES = torch.tensor([1, 0, 0.5, 0, 1, 0.5, 1, 0, 0.5])
LISTS = (QUERIES, tuple("lmnopqrst")), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 3])
BATCHES = {
    "pairs": Batch("pairs", (QUERIES, DOCUMENTS)),
    "tuples": Batch("tuples", (QUERIES, DOCUMENTS, tuple("lmnop")), owners=torch.tensor([0, 0, 1, 2, 3])),
    "scored": Batch("scored", (QUERIES, DOCUMENTS), values=torch.tensor([0.1, 0.9, 0.4, 0.6])),
    "labelled_pairs": Batch("labelled_pairs", (QUERIES, DOCUMENTS), values=torch.tensor([0, 1, 1, 0])),
    "classes": Batch("classes", (QUERIES,), values=torch.tensor([0, 1, 0, 1])),
    "lists": Batch("lists", *LISTS, values=GRADES),
    "texts": Batch("texts", (QUERIES,)),
    "taught_scores": Batch("taught_scores", *LISTS, values=GRADES),
    "taught_vectors": Batch("taught_vectors", (QUERIES,), values=torch.randn(4, DIM)),
}
CASES = [(name, kind) for name, row in OBJECTIVES.items() for kind in sorted(row.kinds)]
HARD_ONLY = {"hinge", "triplet", "contrastive", "online_contrastive", "class_triplet"}
"""Objectives to which a row may be good enough already."""


def vectors_of(batch: Batch, views: int = 1) -> tuple[torch.Tensor, ...]:
    # not far from each other, so that no softmax is so sure that float32 has no gradient left
    drawn = [1 + torch.randn(len(column), DIM) for _ in range(views) for column in batch.columns]
    return tuple(part.requires_grad_() for part in drawn)


def build(name: str, **options):
    return objective(name, **{option: NEEDED[option] for option in OBJECTIVES[name].needs}, **options)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_objective_has_a_gradient_for_every_vector(name, kind):
    learnt = build(name)
    vectors = vectors_of(BATCHES[kind], learnt.views)
    loss = learnt(vectors, BATCHES[kind])
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    loss.backward()
    for part in vectors:
        moved = part.grad.abs().sum(dim=1) > 0
        assert moved.any() if name in HARD_ONLY else moved.all()
    for parameter in learnt.parameters():
        assert parameter.grad is not None


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_step_against_the_gradient_lowers_the_loss(name, kind):
    learnt, batch = build(name).eval(), BATCHES[kind]
    vectors = vectors_of(batch, learnt.views)
    before = learnt(vectors, batch)
    slopes = torch.autograd.grad(before, vectors)
    size = sum(float(part.square().sum()) for part in slopes)
    moved = tuple(part - 1e-3 / size * slope for part, slope in zip(vectors, slopes, strict=True))
    assert learnt(moved, batch) < before


def test_the_table_is_whole():
    assert set(DEFAULTS) == set(BATCHES) == set(inspect.get_annotations(Batch) and Kind.__args__)
    for kind, name in DEFAULTS.items():
        assert kind in OBJECTIVES[name].kinds
    assert set(RANKINGS) <= set(OBJECTIVES)
    for row in OBJECTIVES.values():
        assert row.line
        assert row.paper
        assert set(row.needs) <= set(NEEDED)


class TestRefused:
    @pytest.mark.parametrize("name", OBJECTIVES)
    def test_every_kind_it_cannot_learn_from(self, name):
        learnt = build(name)
        for kind, batch in BATCHES.items():
            if kind not in learnt.kinds:
                with pytest.raises(InvalidInput, match=f"objective '{name}' learns from .*; this batch is {kind}"):
                    learnt(vectors_of(batch, learnt.views), batch)

    def test_what_would_learn_from_it_is_named(self):
        with pytest.raises(InvalidInput, match="Objectives for texts: simcse"):
            objective("cosent")(vectors_of(BATCHES["texts"]), BATCHES["texts"])
        assert names_for("texts") == ["simcse", "contrastive_tension"]

    def test_vectors_of_another_batch(self):
        with pytest.raises(InvalidInput, match=r"'simcse' needs .* of \[4, 4\] texts: 1 columns, 2 views"):
            objective("simcse")(vectors_of(BATCHES["texts"]), BATCHES["texts"])

    @pytest.mark.parametrize("kind", sorted(VALUED))
    def test_a_batch_without_values(self, kind):
        batch = Batch(kind, BATCHES[kind].columns, owners=BATCHES[kind].owners)
        with pytest.raises(InvalidInput, match=f"a batch of {kind} has no values"):
            build(DEFAULTS[kind])(vectors_of(batch), batch)

    def test_lists_without_owners(self):
        batch = Batch("lists", BATCHES["lists"].columns, values=GRADES)
        with pytest.raises(InvalidInput, match="a batch of lists has no owners"):
            objective("list_net")(vectors_of(batch), batch)

    def test_tuples_without_negatives(self):
        batch = Batch("tuples", (QUERIES, DOCUMENTS, ()), owners=torch.zeros(0).long())
        with pytest.raises(InvalidInput, match="tuples without any negative has no triplet"):
            objective("triplet")(vectors_of(batch), batch)
        assert objective("infonce")(vectors_of(batch), batch) > 0

    @pytest.mark.parametrize("name", ["cosent", "online_contrastive", "logistic", "angle"])
    def test_classes_of_inference_where_labels_are_an_order(self, name):
        batch = Batch("labelled_pairs", (QUERIES, DOCUMENTS), values=torch.tensor([0, 1, 2, 1]))
        with pytest.raises(InvalidInput, match=r"labels are \[0, 1, 2\]; .* learnt by 'softmax' or 'r_drop'"):
            objective(name)(vectors_of(batch), batch)

    @pytest.mark.parametrize(("name", "kind"), [("softmax", "labelled_pairs"), ("arcface", "classes")])
    def test_a_label_without_a_class(self, name, kind):
        batch = Batch(kind, BATCHES[kind].columns, values=torch.tensor([0, 1, 2, 1]))
        with pytest.raises(InvalidInput, match="labels are from 0 to 2; there are 2 classes"):
            build(name)(vectors_of(batch), batch)

    def test_a_teacher_of_another_width(self):
        batch = Batch("taught_vectors", (QUERIES,), values=torch.randn(4, 9))
        with pytest.raises(
            InvalidInput, match=r"vectors are \(4, 6\), the teacher's \(4, 9\); pass dim= and teacher_dim="
        ):
            objective("taught_vectors")(vectors_of(batch), batch)
        objective("taught_vectors", dim=DIM, teacher_dim=9)(vectors_of(batch), batch).backward()


class TestOptions:
    def test_an_unknown_name(self):
        with pytest.raises(InvalidInput, match="objective 'infonc' is not known. Known: infonce, "):
            objective("infonc")

    @pytest.mark.parametrize("name", OBJECTIVES)
    def test_an_unknown_option_names_the_known_ones(self, name):
        row = OBJECTIVES[name]
        known = ", ".join((*row.needs, *row.defaults)) or "none"
        with pytest.raises(InvalidInput, match=f"'{name}' has no option 'sacle'. Its options: {known}"):
            build(name, sacle=20)

    @pytest.mark.parametrize("name", OBJECTIVES)
    def test_every_default_can_be_given(self, name):
        build(name, **OBJECTIVES[name].defaults)

    def test_what_is_needed_and_left_out(self):
        with pytest.raises(InvalidInput, match="'softmax' needs dim and classes; pass dim=..., classes=..."):
            objective("softmax")
        with pytest.raises(InvalidInput, match="'gist' needs guide; pass guide=..."):
            objective("gist")

    @pytest.mark.parametrize(
        ("name", "option", "value", "said"),
        [
            ("infonce", "temperature", "0.05", "a number"),
            ("infonce", "temperature", True, "a number"),
            ("decoupled", "temperature", None, "a number"),
            ("infonce", "symmetric", 1, "true or false"),
            ("infonce_memory", "size", 3.5, "a whole number"),
            ("lambda", "k", 2.5, "a whole number or none"),
            ("class_triplet", "mining", "soft", "'all' or 'hard' or 'semi_hard'"),
            ("list_net", "similarity", "euclidean", "'cosine' or 'dot'"),
            ("hinge", "similarity", 3, "a text"),
        ],
    )
    def test_of_another_type(self, name, option, value, said):
        with pytest.raises(InvalidInput, match=f"option '{option}' of objective '{name}' is .*; it must be {said}"):
            build(name, **{option: value})

    def test_a_whole_number_is_a_number(self):
        vectors, batch = vectors_of(BATCHES["pairs"]), BATCHES["pairs"]
        assert objective("infonce", temperature=1)(vectors, batch) == objective("infonce", temperature=1.0)(
            vectors, batch
        )

    @pytest.mark.parametrize(
        ("name", "options", "said"),
        [
            ("infonce", {"temperature": -1.0}, "temperature is -1"),
            ("infonce_memory", {"size": 0}, "size is 0"),
            ("kl", {"scale": 0.0}, "scale is 0"),
            ("arcface", {"counts": [3]}, "counts are of 1 classes, and there are 2"),
            ("taught_vectors", {"dim": 3}, "dim and teacher_dim go together"),
        ],
    )
    def test_out_of_range(self, name, options, said):
        with pytest.raises(InvalidInput, match=said):
            build(name, **options)

    def test_they_reach_the_loss(self):
        batch = BATCHES["lists"]
        queries, documents = vectors = vectors_of(batch)
        alike = (queries[batch.owners] * documents).sum(dim=1) * 3
        expected = RANKINGS["lambda"](alike, GRADES, batch.owners, weighting="lambdarank", k=1)
        learnt = objective("lambda", weighting="lambdarank", k=1, scale=3.0, similarity="dot")
        torch.testing.assert_close(learnt(vectors, batch), expected)


class TestKnownPositives:
    def test_by_the_texts_of_the_batch(self):
        asked, right = ("a", "b", "a", "w"), ("w", "x", "y", "z")
        documents = (*right, "b", "y", "q")
        expected = [
            # w  x  y  z  b  y  q
            [1, 0, 1, 0, 0, 1, 0],  # its own, and both places of the other positive of a
            [0, 1, 0, 0, 1, 0, 0],  # its own, and its own text
            [1, 0, 1, 0, 0, 1, 0],
            [1, 0, 0, 1, 0, 0, 0],  # its own, and its own text
        ]
        assert known_positives(asked, right, documents).int().tolist() == expected

    def test_infonce_is_the_loss_without_them(self):
        # the same query twice, the same positive twice, a query that is another one's positive, a hard negative that
        # is a positive
        batch = Batch("tuples", (("a", "a", "c", "w"), ("w", "x", "x", "z"), ("x", "q")), owners=torch.tensor([0, 3]))
        left_out = {0: {1, 2, 4}, 1: {0, 2, 4}, 2: {1, 4}, 3: {0}}
        queries, *others = vectors = vectors_of(batch)
        documents = torch.cat(others)
        losses = []
        for i in range(4):
            kept = [j for j in range(6) if j not in left_out[i]]
            scores = functional.cosine_similarity(queries[i][None], documents[kept]) / 0.05
            losses.append(-scores.log_softmax(dim=0)[kept.index(i)])
        torch.testing.assert_close(objective("infonce")(vectors, batch), torch.stack(losses).mean())
        assert objective("infonce")(vectors, batch) < info_nce(queries, documents)

    @pytest.mark.parametrize("name", ["infonce", "infonce_memory", "decoupled", "sigmoid", "gist", "hinge", "bpr"])
    def test_a_negative_with_the_text_of_the_positive_does_not_count(self, name):
        def loss(negative: str) -> float:
            batch = Batch("tuples", (("a",), ("w",), (negative,)), owners=torch.tensor([0]))
            return build(name)(vectors, batch).item()

        vectors = tuple(torch.tensor([[x, y, 0, 0, 0, 0]]) for x, y in [(1.0, 0.0), (0.0, 1.0), (0.8, 0.6)])
        alone = build(name)(vectors[:2], Batch("pairs", (("a",), ("w",)))).item()
        assert loss("w") == loss("a") == pytest.approx(alone)
        if name != "gist" or GUIDE_VECTORS["x"] @ GUIDE_VECTORS["a"] < GUIDE_VECTORS["w"] @ GUIDE_VECTORS["a"]:
            assert loss("x") != pytest.approx(alone)

    def test_a_text_that_is_twice_among_unlabelled_ones_is_no_negative_of_itself(self):
        batch = Batch("texts", (("a", "b", "a"),))
        first, second = vectors_of(batch, views=2)
        mask = torch.tensor([[0, 0, 1], [0, 0, 0], [1, 0, 0]]).bool()
        torch.testing.assert_close(objective("simcse")((first, second), batch), info_nce(first, second, mask=mask))


def test_the_loss_is_computed_in_float32_under_autocast():
    vectors, batch = vectors_of(BATCHES["pairs"]), BATCHES["pairs"]
    expected = objective("infonce")(vectors, batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(objective("infonce")(vectors, batch), expected)


def test_r_drop_sees_both_views():
    learnt, batch = build("r_drop"), BATCHES["labelled_pairs"]
    a, b = vectors_of(batch)
    same, other = learnt((a, b, a, b), batch), learnt((a, b, a, b + torch.randn_like(b)), batch)
    features = torch.cat([a, b, (a - b).abs()], dim=1)
    torch.testing.assert_close(same, 2 * functional.cross_entropy(learnt.body.head(features), batch.values))
    assert other != same
