"""The map of texts: pointing names the text, groups and words choose what is seen."""

from __future__ import annotations

import numpy as np
import pytest

from sentvec.errors import InvalidInput
from sentvec.inspect.projection import Projected
from sentvec.inspect.views import map_view

# at the corners and in the middle, so that places on the screen are known
POINTS = np.array([[0.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 2.0], [1.0, 1.0]])
TEXTS = ["lower left", "upper left", "lower right", "<b>upper</b> right", "the middle"]
GROUPS = ["left", "left", "right", "right", "middle"]
CANVAS = "canvas.map"


def on_screen(seen, i):
    width, height = seen.run(
        "const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.width, b.height]", CANVAS
    )
    x, y = POINTS[i] / 2
    return ((x - 0.5) * 0.92 + 0.5) * width, ((0.5 - y) * 0.92 + 0.5) * height


@pytest.fixture
def seen(shown):
    found = Projected(method="pca", points=POINTS, explained=(0.5, 0.25))
    return shown(map_view(found, TEXTS, groups=GROUPS, about="m"))


def test_the_head_says_what_is_kept(seen):
    assert seen.text("#about") == "m · 5 texts · PCA keeps 75 % of the variance"


@pytest.mark.parametrize("i", range(5))
def test_pointing_at_a_dot_reads_its_text(seen, i):
    before = seen.pixels(CANVAS)
    seen.hover_corner(CANVAS, *on_screen(seen, i))
    assert seen.text(".readout") == f"{GROUPS[i]} · {TEXTS[i]} (text {i + 1})"
    assert seen.pixels(CANVAS) != before
    seen.hover("h1")
    assert seen.text(".readout").startswith("Point at a dot")
    assert seen.pixels(CANVAS) == before


def test_a_click_keeps_a_text(seen):
    seen.hover_corner(CANVAS, *on_screen(seen, 4))
    seen.click()
    seen.hover("h1")
    assert seen.text(".readout").startswith("middle · the middle")


def test_a_group_is_switched_off(seen):
    before = seen.pixels(CANVAS)
    assert seen.attributes(".legend button", "data-group") == ["left", "right", "middle"]
    seen.click(".legend button:nth-child(2)")
    assert seen.attributes(".legend button", "aria-pressed") == ["true", "false", "true"]
    assert seen.pixels(CANVAS) != before
    seen.hover_corner(CANVAS, *on_screen(seen, 2))
    assert seen.text(".readout").startswith("Point at a dot")


def test_words_are_looked_for(seen):
    seen.focus("input")
    seen.press(*"UPPER")
    assert seen.text(".controls [role=status]") == "2 of 5"
    seen.hover_corner(CANVAS, *on_screen(seen, 0))
    assert seen.text(".readout").startswith("Point at a dot")
    seen.hover_corner(CANVAS, *on_screen(seen, 1))
    assert seen.text(".readout").startswith("left · upper left")


def test_zooming_moves_points_away_from_the_middle(seen):
    before = seen.pixels(CANVAS)
    seen.click('button[aria-label="zoom in"]')
    assert seen.pixels(CANVAS) != before
    seen.hover_corner(CANVAS, *on_screen(seen, 0))
    assert seen.text(".readout").startswith("Point at a dot")  # it is outside now
    seen.hover_corner(CANVAS, *on_screen(seen, 4))
    assert seen.text(".readout").startswith("middle")
    seen.click(".controls .group:last-child button:last-child")
    seen.hover_corner(CANVAS, *on_screen(seen, 0))
    assert seen.text(".readout").startswith("left · lower left")


def test_arrow_keys_walk_from_text_to_text(seen):
    seen.focus(CANVAS)
    walked = []
    for key in ("Right", "Right", "Up", "Left"):
        seen.press(key)
        walked.append(seen.text(".readout").split(" · ")[1])
    assert walked[0].startswith("the middle")
    assert walked[-1].startswith(("upper left", "the middle"))
    assert len(set(walked)) >= 3


def test_five_thousand_texts_in_one_colour(shown):
    points = np.random.default_rng(0).normal(size=(5000, 2))
    page = map_view(Projected(method="tsne", points=points), [f"text {i}" for i in range(5000)])
    seen = shown(page, width=380)
    assert seen.run("return document.documentElement.scrollWidth") <= 380
    began = seen.run("return performance.now()")
    for place in (100, 140, 180):
        seen.hover_corner(CANVAS, place, 150)
    seen.settle()
    assert (
        seen.run("return performance.now()") - began < 5000
    )  # seconds of a busy machine; drawing itself takes tens of milliseconds
    assert seen.texts(".legend") == []


def test_texts_and_points_must_be_equally_many():
    with pytest.raises(InvalidInput, match="5 points, 4 texts and 5 groups"):
        map_view(Projected(method="pca", points=POINTS), TEXTS[:4], groups=GROUPS)
