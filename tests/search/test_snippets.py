"""An extract is short, on one line, and holds the sentence that answers."""

from __future__ import annotations

import pytest

from sentvec.search.snippets import highlights, one_line, snippets
from sentvec.search.types import Hit


def hit(text):
    return Hit("id", 1.0, text, None, None, None, {})


def test_a_short_text_is_shown_whole_and_its_heading_as_such(model):
    assert snippets(model, "cats", [hit("## Cats ##\n\nCats sleep.\nAll day.")]) == ["Cats — Cats sleep. All day."]
    assert model.encoded == []


def test_of_a_long_text_the_best_sentence_is_shown(model):
    filler = [f"Sentence number {n} tells nothing of note." for n in range(20)]
    text = " ".join([*filler[:10], "The zebra eats grass at dawn.", *filler[10:]])
    first, second = snippets(model, "what does the zebra eat", [hit(text), hit("Short.")], room=120)
    assert "The zebra eats grass at dawn." in first
    assert first.startswith("… ") and first.endswith(" …")
    assert len(first) <= 124
    assert second == "Short."


def test_chinese_is_measured_in_cells_and_joined_without_spaces(model):
    text = "".join(f"第{n}句话没有说什么重要的事情。" for n in range(12))
    (shown,) = snippets(model, "第5句话", [hit(text)], room=120)
    assert "…" in shown
    assert len(shown) <= 64
    assert "。 第" not in shown and "。第" in shown
    assert snippets(model, "x", [hit("你好。\n再见\n了！")]) == ["你好。再见了！"]


def test_marks_of_markdown_are_taken_away(model):
    text = "See:\n\n| job | file |\n|-----|:----:|\n| walk | a.py |\n\n```python\nrun()\n```\nDone."
    assert snippets(model, "x", [hit(text)]) == ["See: job | file; walk | a.py; run() Done."]


def test_cells_of_a_row_are_told_apart(model):
    row = Hit(
        "id", 1.0, "date: 1 May\nwhat: dentist\namount: 12", None, None, None, {"what": "dentist", "amount": "12"}
    )
    assert snippets(model, "x", [row]) == ["date: 1 May · what: dentist · amount: 12"]


def test_a_sentence_longer_than_the_room_is_cut(model):
    text = "word " * 100 + "zebra grass dawn " + "word " * 100
    (shown,) = snippets(model, "zebra grass dawn", [hit(text)], room=80)
    assert "zebra" in shown and len(shown) <= 84
    (shown,) = snippets(model, "x", [hit("x" * 1000)], room=80)
    assert len(shown) <= 84


def test_no_control_character_reaches_a_terminal():
    assert one_line("a\x1b[31mb\x07\u202e\nc\u2028d") == "a [31mb c d"


def test_nothing_to_show(model):
    assert snippets(model, "x", []) == []


# Highlights ------------------------------------------------------------------------------------------

LONG = "Nothing here. The zebra eats grass at dawn! 黑猫警长抓老鼠。Nothing here. The end"


def shown(text, found):
    return text[found.start : found.end], [text[a:b] for a, b in found.words]


@pytest.mark.parametrize("by_model", [True, False])
def test_the_sentence_that_answers_and_its_words(model, by_model):
    given = model if by_model else None
    (found,) = highlights("what does the ZEBRA eat at dawn", [hit(LONG)], given)
    assert shown(LONG, found) == ("The zebra eats grass at dawn!", ["The", "zebra", "at", "dawn"])


def test_chinese_words_are_marked_as_one():
    (found,) = highlights("警长抓什么", [hit(LONG)])
    assert shown(LONG, found) == ("黑猫警长抓老鼠。", ["警长抓"])
    (found,) = highlights("鼠", [hit(LONG)])
    assert shown(LONG, found) == ("黑猫警长抓老鼠。", ["鼠"])


def test_a_sentence_that_stands_twice_is_found_where_it_answers():
    text = "Same words. Same words. Another zebra. Same words."
    (found,) = highlights("zebra", [hit(text)])
    assert shown(text, found) == ("Another zebra.", ["zebra"])
    assert (found.start, found.end) == (24, 38)


def test_highlights_of_nothing(model):
    assert highlights("x", []) == highlights("x", [], model) == []
    (found,) = highlights("x", [hit(" ")])
    assert found.words == ()


def test_without_a_model_the_extract_has_most_words():
    filler = [f"Sentence number {n} tells nothing of note." for n in range(20)]
    text = " ".join([*filler[:10], "The zebra eats grass at dawn.", *filler[10:]])
    (extract,) = snippets(None, "what does the zebra eat", [hit(text)], room=120)
    assert "The zebra eats grass at dawn." in extract
