"""Reports in; a chart of their main scores, one bar a set and model with its interval, as SVG out."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from html import escape

from sentvec.errors import InvalidInput
from sentvec.evaluate.result import Result
from sentvec.evaluate.run import Report

_BAR, _GAP, _TOP, _LINE, _SCALE, _RIGHT = 14, 12, 12, 18, 420, 70
_MOST = 2  # models
_LETTER = 6.6  # pixels of a letter of 12 px, on average
_BROKEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # what XML cannot hold
# page, letters, letters of the scale, lines of the scale, ends of intervals, and a bar's colour for each model
_LIGHT = ("#ffffff", "#222222", "#666666", "#dddddd", "#111111", "#2f6fb0", "#d9822b")
_DARK = ("#16181c", "#e6e6e6", "#a0a0a0", "#3a3d42", "#f5f5f5", "#4f8fd0", "#e09a4f")
_RULES = (
    *(".page{{fill:{0}}}", "text{{fill:{1}}}", ".scale{{fill:{2}}}", ".line{{stroke:{3}}}"),
    *(".ends{{stroke:{4};fill:none}}", ".bar0{{fill:{5}}}", ".bar1{{fill:{6}}}"),
)


def chart(reports: Sequence[Report]) -> str:
    """Draw the main score of each set as a bar from 0 to 100, below zero to the left, with a line for its interval.

    Args:
        reports: one, or two of the same sets.

    Raises:
        InvalidInput: there are none, or more than two.
    """
    if not 1 <= len(reports) <= _MOST:
        raise InvalidInput(f"there are {len(reports)} reports; a chart is of one or two.")
    names = [f"{one.name} · {one.main}" for one in reports[0].results]
    left = 16 + max(map(_width, names), default=0.0)
    values = [one.value for report in reports for one in report.results]
    values += [one.interval.low for report in reports for one in report.results if one.interval is not None]
    # to the next fifth, so that there is a line at zero
    least = min((math.floor(value * 5) / 5 for value in values if value < 0), default=0.0)
    per = _SCALE / (1 - least)

    def x(value: float) -> float:
        return left + (value - least) * per

    top = _TOP + _LINE * len(reports)
    step = _BAR * len(reports) + _GAP
    height = top + step * len(names) + 26
    width = max(left + _SCALE + _RIGHT, *(30 + _width(report.model) for report in reports))
    style = "".join(_RULES)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" font-family="sans-serif" font-size="12">',
        f"<title>{_safe('Main scores of ' + ' and '.join(report.model for report in reports))}</title>",
        f"<style>{style.format(*_LIGHT)}@media (prefers-color-scheme: dark){{{style.format(*_DARK)}}}</style>",
        f'<rect class="page" width="{width:.0f}" height="{height}"/>',
    ]
    for number, report in enumerate(reports):
        at = 8 + number * _LINE
        parts.append(f'<rect class="bar{number}" x="8" y="{at}" width="10" height="10"/>')
        parts.append(f'<text x="23" y="{at + 9}">{_safe(report.model)}</text>')
    for tenth in range(round(least * 10), 11, 2):
        place = x(tenth / 10)
        parts.append(f'<path class="line" d="M{place:.1f} {top - 6}V{height - 22}"/>')
        parts.append(f'<text class="scale" x="{place:.1f}" y="{height - 8}" text-anchor="middle">{tenth * 10}</text>')
    for row, name in enumerate(names):
        begin = top + row * step
        middle = begin + _BAR * len(reports) / 2
        parts.append(f'<text x="{left - 8:.1f}" y="{middle + 3:.1f}" text-anchor="end">{_safe(name)}</text>')
        for number, report in enumerate(reports):
            parts += _bar(report.results[row], begin + number * _BAR, x, f"bar{number}")
    return "\n".join([*parts, "</svg>", ""])


def _bar(one: Result, top: float, x: Callable[[float], float], colour: str) -> list[str]:
    if not math.isfinite(one.value):
        return [f'<text x="{x(0) + 4:.1f}" y="{top + 10:.1f}">none</text>']
    start, end = sorted((x(0), x(one.value)))
    width, height = end - start, _BAR - 2
    drawn = [f'<rect class="{colour}" x="{start:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height}"/>']
    far = end
    if one.interval is not None and math.isfinite(one.interval.low + one.interval.high):
        low, high, middle = x(one.interval.low), x(one.interval.high), top + height / 2
        far = max(far, high)
        ends = f"M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 4:.1f}v8M{high:.1f} {middle - 4:.1f}v8"
        drawn.append(f'<path class="ends" d="{ends}"/>')
    return [*drawn, f'<text x="{far + 5:.1f}" y="{top + 10:.1f}">{100 * one.value:.2f}</text>']


def _width(text: str) -> float:
    """Return about how many pixels a text takes; letters of Chinese and the like are twice as wide."""
    return sum(_LETTER * (1.9 if unicodedata.east_asian_width(letter) in "WF" else 1) for letter in text)


def _safe(text: str) -> str:
    return escape(_BROKEN.sub("�", text))
