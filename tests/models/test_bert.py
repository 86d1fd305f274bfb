"""Our encoder gives transformers' numbers: every hidden state, every attention map, the pooler."""

from __future__ import annotations

import pytest
import torch
from tests.models.oracle import compare, ours_from, random_batch, seeded

from sentvec.nn.kernels import KERNELS

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle

# hidden, layers, heads, intermediate: shapes of published checkpoints, with seeded random weights
SHAPES = {
    "m3e-small": (512, 4, 8, 2048),
    "m3e-base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
}


def bert(hidden: int, layers: int, heads: int, intermediate: int, vocab: int = 21128, **options):
    config = transformers.BertConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        attn_implementation="eager",
        **options,
    )
    return seeded(transformers.BertModel(config))


@pytest.mark.parametrize("name", SHAPES)
def test_published_shapes_equal_transformers(name):
    reference = bert(*SHAPES[name])
    encoder = ours_from(reference, "bert")
    texts, batch = random_batch(21128, [7, 33, 2, 33, 64], types=2)
    # hidden states are of size one to five here, and rounding grows with depth: in float32 the two agree to
    # rounding, in float64 they show that the computation is the same
    assert max(compare(reference, encoder, texts, batch).values()) < 5e-5
    assert max(compare(reference.double(), encoder.double(), texts, batch).values()) < 1e-12


@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu", "silu", "gelu_pytorch_tanh", "gelu_fast", "quick_gelu"])
def test_every_activation_equals_transformers(act):
    reference = bert(32, 2, 4, 37, vocab=99, hidden_act=act)
    texts, batch = random_batch(99, [3, 9, 9], types=2)
    assert max(compare(reference, ours_from(reference, "bert"), texts, batch).values()) < 5e-6


def test_norm_epsilon_comes_from_the_config():
    texts, batch = random_batch(99, [3, 9], types=2)
    reference = bert(32, 2, 4, 37, vocab=99, layer_norm_eps=0.1)
    assert max(compare(reference, ours_from(reference, "bert"), texts, batch).values()) < 5e-6


@pytest.mark.parametrize(
    ("config", "model", "kind"),
    [("RobertaConfig", "RobertaModel", "roberta"), ("XLMRobertaConfig", "XLMRobertaModel", "xlm-roberta")],
)
def test_roberta_positions_begin_after_padding(config, model, kind):
    reference = seeded(
        getattr(transformers, model)(
            getattr(transformers, config)(
                vocab_size=99,
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=37,
                max_position_embeddings=66,
                type_vocab_size=1,
                pad_token_id=1,
                attn_implementation="eager",
            )
        )
    )
    encoder = ours_from(reference, kind)
    assert encoder.config.max_tokens == 64
    texts, batch = random_batch(99, [64, 3, 20], types=1)
    assert max(compare(reference, encoder, texts, batch).values()) < 5e-6


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_text_does_not_depend_on_its_neighbours(kernel):
    encoder = ours_from(bert(32, 2, 4, 37, vocab=99), "bert")
    texts, batch = random_batch(99, [5, 1, 12, 12, 3], types=2)
    with torch.no_grad():
        together = encoder(batch, kernel=kernel).split(list(batch.lengths))
        for text, states in zip(texts, together, strict=True):
            from sentvec.batch import pack

            torch.testing.assert_close(encoder(pack([text]), kernel=kernel), states, atol=2e-6, rtol=0)


def test_without_a_probe_nothing_is_kept_and_numbers_are_the_same():
    from sentvec.nn.probe import Probe

    encoder = ours_from(bert(32, 3, 4, 37, vocab=99), "bert")
    _, batch = random_batch(99, [5, 8], types=2)
    with torch.no_grad():
        probe = Probe()
        torch.testing.assert_close(encoder(batch), encoder(batch, probe=probe), atol=0, rtol=0)
        assert sorted(probe.hidden_states) == [0, 1, 2, 3]
        assert probe.attentions == []  # not asked for
        some = Probe(layers=(1,))
        encoder(batch, probe=some)
        assert sorted(some.hidden_states) == [1]
