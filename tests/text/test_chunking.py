"""Passages: nothing lost, never over the limit, lines right, cuts where a reader would cut."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentvec.errors import InvalidInput
from sentvec.text import chunking
from sentvec.text.chunking import passages, sentences


def words(text):
    """Tokens: one CJK letter, up to three letters of a word (as word pieces are), or one mark."""
    return [m.span() for m in re.finditer(r"[\u3040-\u9fff]|[^\W_\u3040-\u9fff]{1,3}|_|[^\w\s]", text)]


def texts(text, limit, overlap=0):
    return [passage.text for passage in passages(text, words, limit, overlap)]


PARTS = st.sampled_from(
    [
        "word ",
        "a. ",
        "Dr. Who ",
        "end! ",
        "\n",
        "\r\n",
        "\r",
        "\n\n",
        "# Head\n",
        "Title\n=====\n",
        "- item ",
        "1. ",
        "你好。",
        "吗？",
        "漢字",
        "longerword",
        "...",
        "?!",
        "\u200b",
        "\u2028",
        " ",
        "\t",
        "```\n",
        "🙂",
        "e\u0301",
        '."',
        "|",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    text=st.lists(PARTS | st.text(max_size=5), max_size=60).map("".join),
    limit=st.integers(1, 30),
    share=st.floats(0, 0.99),
)
def test_nothing_is_lost_and_nothing_is_too_long(text, limit, share):
    found = passages(text, words, limit, int(limit * share))
    covered = set()
    for passage in found:
        assert passage.text == text[passage.start : passage.end] == passage.text.strip() != ""
        assert len(words(passage.text)) <= limit
        ends = [m.end() for m in re.finditer(r"\r\n|\n|\r", text)]
        assert passage.line == 1 + sum(end <= passage.start for end in ends)
        assert passage.end_line == 1 + sum(end <= passage.end - 1 for end in ends)
        covered.update(range(passage.start, passage.end))
    assert {i for i, letter in enumerate(text) if not letter.isspace()} <= covered
    places = [(p.start, p.end) for p in found]
    assert places == sorted(places)
    assert all(a.end < b.end for a, b in pairwise(found))  # each one adds something


@pytest.mark.parametrize("text", ["", " ", "\n\r\n\t \n"])
def test_no_text_no_passages(text):
    assert passages(text, words, 10) == []


def test_a_short_text_is_one_passage():
    (only,) = passages("\n  One two.\nThree.  \n", words, 50)
    assert (only.text, only.line, only.end_line, only.start) == ("One two.\nThree.", 2, 3, 3)


def test_neighbours_share_whole_sentences():
    assert texts("Aa bb. Cc dd. Ee ff. Gg hh.", 6, 3) == ["Aa bb. Cc dd.", "Cc dd. Ee ff.", "Ee ff. Gg hh."]
    assert texts("Aa bb. Cc dd. Ee ff. Gg hh.", 6, 2) == ["Aa bb. Cc dd.", "Ee ff. Gg hh."]


def test_default_overlap_is_fifteen_percent():
    text = " ".join(f"s{n} e." for n in range(200))
    assert passages(text, words, 100) == passages(text, words, 100, 15)


def test_chinese_sentences():
    assert texts("你好。他说：“走吧！”我们走了？是的……好；完", 8) == [
        "你好。",
        "他说：“走吧！”",
        "我们走了？",
        "是的……好；完",
    ]


def test_abbreviations_initials_numbers_and_decimals_do_not_end_sentences():
    text = "Dr. Smith of the U.S. army met J. Doe, e.g. on p. 3 for 2.5 h. Then he left... and came back. 1. First."
    assert sentences(text) == [
        "Dr. Smith of the U.S. army met J. Doe, e.g. on p. 3 for 2.5 h.",
        "Then he left... and came back.",
        "1. First.",
    ]


def test_a_heading_begins_a_passage_with_what_follows():
    text = "Intro.\n\n# Top\n\n## Sub one\nBody one. More.\n\nTitle two\n---------\n\nBody two.\n"
    found = passages(text, words, 100)
    assert [p.text.split("\n")[0] for p in found] == ["Intro.", "# Top", "Title two"]
    assert [(p.line, p.end_line) for p in found] == [(1, 1), (3, 6), (8, 11)]


def test_a_heading_is_not_left_alone_at_the_end():
    assert texts("# Aa\n\nBb cc. Dd ee.", 5) == ["# Aa\n\nBb cc.", "Dd ee."]


def test_comments_in_code_are_no_headings():
    assert len(texts("Run:\n\n```sh\n# first\nls\n# second\nls\n```\n\nDone.", 100)) == 1


def test_windows_line_ends():
    found = passages("Aa bb.\r\n\r\n# Head\r\nCc dd.\r\nEe ff.", words, 6, 0)
    assert [(p.text, p.line, p.end_line) for p in found] == [
        ("Aa bb.", 1, 1),
        ("# Head\r\nCc dd.", 3, 4),
        ("Ee ff.", 5, 5),
    ]


def test_cuts_prefer_the_end_of_a_paragraph():
    assert texts("Aa bb. Cc dd.\n\nEe ff. Gg hh. Ii jj.", 9) == ["Aa bb. Cc dd.", "Ee ff. Gg hh. Ii jj."]


def test_a_long_sentence_is_cut_at_a_line_then_a_space_then_anywhere():
    assert texts("aa bb cc\ndd ee ff gg", 4) == ["aa bb cc", "dd ee ff gg"]
    assert texts("aaabbb cccddd eeefff", 5) == ["aaabbb cccddd", "eeefff"]
    assert texts("aaabbbcccdddeee", 2) == ["aaabbb", "cccddd", "eee"]


def test_pieces_of_a_word_are_counted_again():
    def tricky(text):  # as with byte pair encoding: a piece costs more at the start of a text than inside
        inner = [(n, n + 1) for n in range(len(text))]
        return [(0, 1), *inner] if text and text[0] != "^" else inner

    found = passages("^" + "a" * 99, tricky, 10, 0)
    assert "".join(p.text for p in found) == "^" + "a" * 99
    assert all(len(tricky(p.text)) <= 10 for p in found)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 300_000,
        "好" * 300_000,
        "word " * 60_000,
        "!" * 300_000,
        "a." * 150_000,
        ". " * 150_000,
        "\n" * 300_000,
        "\n " * 150_000,
        "# a\n" * 60_000,
        '."' * 150_000,
        "=" * 300_000,
        "===\n" * 60_000,
        "a\n===\n" * 40_000,
    ],
    ids=lambda text: repr(text[:6]),
)
def test_work_grows_in_proportion_to_the_text(text):
    calls = []

    def counted(piece):
        calls.append(len(piece))
        return words(piece)

    covered = "".join("".join(p.text.split()) for p in passages(text, counted, 200, 0))
    assert covered == "".join(text.split())
    assert sum(calls) <= 4 * len(text)  # the whole text once, and pieces of words again


def test_tokens_are_asked_for_in_blocks(monkeypatch):
    monkeypatch.setattr(chunking, "BLOCK", 1000)
    text = "Some words here. " * 500
    sizes = []

    def counted(piece):
        sizes.append(len(piece))
        return words(piece)

    blocks = passages(text, counted, 50)
    assert max(sizes) <= 1000
    assert sum(sizes) == len(text)
    monkeypatch.setattr(chunking, "BLOCK", 10**9)
    assert passages(text, words, 50) == blocks


@pytest.mark.parametrize(("limit", "overlap"), [(0, 0), (-1, None), (10, 10), (10, -1)])
def test_limits_that_cannot_be(limit, overlap):
    with pytest.raises(InvalidInput, match=f"limit is {limit}"):
        passages("text", words, limit, overlap)


@pytest.mark.parametrize("text", ["a " + "1. b " * 20_000, "a " + "1. B " * 20_000, "A. " * 20_000 + "1. b"])
def test_marks_that_end_no_sentence_cost_no_copies(text):
    copied = []

    class Watched(str):
        __slots__ = ()

        def __getitem__(self, key):
            part = super().__getitem__(key)
            copied.append(len(part))
            return part

    assert "".join("".join(sentences(Watched(text))).split()) == "".join(text.split())
    assert sum(copied) <= 4 * len(text)
