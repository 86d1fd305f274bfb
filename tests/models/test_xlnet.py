"""XLNet gives transformers' numbers: every hidden state and every attention map, of texts and of pairs."""

from __future__ import annotations

import pytest
import torch
from tests.models.oracle import TEXTS, assert_embeds_alike, assert_parity, random_batch, saved_and_loaded, seeded

from sentvec import Embedder
from sentvec.batch import TokenIds, pack
from sentvec.errors import ConfigError
from sentvec.models.registry import architecture
from sentvec.nn import relative
from sentvec.nn.probe import Probe

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle

TINY = {"d_model": 32, "n_layer": 3, "n_head": 4, "d_inner": 48}
BASE = {"d_model": 768, "n_layer": 2, "n_head": 12, "d_inner": 3072}  # xlnet-base-cased, with fewer layers
PIECES = ("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>", "▁", "▁the", "▁cat", "ing")
PIECES = (*PIECES, *"abcdefghijklmnopqrstuvwxyz,.!?-0123456789", *"你好世界中文")


def xlnet(kind="XLNetModel", **options):
    config = transformers.XLNetConfig(**{"vocab_size": len(PIECES), "attn_implementation": "eager"} | TINY | options)
    reference = seeded(getattr(transformers, kind)(config))
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            if ".rel_attn." in name and parameter.ndim == 3 and len(parameter) == config.d_model:
                # these maps are stored as (hidden, heads, head_dim), so that their last dimension is not what they sum
                parameter.mul_((config.d_head / config.d_model) ** 0.5)
    return reference


def test_the_published_shape_equals_transformers(tmp_path):
    assert_parity(xlnet(**BASE), tmp_path, lengths=(7, 33, 2, 33, 64), types=3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clamp_len": 5},
        {"ff_activation": "relu"},
        {"layer_norm_eps": 0.1},
        {"n_head": 2},
        {"mem_len": None, "same_length": True, "dropout": 0.0},
    ],
)
def test_every_option_equals_transformers(options, tmp_path):
    assert_parity(xlnet(**options), tmp_path, lengths=(3, 9, 1, 9, 40), types=3)


def test_blocks_of_queries_give_what_one_gives(tmp_path, monkeypatch):
    monkeypatch.setattr(relative, "BLOCK", 7)
    assert_parity(xlnet(), tmp_path, lengths=(3, 7, 8, 40, 40, 14), types=3)


def test_a_text_does_not_depend_on_its_neighbours(tmp_path):
    encoder = saved_and_loaded(xlnet(), tmp_path).double()
    texts, batch = random_batch(len(PIECES), [5, 1, 40, 40, 12], types=3)
    with torch.no_grad():
        together = encoder(batch).split(list(batch.lengths))
        for text, states in zip(texts, together, strict=True):
            torch.testing.assert_close(encoder(pack([text])), states, atol=1e-12, rtol=0)


def test_segments_count_only_as_the_same_or_another(tmp_path):
    encoder = saved_and_loaded(xlnet(), tmp_path)
    with torch.no_grad():
        one, other, none = (
            encoder(pack([TokenIds([9, 10, 4, 3], types)])) for types in ([0, 0, 0, 2], [1, 1, 1, 0], [0, 0, 0, 0])
        )
    assert torch.equal(one, other)
    assert (one - none).abs().max() > 0.01


def test_training_drops_and_gradients_reach_every_part(tmp_path):
    encoder = saved_and_loaded(xlnet(dropout=0.5), tmp_path)
    _, batch = random_batch(len(PIECES), [5, 9], types=3)
    encoder.train()
    assert not torch.equal(encoder(batch), encoder(batch))
    encoder(batch).square().sum().backward()
    without = [name for name, parameter in encoder.named_parameters() if parameter.grad is None]
    assert without == ["query_stream"]  # the stream of pre-training


def test_a_probe_sees_queries_keys_and_values(tmp_path):
    encoder = saved_and_loaded(xlnet(), tmp_path)
    _, batch = random_batch(len(PIECES), [5, 9, 9], types=3)
    probe = Probe(qkv=True)
    with torch.no_grad():
        encoder(batch, probe=probe)
    assert [[part.shape for part in parts] for parts in probe.projections] == [[(23, 4, 8)] * 3] * 3
    assert probe.attentions == []


def tokenizer(folder):
    """Save XLNet's own tokeniser: Unigram, `A <sep> B <sep> <cls>`, segments 0, 1 and 2, padding on the left."""
    vocab = [(piece, -float(i)) for i, piece in enumerate(PIECES)]
    transformers.XLNetTokenizer(vocab=vocab, unk_id=0).save_pretrained(folder)
    return folder


def test_vectors_of_texts_and_pairs_equal_the_reference(tmp_path):
    xlnet().save_pretrained(tmp_path / "a")
    assert_embeds_alike(tokenizer(tmp_path / "a"), tmp_path / "b")
    # the reference's heads read the last place of a rectangle
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "b").padding_side == "left"


def test_the_layout_of_texts_and_pairs(tmp_path):
    xlnet().save_pretrained(tmp_path)
    model = Embedder.from_pretrained(tokenizer(tmp_path), device="cpu", pooling="last")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        expected = theirs(*([text] if isinstance(text, str) else text), return_token_type_ids=True)
        (ours,) = model.tokenizer.encode([text])
        assert (ours.ids, ours.types) == (expected["input_ids"], expected["token_type_ids"])
        assert (ours.ids[-1], ours.types[-1]) == (PIECES.index("<cls>"), 2)
    assert model.encode(list(TEXTS)).shape == (len(TEXTS), 32)


@pytest.mark.parametrize(
    "kind", ["LMHeadModel", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"]
)
def test_heads_are_left_out(kind, tmp_path):
    whole = xlnet(f"XLNet{kind}")
    found = saved_and_loaded(whole, tmp_path).state_dict()["embeddings.weight"]
    assert torch.equal(found, whole.transformer.word_embedding.weight)


def test_old_names_of_numbers():
    read = architecture("xlnet").read
    raw = TINY | {"vocab_size": 99, "untie_r": True, "clamp_len": -1}
    old = {key: value for key, value in raw.items() if key != "vocab_size"} | {"n_token": 99}
    assert read(old) == read(raw)
    assert read(raw).max_tokens > 100_000
    assert read(raw | {"clamp_len": 10**30}) == read(raw)  # no text is so long


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attn_type": "uni"}, "attn_type 'uni' .* Supported: bi"),
        ({"bi_data": True}, "bi_data True"),
        ({"d_head": 16}, "d_head 16 .* Supported: 8"),
        ({"clamp_len": "far"}, "clamp_len is 'far'"),
        ({"ff_activation": "swirl"}, "ff_activation is 'swirl'"),
        ({"d_model": None}, "d_model is missing"),
        ({"d_model": 33, "n_head": 3}, "d_model is 33, which should be an even number"),
    ],
)
def test_what_is_not_computed_is_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        architecture("xlnet").read(TINY | {"vocab_size": 99} | change)
