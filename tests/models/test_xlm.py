"""XLM gives transformers' numbers, under its own names and keys, and its layout is followed."""

from __future__ import annotations

import pytest
import torch
from tests.builders import TEXTS, byte_vocab, write_json
from tests.models.oracle import (
    assert_embeds_alike,
    assert_fast_is_near,
    compare,
    random_batch,
    saved_and_loaded,
    seeded,
)
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from sentvec import Embedder
from sentvec.errors import ConfigError, TokenizerError
from sentvec.models.registry import architecture

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle


def xlm(kind: str = "XLMModel", **changes):
    numbers = {"vocab_size": 60, "emb_dim": 64, "n_layers": 3, "n_heads": 2, "max_position_embeddings": 128}
    return seeded(getattr(transformers, kind)(transformers.XLMConfig(**(numbers | changes))))


def with_tokeniser(folder):
    """Pieces with XLM's layout, `<s> A </s> B </s>`, in a tokenizer.json."""
    letters = sorted(set("".join(TEXTS).lower()) - {" "})
    pieces = ["<s>", "</s>", "<pad>", "<unk>", *letters, *(f"##{letter}" for letter in letters)]
    backend = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    backend.add_special_tokens(["<s>", "</s>", "<pad>", "<unk>"])
    folder.mkdir(exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"})
    xlm(vocab_size=len(pieces)).save_pretrained(folder)
    return folder


def assert_parity(reference, folder):
    encoder = saved_and_loaded(reference, folder)
    texts, batch = random_batch(encoder.config.vocab, [7, 33, 2, 33, 64], types=1)
    assert max(compare(reference, encoder, texts, batch).values()) < 5e-5
    # the reference's softmax is in float32 whatever the rest is in, so float64 shows less than for others
    assert max(compare(reference.double(), encoder.double(), texts, batch).values()) < 5e-6


def test_published_widths_equal_transformers(tmp_path):
    assert_parity(xlm(emb_dim=1024, n_heads=8), tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"gelu_activation": False},
        {"layer_norm_eps": 0.1},
        {"sinusoidal_embeddings": True},
        {"n_langs": 4, "use_lang_emb": True},  # texts of which no language is told
        {"n_langs": 4, "use_lang_emb": False},
        {"n_heads": 4},
    ],
)
def test_variants_equal_transformers(tmp_path, changes):
    assert_parity(xlm(**changes), tmp_path)


def test_heads_are_left_out(tmp_path):
    whole = xlm("XLMWithLMHeadModel")
    found = saved_and_loaded(whole, tmp_path).state_dict()["embeddings.token_table.weight"]
    assert torch.equal(found, whole.transformer.embeddings.weight)


def test_vectors_of_texts_and_pairs_equal_the_reference(tmp_path):
    assert_embeds_alike(with_tokeniser(tmp_path / "a"), tmp_path / "b")
    tokenizer = Embedder.from_pretrained(str(tmp_path / "a"), device="cpu").tokenizer
    (pair,) = tokenizer.encode([("a", "b")])
    assert tokenizer.tokens(pair.ids) == ["<s>", "a", "</s>", "b", "</s>"]


def test_every_precision_is_near(tmp_path):
    assert_fast_is_near(with_tokeniser(tmp_path))


def test_its_own_files_of_pieces_are_not_taken_for_robertas(tmp_path):
    xlm().save_pretrained(tmp_path)
    vocab, merges = byte_vocab()
    write_json(tmp_path / "vocab.json", vocab)
    (tmp_path / "merges.txt").write_text("".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    with pytest.raises(TokenizerError, match="Moses' rules"):
        Embedder.from_pretrained(str(tmp_path), device="cpu")


def test_old_files_call_the_vocabulary_otherwise():
    config = xlm().config.to_dict()
    del config["vocab_size"]
    assert architecture("xlm").read(config | {"n_words": 77}).vocab == 77


@pytest.mark.parametrize(
    ("key", "value"), [("causal", True), ("is_encoder", False), ("gelu_activation", 1), ("emb_dim", None)]
)
def test_what_is_not_computed_is_refused_by_its_key(key, value):
    with pytest.raises(ConfigError, match=key):
        architecture("xlm").read(xlm().config.to_dict() | {key: value})
