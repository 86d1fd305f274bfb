"""Every objective learns from batches of its kinds, refuses others, and leaves known positives out."""

from __future__ import annotations

import pytest
import torch

from sentvec.errors import InvalidInput
from sentvec.train.batches import Batch
from sentvec.train.objectives import DEFAULTS, OBJECTIVES, names_for, objective

DIM = 6
QUERIES, DOCUMENTS = ("a", "b", "c", "d"), ("w", "x", "y", "z")
BATCHES = {
    "pairs": Batch("pairs", (QUERIES, DOCUMENTS)),
    "tuples": Batch("tuples", (QUERIES, DOCUMENTS, ("l", "m", "n")), owners=torch.tensor([0, 0, 3])),
    "scored": Batch("scored", (QUERIES, DOCUMENTS), values=torch.tensor([0.1, 0.9, 0.4, 0.6])),
    "labelled_pairs": Batch("labelled_pairs", (QUERIES, DOCUMENTS), values=torch.tensor([0, 1, 1, 0])),
    "texts": Batch("texts", (QUERIES,)),
}
NEEDED = {"dim": DIM}
CASES = [(name, kind) for name, row in OBJECTIVES.items() for kind in sorted(row.kinds)]


def vectors_of(batch: Batch, views: int = 1) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(len(column), DIM, requires_grad=True) for _ in range(views) for column in batch.columns)


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
        assert (part.grad.abs().sum(dim=1) > 0).all()
    for parameter in learnt.parameters():
        assert parameter.grad is not None


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_says_where_it_is_from(name):
    row = OBJECTIVES[name]
    assert row.line
    assert row.paper


@pytest.mark.parametrize("kind", DEFAULTS)
def test_every_default_learns_from_its_kind(kind):
    assert kind in OBJECTIVES[DEFAULTS[kind]].kinds


class TestRefused:
    def test_a_kind_it_cannot_learn_from(self):
        with pytest.raises(InvalidInput, match=r"'cosent' learns from labelled_pairs or scored; this batch is pairs"):
            objective("cosent")(vectors_of(BATCHES["pairs"]), BATCHES["pairs"])
        assert names_for("texts")[0] == "simcse"

    def test_vectors_of_another_batch(self):
        with pytest.raises(InvalidInput, match=r"'simcse' needs .* of \[4, 4\] texts: 1 columns, 2 views"):
            objective("simcse")(vectors_of(BATCHES["texts"]), BATCHES["texts"])

    def test_a_batch_without_values(self):
        with pytest.raises(InvalidInput, match="a batch of scored has no values"):
            objective("cosent")(vectors_of(BATCHES["scored"]), Batch("scored", (QUERIES, DOCUMENTS)))

    def test_an_unknown_name(self):
        with pytest.raises(InvalidInput, match="objective 'infonc' is not known. Known: infonce, "):
            objective("infonc")

    def test_an_unknown_option(self):
        with pytest.raises(InvalidInput, match=r"'cosent' has no option 'scale'\. Its options: temperature, "):
            objective("cosent", scale=20)

    @pytest.mark.parametrize("value", ["0.05", True, None])
    def test_an_option_of_another_type(self, value):
        with pytest.raises(
            InvalidInput, match="option 'temperature' of objective 'infonce' is .*; it must be of type float"
        ):
            objective("infonce", temperature=value)

    def test_a_temperature_below_zero(self):
        with pytest.raises(InvalidInput, match="temperature is -1"):
            objective("infonce", temperature=-1)


def test_the_loss_is_computed_in_float32_under_autocast():
    vectors, batch = vectors_of(BATCHES["pairs"]), BATCHES["pairs"]
    expected = objective("infonce")(vectors, batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(objective("infonce")(vectors, batch), expected)
