"""Vocabularies become tokenisers, and what is missing from them is named."""

from __future__ import annotations

import pytest
from tests.builders import byte_vocab

from sentvec.errors import TokenizerError
from sentvec.text.build import WordPieceOptions, byte_bpe, looks_cased, wordpiece

VOCAB = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "cafe", "café", "Café", "你", "好"])}


def pieces(text, **options):
    return wordpiece(VOCAB, WordPieceOptions(**options)).encode(text).tokens[1:-1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["cafe"]),
        ({"do_lower_case": False}, ["Café"]),
        ({"strip_accents": False}, ["café"]),
        ({"do_lower_case": False, "strip_accents": True}, ["[UNK]"]),
    ],
)
def test_letters_and_accents(options, expected):
    assert pieces("Café", **options) == expected


def test_chinese_characters_are_words_unless_told_otherwise():
    assert pieces("你好") == ["你", "好"]
    assert pieces("你好", tokenize_chinese_chars=False) == ["[UNK]"]


def test_other_names_for_special_tokens():
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3}
    names = {"unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "[PAD]"}
    assert wordpiece(vocab, WordPieceOptions(), names).encode("a b").tokens == ["<s>", "a", "<unk>", "</s>"]


@pytest.mark.parametrize("name", ["a:5", "b c", "$A", "$0", ""])
def test_names_that_a_template_would_take_apart(name):
    vocab = {"[UNK]": 0, "<s>": 1, name: 2, "a": 3}
    names = {"cls_token": "<s>", "sep_token": name}
    assert wordpiece(vocab, WordPieceOptions(), names).encode("a").ids == [1, 3, 2]


def test_missing_special_tokens_are_listed_together():
    with pytest.raises(TokenizerError, match=r"no \[UNK\], \[SEP\] among its 2 pieces"):
        wordpiece({"[CLS]": 0, "a": 1}, WordPieceOptions())


def test_missing_byte_pair_tokens_are_listed_together():
    with pytest.raises(TokenizerError, match="no <s>, </s> among its 1 pieces"):
        byte_bpe({"a": 0}, [])


def test_merges_of_another_vocabulary_are_refused():
    vocab, _ = byte_vocab()
    with pytest.raises(TokenizerError, match=r"merges\.txt does not fit vocab\.json"):
        byte_bpe(vocab, [("x", "yz")])


def test_the_mask_takes_the_space_before_it():
    vocab, merges = byte_vocab()
    assert byte_bpe(vocab, merges).encode("the <mask>").ids == [vocab[p] for p in ("<s>", "the", "<mask>", "</s>")]


def test_a_prefix_space_when_asked_for():
    vocab, merges = byte_vocab()
    assert byte_bpe(vocab, merges, add_prefix_space=True).encode("the").tokens == ["<s>", "Ġthe", "</s>"]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "cased"),
    [
        ("bert-base-uncased", False),
        ("bert-base-chinese", False),
        ("bert-base-cased", True),
        ("bert-base-multilingual-cased", True),
    ],
)
def test_published_vocabularies_show_whether_letters_were_lowered(shared_data, name, cased):
    lines = (shared_data / "tokenizers" / name / "vocab.txt").read_bytes().decode().split("\n")
    assert looks_cased({piece: i for i, piece in enumerate(lines)}) is cased
