"""The page of `explain_similarity`: pointing and clicking change what it shows, and its numbers are the matrix's."""

from __future__ import annotations

import numpy as np
import pytest

from sentvec.inspect.views import similarity_view
from sentvec.inspect.why import Explanation, explain_similarity

CELLS = ".matrix .body canvas"
MATRIX = np.array([[0.10, 0.02, -0.05], [0.01, 0.30, 0.04]])


@pytest.fixture
def seen(shown):
    found = Explanation(
        model="m", rows=("cat", "sat"), columns=("a", "feline", "rug"), matrix=MATRIX, score=float(MATRIX.sum())
    )
    return shown(similarity_view(found))


def cell(seen, row, column):
    """Return the middle of a cell, as pixels from the matrix's corner."""
    width = seen.run("return document.querySelector(arguments[0]).getBoundingClientRect().width", CELLS)
    size = (width - 6) / 4
    return (column + 0.5) * size + 6 * (column == 3), (row + 0.5) * size + 6 * (row == 2)


def test_it_says_the_cosine_and_lists_the_strongest_pairs(seen):
    assert seen.text(".score").startswith("cosine 0.4200")
    assert seen.texts(".pairs li")[:3] == ["sat × feline\n+0.3000", "cat × a\n+0.1000", "cat × rug\n−0.0500"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ((1, 1), "“sat” (2) × “feline” (2): +0.3000 (71.4 % of the cosine)"),
        ((0, 2), "“cat” (1) × “rug” (3): −0.0500 (-11.9 % of the cosine)"),
        ((0, 3), "“cat” (1) with all of the second text: +0.0700 (16.7 % of the cosine)"),
        ((2, 1), "“feline” (2) with all of the first text: +0.3200 (76.2 % of the cosine)"),
        ((2, 3), "All pairs together: +0.4200 (100.0 % of the cosine)"),
    ],
)
def test_pointing_at_a_cell_says_its_number(seen, place, said):
    hint = seen.text(".readout")
    seen.hover_corner(CELLS, *cell(seen, *place))
    assert seen.text(".readout") == said
    seen.hover("h1")
    assert seen.text(".readout") == hint


def test_a_click_keeps_a_cell_and_another_lets_it_go(seen):
    hint = seen.text(".readout")
    seen.hover_corner(CELLS, *cell(seen, 1, 1))
    seen.click()
    seen.hover("h1")
    assert seen.text(".readout").startswith("“sat” (2) × “feline”")
    assert seen.texts(".token.chosen") == ["sat", "feline"]
    seen.hover_corner(CELLS, *cell(seen, 1, 1))
    seen.click()
    seen.hover("h1")
    assert seen.text(".readout") == hint
    assert seen.texts(".token.chosen") == []


def test_a_token_shows_what_it_adds_with_each_of_the_others(seen):
    colors = seen.run("return [...document.querySelectorAll('.token')].map(e => e.style.background)")
    seen.hover(".tokens .token:nth-child(2)")  # sat
    assert seen.text(".readout").startswith("“sat” (2) with all of the second text: +0.3500")
    pointed = seen.run("return [...document.querySelectorAll('.token')].map(e => e.style.background)")
    assert pointed[2:] != colors[2:]
    strength = [float(color.rstrip(")").split(",")[3]) if color.count(",") == 3 else 1.0 for color in pointed[2:]]
    np.testing.assert_allclose(strength, MATRIX[1] / 0.30, atol=1 / 255)  # of eight bits


def test_a_pair_of_the_list_is_framed_in_the_matrix(seen):
    assert seen.run("return document.querySelector('.band').hidden")
    seen.hover(".pairs li:nth-child(2) button")
    assert seen.text(".readout").startswith("“cat” (1) × “a” (1): +0.1000")
    assert not seen.run("return document.querySelector('.band').hidden")


def test_keys_walk_through_the_matrix(seen):
    seen.focus(".matrix")
    seen.press("Down", "Right", "Right")
    assert seen.text(".readout").startswith("“cat” (1) × “rug” (3)")
    seen.press("Down", "Left", "Enter")
    seen.hover("h1")
    assert seen.texts(".token.chosen") == ["sat", "feline"]


@pytest.mark.parametrize("width", [360, 1200])
def test_a_long_text_fits_the_page(shown, minilm, width):
    found = explain_similarity(minilm, "the river rose " * 42, "a bridge fell " * 42)
    assert found.matrix.shape == (128, 128)
    seen = shown(similarity_view(found), width=width)
    assert seen.run("return document.documentElement.scrollWidth") <= width  # only the matrix itself scrolls
    before = seen.text(".readout")
    seen.hover_corner(CELLS, 20, 20)
    assert seen.text(".readout") != before
