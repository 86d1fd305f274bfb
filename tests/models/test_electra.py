"""ELECTRA gives transformers' numbers, with embeddings as wide as its layers and narrower ones."""

from __future__ import annotations

import pytest
import torch
from tests.builders import PIECES, write_vocab
from tests.models.oracle import assert_embeds_alike, assert_fast_is_near, assert_parity, saved_and_loaded, seeded

from sentvec.errors import ConfigError, WeightsError
from sentvec.models.registry import architecture

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle


def electra(kind: str = "ElectraModel", **changes):
    numbers = {"vocab_size": len(PIECES), "embedding_size": 32, "hidden_size": 64, "num_hidden_layers": 3}
    numbers |= {"num_attention_heads": 2, "intermediate_size": 96}
    config = transformers.ElectraConfig(**(numbers | changes), attn_implementation="eager")
    return seeded(getattr(transformers, kind)(config))


@pytest.mark.parametrize(("embedding", "hidden", "heads"), [(128, 256, 4), (768, 768, 12)], ids=["small", "base"])
def test_published_widths_equal_transformers(tmp_path, embedding, hidden, heads):
    changes = {"embedding_size": embedding, "hidden_size": hidden, "num_attention_heads": heads}
    assert_parity(electra(**changes, intermediate_size=4 * hidden), tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"layer_norm_eps": 0.1},
        {"hidden_act": "relu"},
        {"hidden_act": "gelu_new"},
        {"type_vocab_size": 1},
        {"embedding_size": 96},  # wider than the layers
    ],
)
def test_variants_equal_transformers(tmp_path, changes):
    assert_parity(electra(**changes), tmp_path, types=changes.get("type_vocab_size", 2))


@pytest.mark.parametrize("kind", ["PreTraining", "MaskedLM", "SequenceClassification", "QuestionAnswering"])
def test_heads_are_left_out(tmp_path, kind):
    whole = electra(f"ElectraFor{kind}")
    found = saved_and_loaded(whole, tmp_path).state_dict()
    assert torch.equal(found["embeddings.token_table.weight"], whole.electra.embeddings.word_embeddings.weight)
    assert torch.equal(found["widen.weight"], whole.electra.embeddings_project.weight)


def test_vectors_of_texts_and_pairs_equal_the_reference(tmp_path):
    electra().save_pretrained(tmp_path / "a")
    write_vocab(tmp_path / "a", tokenizer_class="ElectraTokenizer")
    assert_embeds_alike(tmp_path / "a", tmp_path / "b")


@pytest.mark.data
def test_vectors_with_the_published_vocabulary_equal_the_reference(tmp_path, shared_data):
    vocab = (shared_data / "tokenizers/bert-base-uncased/vocab.txt").read_text(encoding="utf-8").splitlines()
    electra(vocab_size=len(vocab)).save_pretrained(tmp_path / "a")
    write_vocab(tmp_path / "a", vocab)
    assert_embeds_alike(tmp_path / "a", tmp_path / "b")


def test_every_precision_is_near(tmp_path):
    electra().save_pretrained(tmp_path)
    write_vocab(tmp_path)
    assert_fast_is_near(tmp_path)


def test_a_width_that_the_weights_do_not_bear_out_is_named(tmp_path):
    reference = electra()
    reference.config.embedding_size = 48
    with pytest.raises(WeightsError, match=r"word_embeddings.weight is \(\d+, 32\), config.json asks for \(\d+, 48\)"):
        saved_and_loaded(reference, tmp_path)


@pytest.mark.parametrize(("key", "value"), [("embedding_size", 0), ("is_decoder", True), ("hidden_act", "swirl")])
def test_what_is_not_computed_is_refused_by_its_key(key, value):
    with pytest.raises(ConfigError, match=key):
        architecture("electra").read(electra().config.to_dict() | {key: value})
