"""Tokeniser files in every shape they come in; the reference's choice where two files disagree."""

from __future__ import annotations

import json

import pytest
from tests.builders import PIECES, byte_vocab, tiny_roberta, write_json, write_vocab

from sentvec.checkpoint.tokenizer import read_tokenizer
from sentvec.errors import ConfigError, ModelError, TokenizerError


def pieces(folder, text):
    tokenizer = read_tokenizer(folder)
    return tokenizer.tokens(tokenizer.encode([text])[0].ids)[1:-1]


def test_crlf_line_ends(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("".join(f"{piece}\r\n" for piece in PIECES).encode())
    assert pieces(tmp_path, "cats") == ["cat", "##s"]


def test_a_byte_order_mark_is_no_part_of_the_first_piece(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"\xef\xbb\xbf" + "\n".join(PIECES).encode())
    assert read_tokenizer(tmp_path).vocab()["[PAD]"] == 0


def test_line_separators_that_are_pieces(tmp_path):
    write_vocab(tmp_path, [*PIECES, "\u2028", "\x85", "\x1c", "end"])
    assert read_tokenizer(tmp_path).vocab()["end"] == len(PIECES) + 3


@pytest.mark.parametrize("ending", ["", "\n", "\n\n", "\r\n\r\n"])
def test_empty_last_lines_are_no_pieces(tmp_path, ending):
    (tmp_path / "vocab.txt").write_bytes(("\n".join(PIECES) + ending).encode())
    assert read_tokenizer(tmp_path).vocab_size == len(PIECES)


def test_an_empty_line_takes_up_an_id(tmp_path):
    write_vocab(tmp_path, [*PIECES, "", "end"])
    assert read_tokenizer(tmp_path).vocab()["end"] == len(PIECES) + 1


def test_the_later_of_two_equal_pieces_counts(tmp_path):
    write_vocab(tmp_path, [*PIECES, "cat"])
    assert read_tokenizer(tmp_path).vocab()["cat"] == len(PIECES)


@pytest.mark.parametrize(("extra", "expected"), [([], ["cat"]), (["Cat"] * 30, ["Cat"])])
def test_without_a_flag_the_vocabulary_decides_about_letter_case(tmp_path, extra, expected, caplog):
    caplog.set_level("INFO", logger="sentvec")
    vocab = [*PIECES, *(f"{word}{i or ''}" for i, word in enumerate(extra))]
    (tmp_path / "vocab.txt").write_bytes("\n".join(vocab).encode())
    assert pieces(tmp_path, "Cat") == expected
    assert "no do_lower_case is set" in caplog.text


def test_special_tokens_written_as_objects(tmp_path):
    vocab = ["<unk>", "<s>", "</s>", "a"]
    names = {"unk_token": "<unk>", "cls_token": {"content": "<s>", "lstrip": False}, "sep_token": "</s>"}
    write_vocab(tmp_path, vocab, **names)
    assert read_tokenizer(tmp_path).encode(["a"])[0].ids == [1, 3, 2]


def test_vocab_and_merges(tmp_path):
    tiny_roberta(tmp_path)
    assert pieces(tmp_path, "the cating") == ["the", "Ġcat", "ing"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no tokeniser. Looked for: tokenizer.json"),
        ({"sentencepiece.bpe.model": b""}, "sentencepiece.bpe.model, which must be converted"),
        ({"vocab.txt": b"a\nb\n"}, r"no \[UNK\], \[CLS\], \[SEP\]"),
        ({"vocab.txt": b""}, r"no \[UNK\], \[CLS\], \[SEP\]"),
        ({"vocab.txt": b"\xff\xfe\x00"}, "cannot be read as UTF-8"),
        ({"tokenizer.json": b"{"}, "cannot be read as JSON"),
        ({"tokenizer.json": b"[]"}, "should hold a JSON object"),
        ({"tokenizer.json": b"{}"}, "is not a usable tokeniser"),
        ({"tokenizer.json": b""}, "cannot be read as JSON"),
        ({"vocab.json": b"[1]", "merges.txt": b""}, "should hold a JSON object"),
        ({"vocab.json": b'{"a": "b"}', "merges.txt": b""}, "map every piece to a number"),
        ({"vocab.json": b'{"a": -1}', "merges.txt": b""}, "map every piece to a number"),
        ({"vocab.json": b'{"a": 1}', "merges.txt": b"a b c\n"}, "is not two pieces"),
        ({"vocab.json": b'{"a": 1}', "merges.txt": b"a b\n"}, "no <s>, </s>"),
        ({"vocab.json": b'{"a": 1}'}, "holds no tokeniser"),
    ],
)
def test_broken_files_are_one_clear_error(tmp_path, files, said):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TokenizerError, match=said):
        read_tokenizer(tmp_path)


@pytest.mark.parametrize("flag", ["do_lower_case", "strip_accents", "tokenize_chinese_chars"])
def test_flags_that_are_neither_true_nor_false(tmp_path, flag):
    write_vocab(tmp_path, **{flag: "false"})
    with pytest.raises(TokenizerError, match=f"{flag} is 'false', which should be true or false"):
        read_tokenizer(tmp_path)


def test_a_broken_tokenizer_config(tmp_path):
    write_vocab(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[1, 2]")
    with pytest.raises(ConfigError, match=r"tokenizer_config\.json should hold a JSON object"):
        read_tokenizer(tmp_path)


@pytest.fixture
def with_json(tmp_path):
    """A folder with a tokenizer.json that says `lower`, and a tokenizer_config.json of the caller's."""
    words = ["Hello", "hello", "CAFÉ", "café", "cafe"]

    def write(lower, config):
        write_vocab(tmp_path, [*PIECES, *words])
        content = json.loads(read_tokenizer(tmp_path).to_json())
        content["normalizer"]["lowercase"] = lower
        write_json(tmp_path / "tokenizer.json", content)
        (tmp_path / "vocab.txt").unlink()
        write_json(tmp_path / "tokenizer_config.json", config)
        return tmp_path

    return write


CONFIGS = [
    {"tokenizer_class": kind} | flags
    for kind in ("BertTokenizer", "BertTokenizerFast", "PreTrainedTokenizerFast")
    for flags in (
        {"do_lower_case": True},
        {"do_lower_case": False},
        {"do_lower_case": True, "strip_accents": False},
        {"do_lower_case": False, "strip_accents": True},
        {"do_lower_case": True, "strip_accents": None},
        {"do_lower_case": True, "tokenize_chinese_chars": False},
    )
]


@pytest.mark.oracle
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_contradicting_files_are_read_as_the_reference_reads_them(with_json, lower, config):
    transformers = pytest.importorskip("transformers")
    folder = with_json(lower, config)
    text = "Hello CAFÉ 你好cat"
    assert (
        read_tokenizer(folder).encode([text])[0].ids
        == transformers.AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    )


@pytest.mark.parametrize(("lower", "expected"), [(True, ["hello"]), (False, ["Hello"])])
@pytest.mark.parametrize("config", [{"tokenizer_class": "BertTokenizer"}, {"do_lower_case": None}, {}])
def test_without_a_flag_tokenizer_json_is_believed(with_json, lower, expected, config):
    assert pieces(with_json(lower, config), "Hello") == expected


def test_vocabulary_of_the_wrong_size_is_refused(tmp_path):
    from tests.builders import tiny_bert

    from sentvec.checkpoint.load import load

    tiny_bert(tmp_path)
    write_vocab(tmp_path, [*PIECES, "one", "more"])
    with pytest.raises(TokenizerError, match=f"ids up to {len(PIECES) + 1}, but .* {len(PIECES)} rows"):
        load(tmp_path)


def test_byte_pairs_get_no_bert_flags(tmp_path):
    tiny_roberta(tmp_path)
    write_json(tmp_path / "tokenizer_config.json", {"do_lower_case": True, "add_prefix_space": True})
    assert pieces(tmp_path, "the") == ["Ġthe"]
    write_json(tmp_path / "tokenizer_config.json", {"add_prefix_space": 1})
    with pytest.raises(ModelError, match="add_prefix_space is 1"):
        read_tokenizer(tmp_path)


def test_byte_vocab_has_roberta_ids():
    vocab, _ = byte_vocab()
    assert [vocab[piece] for piece in ("<s>", "<pad>", "</s>", "<unk>")] == [0, 1, 2, 3]
