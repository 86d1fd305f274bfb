"""ModernBERT gives transformers' numbers: every hidden state, every attention map, beyond the local window too."""

from __future__ import annotations

import json

import pytest
import torch
from tests.models.oracle import assert_embeds_alike, assert_parity, compare, random_batch, saved_and_loaded, seeded
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from sentvec.batch import pack
from sentvec.errors import ConfigError
from sentvec.models.registry import architecture
from sentvec.nn.kernels import KERNELS

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle

# what answerdotai/ModernBERT-base and -large have in config.json, with fewer layers
BASE = {"hidden_size": 768, "num_hidden_layers": 4, "num_attention_heads": 12, "intermediate_size": 1152}
LARGE = {"hidden_size": 1024, "num_hidden_layers": 2, "num_attention_heads": 16, "intermediate_size": 2624}
TINY = {"hidden_size": 32, "num_hidden_layers": 5, "num_attention_heads": 4, "intermediate_size": 48}
PLACES = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}


def modernbert(kind="ModernBertModel", **options):
    config = transformers.ModernBertConfig(
        **{"vocab_size": 99, "attn_implementation": "eager"} | TINY | PLACES | options
    )
    return seeded(getattr(transformers, kind)(config))


@pytest.fixture
def exact(monkeypatch):
    """Keep the reference from rounding to float32 inside, so that float64 shows whether the computation is the same.

    Its own functions are put in place of those that round: those of its NomicBERT, equal in all but the rounding.
    """
    from transformers.models.modernbert import modeling_modernbert as rounding
    from transformers.models.nomic_bert import modeling_nomic_bert as plain

    monkeypatch.setattr(rounding, "apply_rotary_pos_emb", plain.apply_rotary_pos_emb)
    monkeypatch.setattr(rounding, "eager_attention_forward", plain.eager_attention_forward)


@pytest.mark.parametrize("shape", [BASE, LARGE], ids=["base", "large"])
def test_published_shapes_equal_transformers(shape, tmp_path, exact):
    assert_parity(
        modernbert(**shape), tmp_path, lengths=(7, 33, 2, 33, 190), types=1
    )  # the window is 64 to either side


def test_the_reference_as_it_is(tmp_path):
    """Rounding and all: rotation and softmax in float32."""
    reference = modernbert(**BASE)
    texts, batch = random_batch(99, [7, 33, 190], types=1)
    assert max(compare(reference, saved_and_loaded(reference, tmp_path), texts, batch).values()) < 5e-5


OPTIONS = {
    "defaults": {},
    "biases": {"attention_bias": True, "mlp_bias": True, "norm_bias": True},
    "window": {"local_attention": 8},
    "all global": {"layer_types": ["full_attention"] * 5},
    "local first": {"layer_types": ["sliding_attention", "full_attention"] * 2 + ["sliding_attention"]},
    "epsilon": {"norm_eps": 0.1},
    "activation": {"hidden_activation": "silu"},
    "bases": {
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 300.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 70.0},
        }
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_equals_transformers(name, tmp_path, exact):
    assert_parity(modernbert(**OPTIONS[name]), tmp_path, lengths=(3, 9, 140, 9, 70), types=1)


def test_config_of_transformers_4(tmp_path):
    """The published files name an interval and two bases where newer ones list layers."""
    old = {"global_attn_every_n_layers": 2, "global_rope_theta": 500.0, "local_rope_theta": 50.0, "rope_scaling": None}
    reference = modernbert(local_attention=8, **old)
    encoder = saved_and_loaded(reference, tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    del content["layer_types"], content["rope_parameters"]
    numbers = architecture("modernbert").read(content | old | {"position_embedding_type": "absolute"})
    assert numbers == encoder.config
    assert numbers.own.bases == (500.0, 50.0, 500.0, 50.0, 500.0)
    assert numbers.own.windows == (None, 4, None, 4, None)
    assert numbers.max_tokens == 8192


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rope_scaling": YARN}, "rope_scaling in config.json is .*yarn.* not supported .* rope_type default"),
        ({"rope_parameters": {"full_attention": YARN | {"rope_theta": 1e4}}}, "rope_parameters .*yarn"),
        (
            {"rope_parameters": {"sliding_attention": {"rope_type": "default", "partial_rotary_factor": 0.5}}},
            "partial_rotary_factor",
        ),
        ({"rope_parameters": {"full_attention": {"rope_theta": 0}}}, "rope_theta in rope_parameters is 0"),
        ({"rope_parameters": 0}, "rope_parameters in config.json is 0, which is not supported"),
        ({"rope_scaling": False}, "rope_scaling in config.json is False, which is not supported"),
        ({"global_rope_theta": "much"}, "global_rope_theta is 'much', which should be a positive number"),
        ({"global_attn_every_n_layers": 0}, "global_attn_every_n_layers is 0, which should be a whole number"),
        ({"layer_types": ["full_attention"]}, r"layer_types is \['full_attention'\].* for each of 5 layers"),
        ({"layer_types": ["chunked_attention"] * 5}, "layer_types .*chunked.* one of full_attention, sliding"),
        ({"hidden_activation": "swirl"}, "hidden_activation is 'swirl'"),
        ({"attention_bias": 1}, "attention_bias is 1, which should be true or false"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
    ],
)
def test_what_is_not_computed_is_refused(change, said):
    raw = TINY | {"vocab_size": 99} | change
    with pytest.raises(ConfigError, match=said):
        architecture("modernbert").read(raw)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_text_does_not_depend_on_its_neighbours(kernel, tmp_path):
    encoder = saved_and_loaded(modernbert(local_attention=8), tmp_path).double()
    texts, batch = random_batch(99, [5, 1, 40, 40, 12], types=1)
    with torch.no_grad():
        together = encoder(batch, kernel=kernel).split(list(batch.lengths))
        for text, states in zip(texts, together, strict=True):
            torch.testing.assert_close(encoder(pack([text]), kernel=kernel), states, atol=1e-12, rtol=0)


def test_vectors_of_texts_and_pairs_equal_the_reference(tmp_path):
    """Byte-level BPE with BERT's special tokens, as ModernBERT's tokeniser has them; English and Chinese."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    modernbert(local_attention=8, vocab_size=len(pieces)).save_pretrained(tmp_path / "a")
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, model_input_names=["input_ids", "attention_mask"], pad_token="[PAD]",
        cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]", mask_token="[MASK]",
    ).save_pretrained(tmp_path / "a")  # fmt: skip
    assert_embeds_alike(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("kind", ["MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering"])
def test_heads_are_left_out(kind, tmp_path):
    whole = modernbert(f"ModernBertFor{kind}")
    found = saved_and_loaded(whole, tmp_path).state_dict()["embeddings.token_table.weight"]
    assert torch.equal(found, whole.model.embeddings.tok_embeddings.weight)
