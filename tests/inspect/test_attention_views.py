"""The head, model and neuron views: pointing and clicking change what they show, and their numbers are the trace's."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from tests.builders import tiny_bert

from sentvec import Embedder
from sentvec.errors import InvalidInput
from sentvec.inspect.capture import trace
from sentvec.inspect.views import head_view, model_view, neuron_view

VIEWS = {"head": head_view, "model": model_view, "neuron": neuron_view}
FROM, TO = ".column.from .token", ".column.to .token"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Embedder.from_pretrained(tiny_bert(tmp_path_factory.mktemp("m") / "m"))


@pytest.fixture(scope="module")
def pair(model):
    return trace(model, "the cat sat", "dog on mat", qkv=True)


def nth(css, number):
    return f"{css}:nth-child({number + 1})"


def menu(seen, label):
    """Return a selector of the menu with this label."""
    seen.run(
        "for (const l of document.querySelectorAll('label')) if (l.innerText.trim().startsWith(arguments[0]))"
        "l.querySelector('select').dataset.label = arguments[0]",
        label,
    )
    return f'select[data-label="{label}"]'


class TestHeadView:
    def test_pointing_at_a_token_names_what_it_looks_at(self, shown, pair):
        seen = shown(head_view(pair))
        before = seen.text(".readout"), seen.pixels("canvas")
        seen.hover(nth(FROM, 2))
        mean = pair.attentions[0, :, 2].mean(axis=0)
        best = np.argsort(-mean)[0]
        assert seen.text(".readout").startswith(f"“cat” (3) looks at {pair.tokens[best]} ({best + 1}) {mean[best]:.3f}")
        assert seen.pixels("canvas") != before[1]
        stripes = seen.attributes(TO, "style")[best]
        assert "linear-gradient" in stripes
        seen.hover("h1")
        assert (seen.text(".readout"), seen.pixels("canvas")) == before

    def test_pointing_at_the_right_side_names_who_looks(self, shown, pair):
        seen = shown(head_view(pair))
        seen.hover(nth(TO, 6))
        mean = pair.attentions[0, :, :, 6].mean(axis=0)
        best = np.argsort(-mean)[0]
        assert f"is looked at by {pair.tokens[best]} ({best + 1}) {mean[best]:.3f}" in seen.text(".readout")

    def test_a_click_keeps_a_token(self, shown, pair):
        seen = shown(head_view(pair))
        seen.click(nth(FROM, 3))
        seen.hover("h1")
        seen.run("document.activeElement.blur()")
        assert seen.text(".readout").startswith("“sat” (4) looks at")
        seen.click(nth(FROM, 3))
        seen.hover("h1")
        seen.run("document.activeElement.blur()")
        assert seen.text(".readout").startswith("Point at a token")

    def test_layers_and_heads_are_chosen(self, shown, pair):
        seen = shown(head_view(pair))
        pictures = {seen.pixels("canvas")}
        seen.choose(menu(seen, "Layer"), "1")
        pictures.add(seen.pixels("canvas"))
        seen.click(".head:nth-of-type(2)")
        assert seen.attributes(".head", "aria-pressed") == ["true", "false", "true", "true"]
        pictures.add(seen.pixels("canvas"))
        seen.run("document.querySelectorAll('.head')[2].dispatchEvent(new MouseEvent('dblclick'))")
        assert seen.attributes(".head", "aria-pressed") == ["false", "false", "true", "false"]
        pictures.add(seen.pixels("canvas"))
        assert len(pictures) == 4
        seen.hover(nth(FROM, 1))
        row = pair.attentions[1, 2, 1]
        assert f"{row.max():.3f}" in seen.text(".readout")
        assert "layer 2, head 3" in seen.text(".readout")

    @pytest.mark.parametrize(("filter_", "left", "right"), [("AA", 0, 0), ("AB", 0, 1), ("BA", 1, 0), ("BB", 1, 1)])
    def test_one_text_looks_at_the_other(self, shown, pair, filter_, left, right):
        seen = shown(head_view(pair))
        everything = seen.pixels("canvas")
        seen.choose(menu(seen, "From"), filter_)
        texts = [[t for t, s in zip(pair.tokens, pair.segments, strict=True) if s == side] for side in (left, right)]
        assert [seen.texts(FROM), seen.texts(TO)] == texts
        assert seen.pixels("canvas") != everything

    def test_keys_are_enough(self, shown, pair):
        seen = shown(head_view(pair))
        seen.focus(nth(FROM, 2))
        assert seen.text(".readout").startswith("“cat” (3) looks at")
        seen.press("Enter")
        assert seen.attributes(FROM, "aria-pressed")[2] == "true"


class TestModelView:
    def test_there_is_a_picture_of_every_head(self, shown, pair):
        seen = shown(model_view(pair))
        assert seen.run("return document.querySelectorAll('.thumb').length") == 8
        pictures = seen.run("return [...document.querySelectorAll('.thumb canvas')].map(c => c.toDataURL())")
        assert len(set(pictures)) == 8

    def test_pointing_says_what_a_head_mostly_does(self, shown, pair):
        n = len(pair)
        before = np.zeros_like(pair.attentions)
        before[..., 0, 0] = 1
        before[..., range(1, n), range(n - 1)] = 1
        seen = shown(model_view(replace(pair, attentions=before)))
        seen.hover(".thumb")
        assert seen.text(".readout").startswith("Layer 1, head 1: on average 1.000 to the token before")

    def test_a_click_enlarges_and_escape_goes_back(self, shown, pair):
        seen = shown(model_view(pair))
        assert not seen.run("return document.querySelector('dialog').open")
        seen.click('.thumb[aria-label="layer 2, head 3"]')
        assert seen.text("dialog h2") == "Layer 2, head 3"
        large = "dialog .body canvas"
        width = seen.run("return document.querySelector(arguments[0]).getBoundingClientRect().width", large)
        cell = width / len(pair)
        picture = seen.pixels(large)
        seen.hover_corner(large, 2.5 * cell, 5.5 * cell)
        share = pair.attentions[1, 2, 5, 2]
        assert seen.text("dialog .readout") == f"“dog” (6) looks at “cat” (3): {share:.4f}"
        seen.click("dialog .group button:nth-child(4)")
        assert seen.text("dialog h2") == "Layer 2, head 4"
        assert seen.pixels(large) != picture
        seen.press("Escape")
        assert not seen.run("return document.querySelector('dialog').open")

    def test_arrow_keys_walk_through_the_grid(self, shown, pair):
        seen = shown(model_view(pair))
        seen.focus(".thumb")
        seen.press("Down", "Right", "Right", "Left")
        assert seen.text(".readout").startswith("Layer 2, head 2")
        seen.press("Enter")
        assert seen.text("dialog h2") == "Layer 2, head 2"

    def test_filters_apply_to_pictures_and_to_the_large_one(self, shown, pair):
        seen = shown(model_view(pair))
        picture = seen.pixels(".thumb canvas")
        seen.choose(menu(seen, "From"), "BA")
        assert seen.pixels(".thumb canvas") != picture
        seen.click(".thumb")
        seen.focus("dialog .matrix")
        seen.press("Down")
        assert seen.text("dialog .readout").startswith("“dog” (6) looks at “[CLS]” (1)")


class TestNeuronView:
    def test_numbers_are_those_of_the_trace(self, shown, pair):
        seen = shown(neuron_view(pair))
        q, k = pair.queries[0, 0, 1], pair.keys[0, 0]
        scores = [float(text.replace("−", "-")) for text in seen.texts(".scores .dot")]
        np.testing.assert_allclose(scores, k @ q / 8**0.5, atol=6e-4)
        np.testing.assert_allclose([float(t) for t in seen.texts(".share")], pair.attentions[0, 0, 1], atol=6e-4)

    def test_a_click_chooses_whose_query_it_is(self, shown, pair):
        seen = shown(neuron_view(pair))
        pictures = seen.pixels(".products"), seen.pixels(".keys"), seen.pixels(".query")
        seen.click(nth(FROM, 6))
        assert seen.text(".readout").startswith(f"“{pair.tokens[6]}” (7) looks")
        np.testing.assert_allclose([float(t) for t in seen.texts(".share")], pair.attentions[0, 0, 6], atol=6e-4)
        now = seen.pixels(".products"), seen.pixels(".keys"), seen.pixels(".query")
        assert (now[0] != pictures[0], now[1] == pictures[1], now[2] != pictures[2]) == (True, True, True)

    def test_pointing_at_a_cell_says_its_product(self, shown, pair):
        seen = shown(neuron_view(pair))
        seen.choose(menu(seen, "Layer"), "1")
        seen.choose(menu(seen, "Head"), "3")
        width = seen.run("return document.querySelector('.products').getBoundingClientRect().width")
        seen.hover_corner(".products", 2.5 * width / 8, 4.5 * 22)
        q, k = pair.queries[1, 3, 1, 2], pair.keys[1, 3, 4, 2]
        said = seen.text(".readout").replace("−", "-")
        numbers = [float(x) for x in re.findall(r"-?\d+\.\d+", said)]
        assert said.startswith("number 3 of 8: query")
        np.testing.assert_allclose(numbers[:3], [q, k, q * k], atol=6e-4)

    def test_filters_leave_shares_as_they_are(self, shown, pair):
        seen = shown(neuron_view(pair))
        seen.choose(menu(seen, "From"), "BA")
        first = int(np.flatnonzero(pair.segments)[0])
        of_a = pair.segments == 0
        assert seen.texts(TO) == [t for t, a in zip(pair.tokens, of_a, strict=True) if a]
        np.testing.assert_allclose(
            [float(t) for t in seen.texts(".share")], pair.attentions[0, 0, first][of_a], atol=6e-4
        )

    def test_arrow_keys_choose_the_next_token(self, shown, pair):
        seen = shown(neuron_view(pair))
        seen.focus(nth(FROM, 1))
        seen.press("Down", "Down", "Up")
        assert seen.text(".readout").startswith("“cat” (3) looks")

    def test_it_says_when_attention_is_more_than_a_softmax_of_products(self, shown, pair):
        assert shown(neuron_view(pair)).texts(".note") == []
        biased = np.roll(pair.attentions, 1, axis=-1)
        seen = shown(neuron_view(replace(pair, attentions=biased)))
        assert seen.texts(".note")[0].startswith("This architecture adds something of its own")

    def test_it_asks_for_queries_and_keys(self, model):
        with pytest.raises(InvalidInput, match="qkv=True"):
            neuron_view(trace(model, "the cat"))


@pytest.mark.parametrize("view", VIEWS)
class TestEveryView:
    def test_one_text_has_no_filters(self, shown, model, view):
        seen = shown(VIEWS[view](trace(model, "the cat", qkv=True)))
        assert not any("From" in label for label in seen.texts("label"))

    @pytest.mark.parametrize("width", [360, 1200])
    def test_128_tokens_fit_and_answer(self, shown, minilm, view, width):
        found = trace(minilm, "the river rose " * 42, qkv=True)
        assert len(found) == 128
        seen = shown(VIEWS[view](found), width=width)
        assert seen.run("return document.documentElement.scrollWidth") <= width
        before = seen.text(".readout")
        began = seen.run("return performance.now()")
        target = {"head": nth(FROM, 100), "model": ".thumb:last-child", "neuron": nth(FROM, 100)}[view]
        seen.click(target) if view == "neuron" else seen.hover(target)
        seen.settle()
        assert seen.text(".readout") != before
        assert (
            seen.run("return performance.now()") - began < 5000
        )  # seconds of a busy machine; drawing itself takes tens of milliseconds
