"""A trace holds transformers' hidden states and attention, and the queries, keys and values of the weights."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from tests.builders import tiny_bert, tiny_roberta, tiny_xlm_roberta

from sentvec import Embedder
from sentvec.checkpoint.tokenizer import read_tokenizer
from sentvec.errors import InvalidInput
from sentvec.inspect.capture import labels, trace

PAIRS = [("The cat sat on the mat", None), ("the cat", "dogs sat"), ("", None), ("", "the dog"), ("the dog", "")]
BUILDERS = {"bert": tiny_bert, "roberta": tiny_roberta, "xlm-roberta": tiny_xlm_roberta}


@pytest.fixture(scope="module", params=BUILDERS)
def folder(request, tmp_path_factory):
    return BUILDERS[request.param](tmp_path_factory.mktemp("model") / request.param)


@pytest.fixture(scope="module")
def model(folder):
    return Embedder.from_pretrained(folder, device="cpu")


def near(ours, theirs, atol=5e-6):
    np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=atol, rtol=0)


@pytest.mark.oracle
@pytest.mark.parametrize("texts", PAIRS)
def test_everything_equals_transformers(folder, model, texts):
    from transformers import AutoModel

    found = trace(model, *texts, qkv=True)
    reference = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        out = reference(
            input_ids=torch.from_numpy(found.ids)[None],
            token_type_ids=torch.from_numpy(found.types)[None],
            output_hidden_states=True,
            output_attentions=True,
        )
    near(found.hidden_states, torch.cat(out.hidden_states))
    near(found.attentions, torch.cat(out.attentions))
    near(found.pooler_output, out.pooler_output[0])
    for i, layer in enumerate(reference.encoder.layer):  # recomputed from the weights, each from its layer's input
        states = torch.from_numpy(found.hidden_states[i])
        part = layer.attention.self
        for ours, linear in ((found.queries, part.query), (found.keys, part.key), (found.values, part.value)):
            near(ours[i], linear(states).view(len(found), 4, 8).transpose(0, 1), atol=2e-5)


def test_shapes_and_segments_of_a_pair(model):
    found = trace(model, "the cat", "the dog sat", qkv=True)
    n = len(found)
    assert len(found.tokens) == len(found.labels) == n == len(found.ids)
    assert found.hidden_states.shape == (3, n, 32)
    assert found.attentions.shape == (2, 4, n, n)
    assert found.queries.shape == found.keys.shape == found.values.shape == (2, 4, n, 8)
    np.testing.assert_allclose(found.attentions.sum(-1), 1, atol=1e-5)
    assert found.is_pair
    alone = len(trace(model, "the dog sat")) - 2  # without the special tokens around it
    # the second text's own tokens and the special one behind it; everything before is the first text's
    assert found.segments.tolist() == [0] * (n - alone - 1) + [1] * (alone + 1)
    assert found.special.sum() == n - alone - (len(trace(model, "the cat")) - 2)
    assert found.special[[0, -1]].all()


def test_the_vector_is_what_encode_returns(model):
    found = trace(model, "the cat sat")
    np.testing.assert_array_equal(found.vector, model.encode("the cat sat"))
    assert found.queries is None and found.keys is None and found.values is None
    assert not found.is_pair


def test_pieces_of_bytes_are_shown_as_text(tmp_path):
    model = Embedder.from_pretrained(tiny_roberta(tmp_path / "m"))
    found = trace(model, "a the é")
    assert found.tokens[2] == "Ġthe" == found.labels[2]
    assert found.tokens[3:-1] == found.labels[3:-1]  # half a letter cannot be shown


@pytest.mark.data
def test_whole_letters_of_bytes_are_decoded(shared_data):
    tokenizer = read_tokenizer(shared_data / "tokenizers" / "roberta-base")
    ids = tokenizer.encode(["a café"])[0].ids
    assert tokenizer.tokens(ids)[2] == "ĠcafÃ©"
    assert labels(tokenizer, ids) == ["<s>", "a", "Ġcafé", "</s>"]


def test_what_is_cut_off_is_counted_and_said(model, caplog):
    with caplog.at_level(logging.WARNING, logger="sentvec"):
        found = trace(model, "cat " * 300)
    assert len(found) == 64
    assert found.lost > 200
    assert "lost their end" in caplog.text


def test_prompts_apply_as_in_encode(model):
    found = trace(model, "the cat", prompt="query: ")
    np.testing.assert_array_equal(found.vector, model.encode("the cat", prompt="query: "))
    assert found.tokens == trace(model, "query: the cat").tokens
    with pytest.raises(InvalidInput, match="not stored"):
        trace(model, "the cat", prompt_name="gone")
    with pytest.raises(InvalidInput, match="a text must be"):
        trace(model, 7)


def test_nothing_is_kept_or_computed_that_was_not_asked_for(model, monkeypatch):
    from sentvec.nn import attention

    def refuse(*_args, **_options):
        raise AssertionError("computed attention maps that nobody asked for")

    monkeypatch.setattr(attention, "probabilities", refuse)
    model.encode("the cat")
    with pytest.raises(AssertionError, match="nobody asked"):
        trace(model, "the cat")


def test_the_real_minilm_on_its_fused_stack(minilm):
    found = trace(minilm, "A cat sits.", "A feline rests.", qkv=True)
    assert found.attentions.shape == (6, 12, 12, 12)
    q, k = found.queries.astype(np.float64), found.keys.astype(np.float64)
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(32)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    np.testing.assert_allclose(weights / weights.sum(-1, keepdims=True), found.attentions, atol=2e-6)
    states = minilm.encode_tokens([("A cat sits.", "A feline rests.")])[0]
    np.testing.assert_allclose(found.hidden_states[-1], states, atol=1e-5)
