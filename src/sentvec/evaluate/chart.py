"""Reports in; a chart of their main scores, one bar a set and model with its interval, as SVG out."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from html import escape

from sentvec.errors import InvalidInput
from sentvec.evaluate.run import Report

_COLOURS = ("#2f6fb0", "#d9822b")
_BAR, _GAP, _TOP, _SCALE, _RIGHT = 14, 12, 34, 420, 70
_LETTER = 6.6  # pixels of a letter of 12 px, on average
_BROKEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # what XML cannot hold


def chart(reports: Sequence[Report]) -> str:
    """Draw the main score of each set as a bar from 0 to 100, below zero to the left, with a line for its interval.

    Args:
        reports: one, or two of the same sets.

    Raises:
        InvalidInput: there are none, or more than two.
    """
    if not 1 <= len(reports) <= len(_COLOURS):
        raise InvalidInput(f"there are {len(reports)} reports; a chart is of one or two.")
    names = [f"{one.name} · {one.main}" for one in reports[0].results]
    left = 16 + max((_width(name) for name in names), default=0.0)
    values = [one.value for report in reports for one in report.results if math.isfinite(one.value)]
    ends = [one.interval.low for report in reports for one in report.results if one.interval is not None]
    least = min(0.0, *(math.floor(value * 10) / 10 for value in (*values, *ends) if math.isfinite(value)), 0.0)
    per = _SCALE / (1 - least)

    def x(value: float) -> float:
        return left + (value - least) * per

    step = _BAR * len(reports) + _GAP
    height = _TOP + step * len(names) + 26
    width = left + _SCALE + _RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" font-family="sans-serif" font-size="12">',
        f"<title>{_safe('Main scores of ' + ' and '.join(report.model for report in reports))}</title>",
        f'<rect width="{width:.0f}" height="{height}" fill="#ffffff"/>',
    ]
    at = 8.0
    for report, colour in zip(reports, _COLOURS, strict=False):
        parts.append(f'<rect x="{at:.1f}" y="9" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{at + 15:.1f}" y="18" fill="#222222">{_safe(report.model)}</text>')
        at += 35 + _width(report.model)
    for tenth in range(round(least * 10), 11, 2):
        place = x(tenth / 10)
        parts.append(f'<path d="M{place:.1f} {_TOP - 6}V{height - 22}" stroke="#dddddd"/>')
        parts.append(f'<text x="{place:.1f}" y="{height - 8}" text-anchor="middle" fill="#666666">{tenth * 10}</text>')
    for row, name in enumerate(names):
        top = _TOP + row * step
        middle = top + _BAR * len(reports) / 2
        parts.append(
            f'<text x="{left - 8:.1f}" y="{middle + 4:.1f}" text-anchor="end" fill="#222222">{_safe(name)}</text>'
        )
        for number, report in enumerate(reports):
            parts += _bar(report, row, top + number * _BAR, x, _COLOURS[number])
    return "\n".join([*parts, "</svg>", ""])


def _bar(report: Report, row: int, top: float, x: Callable[[float], float], colour: str) -> list[str]:
    one = report.results[row]
    if not math.isfinite(one.value):
        return [f'<text x="{x(0) + 4:.1f}" y="{top + 11:.1f}" fill="#222222">none</text>']
    start, end = sorted((x(0), x(one.value)))
    drawn = [
        f'<rect x="{start:.1f}" y="{top:.1f}" width="{end - start:.1f}" height="{_BAR - 2}" fill="{colour}"/>',
    ]
    far = end
    if one.interval is not None and math.isfinite(one.interval.low + one.interval.high):
        low, high, middle = x(one.interval.low), x(one.interval.high), top + (_BAR - 2) / 2
        far = max(far, high)
        drawn.append(
            f'<path d="M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 4:.1f}v8M{high:.1f} {middle - 4:.1f}v8" '
            'stroke="#111111" fill="none"/>'
        )
    drawn.append(f'<text x="{far + 5:.1f}" y="{top + 10:.1f}" fill="#222222">{100 * one.value:.2f}</text>')
    return drawn


def _width(text: str) -> float:
    """Return about how many pixels a text takes; letters of Chinese and the like are twice as wide."""
    return sum(_LETTER * (1.9 if unicodedata.east_asian_width(letter) in "WF" else 1) for letter in text)


def _safe(text: str) -> str:
    return escape(_BROKEN.sub("�", text))
