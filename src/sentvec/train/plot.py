"""The lines of metrics.jsonl in, a picture of loss, rate and scores out."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sentvec.extras import require

_INK, _GRID = "#444444", "#dddddd"
_COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#8d5a97", "#b8860b")
_FEW = 30  # points of a line up to which each is marked: of one point there is no line


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Return the lines of a log; none where there is no log."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def curves(metrics: Sequence[Mapping[str, float]]) -> dict[str, tuple[list[int], list[float]]]:
    """Return steps and values by name.

    >>> curves([{"step": 10, "epoch": 0, "loss": 2.0}, {"step": 20, "epoch": 0, "loss": 1.0}])
    {'loss': ([10, 20], [2.0, 1.0])}
    """
    found: dict[str, tuple[list[int], list[float]]] = {}
    for line in metrics:
        for name, value in line.items():
            if name not in ("step", "epoch", "texts"):
                steps, values = found.setdefault(name, ([], []))
                steps.append(int(line["step"]))
                values.append(value)
    return found


def picture(metrics: Sequence[Mapping[str, float]], title: str, before: Mapping[str, float] | None = None) -> bytes:
    """Draw loss and learning rate above, and scores below where there are any: a PNG.

    Args:
        metrics: lines of a log.
        title: stands above it.
        before: scores of the model that was trained, by name: at step 0.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figures = require("matplotlib.figure", extra="train")
    found = curves(metrics)
    scores = {name.removeprefix("score/"): line for name, line in found.items() if name.startswith("score/")}
    figure = figures.Figure(figsize=(8, 6 if scores else 3.5), dpi=120, layout="constrained")
    rows: Any = figure.subplots(2 if scores else 1, 1, sharex=True, squeeze=False)
    above = rows[0][0]
    figure.suptitle(title, color=_INK)
    for axes in rows[:, 0]:
        axes.grid(color=_GRID, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    if "loss" in found:
        above.plot(
            *found["loss"], color=_COLOURS[0], marker="o" if len(found["loss"][0]) < _FEW else None, markersize=3
        )
    above.set_ylabel("loss", color=_COLOURS[0])
    if "learning_rate" in found:
        beside = above.twinx()
        beside.plot(*found["learning_rate"], color=_INK, linewidth=0.8, linestyle="--")
        beside.set_ylabel("learning rate (dashed)", color=_INK)
        beside.spines["top"].set_visible(False)
    for number, (name, (steps, values)) in enumerate(scores.items()):
        first = [before[name]] if before and name in before else []
        colour = _COLOURS[number % len(_COLOURS)]
        rows[1][0].plot([0] * len(first) + steps, first + values, marker="o", markersize=3, color=colour, label=name)
    if scores:
        rows[1][0].set_ylabel("score")
        rows[1][0].legend(fontsize="small", frameon=False)
    rows[-1][0].set_xlabel("step")
    rows[-1][0].xaxis.get_major_locator().set_params(integer=True)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
