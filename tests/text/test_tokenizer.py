"""Texts become the ids that the reference gives, cut where it cuts, from whatever thread; bad input is named."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import PIECES, byte_vocab
from tokenizers import Tokenizer as Backend
from tokenizers.models import BPE, WordLevel

from sentvec.checkpoint.tokenizer import read_tokenizer
from sentvec.errors import InvalidInput, TokenizerError
from sentvec.text.build import WordPieceOptions, byte_bpe, wordpiece
from sentvec.text.tokenizer import Tokenizer

HARD = [
    "Here is some text",
    "Ünïcödé café naïve Ångström ÉCOLE ß ẞ İstanbul ſ",
    "你好么？我喜欢 Machine学习 3.14",
    "emoji 👩‍👩‍👧 😀🏽 é",
    "ctrl \x00\x01\x07 \x7f \u200b zero\u200dwidth \ufeff \ufffd",
    "a" * 100,
    "a" * 101,
    "x " + "b" * 300 + " y",
    "literal [SEP] and [CLS][MASK] [PAD]ok [UNK] [mask]",
    "tab\tnew\nline\r\n\u2028 \u2029 \u3000 \xa0 x",
    "",
    "   ",
    "한국어 텍스트 日本語カタカナ ｶﾀｶﾅ ﬁ ﬂ ﷺ",
    "don't can't it's $5.00 ¿qué? «x» —–-",
    "\U00020000\U0002a6df 𠀋 \U0001d400 𝔘",
    "e\u0301 n\u0303 \u0301alone",
    "<s> </s> <pad> hi",
    "hello [SEP]world [unused1]",
]


@pytest.fixture(scope="module")
def tiny():
    return Tokenizer(wordpiece({piece: i for i, piece in enumerate(PIECES)}, WordPieceOptions()))


def test_longest_piece_wins_from_the_left(tiny):
    assert tiny.tokens(tiny.encode(["unaffable"])[0].ids) == ["[CLS]", "un", "##aff", "##able", "[SEP]"]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        (
            "bert-base-uncased",
            "Here is some text to encode",
            [101, 2182, 2003, 2070, 3793, 2000, 4372, 16044, 102],
        ),
        ("bert-base-chinese", "你好么？", [101, 872, 1962, 720, 8043, 102]),
    ],
)
def test_published_ids(shared_data, name, text, ids):
    tokenizer = read_tokenizer(shared_data / "tokenizers" / name)
    assert tokenizer.encode([text])[0].ids == ids
    assert tokenizer.encode([text])[0].types == [0] * len(ids)


@pytest.mark.data
def test_published_pieces(shared_data):
    tokenizer = read_tokenizer(shared_data / "tokenizers" / "bert-base-uncased")
    assert tokenizer.tokens(tokenizer.encode(["unaffable"])[0].ids)[1:-1] == ["una", "##ffa", "##ble"]


def theirs(name, folder):
    from transformers import BertTokenizer, RobertaTokenizer

    if name == "roberta-base":
        return RobertaTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    return BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=name not in CASED)


CASED = ("bert-base-cased", "bert-base-multilingual-cased")
NAMES = ["bert-base-uncased", "bert-base-chinese", *CASED, "roberta-base"]


@pytest.fixture(scope="module", params=NAMES)
def both(request, shared_data, tmp_path_factory):
    """Our tokeniser and the reference's, both from the vocabulary files alone."""
    folder = shared_data / "tokenizers" / request.param
    bare = tmp_path_factory.mktemp("vocab")
    for file in ("vocab.txt", "vocab.json", "merges.txt"):
        if (folder / file).is_file():
            (bare / file).symlink_to(folder / file)
    pytest.importorskip("transformers")
    return read_tokenizer(bare), theirs(request.param, folder)


@pytest.mark.data
@pytest.mark.oracle
def test_single_texts_equal_the_reference(both):
    ours, reference = both
    for text in HARD:
        ids = ours.encode([text])[0].ids
        assert ids == reference(text)["input_ids"], text
        decoded = reference.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert ours.decode(ids) == decoded, text


@pytest.mark.data
@pytest.mark.oracle
def test_pairs_equal_the_reference(both):
    ours, reference = both
    for first in HARD[:4]:
        for second in filter(None, HARD):  # the reference takes an empty second text for none
            got, expected = ours.encode([(first, second)])[0], reference(first, second, return_token_type_ids=True)
            assert (got.ids, got.types) == (expected["input_ids"], expected["token_type_ids"])


@pytest.mark.data
@pytest.mark.oracle
def test_cut_texts_and_pairs_equal_the_reference(both):
    ours, reference = both
    draw = random.Random(4)
    words = ["hello", "world", "cat", "unaffable", "你", "3.5"]
    for _ in range(200):
        first, second = (" ".join(draw.choices(words, k=draw.randint(1, 30))) for _ in range(2))
        most = draw.randint(5, 45)
        assert ours.encode([first], most)[0].ids == reference(first, truncation=True, max_length=most)["input_ids"]
        got = ours.encode([(first, second)], most)[0]
        expected = reference(first, second, truncation=True, max_length=most, return_token_type_ids=True)
        assert (got.ids, got.types) == (expected["input_ids"], expected["token_type_ids"])
        whole = ours.encode([(first, second)])[0]
        assert got.lost == len(whole) - len(got)
        reference.truncation_side = "left"
        try:
            assert (
                ours.encode([first], most, left=True)[0].ids
                == reference(first, truncation=True, max_length=most)["input_ids"]
            )
            got = ours.encode([(first, second)], most, left=True)[0]
            expected = reference(first, second, truncation=True, max_length=most, return_token_type_ids=True)
            assert (got.ids, got.types) == (expected["input_ids"], expected["token_type_ids"])
        finally:
            reference.truncation_side = "right"


@pytest.mark.data
@pytest.mark.oracle
@pytest.mark.parametrize(
    "name", ["all-MiniLM-L6-v2", "bge-small-zh-v1.5", "uer-chinese_roberta_L-2_H-128", "../tokenizers/roberta-base"]
)
def test_published_tokenizer_json_equals_the_reference(shared_data, name):
    transformers = pytest.importorskip("transformers")
    folder = shared_data / "configs" / name
    ours, reference = read_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder)
    for text in HARD:
        assert ours.encode([text])[0].ids == reference(text, padding=False, truncation=False)["input_ids"], text


@pytest.mark.data
def test_baked_in_truncation_and_padding_do_not_win(shared_data):
    tokenizer = read_tokenizer(shared_data / "configs" / "all-MiniLM-L6-v2")  # its file says 128 for both
    assert len(tokenizer.encode(["cat " * 300])[0]) == 302
    assert len(tokenizer.encode(["cat"])[0]) == 3
    cut = tokenizer.encode(["cat " * 300], max_length=200)[0]
    assert (len(cut), cut.lost) == (200, 102)
    saved = tokenizer.to_json()
    assert '"truncation":null' in saved
    assert '"padding":null' in saved


def test_spans_point_at_the_text(tiny):
    text = "  The cats, 你好"
    assert [text[a:b] for a, b in tiny.spans(text)] == ["The", "cat", "s", ",", "你", "好"]
    assert tiny.spans("") == []


def test_decode_keeps_special_tokens_when_asked(tiny):
    ids = tiny.encode(["the cats"])[0].ids
    assert tiny.decode(ids) == "the cats"
    assert tiny.decode(ids, skip_special_tokens=False) == "[CLS] the cats [SEP]"


def test_unknown_ids_have_a_name(tiny):
    assert tiny.tokens([99999]) == ["<99999>"]


@pytest.mark.parametrize("odd", [-1, 1 << 40])
def test_ids_that_cannot_be_are_named(tiny, odd):
    for read in (tiny.tokens, tiny.decode):
        with pytest.raises(InvalidInput, match=f"token id {odd} cannot be"):
            read([2, odd])


def test_words_longer_than_a_hundred_letters_are_unknown(tiny):
    assert tiny.tokens(tiny.encode(["a" * 101])[0].ids) == ["[CLS]", "[UNK]", "[SEP]"]
    assert len(tiny.encode(["a" * 100])[0]) == 102


@pytest.mark.parametrize("most", [2, 1, 0])
def test_no_room_for_text_leaves_the_special_tokens(tiny, most):
    cut = tiny.encode(["the cat"], max_length=most)[0]
    assert tiny.tokens(cut.ids) == ["[CLS]", "[SEP]"]
    assert cut.lost == 2


@given(st.lists(st.text(max_size=40), max_size=6))
def test_texts_do_not_see_each_other(texts):
    tokenizer = Tokenizer(wordpiece({piece: i for i, piece in enumerate(PIECES)}, WordPieceOptions()))
    assert tokenizer.encode(texts) == [tokenizer.encode([text])[0] for text in texts]


def test_threads_get_the_ids_they_would_get_alone(tiny):
    draw = random.Random(0)
    jobs = [
        ([" ".join(draw.choices(["the", "cats", "unaffable", "你"], k=n)) for n in range(1, 40)], draw.randint(3, 20))
        for _ in range(64)
    ]
    alone = [tiny.encode(texts, most) for texts, most in jobs]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda job: tiny.encode(*job), jobs)) == alone


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (None, "NoneType"),
        (3, "int"),
        (b"bytes", "bytes"),
        (["nested", "list", "of three"], "list"),
        ([], "list"),
        (("a", None), "tuple"),
        (float("nan"), "float"),
        ({"text": "a"}, "dict"),
        ("\ud800", "surrogate"),
        ("fine \udcff", "character 5"),
        (("fine", "\ud800"), "surrogate"),
    ],
)
def test_what_is_no_text_is_named_by_its_position(tiny, bad, said):
    with pytest.raises(InvalidInput, match="text 7 is .*" + said):
        tiny.encode(["fine", "fine too", bad], places=[5, 6, 7])


def test_spans_of_a_broken_text_are_refused(tiny):
    with pytest.raises(InvalidInput, match="surrogate"):
        tiny.spans("\ud800")


def test_layout_of_roberta_pairs():
    vocab, merges = byte_vocab()
    tokenizer = Tokenizer(byte_bpe(vocab, merges))
    pair = tokenizer.encode([("the", "cat")])[0]
    assert tokenizer.tokens(pair.ids) == ["<s>", "the", "</s>", "</s>", "cat", "</s>"]
    assert pair.types == [0] * 6
    assert tokenizer.kind == "BPE"
    assert tokenizer.special_tokens == 2


def test_a_vocabulary_that_cannot_say_a_is_refused():
    with pytest.raises(TokenizerError, match="not usable"):
        Tokenizer(Backend(BPE({}, [])))
    with pytest.raises(TokenizerError, match=r"Missing \[UNK\]"):
        Tokenizer(Backend(WordLevel({}, unk_token="[UNK]")))


def test_unknown_pieces_without_a_piece_for_them_are_an_error():
    tokenizer = Tokenizer(Backend(WordLevel({"a": 0}, unk_token="[UNK]")))
    assert tokenizer.encode(["a"])[0].ids == [0]
    with pytest.raises(TokenizerError, match=r"Missing \[UNK\]"):
        tokenizer.encode(["b"])


@pytest.mark.parametrize(
    ("text", "limit", "sources"),
    [
        ("the cat [SEP]", None, [None, 0, 0, 0, None]),  # what a text says is its own
        (("the cat", "dog"), None, [None, 0, 0, None, 1, None]),
        (("the cat sat on", "dog"), 6, [None, 0, 0, None, 1, None]),
        (("", "dog"), None, [None, None, 1, None]),
        ("", None, [None, None]),
    ],
)
def test_sources_tell_whose_each_token_is(tiny, text, limit, sources):
    assert tiny.sources(text, limit) == sources
    assert len(tiny.encode([text], limit)[0]) == len(sources)


def test_special_tokens_are_named(tiny):
    assert list(tiny.special().items())[:3] == [("[PAD]", 0), ("[UNK]", 1), ("[CLS]", 2)]
