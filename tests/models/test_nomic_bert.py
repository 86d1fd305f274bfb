"""NomicBERT gives transformers' numbers, from its own configuration and from the one that was published."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from tests.builders import PIECES, write_json, write_vocab
from tests.models.oracle import assert_embeds_alike, assert_parity, random_batch, saved_and_loaded, seeded

from sentvec import Embedder
from sentvec.batch import pack
from sentvec.errors import ConfigError
from sentvec.models.registry import architecture
from sentvec.nn.kernels import KERNELS

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle

TINY = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
NOMIC = {"hidden_size": 768, "num_hidden_layers": 3, "num_attention_heads": 12, "intermediate_size": 3072}

# the keys of nomic-embed-text-v1.5's config.json that say anything about the numbers, for a tiny model
PUBLISHED = {
    "activation_function": "swiglu", "attn_pdrop": 0.0, "causal": False, "embd_pdrop": 0.0, "layer_norm_epsilon": 1e-12,
    "max_trained_positions": 2048, "mlp_fc1_bias": False, "mlp_fc2_bias": False, "model_type": "nomic_bert",
    "n_embd": 32, "n_head": 4, "n_inner": 48, "n_layer": 3, "n_positions": 8192, "pad_vocab_size_multiple": 64,
    "parallel_block": False, "parallel_block_tied_norm": False, "prenorm": False, "qkv_proj_bias": False,
    "resid_pdrop": 0.0, "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None, "rotary_scaling_factor": None, "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True, "type_vocab_size": 2, "use_rms_norm": False, "vocab_size": len(PIECES),
}  # fmt: skip


def nomic(kind="NomicBertModel", pooler=False, **options):
    config = transformers.NomicBertConfig(
        **{"vocab_size": len(PIECES), "attn_implementation": "eager"} | TINY | options
    )
    extra = {"add_pooling_layer": pooler} if kind == "NomicBertModel" else {}
    return seeded(getattr(transformers, kind)(config, **extra))


def published(folder, **changes):
    """Write a folder as it was published: weights under the names that transformers writes too, GPT-2's keys."""
    reference = nomic(rope_parameters={"rope_type": "default", "rope_theta": 700.0})
    reference.save_pretrained(folder)
    write_json(folder / "config.json", PUBLISHED | {"rotary_emb_base": 700} | changes)
    write_vocab(folder)
    return reference


def test_the_published_shape_equals_transformers(tmp_path):
    assert_parity(nomic(**NOMIC), tmp_path, lengths=(7, 33, 2, 33, 190))


@pytest.mark.parametrize(
    "options",
    [
        {"pooler": True},
        {"hidden_act": "gelu"},
        {"layer_norm_eps": 0.1},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 50.0}},
        {"num_attention_heads": 8},
    ],
)
def test_every_option_equals_transformers(options, tmp_path):
    assert_parity(nomic(**options), tmp_path)


def test_the_published_configuration_says_the_same(tmp_path):
    reference = nomic()
    reference.save_pretrained(tmp_path)
    theirs = json.loads((tmp_path / "config.json").read_text())
    row = architecture("nomic_bert")
    ours = row.read(PUBLISHED)
    assert (ours.max_tokens, row.read(theirs).max_tokens) == (8192, 2048)
    assert row.read(theirs | {"max_position_embeddings": 8192}) == ours
    assert row.read(theirs | PUBLISHED) == ours  # files mended for transformers 5 have both kinds of keys


def test_a_published_folder_gives_the_reference_s_vectors(tmp_path):
    reference = published(tmp_path / "a")
    texts = ["the cat sat on the mat", "", "你好世界 unaffable"]
    model = Embedder.from_pretrained(tmp_path / "a", device="cpu", precision="float32")
    assert model.max_seq_length == 8192
    vectors = model.encode(texts)
    encoded = model.tokenizer.encode(texts)
    for vector, text in zip(vectors, encoded, strict=True):
        with torch.no_grad():
            states = reference(input_ids=torch.tensor([text.ids])).last_hidden_state[0]
        torch.testing.assert_close(torch.from_numpy(vector), states.mean(0), atol=5e-6, rtol=0)
    model.save_pretrained(tmp_path / "b")  # the base of its positions must be told to transformers in its own words
    again = transformers.AutoModel.from_pretrained(tmp_path / "b")
    assert again.config.rope_parameters["rope_theta"] == 700
    with torch.no_grad():
        states = again(input_ids=torch.tensor([encoded[0].ids])).last_hidden_state[0]
    torch.testing.assert_close(torch.from_numpy(vectors[0]), states.mean(0), atol=5e-6, rtol=0)


def test_vectors_of_texts_and_pairs_equal_the_reference(tmp_path):
    nomic(hidden_size=64).save_pretrained(tmp_path / "a")  # heads wide enough for the fused stack, which must not run
    write_vocab(tmp_path / "a")
    assert_embeds_alike(tmp_path / "a", tmp_path / "b")


@pytest.mark.data
def test_with_the_vocabulary_that_was_published(tmp_path, shared_data):
    """Nomic's is BERT's, and its table of words has six rows more than there are pieces."""
    nomic(vocab_size=30528).save_pretrained(tmp_path / "a")
    for name in ("vocab.txt", "tokenizer.json"):
        shutil.copyfile(shared_data / "tokenizers" / "bert-base-uncased" / name, tmp_path / "a" / name)
    write_json(tmp_path / "a" / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True})
    assert_embeds_alike(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("kind", ["MaskedLM", "SequenceClassification", "TokenClassification"])
def test_heads_are_left_out(kind, tmp_path):
    whole = nomic(f"NomicBertFor{kind}")
    found = saved_and_loaded(whole, tmp_path).state_dict()["embeddings.token_table.weight"]
    assert torch.equal(found, whole.nomic_bert.embeddings.word_embeddings.weight)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_text_does_not_depend_on_its_neighbours(kernel, tmp_path):
    encoder = saved_and_loaded(nomic(), tmp_path).double()
    texts, batch = random_batch(len(PIECES), [5, 1, 40, 40, 12], types=2)
    with torch.no_grad():
        together = encoder(batch, kernel=kernel).split(list(batch.lengths))
        for text, states in zip(texts, together, strict=True):
            torch.testing.assert_close(encoder(pack([text]), kernel=kernel), states, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"activation_function": "gelu"}, "activation_function 'gelu' .* Supported: swiglu, geglu, glu"),
        ({"prenorm": True}, "prenorm True"),
        ({"causal": True}, "causal True"),
        ({"qkv_proj_bias": True}, "qkv_proj_bias True"),
        ({"rotary_emb_fraction": 0.5}, "rotary_emb_fraction 0.5"),
        ({"rotary_emb_interleaved": True}, "rotary_emb_interleaved True"),
        ({"rotary_scaling_factor": 2}, "rotary_scaling_factor 2"),
        ({"moe_every_n_layers": 2, "num_experts": 8}, "moe_every_n_layers 2"),
        ({"rotary_emb_base": -1}, "rotary_emb_base is -1, which should be a positive number"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "rope_parameters .*dynamic"),
        ({"hidden_size": 64}, "n_embd is 32, but hidden_size, which means the same, is 64"),
        ({"head_dim": 16}, "head_dim 16 .* Supported: 8"),
        ({"n_layer": None}, "num_hidden_layers is missing"),
    ],
)
def test_what_is_not_computed_is_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        architecture("nomic_bert").read(PUBLISHED | change)


@pytest.mark.parametrize(("name", "act"), [("swiglu", "silu"), ("geglu", "gelu"), ("glu", "sigmoid")])
def test_gates_by_their_published_names(name, act):
    assert architecture("nomic_bert").read(PUBLISHED | {"activation_function": name}).act == act
