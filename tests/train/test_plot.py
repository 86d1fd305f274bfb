"""The picture of a run: its lines as they are drawn."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sentvec.train import plot

figures = pytest.importorskip("matplotlib.figure", reason="the extra train draws")


@pytest.fixture
def drawn(monkeypatch):
    """Draw a picture, and return its figure."""
    kept = []

    def figure(**given):
        kept.append(figures.Figure(**given))
        return kept[-1]

    def draw(metrics, **given):
        monkeypatch.setattr(plot, "require", lambda *_, **__: SimpleNamespace(Figure=figure))
        assert plot.picture(metrics, "a run", **given).startswith(b"\x89PNG")
        return kept[-1]

    return draw


METRICS = [{"step": step, "epoch": 0, "loss": 1 / step, "learning_rate": 0.1} for step in (1, 2, 3)]
SCORED = [*METRICS, {"step": 3, "epoch": 0, "score/sts": 0.7}]


def test_scores_begin_with_those_before_training(drawn):
    score = drawn(SCORED, before={"sts": 0.6, "another": 0.1}).axes[1].lines[0]
    assert (list(score.get_xdata()), list(score.get_ydata())) == ([0, 3], [0.6, 0.7])
    assert list(drawn(SCORED).axes[1].lines[0].get_xdata()) == [3]


def test_one_point_is_seen_and_steps_are_whole(drawn):
    loss = drawn(METRICS[:1]).axes[0].lines[0]
    assert loss.get_marker() == "o"
    figure = drawn(SCORED)
    assert all(float(tick).is_integer() for tick in figure.axes[1].get_xticks())
    many = [{"step": step, "epoch": 0, "loss": 1.0} for step in range(1, 200)]
    assert drawn(many).axes[0].lines[0].get_marker() in ("None", None)
