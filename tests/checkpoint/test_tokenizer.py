"""Tokeniser files in every shape they come in; the reference's choice where two files disagree."""

from __future__ import annotations

import json

import pytest
from tests.builders import PIECES, byte_vocab, tiny_bert, tiny_roberta, write_json, write_vocab

from sentvec.checkpoint.load import load
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


N = len(PIECES)
ADDED_TEXTS = ["the [E1] cat New York [E2]x dog NEW york the[E1]cat", " new york", "[SEP] <mask> dog"]


def entry(content, *, special=False, normalized=True, **more):
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": normalized, "special": special}
    return {"content": content} | flags | more


ADDED = {
    "added_tokens.json": ({"[E2]": N + 1, "[E1]": N, "new york": N + 2, "dog": PIECES.index("dog")}, {}),
    "in another case": ({"[E2]": N, "New York": N + 1}, {"do_lower_case": False}),
    "of a role": ({"[E1]": N}, {"bos_token": "[E1]"}),
    "added_tokens_decoder": (
        {"left out": 7},  # the other file is not looked at
        {
            "added_tokens_decoder": {
                str(N): entry("[E1]", special=True, normalized=False),
                str(N + 1): entry("New York", single_word=True),
                "3": entry("[SEP]", special=True, normalized=False),
            }
        },
    ),
}


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ADDED)
def test_tokens_added_to_a_vocabulary_are_those_of_the_reference(tmp_path, kind):
    transformers = pytest.importorskip("transformers")
    added, config = ADDED[kind]
    tiny_bert(tmp_path)
    write_vocab(tmp_path, **config)
    write_json(tmp_path / "added_tokens.json", added)
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = read_tokenizer(tmp_path)
    for text in ADDED_TEXTS:
        assert ours.encode([text])[0].ids == reference(text)["input_ids"], text
    assert any(N in ours.encode([text])[0].ids for text in ADDED_TEXTS)


@pytest.mark.oracle
def test_tokens_added_to_byte_pairs_are_those_of_the_reference(tmp_path):
    transformers = pytest.importorskip("transformers")
    tiny_roberta(tmp_path)
    n = len(byte_vocab()[0])
    write_json(tmp_path / "added_tokens.json", {"[E1]": n, "new york": n + 1})
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ADDED_TEXTS[:2]:
        assert read_tokenizer(tmp_path).encode([text])[0].ids == reference(text)["input_ids"], text


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ({"[E1]": N + 1}, f"id {N + 1}, but behind the vocabulary it has {N}"),
        ({"dog": N}, f"gives 'dog' the id {N}, but"),
        ({"[E1]": N, "[E2]": N}, "They are not of the same model"),
        ({"[E1]": "x"}, "texts with a number each"),
        ({"[E1]": N + 0.5}, "texts with a number each"),
        ([1], "should hold a JSON object"),
    ],
)
def test_added_tokens_that_do_not_fit(tmp_path, added, said):
    write_vocab(tmp_path)
    write_json(tmp_path / "added_tokens.json", added)
    with pytest.raises(TokenizerError, match=said):
        read_tokenizer(tmp_path)


@pytest.mark.parametrize("given", [[1], None, {str(N): "a"}, {str(N): {}}, {str(N): {"content": 3}}, {"x": entry("a")}])
def test_an_added_tokens_decoder_that_cannot_be(tmp_path, given):
    write_vocab(tmp_path, added_tokens_decoder=given)
    with pytest.raises(TokenizerError, match="texts with a number each"):
        read_tokenizer(tmp_path)


@pytest.mark.oracle
def test_special_tokens_named_in_a_file_of_their_own(tmp_path):
    transformers = pytest.importorskip("transformers")
    tiny_bert(tmp_path)
    write_vocab(tmp_path, [*PIECES, "<q>", "<p>"])
    write_json(tmp_path / "special_tokens_map.json", {"sep_token": "<q>", "cls_token": {"content": "<p>"}})
    expected = transformers.AutoTokenizer.from_pretrained(tmp_path)("the cat")["input_ids"]
    assert read_tokenizer(tmp_path).encode(["the cat"])[0].ids == expected
    assert (expected[0], expected[-1]) == (N + 1, N)


def sequence(letter, kind=0):
    return {"Sequence": {"id": letter, "type_id": kind}}


def token(name, kind=0):
    return {"SpecialToken": {"id": name, "type_id": kind}}


def template(single=None, pair=None, ids=(2,), special=None):
    cls, a, b = token("[CLS]"), sequence("A"), sequence("B", 1)
    known = {"[CLS]": {"id": "[CLS]", "ids": list(ids), "tokens": ["[CLS]"]}}
    return {
        "type": "TemplateProcessing",
        "single": single or [cls, a],
        "pair": pair or [cls, a, b],
        "special_tokens": known if special is None else special,
    }


def altered(folder, **changes):
    """Write a model whose tokenizer.json is the right one but for what is said."""
    tiny_bert(folder)
    write_json(folder / "tokenizer.json", json.loads(read_tokenizer(folder).to_json()) | changes)
    return folder


@pytest.mark.parametrize(
    ("processor", "said"),
    [
        (template(ids=[N]), f"puts token {N} around a text, but the model's vocabulary has {N} rows"),
        (template(single=[token("[CLS]", 2), sequence("A")]), "uses token type 2, but the model has 2 types"),
        (template(pair=[sequence("A"), sequence("B", 5)]), "uses token type 5, but the model has 2 types"),
        (template(single=[token("[CLS]")]), "its post-processor leaves the text out"),
        (template(single=[token("[CLS]"), token("[CLS]")]), "its post-processor leaves the text out"),
        (template(pair=[token("[CLS]"), sequence("A")]), "does not lay out a pair of texts as"),
        (template(single=[sequence("A"), token("[CLS]"), sequence("A", 1)]), "does not lay out a text as"),
        (template(single=[sequence("A"), sequence("B")]), "cannot encode the text 'a'"),
        (template(special={}), "cannot encode the text 'a'|not a usable"),
        ({"type": "Sequence", "processors": [template(), template()]}, "text 'a'|does not lay out"),
    ],
)
def test_layouts_that_cannot_be(tmp_path, processor, said):
    with pytest.raises(TokenizerError, match=said):
        load(altered(tmp_path, post_processor=processor))


def test_layouts_as_they_should_be(tmp_path):
    tokenizer = load(altered(tmp_path, post_processor=template())).tokenizer
    assert tokenizer.encode([("the", "cat")])[0].types == [0, 0, 1]


@pytest.mark.parametrize("charsmap", ["AA==", "", "////"])
def test_a_library_that_panics_is_an_error_like_others(tmp_path, charsmap):
    altered(tmp_path, normalizer={"type": "Precompiled", "precompiled_charsmap": charsmap})
    with pytest.raises(TokenizerError):
        load(tmp_path)


def test_chunks_of_no_length(tmp_path):
    with pytest.raises(TokenizerError):
        load(altered(tmp_path, pre_tokenizer={"type": "FixedLength", "length": 0}))


@pytest.mark.parametrize("merges", [["a b"], [["a", "b"]], [["a"]], [3]])
def test_merges_shorter_than_their_prefix(tmp_path, merges):
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": merges, "continuing_subword_prefix": "####"}
    with pytest.raises(TokenizerError, match="does not merge with a piece in '####'"):
        read_tokenizer(altered(tmp_path, model=model))


@pytest.mark.parametrize("merges", [["a ##b"], [["a", "##b"]]])
def test_merges_with_a_prefix(tmp_path, merges):
    model = {"type": "BPE", "vocab": {"a": 0, "##b": 1, "ab": 2}, "merges": merges, "continuing_subword_prefix": "##"}
    model |= {"unk_token": "a"}
    altered(tmp_path, model=model, added_tokens=[], post_processor=None)
    assert read_tokenizer(tmp_path).encode(["ab"])[0].ids == [2]
