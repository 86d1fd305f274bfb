"""Reports made in code, for what is drawn and written from them."""

from __future__ import annotations

import numpy as np

from sentvec.evaluate.result import Interval, Result, mean_of
from sentvec.evaluate.run import Report, Settings
from sentvec.evaluate.vectors import Counts


def result(name, value, *, kind="sts", main="spearman (all)", ends=None, items=None, **more):
    interval = Interval(*ends) if ends else None
    sample = mean_of(np.array(items, dtype=np.float64)) if items is not None else None
    content = {"scores": {main: value}, "sizes": {"pairs": 500}, "notes": ()} | more
    return Result(name=name, kind=kind, main=main, interval=interval, sample=sample, **content)


def report(*results, model="a/model", resamples=1000):
    return Report(
        model=model,
        fingerprint="f" * 64,
        precision="float32",
        results=results,
        counts=Counts(encoded=7, cached=3),
        seconds=1.25,
        settings=Settings(resamples=resamples),
    )
