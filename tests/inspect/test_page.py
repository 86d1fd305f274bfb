"""A page is one file that asks for nothing, and no text of a stranger becomes a part of it."""

from __future__ import annotations

import html
import json
import re
from importlib.resources import files

import numpy as np
import pytest

from sentvec.inspect.page import floats, shares
from sentvec.inspect.views import similarity_view
from sentvec.inspect.why import Explanation

EVIL = (
    "</script><script>window.broken=1</script>",
    "</script x='",
    "<!--<script>",
    "<!-- <script ",
    "<img src=x onerror='window.broken=1'>",
    "&lt;b&gt;",
    "'\"\\\u2028\u2029\n",
    "</title><b>",
    "{data}",
)


def explained(rows, columns, matrix=None, model="a model"):
    if matrix is None:
        matrix = np.linspace(-0.02, 0.08, len(rows) * len(columns)).reshape(len(rows), len(columns))
    return Explanation(
        model=model, rows=tuple(rows), columns=tuple(columns), matrix=np.asarray(matrix), score=float(np.sum(matrix))
    )


def test_texts_of_strangers_stay_texts(shown):
    page = similarity_view(explained(EVIL, EVIL, model=EVIL[0]))
    seen = shown(page)
    assert seen.run("return window.broken") is None
    spans = seen.run("return [...document.querySelectorAll('.tokens .token')].map(e => e.textContent)")
    assert spans == [*EVIL, *EVIL]
    assert EVIL[0] in seen.run("return document.getElementById('about').textContent")
    assert seen.run("return document.querySelectorAll('script').length") == 2
    assert seen.run("return document.querySelectorAll('img').length") == 0


def test_nothing_in_the_file_points_outside():
    page = similarity_view(explained(["a"], ["b"]))
    assert not re.search(r"(?:src|href)\s*=|@import|url\(|fetch\(|XMLHttpRequest|https?:", page.html)
    assert "default-src 'none'" in page.html


def test_scripts_never_write_markup():
    for asset in (files("sentvec.inspect") / "assets").iterdir():
        text = asset.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text), asset


def test_the_policy_lets_no_request_out(window, tmp_path):
    page = similarity_view(explained(["a"], ["b"]))
    window.open(page.save(tmp_path / "p.html"))
    window.complaints()
    window.run("const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i)")
    assert any("Content Security Policy" in line for line in window.complaints())


def test_arrays_arrive_as_they_were(shown):
    values = np.array([[0.0, 1.0], [0.25, 1e-5]])
    seen = shown(similarity_view(explained(["a"], ["b"])))
    script = "const a = unpack(arguments[0]); return [a.at(0, 1), a.at(1, 0), a.at(1, 1), a.shape]"
    assert seen.run(script, floats(values)) == [1, 0.25, pytest.approx(1e-5, rel=1e-6), [2, 2]]
    assert seen.run(script, shares(values)) == [1, pytest.approx(0.25, abs=8e-6), pytest.approx(1e-5, abs=8e-6), [2, 2]]


def test_numbers_that_json_lacks_are_refused():
    with pytest.raises(ValueError, match="JSON"):
        similarity_view(explained(["a"], ["b"], [[float("nan")]]))


def test_a_notebook_shows_the_page_in_a_frame(window, tmp_path):
    page = similarity_view(explained(EVIL, ["b"]))
    frame = page._repr_html_()
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1]) == page.html
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!doctype html><meta charset=utf-8><title>x</title>{frame}", encoding="utf-8")
    window.size(1000, 800)
    window.open(notebook)
    assert window.run("return document.querySelector('iframe').getBoundingClientRect().height") == page.height
    window.enter("iframe")
    assert len(window.texts(".tokens")) == 2
    assert window.run("return window.broken") is None
    window.complaints()


def test_colours_follow_the_system_and_the_switch(shown):
    page = similarity_view(explained(["a", "b"], ["c"]))
    light = shown(page)
    paper = "return getComputedStyle(document.body).backgroundColor"
    colors = [light.run(paper)]
    dark = shown(page, dark=True)
    colors.append(dark.run(paper))
    cells = dark.pixels(".matrix canvas:not(.top):not(.left)")
    assert colors == ["rgb(255, 255, 255)", "rgb(20, 23, 29)"]
    dark.click("#theme")
    assert dark.run(paper) == colors[0]
    assert dark.pixels(".matrix canvas:not(.top):not(.left)") != cells  # drawn again, in other colours
    dark.focus("#theme")
    dark.press("Enter")
    assert (dark.text("#theme"), dark.run(paper)) == ("Colours: dark", colors[1])


def test_data_is_one_json_object():
    page = similarity_view(explained(EVIL, ["b"]))
    inside = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.html)[1]
    assert tuple(json.loads(inside)["rows"]) == EVIL


def test_halves_of_characters_are_shown_as_unknown_ones(tmp_path):
    """As names of files hold that are not UTF-8, and groups from JSON."""
    page = similarity_view(explained(["a\ud800"], ["b"], model="mod\udcff"))
    assert page.save(tmp_path / "page.html").read_text(encoding="utf-8") == page.html
    assert "mod? · 1 × 1 tokens" in page.html
    assert '["a?"]' in page.html
