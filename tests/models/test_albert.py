"""ALBERT gives transformers' numbers: narrow embeddings, and layers that run in turns."""

from __future__ import annotations

import pytest
import torch
from tests.builders import PIECES, write_vocab
from tests.models.oracle import TEXTS, assert_embeds_alike, assert_fast_is_near, assert_parity, saved_and_loaded, seeded

from sentvec import Embedder
from sentvec.errors import ConfigError
from sentvec.models.registry import architecture

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle


def albert(kind: str = "AlbertModel", **changes):
    numbers = {"vocab_size": len(PIECES), "embedding_size": 32, "hidden_size": 64, "num_hidden_layers": 4}
    numbers |= {"num_attention_heads": 2, "intermediate_size": 96}
    config = transformers.AlbertConfig(**(numbers | changes), attn_implementation="eager")
    return seeded(getattr(transformers, kind)(config))


def with_its_own_tokeniser(folder):
    """Sentence pieces, as the published English checkpoints have them, and weights to fit."""
    letters = sorted(set("".join(text if isinstance(text, str) else "".join(text) for text in TEXTS).lower()) - {" "})
    plain = ["▁", "▁the", "▁cat", "ing", *letters]
    special = [(name, 0.0) for name in ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")]
    tokenizer = transformers.AlbertTokenizer(vocab=[*special, *((piece, -1.0 - i) for i, piece in enumerate(plain))])
    tokenizer.save_pretrained(folder)
    albert(vocab_size=len(tokenizer)).save_pretrained(folder)
    return folder


def test_published_widths_equal_transformers(tmp_path):
    changes = {"embedding_size": 128, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    assert_parity(albert(**changes, num_hidden_layers=12), tmp_path, lengths=(7, 33, 2))


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_groups": 2},
        {"num_hidden_groups": 3},  # does not divide the layers
        {"num_hidden_groups": 4},
        {"num_hidden_groups": 6},  # more than there are steps
        {"inner_group_num": 2},
        {"inner_group_num": 3, "num_hidden_groups": 2},
        {"embedding_size": 64},  # mapped all the same
        {"layer_norm_eps": 0.1},
        {"hidden_act": "gelu"},
        {"hidden_act": "relu"},
        {"type_vocab_size": 1},
    ],
)
def test_variants_equal_transformers(tmp_path, changes):
    assert_parity(albert(**changes), tmp_path, types=changes.get("type_vocab_size", 2))


@pytest.mark.parametrize("layers", range(1, 13))
@pytest.mark.parametrize("groups", range(1, 8))
def test_steps_find_their_group_as_the_reference_does(layers, groups):
    numbers = {"num_hidden_layers": layers, "num_hidden_groups": groups, "hidden_size": 16, "num_attention_heads": 1}
    reference = albert(**numbers, intermediate_size=4, embedding_size=4)
    row = architecture("albert")
    encoder = row.build(row.read(reference.config.to_dict()), add_pooling_layer=False)
    ran = []
    for number, group in enumerate(reference.encoder.albert_layer_groups):
        group.register_forward_hook(lambda *_, number=number: ran.append(number))
    reference(torch.tensor([[5]]))
    assert list(encoder.layers.order) == ran


def test_layers_are_stored_once(tmp_path):
    encoder = saved_and_loaded(albert(), tmp_path)
    assert len(encoder.layers) == 1
    assert encoder.layers.order == (0, 0, 0, 0)


def test_what_config_json_leaves_out_is_alberts_own():
    config = albert().config.to_dict()
    for key in ("hidden_act", "embedding_size", "num_hidden_groups", "inner_group_num", "hidden_dropout_prob"):
        del config[key]
    numbers = architecture("albert").read(config)
    theirs = transformers.AlbertConfig()
    assert (numbers.act, numbers.dropout) == (theirs.hidden_act, theirs.hidden_dropout_prob)
    assert numbers.own.embedding == theirs.embedding_size
    assert (numbers.own.groups, numbers.own.inner) == (theirs.num_hidden_groups, theirs.inner_group_num)


@pytest.mark.parametrize("kind", ["PreTraining", "MaskedLM", "SequenceClassification", "QuestionAnswering"])
def test_heads_are_left_out(tmp_path, kind):
    whole = albert(f"AlbertFor{kind}")
    found = saved_and_loaded(whole, tmp_path).state_dict()
    assert torch.equal(found["embeddings.token_table.weight"], whole.albert.embeddings.word_embeddings.weight)


def test_vectors_of_texts_and_pairs_equal_the_reference(tmp_path):
    assert_embeds_alike(with_its_own_tokeniser(tmp_path / "a"), tmp_path / "b")
    (pair,) = Embedder.from_pretrained(str(tmp_path / "a"), device="cpu").tokenizer.encode([("the", "the")])
    assert pair.types == [0, 0, 0, 1, 1]  # [CLS] A [SEP] B [SEP]


def test_what_is_saved_names_the_special_tokens(tmp_path):
    folder = with_its_own_tokeniser(tmp_path / "a")
    (folder / "tokenizer_config.json").unlink()
    Embedder.from_pretrained(str(folder), device="cpu").save_pretrained(tmp_path / "b")
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "b"))
    assert (theirs.cls_token, theirs.sep_token, theirs.mask_token) == ("[CLS]", "[SEP]", "[MASK]")
    assert (theirs.pad_token, theirs.unk_token) == ("<pad>", "<unk>")


@pytest.mark.data
def test_vectors_with_a_chinese_vocabulary_equal_the_reference(tmp_path, shared_data):
    """Published Chinese ALBERTs have BERT's vocabulary and tokeniser."""
    vocab = (shared_data / "tokenizers/bert-base-chinese/vocab.txt").read_text(encoding="utf-8").splitlines()
    albert(vocab_size=len(vocab)).save_pretrained(tmp_path / "a")
    write_vocab(tmp_path / "a", vocab)
    assert_embeds_alike(tmp_path / "a", tmp_path / "b")


def test_every_precision_is_near(tmp_path):
    assert_fast_is_near(with_its_own_tokeniser(tmp_path))


def test_how_often_layers_run_is_part_of_the_fingerprint(tmp_path):
    """The weights alone do not tell."""
    fingerprints = set()
    for layers in (3, 4):
        torch.manual_seed(0)
        albert(num_hidden_layers=layers).save_pretrained(tmp_path / str(layers))
        write_vocab(tmp_path / str(layers))
        fingerprints.add(Embedder.from_pretrained(str(tmp_path / str(layers)), device="cpu").fingerprint)
    assert len(fingerprints) == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_hidden_groups", 0),
        ("num_hidden_groups", 1 << 20),
        ("inner_group_num", 1 << 20),
        ("inner_group_num", "2"),
        ("embedding_size", -1),
        ("is_decoder", True),
    ],
)
def test_what_is_not_computed_is_refused_by_its_key(key, value):
    with pytest.raises(ConfigError, match=key):
        architecture("albert").read(albert().config.to_dict() | {key: value})
