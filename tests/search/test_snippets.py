"""An extract is short, on one line, and holds the sentence that answers."""

from __future__ import annotations

from sentvec.search.snippets import one_line, snippets
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
