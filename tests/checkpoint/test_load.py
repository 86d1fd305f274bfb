"""Folders as they are found in the wild load as what they are; the others say what is wrong with them."""

from __future__ import annotations

import json

import pytest
import torch
from tests.builders import (
    PIECES,
    TEXTS,
    bert_config,
    bert_weights,
    byte_vocab,
    tiny_bert,
    tiny_roberta,
    tiny_xlm_roberta,
    write_json,
    write_vocab,
    write_weights,
)

from sentvec import Embedder
from sentvec.checkpoint.load import load
from sentvec.errors import ConfigError, InvalidInput, ModelError, ModelNotFound, UnknownModelType, WeightsError


def config(folder, **changes):
    """Change config.json only, so that it may contradict the weights."""
    path = folder / "config.json"
    content = json.loads(path.read_text()) | changes
    write_json(path, {key: value for key, value in content.items() if value is not ...})
    return folder


def test_a_bert_folder(tmp_path):
    checkpoint = load(tiny_bert(tmp_path))
    assert checkpoint.model_type == "bert"
    assert checkpoint.encoder.config.max_tokens == 64
    assert checkpoint.encoder.pooler is not None
    assert not checkpoint.encoder.training
    assert load(tiny_bert(tmp_path / "b", pooler=False)).encoder.pooler is None


def test_missing_folders_and_files(tmp_path):
    with pytest.raises(ModelNotFound, match="is not a folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"holds no config\.json, so it is not a model's folder"):
        load(tmp_path)
    with pytest.raises(ModelError, match="is not a folder"):
        Embedder.from_pretrained(str(tmp_path / "nowhere"))


def test_unknown_model_types_list_the_known_ones(tmp_path):
    with pytest.raises(UnknownModelType, match="'gpt9' in config.json is not known. Known: bert, roberta"):
        load(config(tiny_bert(tmp_path), model_type="gpt9"))
    with pytest.raises(ConfigError, match=r"model_type in config\.json is \['bert'\]"):
        load(config(tiny_bert(tmp_path), model_type=["bert"]))


@pytest.mark.parametrize("kind", ["relative_key", "relative_key_query", "rotary"])
def test_positions_that_are_not_absolute_are_refused(tmp_path, kind):
    with pytest.raises(ConfigError, match=f"position_embedding_type '{kind}' .* Supported: absolute"):
        load(config(tiny_bert(tmp_path), position_embedding_type=kind))


def test_missing_keys_are_listed_together(tmp_path):
    folder = config(tiny_bert(tmp_path), hidden_size=..., vocab_size=..., num_hidden_layers="two")
    with pytest.raises(ConfigError) as caught:
        load(folder)
    for said in ("vocab_size is missing", "hidden_size is missing", "num_hidden_layers is 'two'"):
        assert said in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size",
        "intermediate_size",
        "max_position_embeddings",
        "type_vocab_size",
    ],
)
@pytest.mark.parametrize("value", [-1, 0, "32", 10**12, True, 2.5, [32], float("nan")])
def test_hostile_numbers_are_refused(tmp_path, key, value):
    with pytest.raises(ConfigError, match=f"{key} is "):
        load(config(tiny_bert(tmp_path), **{key: value}))


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "vocab_size", "max_position_embeddings"])
def test_large_numbers_that_the_weights_do_not_bear_out(tmp_path, key):
    with pytest.raises(ModelError):  # at once, without memory or time for what is not there
        load(config(tiny_bert(tmp_path), **{key: 1 << 22}))


@pytest.mark.parametrize(
    ("key", "value"),
    [("layer_norm_eps", "tiny"), ("layer_norm_eps", -1), ("hidden_act", "swirl"), ("hidden_act", 3)],
)
def test_other_impossible_values(tmp_path, key, value):
    with pytest.raises(ModelError, match=rf"{key}|{value}"):
        load(config(tiny_bert(tmp_path), **{key: value}))


def test_heads_that_do_not_divide_the_width(tmp_path):
    with pytest.raises((ConfigError, InvalidInput), match="heads"):
        load(config(tiny_bert(tmp_path), num_attention_heads=5))


@pytest.mark.parametrize(
    "content",
    [b"[1, 2]", b"", b"{", b'"bert"', b"null", b"\xff\xfe\x00", b"[" * 100_000, b"{} {}"],
    ids=lambda content: repr(content[:8]),
)
def test_a_config_that_is_no_json_object(tmp_path, content):
    (tiny_bert(tmp_path) / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"config\.json (cannot be read as JSON|should hold a JSON object)"):
        load(tmp_path)


def test_a_byte_order_mark_in_config_is_no_matter(tmp_path):
    path = tiny_bert(tmp_path) / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(tmp_path).model_type == "bert"


def vectors(folder):
    return Embedder.from_pretrained(folder, device="cpu").encode(TEXTS)


def test_googles_file_name(tmp_path):
    expected = vectors(tiny_bert(tmp_path))
    keys = {"architectures", "model_type", "layer_norm_eps", "pad_token_id"}
    content = {key: value for key, value in bert_config().items() if key not in keys}
    google = content | {"directionality": "bidi", "pooler_fc_size": 768, "pooler_type": "first_token_transform"}
    (tmp_path / "config.json").unlink()
    write_json(tmp_path / "bert_config.json", google)
    assert (vectors(tmp_path) == expected).all()


def test_a_config_without_model_type_is_bert(tmp_path, caplog):
    caplog.set_level("INFO", logger="sentvec")
    expected = vectors(tiny_bert(tmp_path))
    config(tmp_path, model_type=..., architectures=..., _name_or_path="/home/someone/ernie", intermediate_size=...)
    write_weights(tmp_path, bert_weights(bert_config(intermediate_size=128)))
    assert load(tmp_path).encoder.config.intermediate == 128  # four times the width
    assert "no model_type: read as bert" in caplog.text
    assert vectors(tmp_path).shape == expected.shape


def test_vocabulary_of_config_and_weights_differ(tmp_path):
    with pytest.raises(WeightsError, match=rf"word_embeddings.weight is \({len(PIECES)}, 32\), .* \(999, 32\)"):
        load(config(tiny_bert(tmp_path), vocab_size=999))


def test_a_larger_table_than_the_vocabulary_is_fine(tmp_path):
    assert load(tiny_bert(tmp_path, vocab_size=len(PIECES) + 7)).tokenizer.vocab_size == len(PIECES)


@pytest.mark.parametrize("make", [tiny_roberta, tiny_xlm_roberta])
def test_roberta_positions_start_after_the_padding(tmp_path, make):
    numbers = load(make(tmp_path)).encoder.config
    assert (numbers.position_offset, numbers.max_tokens) == (2, 64)


@pytest.mark.oracle
@pytest.mark.parametrize("make", [tiny_bert, tiny_roberta, tiny_xlm_roberta])
def test_hidden_states_equal_the_reference(tmp_path, make):
    transformers = pytest.importorskip("transformers")
    folder = make(tmp_path)
    model, tokenizer = (cls.from_pretrained(folder) for cls in (transformers.AutoModel, transformers.AutoTokenizer))
    ours = Embedder.from_pretrained(folder, device="cpu")
    long = "the cat " * 80
    for text, states in zip([*TEXTS, long], ours.encode_tokens([*TEXTS, long]), strict=True):
        with torch.no_grad():
            expected = model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=64))
        assert abs(states - expected.last_hidden_state[0].numpy()).max() < 5e-6


@pytest.mark.oracle
@pytest.mark.parametrize("make", [tiny_bert, tiny_roberta])
def test_pooler_equals_the_reference(tmp_path, make):
    transformers = pytest.importorskip("transformers")
    folder = make(tmp_path)
    model, tokenizer = (cls.from_pretrained(folder) for cls in (transformers.AutoModel, transformers.AutoTokenizer))
    got = Embedder.from_pretrained(folder, device="cpu", pooling="pooler").encode(TEXTS)
    for text, vector in zip(TEXTS, got, strict=True):
        with torch.no_grad():
            expected = model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=64)).pooler_output
        assert abs(vector - expected[0].numpy()).max() < 5e-6


@pytest.mark.parametrize("positions", [64, 512])
def test_roberta_in_name_with_berts_files_is_bert(tmp_path, positions, caplog):
    expected = vectors(tiny_bert(tmp_path, max_position_embeddings=positions))
    config(tmp_path, model_type="roberta", pad_token_id=0)
    caplog.set_level("INFO", logger="sentvec")
    checkpoint = load(tmp_path)
    assert checkpoint.model_type == "bert"
    assert "says roberta, but the vocabulary is BERT's" in caplog.text
    assert "read as bert" in caplog.text
    assert (vectors(tmp_path) == expected).all()


def test_roberta_with_berts_vocabulary_and_spare_rows_is_roberta(tmp_path, caplog):
    tiny_bert(tmp_path, max_position_embeddings=514, type_vocab_size=1, model_type="roberta", pad_token_id=1)
    caplog.set_level("INFO", logger="sentvec")
    checkpoint = load(tmp_path)
    assert checkpoint.model_type == "roberta"
    assert checkpoint.encoder.config.max_tokens == 512
    assert "read as roberta" in caplog.text
    pair = Embedder.from_pretrained(tmp_path, device="cpu").encode([("the cat", "the dog")])
    assert pair.shape == (1, 32)  # one token type, though the vocabulary's layout has two


@pytest.mark.parametrize("padding", [-1, "1", 66, 10**9])
def test_roberta_padding_ids_that_cannot_be(tmp_path, padding):
    with pytest.raises(ConfigError, match="pad_token_id is"):
        load(config(tiny_roberta(tmp_path), pad_token_id=padding))


def test_a_roberta_tokenizer_of_another_model_is_refused(tmp_path):
    vocab, _ = byte_vocab()
    folder = tiny_roberta(tmp_path, vocab_size=len(vocab) - 5)
    with pytest.raises(ModelError, match="not of the same model"):
        load(folder)


def test_pooler_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="needs the model's pooler"):
        Embedder.from_pretrained(tiny_bert(tmp_path, pooler=False), device="cpu", pooling="pooler")


def test_cased_vocabulary_reaches_the_model(tmp_path):
    tiny_bert(tmp_path)
    write_vocab(tmp_path, do_lower_case=False)
    tokenizer = load(tmp_path).tokenizer
    assert tokenizer.tokens(tokenizer.encode(["The the"])[0].ids) == ["[CLS]", "[UNK]", "the", "[SEP]"]


@pytest.mark.parametrize("prompts", [{"query": "\ud800"}, {"\udcff": "query: "}])
def test_prompts_that_are_no_text(tmp_path, prompts):
    write_json(tiny_bert(tmp_path) / "config_sentence_transformers.json", {"prompts": prompts})
    with pytest.raises(ConfigError, match="a prompt or its name holds half of a surrogate pair"):
        load(tmp_path)
