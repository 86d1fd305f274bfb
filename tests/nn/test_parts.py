"""Parts that a whole encoder does not exercise by itself: bad numbers, dropout, activations."""

from __future__ import annotations

import pytest
import torch

from sentvec.batch import TokenIds, pack
from sentvec.errors import ConfigError
from sentvec.models.bert import BertEncoder
from sentvec.models.config import EncoderConfig
from sentvec.nn.activations import ACTIVATIONS, activation
from sentvec.nn.attention import SelfAttention


def test_heads_must_divide_hidden():
    with pytest.raises(ConfigError, match="hidden size 10 is not a multiple of the number of heads 3"):
        SelfAttention(hidden=10, heads=3)


def test_an_unknown_activation_is_named():
    with pytest.raises(ConfigError, match="hidden_act 'gellu' is not known. Known: gelu,"):
        activation("gellu")


@pytest.mark.oracle
@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_equal_transformers(name):
    from transformers.activations import ACT2FN

    if name in ("gelu_accurate", "relu6", "gelu_python_tanh", "leaky_relu") and name not in ACT2FN:
        pytest.skip(f"this version of transformers has no {name}")
    x = torch.linspace(-6, 6, 101)
    torch.testing.assert_close(ACTIVATIONS[name](x), ACT2FN[name](x), atol=1e-6, rtol=0)


def test_dropout_acts_in_training_only():
    config = EncoderConfig(
        vocab=9, hidden=8, layers=1, heads=2, intermediate=8, positions=8, types=1, dropout=0.5, attention_dropout=0.5
    )
    encoder = BertEncoder(config)
    batch = pack([TokenIds([1, 2, 3], [0, 0, 0])])
    encoder.train()
    assert not torch.equal(encoder(batch), encoder(batch))
    encoder.eval()
    assert torch.equal(encoder(batch), encoder(batch))


def test_gradients_reach_every_parameter():
    config = EncoderConfig(vocab=9, hidden=8, layers=2, heads=2, intermediate=8, positions=8, types=2)
    encoder = BertEncoder(config)
    batch = pack([TokenIds([1, 2, 3], [0, 0, 1]), TokenIds([4, 5], [0, 1])])
    last = encoder(batch)
    encoder.pooler(last[batch.offsets[:-1]]).square().sum().backward()
    without = [name for name, parameter in encoder.named_parameters() if parameter.grad is None]
    assert without == []
