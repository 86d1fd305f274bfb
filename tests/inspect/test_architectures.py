"""Traces and pages of every architecture in the registry: what is shown is what the encoder computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.builders import PIECES
from tests.headed import small_config

from sentvec import Embedder
from sentvec.checkpoint.load import Checkpoint
from sentvec.checkpoint.recipe import Recipe
from sentvec.inspect.capture import trace
from sentvec.inspect.views import neuron_view
from sentvec.inspect.why import explain_similarity
from sentvec.models.registry import ARCHITECTURES
from sentvec.text.build import WordPieceOptions, wordpiece
from sentvec.text.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
# where attention is not the softmax of queries and keys alone: they add terms for distances, or look through a window
BEYOND = ("mpnet", "xlnet", "modernbert", "deberta-v2")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    """Build a seeded model of this architecture, with parts large enough for none of them to do nothing."""
    row = ARCHITECTURES[name]
    more = {"local_attention": 4, "num_hidden_layers": 2} if name == "modernbert" else {}
    config = transformers.AutoConfig.for_model(
        name, **(small_config(name) | {"vocab_size": len(PIECES)} | more)
    ).to_dict()
    numbers = row.read(config)
    torch.manual_seed(0)
    encoder = row.build(numbers, add_pooling_layer=True).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            wide = parameter.ndim > 1
            parameter.copy_(torch.randn(parameter.shape) * (1.5 / parameter.shape[-1] ** 0.5 if wide else 0.1))
            parameter.add_(0 if wide else 1)
    tokenizer = Tokenizer(wordpiece({piece: i for i, piece in enumerate(PIECES)}, WordPieceOptions()))
    recipe = Recipe(max_seq_length=40)
    return Embedder(Checkpoint(encoder, tokenizer, recipe, name, config, {}, ()), name=name, device="cpu")


def test_a_trace_is_whole(model):
    found = trace(model, "the cat sat on a mat", "dogs", qkv=True)
    n = len(found)
    assert found.hidden_states.shape == (3, n, 32)
    assert found.attentions.shape == (2, 4, n, n)
    assert found.queries.shape == found.keys.shape == (2, 4, n, 8)
    np.testing.assert_allclose(found.attentions.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(found.vector, found.hidden_states[-1].mean(axis=0), atol=2e-5)
    assert (found.pooler_output is None) == (model.encoder.pooler is None)


def test_queries_and_keys_are_those_of_the_attention(model, name):
    found = trace(model, "the cat sat on a mat", qkv=True)
    scores = torch.from_numpy(found.queries @ found.keys.swapaxes(-1, -2)) / 8**0.5
    gap = np.abs(torch.softmax(scores, dim=-1).numpy() - found.attentions).max()
    assert (gap < 1e-5) == (name not in BEYOND)
    assert f'"plain":{"false" if name in BEYOND else "true"}' in neuron_view(found).html


def test_similarity_is_split_exactly(model):
    found = explain_similarity(model, "the cat sat", "dogs on the mat")
    a, b = model.encode(["the cat sat", "dogs on the mat"]).astype(np.float64)
    assert found.matrix.sum() == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
