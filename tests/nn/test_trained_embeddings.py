"""Trained embeddings give what embeddings give, states and gradients, and write to the rows that a batch has."""

from __future__ import annotations

import copy

import pytest
import torch

from sentvec.batch import TokenIds, pack
from sentvec.nn.embeddings import TokenEmbeddings
from sentvec.nn.passes import passes


@pytest.fixture
def steps():
    found = passes()
    if found is None:
        pytest.skip("there is no C++ compiler here; the log says what was tried")
    return found


def embeddings_of(**changes):
    torch.manual_seed(0)
    settings = {"vocab": 50, "hidden": 48, "positions": 20, "types": 2, "norm_eps": 1e-12} | changes
    made = TokenEmbeddings(**settings).train()
    if isinstance(made.norm, torch.nn.LayerNorm):
        torch.nn.init.normal_(made.norm.weight, 1.0, 0.3)
    return made


def batch_of(seed=0, lengths=(7, 7, 3, 1)):
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(2, 12, (n,), generator=generator).tolist() for n in lengths]
    return pack([TokenIds(x, [i % 2 for i in range(len(x))]) for x in ids])


def result(embeddings, batch):
    """Return states and gradients, after two passes of which the second adds to the first's."""
    embeddings.zero_grad()
    for turn in range(2):
        out = embeddings(batch)
        weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(turn))
        (out * weights).sum().backward()
    return [out.detach(), *(p.grad for p in embeddings.parameters())]


@pytest.mark.parametrize(
    "changes", [{}, {"types": 1, "position_offset": 2}, {"types": 0, "positions": 0}, {"tasks": 3}, {"types": 0}]
)
def test_states_and_gradients_are_those_of_the_parts(steps, changes):
    embeddings, batch = embeddings_of(**changes), batch_of()
    expected = result(embeddings, batch)
    embeddings.fuse_training(steps)
    assert "_Embed" in str(embeddings(batch).grad_fn)
    for found, wanted in zip(result(embeddings, batch), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-5)


def test_what_is_frozen_gets_no_gradient(steps):
    embeddings, batch = embeddings_of(), batch_of()
    embeddings.token_table.requires_grad_(False)
    embeddings.norm.bias.requires_grad_(False)
    embeddings.fuse_training(steps)
    result(embeddings, batch)
    assert embeddings.token_table.weight.grad is None
    assert embeddings.norm.bias.grad is None
    assert embeddings.position_table.weight.grad[:7].abs().sum() > 0


def test_dropout_is_a_matter_of_the_seed_both_ways(steps):
    embeddings, batch = embeddings_of(dropout=0.4), batch_of(lengths=(20,) * 40)
    embeddings.fuse_training(steps)
    torch.manual_seed(1)
    out = embeddings(batch)
    torch.manual_seed(1)
    assert torch.equal(embeddings(batch), out)
    assert not torch.equal(embeddings(batch), out)
    dropped = out == 0
    assert abs(dropped.double().mean() - 0.4) < 0.01
    embeddings.zero_grad()
    torch.manual_seed(1)
    embeddings(batch).sum().backward()
    torch.testing.assert_close(embeddings.norm.bias.grad, (~dropped).sum(0) / 0.6, atol=0, rtol=1e-5)
    embeddings.eval()
    assert not (embeddings(batch) == 0).any()


def test_a_hook_a_norm_of_another_kind_and_ids_beyond_the_table_go_through_the_parts(steps):
    batch = batch_of()
    embeddings = embeddings_of()
    embeddings.fuse_training(steps)
    heard = []
    handle = embeddings.token_table.register_forward_hook(lambda *_: heard.append(1))
    embeddings(batch)
    assert heard == [1]
    handle.remove()
    listener = embeddings.token_table.weight.register_hook(heard.append)
    embeddings(batch).sum().backward()
    embeddings(batch).sum().backward()
    assert len(heard) == 3
    listener.remove()
    assert "_Embed" not in str(copy.deepcopy(embeddings)(batch).grad_fn)
    other = embeddings_of(norm_bias=False)
    other.fuse_training(steps)
    assert "_Embed" not in str(other(batch).grad_fn)
    with pytest.raises(IndexError):
        embeddings(pack([TokenIds([50], [0])]))
