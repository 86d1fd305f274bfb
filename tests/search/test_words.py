"""What is a word, in English and Chinese; and no question breaks the query that is made of it."""

from __future__ import annotations

import apsw
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sentvec.search.words import MOST_WORDS, match_query, segmented, words


def table(*texts):
    db = apsw.Connection(":memory:")
    db.execute(
        "CREATE VIRTUAL TABLE words USING fts5(text, content='', contentless_delete=1, "
        "tokenize='porter unicode61 remove_diacritics 2')"
    )
    db.executemany("INSERT INTO words(rowid, text) VALUES (?, ?)", list(enumerate(map(segmented, texts))))
    return db


def found(question, *texts):
    query = match_query(question)
    rows = table(*texts).execute("SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank", (query,)).fetchall()
    return [texts[row] for (row,) in rows]


TEXTS = (
    "The black cat sleeps.",
    "黑猫警长抓老鼠。",
    "这是我的猫",
    "Café Élan",
    "用Python写ＡＢＣ程序",
    "ネコが好き",
    "고양이가",
)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("CATS cat", TEXTS[0:1]),
        ("sleeping", TEXTS[0:1]),
        ("警长", TEXTS[1:2]),
        ("猫", TEXTS[1:3]),  # in the middle of one, at the end of the other
        ("的猫", TEXTS[2:3]),
        ("cafe", TEXTS[3:4]),
        ("CAFÉ", TEXTS[3:4]),
        ("cafe\u0301", TEXTS[3:4]),
        ("python", TEXTS[4:5]),
        ("abc", TEXTS[4:5]),
        ("ｐｙｔｈｏｎ", TEXTS[4:5]),
        ("程", TEXTS[4:5]),
        ("好き", TEXTS[5:6]),
        ("고양이", TEXTS[6:7]),
        ("dog", ()),
        ("鼠猫", ()),
    ],
)
def test_finds_words_whatever_their_case_accents_and_script(question, expected):
    assert set(found(question, *TEXTS)) == set(expected)


def test_a_line_broken_inside_a_chinese_word():
    assert found("警长", "黑猫警\n长抓老鼠") == ["黑猫警\n长抓老鼠"]
    assert found("警\r\n  长", "警长") == ["警长"]


def test_the_text_with_more_and_rarer_words_comes_first():
    texts = ("common words of no note", "common zebra", "common common thing", "other thing", "and another", "one more")
    assert found("common zebra", *texts)[0] == "common zebra"


@pytest.mark.parametrize("question", ["", " ", "!?", "_", "\0", "\ud800", '"', "'", "🙂", "()", "* - ^ : { } + ,"])
def test_a_question_without_words(question):
    assert match_query(question) == ""


@pytest.mark.parametrize("question", ["zebra\0horse", "zebra\ud800horse", "horse_zebra"])
def test_what_cannot_be_stored_parts_words(question):
    texts = {"A zebra.", "A horse.", question}
    assert set(found(question, *texts)) == texts


def test_a_long_question_is_cut():
    assert match_query(" ".join(f"w{n}" for n in range(10_000))).count(" OR ") == MOST_WORDS - 1
    assert match_query("".join(chr(0x4E00 + n % 5000) for n in range(100_000))).count(" OR ") == MOST_WORDS - 1
    assert found(" ".join(f"w{n}" for n in range(10_000)), "w255", "w256") == ["w255"]


nasty = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\"'*():^-+{}[]\\,. ANDORTNE\0\n猫警ｱé\u0301\u0928\u092e\u0947"),
    ),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(question=nasty, text=nasty)
@example(question='NEAR("a" "b", 5)', text="a b")
@example(question='"', text='"')
@example(question="text : a", text="a")
@example(question="𞤀 𖹀 a", text="a")  # letters younger than SQLite's own table of them
def test_no_question_breaks_the_query_and_a_text_finds_itself(question, text):
    db = table(text)
    for asked in (question, text):
        query = match_query(asked)
        if query:
            rows = db.execute("SELECT rowid FROM words WHERE words MATCH ?", (query,)).fetchall()
            assert rows in ([], [(0,)])
            if asked is text and any(c.isascii() and c.isalnum() for c in text):
                assert rows == [(0,)]


@given(nasty)
def test_words_are_found_in_any_text(text):
    assert all(words(word) == {word} for word in words(text) if word.isascii())
