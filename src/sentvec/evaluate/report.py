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


def beside(first: Report, second: Report, progress: bool | None = None) -> Side:
    """Put two models side by side and test each set's difference.

    Raises:
        InvalidInput: the reports are not of the same sets, or without draws.
    """
    return Side(first, second, compare_reports(first, second, progress))


Shown = Report | Side


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its head.
        cells: one for each row.
        number: whether cells are numbers, to be set flush right.
        needed: whether a narrow table must have it.
    """

    name: str
    cells: tuple[str, ...]
    number: bool = False
    needed: bool = True


def columns(shown: Shown) -> tuple[Column, ...]:
    """Return a table: a row for each set, and one for the mean of each kind that has several; scores are times 100."""
    report = shown.first if isinstance(shown, Side) else shown
    results, means = report.results, report.means()
    start = (
        Column("set", (*(one.name for one in results), *(f"mean of {kind}" for kind in means))),
        Column("kind", (*(one.kind for one in results), *means), needed=not isinstance(shown, Side)),
        Column("score", (*(one.main for one in results), *("" for _ in means))),
    )
    counted = [sum(one.kind == kind for one in results) for kind in means]
    items = Column("items", (*(_items(one) for one in results), *(f"{count} sets" for count in counted)), needed=False)
    none = tuple("" for _ in means)
    if not isinstance(shown, Side):
        ends = tuple(_ends(one.interval) if one.interval else "" for one in results)
        return (*start, _scores("× 100", report), Column("95 % interval", ends + none, number=True), items)
    others = shown.second.means()
    differences = [one.value - other.value for one, other in zip(results, shown.second.results, strict=True)]
    differences += [value - others[kind] for kind, value in means.items()]
    ends = tuple(_ends(test.interval) if test else "" for test in shown.tests)
    return (
        *start,
        _scores("first", report),
        _scores("second", shown.second),
        Column("diff.", tuple(map(_hundred, differences)), number=True),
        Column("95 % interval", ends + none, number=True),
        Column("p", tuple(map(_p, shown.tests)) + none, number=True),
        items,
    )


def _scores(name: str, report: Report) -> Column:
    values = (*(one.value for one in report.results), *report.means().values())
    return Column(name, tuple(map(_hundred, values)), number=True)


def _items(one: Result) -> str:
    return ", ".join(f"{count} {_single(what) if count == 1 else what}" for what, count in one.sizes.items())


def _single(what: str) -> str:
    """Return what one is called, of words such as the sizes of sets.

    >>> _single("queries"), _single("classes"), _single("pairs"), _single("test")
    ('query', 'class', 'pair', 'test')
    """
    return f"{what[:-3]}y" if what.endswith("ies") else what.removesuffix("es" if what.endswith("sses") else "s")


def models(shown: Shown) -> list[str]:
    """Return what the table is of: a line for each model."""
    if isinstance(shown, Side):
        return [f"first: {_named(shown.first)}", f"second: {_named(shown.second)}"]
    return [_named(shown)]


def _named(report: Report) -> str:
    return f"{report.model} ({report.precision})"


def markdown(shown: Shown) -> str:
    """Return the table, all scores of every set, and how they were measured, as Markdown."""
    first = shown.first if isinstance(shown, Side) else shown
    reports = [first, shown.second] if isinstance(shown, Side) else [first]
    lines = ["# Evaluation", "", *(f"- {_cell(model)}" for model in models(shown)), ""]
    table = columns(shown)
    lines += _table([column.name for column in table], list(zip(*(column.cells for column in table), strict=True)))
    lines += ["", "Scores are times 100. " + " ".join(how(shown)), ""]
    for report in reports:
        lines += [f"## All scores of {_cell(_named(report))}", ""]
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
        if not methods:
            return [
                "Differences are the first model less the second. No score is one of single items, so none is tested."
            ]
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
        return ""
    if math.isnan(test.p):
        return "none"
    return "< 0.001" if test.p < 0.001 else f"{test.p:.3f}"
