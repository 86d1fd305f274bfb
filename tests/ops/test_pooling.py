"""Poolings equal a plain loop, and sentence-transformers'."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sentvec.errors import UnknownPooling
from sentvec.ops.pooling import POOLINGS, check_pooling, drop_prefix

LOOPS = {
    "first": lambda x: x[0],
    "last": lambda x: x[-1],
    "max": lambda x: x.max(0).values,
    "mean": lambda x: x.mean(0),
    "mean_sqrt": lambda x: x.sum(0) / len(x) ** 0.5,
    "weighted_mean": lambda x: sum((i + 1) * row for i, row in enumerate(x)) / sum(range(1, len(x) + 1)),
    "pooler": lambda x: x[0],
}


def packed(lengths, hidden=3):
    generator = torch.Generator().manual_seed(len(lengths))
    states = torch.randn(sum(lengths), hidden, generator=generator)
    return states, torch.tensor([0, *lengths]).cumsum(0)


@pytest.mark.parametrize("name", sorted(LOOPS))
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=6))
@settings(deadline=None, max_examples=40)
def test_poolings_equal_a_loop(name, lengths):
    states, offsets = packed(lengths)
    rows = [LOOPS[name](x) if len(x) else torch.zeros(3) for x in states.split(lengths)]
    torch.testing.assert_close(POOLINGS[name](states, offsets), torch.stack(rows), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(LOOPS))
def test_no_texts_give_no_vectors(name):
    assert POOLINGS[name](torch.zeros(0, 3), torch.tensor([0])).shape == (0, 3)


def test_first_last_mean_averages_two_layers():
    states, offsets = packed([2, 3])
    both = torch.stack([states, 3 * states])
    expected = POOLINGS["mean"](2 * states, offsets)
    torch.testing.assert_close(POOLINGS["first_last_mean"](both, offsets), expected)


def test_every_pooling_is_tested():
    assert set(POOLINGS) == set(LOOPS) | {"first_last_mean"}


def test_drop_prefix_leaves_the_rest():
    states, offsets = packed([4, 2, 1, 5])
    left, at = drop_prefix(states, offsets, 2)
    expected = [x[2:] for x in states.split([4, 2, 1, 5])]
    torch.testing.assert_close(left, torch.cat(expected))
    assert at.tolist() == [0, 2, 2, 2, 5]


def test_an_unknown_pooling_is_named():
    message = (
        f"pooling 'avg' in 1_Pooling/config.json is not known. Known: {', '.join(POOLINGS)}. "
        'Pass pooling="mean" to override.'
    )
    with pytest.raises(UnknownPooling) as caught:
        check_pooling("avg", "1_Pooling/config.json")
    assert str(caught.value) == message


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("first", "cls"),
        ("last", "lasttoken"),
        ("max", "max"),
        ("mean", "mean"),
        ("mean_sqrt", "mean_sqrt_len_tokens"),
        ("weighted_mean", "weightedmean"),
    ],
)
def test_poolings_equal_sentence_transformers(ours, theirs):
    from sentence_transformers.sentence_transformer.modules import Pooling

    lengths = [4, 2, 1]
    states, offsets = packed(lengths, hidden=5)
    padded = torch.nn.utils.rnn.pad_sequence(states.split(lengths), batch_first=True, padding_value=7.0)
    mask = torch.tensor([[i < n for i in range(4)] for n in lengths], dtype=torch.int64)
    features = {"token_embeddings": padded, "attention_mask": mask}
    expected = Pooling(5, pooling_mode=theirs)(features)["sentence_embedding"]
    torch.testing.assert_close(POOLINGS[ours](states, offsets), expected, atol=1e-6, rtol=1e-6)
