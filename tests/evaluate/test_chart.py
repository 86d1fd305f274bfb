"""The chart is SVG that any reader takes, and its bars are as long as the scores are high."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from tests.evaluate.reports import report, result

from sentvec.errors import InvalidInput
from sentvec.evaluate.chart import chart

SVG = "{http://www.w3.org/2000/svg}"
FIRST = report(
    result("stsb", 0.8, ends=(0.75, 0.9)),
    result("odd", -0.05, ends=(-0.31, 0.1)),
    result("banking", 1.0, kind="classification", main="accuracy"),
)
SECOND = report(
    result("stsb", 0.4, ends=(0.35, 0.45)),
    result("odd", 0.2),
    result("banking", float("nan"), kind="classification", main="accuracy"),
    model="another/model",
)


def drawn(*reports):
    return ElementTree.fromstring(chart(reports))


def bars(svg, model):
    """Return left end and width of a model's bars; the first of its colour is in the legend."""
    found = [part for part in svg.iter(f"{SVG}rect") if part.get("class") == f"bar{model}"]
    return [(float(part.get("x")), float(part.get("width"))) for part in found[1:]]


def texts(svg):
    return [part.text for part in svg.iter(f"{SVG}text")]


def scale(svg):
    """Return the pixel of each number below the bars."""
    marks = [part for part in svg.iter(f"{SVG}text") if part.get("class") == "scale"]
    return {int(part.text): float(part.get("x")) for part in marks}


def test_bars_end_where_the_scale_says():
    svg = drawn(FIRST, SECOND)
    at = scale(svg)
    assert list(at) == [-40, -20, 0, 20, 40, 60, 80, 100]
    first, second = bars(svg, 0), bars(svg, 1)
    assert [round(left, 1) for left, _ in (first[0], *second)] == [at[0]] * 3
    assert [round(left + width, 1) for left, width in (first[0], first[2])] == [at[80], at[100]]
    assert [round(left + width, 1) for left, width in second] == [at[40], at[20]]
    left, width = first[1]  # below zero, to the left
    assert left + width == pytest.approx(at[0], abs=0.11) and width == pytest.approx((at[20] - at[0]) / 4, abs=0.11)


def test_lines_go_from_end_to_end_of_the_intervals():
    svg = drawn(FIRST)
    lines = [part.get("d") for part in svg.iter(f"{SVG}path") if part.get("class") == "ends"]
    ends = [tuple(map(float, re.match(r"M([\d.]+) [\d.]+H([\d.]+)", line).groups())) for line in lines]
    at, per = scale(svg)[0], scale(svg)[100] - scale(svg)[0]
    expected = [(at + low * per, at + high * per) for low, high in ((0.75, 0.9), (-0.31, 0.1))]
    assert ends == [pytest.approx(pair, abs=0.11) for pair in expected]


def test_sets_scores_and_models_are_named():
    shown = texts(drawn(FIRST, SECOND))
    assert shown[:2] == ["a/model", "another/model"]
    for name in ("stsb · spearman (all)", "banking · accuracy", "80.00", "-5.00", "100.00", "40.00", "20.00", "none"):
        assert shown.count(name) == 1


@pytest.mark.parametrize("one", [FIRST, report(result("s" * 90, 0.5, ends=(0.4, 1.0)), model="/folder/" * 30)])
def test_everything_lies_on_the_page(one):
    svg = drawn(one)
    width, height = float(svg.get("width")), float(svg.get("height"))
    for part in svg.iter(f"{SVG}text"):
        begin = {"end": -1, "middle": -0.5}.get(part.get("text-anchor"), 0) * 6 * len(part.text)
        assert float(part.get("x")) + begin >= 0
        assert float(part.get("x")) + begin + 6 * len(part.text) <= width and float(part.get("y")) <= height


def test_it_is_light_and_dark():
    style = drawn(FIRST).find(f"{SVG}style").text
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    names = set(re.findall(r"([\w.]+)\{", light))
    assert (
        names
        == set(re.findall(r"([\w.]+)\{", dark))
        == {*(".page", "text", ".scale", ".line", ".ends", ".bar0", ".bar1")}
    )
    assert set(re.findall("#[0-9a-f]{6}", light)).isdisjoint(re.findall("#[0-9a-f]{6}", dark))


def test_names_cannot_break_it():
    svg = drawn(report(result("<b> & \x00\x1b\ud800 北京", 0.5), model='"><script>'))
    assert "<b> & ��� 北京 · spearman (all)" in texts(svg)
    assert texts(svg)[0] == '"><script>'


@pytest.mark.parametrize("count", [0, 3])
def test_it_is_of_one_or_two(count):
    with pytest.raises(InvalidInput, match=f"there are {count} reports; a chart is of one or two"):
        chart([FIRST] * count)
