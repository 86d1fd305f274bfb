"""RoFormer gives transformers' numbers, and its tokeniser is not guessed at."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from tests.builders import PIECES, write_json, write_vocab
from tests.models.oracle import assert_parity, saved_and_loaded, seeded

from sentvec import Embedder
from sentvec.errors import TokenizerError

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle


def roformer(kind: str = "RoFormerModel", **changes):
    numbers = {"vocab_size": len(PIECES), "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = transformers.RoFormerConfig(**(numbers | {"intermediate_size": 96} | changes), attn_implementation="eager")
    return seeded(getattr(transformers, kind)(config))


def test_published_widths_and_far_places_equal_transformers(tmp_path):
    changes = {"hidden_size": 768, "num_hidden_layers": 2, "num_attention_heads": 12, "intermediate_size": 3072}
    assert_parity(roformer(**changes), tmp_path, lengths=(7, 33, 2, 33, 1000))


@pytest.mark.parametrize(
    "changes",
    [{"rotary_value": True}, {"embedding_size": 16}, {"layer_norm_eps": 0.1}, {"hidden_act": "relu"}],
    ids=str,
)
def test_variants_equal_transformers(tmp_path, changes):
    assert_parity(roformer(**changes), tmp_path)


def test_the_table_of_angles_is_written_for_other_readers(tmp_path):
    roformer(max_position_embeddings=40).save_pretrained(tmp_path / "a")
    write_vocab(tmp_path / "a")
    name = "encoder.embed_positions.weight"
    given = load_file(tmp_path / "a" / "model.safetensors")
    model = Embedder.from_pretrained(str(tmp_path / "a"), device="cpu")
    assert model.max_seq_length == 40
    model.save_pretrained(tmp_path / "b")
    written = load_file(tmp_path / "b" / "model.safetensors")
    assert written.keys() == given.keys()
    torch.testing.assert_close(written[name], given[name], atol=1e-7, rtol=0)
    _, told = transformers.AutoModel.from_pretrained(tmp_path / "b", output_loading_info=True)
    assert not any(told.values()), told


def test_checkpoints_without_the_table_are_read(tmp_path):
    reference = roformer()
    del reference.encoder.embed_positions
    found = saved_and_loaded(reference, tmp_path).state_dict()
    assert torch.equal(found["embeddings.token_table.weight"], reference.embeddings.word_embeddings.weight)


@pytest.mark.parametrize(
    "config", [{"tokenizer_class": "RoFormerTokenizer"}, {"tokenizer_class": "RoFormerTokenizerFast"}, {}]
)
def test_a_tokeniser_that_needs_jieba_is_refused(tmp_path, config):
    roformer().save_pretrained(tmp_path)
    write_vocab(tmp_path)
    write_json(tmp_path / "tokenizer_config.json", config)
    with pytest.raises(TokenizerError, match="cuts Chinese into words with jieba; sentvec has no jieba.*BertTokenizer"):
        Embedder.from_pretrained(str(tmp_path), device="cpu")
