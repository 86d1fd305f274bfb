"""MPNet gives transformers' numbers: what distances add, its positions, its layout of pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.builders import PIECES, write_vocab
from tests.models.oracle import (
    assert_embeds_alike,
    assert_fast_is_near,
    assert_parity,
    compare,
    random_batch,
    reference_means,
    saved_and_loaded,
    seeded,
)

from sentvec import Embedder
from sentvec.errors import ConfigError
from sentvec.models.mpnet import bucket
from sentvec.models.registry import architecture
from sentvec.nn.kernels import KERNELS

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle

VOCAB = ("<s>", "<pad>", "</s>", "<unk>", *PIECES, "<mask>")
"""As MPNet's own: BERT's pieces between RoBERTa's special tokens."""


def mpnet(kind: str = "MPNetModel", **changes):
    numbers = {"vocab_size": len(VOCAB), "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    numbers |= {"intermediate_size": 96, "max_position_embeddings": 514, "layer_norm_eps": 1e-5}
    return seeded(getattr(transformers, kind)(transformers.MPNetConfig(**(numbers | changes))))


def folder_of(path, vocab=VOCAB, **config):
    mpnet(vocab_size=len(vocab)).save_pretrained(path)
    write_vocab(path, vocab, tokenizer_class="MPNetTokenizer", **config)
    return path


def test_the_published_widths_equal_transformers(tmp_path):
    changes = {"hidden_size": 768, "num_hidden_layers": 4, "num_attention_heads": 12, "intermediate_size": 3072}
    assert_parity(mpnet(**changes), tmp_path)


def test_far_distances_share_rows(tmp_path):
    assert_parity(mpnet(), tmp_path, lengths=(512, 1, 130, 129, 20))


@pytest.mark.parametrize(
    "changes",
    [
        {"layer_norm_eps": 0.1},
        {"hidden_act": "relu"},
        {"relative_attention_num_buckets": 64},  # the reference uses 32 of them
        {"pad_token_id": 3},  # and positions that begin at 2
        {"num_attention_heads": 8},
    ],
)
def test_variants_equal_transformers(tmp_path, changes):
    assert_parity(mpnet(**changes), tmp_path)


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_equals_transformers(tmp_path, kernel):
    reference = mpnet()
    encoder = saved_and_loaded(reference, tmp_path)
    texts, batch = random_batch(len(VOCAB), [7, 70, 1, 7], types=1)
    assert max(compare(reference, encoder, texts, batch, kernel=kernel).values()) < 5e-5


def test_buckets_equal_transformers():
    distances = torch.arange(-511, 512)
    theirs = type(mpnet().encoder).relative_position_bucket(-distances)
    assert torch.equal(bucket(distances), theirs)


@pytest.mark.parametrize("kind", ["MaskedLM", "SequenceClassification", "QuestionAnswering"])
def test_heads_are_left_out(tmp_path, kind):
    whole = mpnet(f"MPNetFor{kind}")
    found = saved_and_loaded(whole, tmp_path).state_dict()["distance_table.weight"]
    assert torch.equal(found, whole.mpnet.encoder.relative_attention_bias.weight)


def test_vectors_of_texts_and_pairs_equal_the_reference(tmp_path):
    assert_embeds_alike(folder_of(tmp_path / "a"), tmp_path / "b")


@pytest.mark.data
def test_vectors_with_the_published_vocabulary_equal_the_reference(tmp_path, shared_data):
    """MPNet's vocabulary is BERT's with five more pieces around it."""
    lines = (shared_data / "tokenizers/bert-base-uncased/vocab.txt").read_text(encoding="utf-8").splitlines()
    vocab = ("<s>", "<pad>", "</s>", "<unk>", *lines, "<mask>")
    assert len(vocab) == 30527
    assert_embeds_alike(folder_of(tmp_path / "a", vocab), tmp_path / "b")


def test_a_pair_has_two_separators_and_one_kind_of_token(tmp_path):
    tokenizer = Embedder.from_pretrained(str(folder_of(tmp_path)), device="cpu").tokenizer
    (pair,) = tokenizer.encode([("the", "cat")])
    assert tokenizer.tokens(pair.ids) == ["<s>", "the", "</s>", "</s>", "cat", "</s>"]
    assert set(pair.types) == {0}


def test_what_is_saved_names_the_special_tokens(tmp_path):
    """Both BERT's and RoBERTa's stand in the vocabulary."""
    Embedder.from_pretrained(str(folder_of(tmp_path / "a")), device="cpu").save_pretrained(tmp_path / "b")
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "b"))
    assert (theirs.cls_token, theirs.sep_token, theirs.pad_token) == ("<s>", "</s>", "<pad>")
    assert (theirs.unk_token, theirs.mask_token) == ("[UNK]", "<mask>")


def test_a_text_that_spells_out_padding_equals_the_reference(tmp_path):
    """Padding has a position of its own, and what follows counts as if it were not there."""
    folder = folder_of(tmp_path)
    texts = ["<pad>", "the <pad> cat <pad><pad> sat", "cat", ("<pad> the", "sat <pad> on")]
    found = Embedder.from_pretrained(str(folder), device="cpu", precision="float32").encode(texts, normalize=False)
    np.testing.assert_allclose(found, reference_means(folder, texts), atol=1e-5, rtol=0)


def test_every_precision_is_near(tmp_path):
    assert_fast_is_near(folder_of(tmp_path))


def test_too_few_buckets_are_refused():
    with pytest.raises(ConfigError, match="relative_attention_num_buckets is 16"):
        architecture("mpnet").read(mpnet().config.to_dict() | {"relative_attention_num_buckets": 16})
