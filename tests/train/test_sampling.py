"""Batches: every example once, no text twice, the same order for the same seed, and a way on from any place."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sentvec.errors import InvalidInput
from sentvec.train.batches import Batch, Dataset, Example, Kind
from sentvec.train.sampling import Sampler


def pairs(texts: Sequence[tuple[str, str]], name: str = "pairs") -> Dataset:
    return Dataset(name, "pairs", [Example(pair) for pair in texts])


def numbered(count: int, kind: Kind = "pairs", name: str = "numbered") -> Dataset:
    """Return examples that share no text."""
    if kind == "classes":
        examples = [Example((f"text {i}",), i % 3) for i in range(count)]
    elif kind == "tuples":
        examples = [Example((f"q{i}", f"p{i}", *(f"n{i}.{k}" for k in range(i % 3)))) for i in range(count)]
    elif kind == "lists":
        examples = [
            Example((f"q{i}", *(f"d{i}.{k}" for k in range(1 + i % 3))), tuple(map(float, range(1 + i % 3))))
            for i in range(count)
        ]
    else:
        examples = [Example((f"{name} q{i}", f"{name} p{i}")) for i in range(count)]
    return Dataset(name, kind, examples)


def rows(batch: Batch) -> list[tuple[str, ...]]:
    return list(zip(*batch.columns, strict=True))


few_texts = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=60)


@settings(deadline=None)
@given(few_texts, st.integers(1, 9), st.integers(0, 3), st.integers(0, 2))
def test_every_example_comes_once_an_epoch_and_no_text_twice_in_a_batch(chosen, size, seed, epoch):
    # the same text in two forms, by turns, which count as one
    texts = [(f"Query {a}" if i % 2 else f" query {a} ", f"answer {b}") for i, (a, b) in enumerate(chosen)]
    sampler = Sampler([pairs(texts)], batch_size=size, seed=seed)
    given_out = [rows(batch) for _, batch in sampler.batches(epoch)]
    assert Counter(row for batch in given_out for row in batch) == Counter(texts)
    assert len(given_out) == sampler.steps(epoch)
    for batch in given_out:
        assert 1 <= len(batch) <= size
        keys = [text.strip().casefold() for row in batch for text in set(row)]
        assert len(keys) == len(set(keys))


@settings(deadline=None)
@given(few_texts, st.integers(1, 9), st.data())
def test_a_run_goes_on_from_any_place_without_what_was_before(chosen, size, data):
    sets = [pairs([(f"q{a}", f"p{b}") for a, b in chosen]), numbered(17)]
    whole = [(number, rows(batch)) for number, batch in Sampler(sets, batch_size=size, seed=5).batches(1)]
    start = data.draw(st.integers(0, len(whole)))
    rest = [(number, rows(batch)) for number, batch in Sampler(sets, batch_size=size, seed=5).batches(1, start)]
    assert rest == whole[start:]


def test_going_on_reads_no_example_of_the_batches_before():
    asked: list[int] = []

    class Watched(list[Example]):
        def __getitem__(self, place):
            asked.append(place)
            return super().__getitem__(place)

    data = numbered(100)
    watched = Dataset(data.name, data.kind, Watched(data.examples))
    sampler = Sampler([watched], batch_size=10, seed=0)
    asked.clear()
    assert len(list(sampler.batches(0, start=9))) == 1
    assert len(asked) == 10


def test_seed_and_epoch_give_the_order_and_nothing_else_does():
    def order(seed: int, epoch: int) -> list[tuple[str, ...]]:
        return [
            row for _, batch in Sampler([numbered(50)], batch_size=8, seed=seed).batches(epoch) for row in rows(batch)
        ]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(2, 0)
    assert order(1, 0) != order(1, 1)
    sampler = Sampler([numbered(50)], batch_size=8, seed=1)
    sampler.steps(3)  # what was asked before changes nothing
    assert [row for _, batch in sampler.batches(0) for row in rows(batch)] == order(1, 0)


def test_examples_that_clash_are_put_elsewhere_and_batches_stay_full():
    texts = [(f"query {i // 3}", f"answer {i}") for i in range(300)]
    sampler = Sampler([pairs(texts)], batch_size=10, seed=0)
    assert [len(batch) for _, batch in sampler.batches(0)] == [10] * 30
    assert sampler.notes == ()


def test_a_text_in_more_examples_than_there_are_batches_is_told_and_loses_nothing():
    texts = [("the same", f"answer {i}") for i in range(12)] + [(f"query {i}", f"other {i}") for i in range(12)]
    sampler = Sampler([pairs(texts)], batch_size=6, seed=0)
    found = [rows(batch) for _, batch in sampler.batches(0)]
    assert len(found) == 12
    assert all(sum(row[0] == "the same" for row in batch) == 1 for batch in found)
    assert "12 examples" in sampler.notes[0] and "'the same'" in sampler.notes[0]
    assert Sampler([pairs(texts)], batch_size=6, seed=0, unique=False).steps(0) == 4


def test_a_crowded_text_that_can_just_be_placed_is_placed():
    texts = [("the same", f"answer {i}") for i in range(40)] + [(f"query {i}", f"other {i}") for i in range(360)]
    sampler = Sampler([pairs(texts)], batch_size=10, seed=0)
    assert [len(batch) for _, batch in sampler.batches(0)] == [10] * 40


def test_an_example_of_one_text_twice_is_none_that_clashes():
    data = Dataset("texts", "pairs", [Example((f"text {i}", f"text {i}")) for i in range(64)])
    assert Sampler([data], batch_size=32, seed=0).steps(0) == 2


def test_a_hundred_thousand_pairs_are_planned_within_a_second():
    data = pairs([(f"query {i // 2} of some words", f"the answer that has the number {i}") for i in range(100_000)])
    sampler = Sampler([data], batch_size=64, seed=0)
    before = time.process_time()
    assert sampler.steps(0) == 1563
    assert time.process_time() - before < 1


@pytest.mark.parametrize("kind", ["pairs", "tuples", "lists", "classes"])
@pytest.mark.parametrize("world", [2, 3])
def test_the_shares_of_all_processes_are_the_batch_of_one(kind: Kind, world: int):
    data = numbered(25, kind)
    one = list(Sampler([data], batch_size=8, seed=4).batches(0))
    shares = [list(Sampler([data], batch_size=8, seed=4, rank=r, world=world).batches(0)) for r in range(world)]
    assert all(len(share) == len(one) for share in shares)
    for step, (number, whole) in enumerate(one):
        parts = [share[step][1] for share in shares]
        assert all(share[step][0] == number for share in shares)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        for place, column in enumerate(whole.columns):
            assert tuple(text for part in parts for text in part.columns[place]) == column
        if whole.values is not None:
            assert torch.equal(torch.cat([part.values for part in parts]), whole.values)
        if whole.owners is not None:
            begins = np.cumsum([0, *map(len, parts)])
            joined = [part.owners + begin for part, begin in zip(parts, begins.tolist(), strict=False)]
            assert torch.equal(torch.cat(joined), whole.owners)


def test_owners_say_whose_each_negative_and_document_is():
    (_, batch), *_ = Sampler([numbered(6, "tuples")], batch_size=6, seed=0).batches(0)
    for text, owner in zip(batch.columns[2], batch.owners.tolist(), strict=True):
        assert text.startswith(f"n{batch.columns[0][owner][1:]}.")
    assert batch.values is None
    (_, batch), *_ = Sampler([numbered(6, "lists")], batch_size=6, seed=0).batches(0)
    for text, owner, grade in zip(batch.columns[1], batch.owners.tolist(), batch.values.tolist(), strict=True):
        assert text == f"d{batch.columns[0][owner][1:]}.{grade:.0f}"


@pytest.mark.parametrize(
    ("kind", "example", "values", "columns"),
    [
        ("scored", Example(("a", "b"), 0.5), torch.tensor([0.5]), (("a",), ("b",))),
        ("labelled_pairs", Example(("a", "b"), 1), torch.tensor([1]), (("a",), ("b",))),
        ("classes", Example(("a",), 2), torch.tensor([2]), (("a",),)),
        ("texts", Example(("a",)), None, (("a",),)),
        ("taught_vectors", Example(("a",), (1.0, 2.0)), torch.tensor([[1.0, 2.0]]), (("a",),)),
        ("taught_scores", Example(("a", "b", "c"), (3.0, 1.0)), torch.tensor([3.0, 1.0]), (("a",), ("b", "c"))),
    ],
)
def test_columns_and_values_of_each_kind(kind: Kind, example, values, columns):
    ((_, batch),) = Sampler([Dataset("one", kind, [example])], batch_size=4, seed=0).batches(0)
    assert (batch.kind, batch.columns) == (kind, columns)
    if values is None:
        assert batch.values is None
    else:
        assert batch.values.dtype == values.dtype
        assert torch.equal(batch.values, values)


@settings(deadline=None)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=8), st.integers(2, 4), st.integers(4, 12), st.integers(0, 3))
def test_batches_by_label_bring_enough_of_each_class(sizes, least, half, epoch):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    data = Dataset("classes", "classes", [Example((f"text {i}",), label) for i, label in enumerate(labels)])
    sampler = Sampler([data], batch_size=2 * half, seed=0, per_label=least)
    seen: list[str] = []
    for _, batch in sampler.batches(epoch):
        seen += batch.columns[0]
        assert len(batch) <= 2 * half
        for label, count in Counter(batch.values.tolist()).items():
            assert count >= min(least, sizes[label])
    assert sorted(seen) == sorted(one.texts[0] for one in data.examples)


def test_batches_by_label_are_nearly_full_and_mix_classes_however_uneven():
    labels = [0] * 900 + [1] * 60 + [2] * 40
    data = Dataset("classes", "classes", [Example((f"text {i}",), label) for i, label in enumerate(labels)])
    found = [batch for _, batch in Sampler([data], batch_size=32, seed=0, per_label=2).batches(0)]
    assert all(len(batch) >= 29 for batch in found[:-1])
    assert sum(len(set(batch.values.tolist())) > 1 for batch in found) >= 0.9 * len(found)
    again = [batch for _, batch in Sampler([data], batch_size=32, seed=0, per_label=2).batches(1)]
    assert [batch.columns for batch in again] != [batch.columns for batch in found]


def test_proportional_gives_all_of_every_dataset_mixed_by_chance():
    sampler = Sampler([numbered(40, name="a"), numbered(80, name="b")], batch_size=4, seed=0)
    found = list(sampler.batches(0))
    assert Counter(number for number, _ in found) == {0: 10, 1: 20}
    assert [number for number, _ in found] != sorted(number for number, _ in found)
    assert all(row[0].startswith("ab"[number]) for number, batch in found for row in rows(batch))
    assert len({row for _, batch in found for row in rows(batch)}) == 120


def test_round_robin_gives_each_its_turn_until_the_smallest_has_no_more():
    sampler = Sampler([numbered(40, name="a"), numbered(80, name="b")], batch_size=4, seed=0, mix="round_robin")
    assert [number for number, _ in sampler.batches(0)] == [0, 1] * 10
    parts = [{row for number, batch in sampler.batches(epoch) if number for row in rows(batch)} for epoch in (0, 1)]
    assert parts[0] != parts[1]


def test_batches_that_are_not_full_are_left_out_on_demand():
    assert [len(batch) for _, batch in Sampler([numbered(10)], batch_size=4, seed=0, drop_last=True).batches(0)] == [
        4,
        4,
    ]
    assert Sampler([numbered(10)], batch_size=4, seed=0).steps(0) == 3


def test_texts_of_like_length_come_together_on_demand_in_an_order_by_chance():
    data = pairs([("q" * (1 + i % 97), f"p{i}") for i in range(970)])

    def spreads(**options) -> list[float]:
        sampler = Sampler([data], batch_size=10, seed=0, unique=False, **options)
        return [float(np.ptp([len(text) for text in batch.columns[0]])) for _, batch in sampler.batches(0)]

    assert np.mean(spreads(by_length=True)) < 0.1 * np.mean(spreads())
    sampler = Sampler([data], batch_size=10, seed=0, unique=False, by_length=True)
    means = [np.mean([len(text) for text in batch.columns[0]]) for _, batch in sampler.batches(0)]
    assert len({row for _, batch in sampler.batches(0) for row in rows(batch)}) == 970
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; accepted: 1 or more"),
        ({"mix": "even"}, "mix 'even' is not known. Known: proportional, round_robin"),
        ({"per_label": 3}, "per_label is 3; accepted: 1 to 2"),
        ({"per_label": 2}, "per_label is for classes"),
        ({"rank": 2, "world": 2}, "rank is 2 of 2 processes; accepted: 0 to 1"),
    ],
)
def test_what_is_not_possible_is_refused(options, message):
    with pytest.raises(InvalidInput, match=message):
        Sampler([numbered(4)], **{"batch_size": 4, "seed": 0, **options})


def test_empty_datasets_and_places_beyond_the_end_are_refused():
    with pytest.raises(InvalidInput, match="nothing is empty"):
        Sampler([numbered(3), Dataset("nothing", "pairs", [])], batch_size=2, seed=0)
    with pytest.raises(InvalidInput, match="few has 2 examples for 3 processes, so some would have no share"):
        Sampler([numbered(9), numbered(2, name="few")], batch_size=6, seed=0, world=3)
    with pytest.raises(InvalidInput, match="few has 2 examples, and batches that are not full are left out"):
        Sampler([numbered(9), numbered(2, name="few")], batch_size=3, seed=0, drop_last=True)
    with pytest.raises(InvalidInput, match="accepted: 0 to 2"):
        next(Sampler([numbered(4)], batch_size=2, seed=0).batches(0, start=3))
