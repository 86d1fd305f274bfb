"""Reports of one or two models in; the same scores as lines of a table, as Markdown and as JSON out."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sentvec import __version__
from sentvec.evaluate.result import Interval, Result
from sentvec.evaluate.run import Report, compare_reports
from sentvec.evaluate.significance import Comparison


@dataclass(frozen=True)
class Side:
    """Two models side by side: a report, the report of the other model, and the tests set by set."""

    first: Report
    second: Report
    tests: tuple[Comparison | None, ...]


def beside(first: Report, second: Report) -> Side:
    """Put two models side by side and test each set's difference.

    Raises:
        InvalidInput: the reports are not of the same sets.
    """
    return Side(first, second, compare_reports(first, second))


Shown = Report | Side


def header(shown: Shown) -> tuple[str, ...]:
    """Return the names of the columns."""
    if isinstance(shown, Side):
        return ("set", "kind", "score", shown.first.model, shown.second.model, "difference", "p", "items")
    return ("set", "kind", "score", "× 100", "95 % interval", "items")


def rows(shown: Shown) -> list[tuple[str, ...]]:
    """Return a row for each set, and one for the mean of each kind that has several; scores are times 100."""
    report = shown.first if isinstance(shown, Side) else shown
    lines: list[tuple[str, ...]] = []
    for place, one in enumerate(report.results):
        items = ", ".join(f"{count} {what}" for what, count in one.sizes.items())
        start = (one.name, one.kind, one.main)
        if isinstance(shown, Side):
            test = shown.tests[place]
            other = shown.second.results[place]
            difference = f"{_hundred(one.value - other.value)}{f' ({_ends(test.interval)})' if test else ''}"
            lines.append((*start, _hundred(one.value), _hundred(other.value), difference, _p(test), items))
        else:
            lines.append((*start, _hundred(one.value), _ends(one.interval) if one.interval else "", items))
    others = shown.second.means() if isinstance(shown, Side) else {}
    for kind, value in report.means().items():
        start = ("mean", kind, "")
        count = f"{sum(one.kind == kind for one in report.results)} sets"
        if isinstance(shown, Side):
            difference = _hundred(value - others[kind])
            lines.append((*start, _hundred(value), _hundred(others[kind]), difference, "", count))
        else:
            lines.append((*start, _hundred(value), "", count))
    return lines


def markdown(shown: Shown) -> str:
    """Return the table, all scores of every set, and how they were measured, as Markdown."""
    first = shown.first if isinstance(shown, Side) else shown
    reports = [first, shown.second] if isinstance(shown, Side) else [first]
    lines = [f"# {' and '.join(_cell(report.model) for report in reports)}", ""]
    lines += _table(header(shown), rows(shown))
    lines += ["", "Scores are times 100. " + " ".join(how(shown)), ""]
    for report in reports:
        lines += [f"## All scores of {_cell(report.model)}", ""]
        named = [
            (one.name, one.kind, "; ".join(f"{name} {_plain(value)}" for name, value in one.scores.items()))
            for one in report.results
        ]
        lines += [*_table(("set", "kind", "scores"), named), ""]
    notes = [(one.name, one.kind, "; ".join(one.notes)) for one in first.results]
    lines += ["## Notes", "", *_table(("set", "kind", "notes"), notes), ""]
    return "\n".join(lines)


def how(shown: Shown) -> list[str]:
    """Return sentences on how the figures were made."""
    report = shown.first if isinstance(shown, Side) else shown
    draws = report.settings.resamples
    said = [f"Intervals are 95 % percentile bootstraps of {draws} draws." if draws else "No intervals were asked for."]
    if isinstance(shown, Side):
        methods = sorted({test.method for test in shown.tests if test is not None})
        said = [
            f"Differences are the first model less the second, with 95 % intervals by paired bootstrap; p by "
            f"{' (means of items) or '.join(reversed(methods))}, two-sided, each set by itself."
        ]
    return said


def to_json(shown: Shown) -> str:
    """Return everything as JSON; scores are fractions, and what is not a number is null."""
    reports = [shown.first, shown.second] if isinstance(shown, Side) else [shown]
    content: dict[str, Any] = {"sentvec": __version__, "models": [_report(report) for report in reports]}
    if isinstance(shown, Side):
        content["tests"] = [
            {"set": one.name, "kind": one.kind, "score": one.main, **asdict(test)}
            for one, test in zip(shown.first.results, shown.tests, strict=True)
            if test is not None
        ]
    return json.dumps(_finite(content), ensure_ascii=False, indent=1, allow_nan=False)


def _report(report: Report) -> dict[str, Any]:
    return {
        "model": report.model,
        "fingerprint": report.fingerprint,
        "precision": report.precision,
        "settings": asdict(report.settings),
        "seconds": round(report.seconds, 3),
        "texts": asdict(report.counts),
        "results": [_result(one) for one in report.results],
        "means": report.means(),
    }


def _result(one: Result) -> dict[str, Any]:
    return {
        "set": one.name,
        "kind": one.kind,
        "main": one.main,
        "value": one.value,
        "interval": asdict(one.interval) if one.interval else None,
        "scores": dict(one.scores),
        "sizes": dict(one.sizes),
        "notes": list(one.notes),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(names: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(map(_cell, names))} |",
        f"|{'---|' * len(names)}",
        *(f"| {' | '.join(map(_cell, line))} |" for line in lines),
    ]


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _hundred(value: float) -> str:
    return f"{100 * value:.2f}" if math.isfinite(value) else "none"


def _plain(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "none"


def _ends(interval: Interval) -> str:
    return f"{_hundred(interval.low)} to {_hundred(interval.high)}"


def _p(test: Comparison | None) -> str:
    if test is None:
        return "not tested"
    return "< 0.001" if test.p < 0.001 else f"{test.p:.3f}"
