"""What a search must find, by NumPy and plain Python: passages, a vector and a filter in; ids and scores out."""

from __future__ import annotations

import numpy as np

from sentvec.search.filters import Compared, Every, Exists, Not, OneOf, Some, parse


def nearest(batch, vector, k, where=None, metric="cosine"):
    """Return (ids, scores) of the k nearest that meet a filter."""
    vectors = batch.vectors.astype(np.float64)
    scores = vectors @ vector.astype(np.float64)
    if metric == "cosine":
        scores = scores / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vector.astype(np.float64))
    allowed = [n for n, entry in enumerate(batch.entries) if where is None or meets(parse(where), entry.metadata)]
    order = sorted(allowed, key=lambda n: -scores[n])[:k]
    return [batch.entries[n].id for n in order], scores[order]


def meets(found, row):
    match found:
        case Every(parts):
            return all(meets(part, row) for part in parts)
        case Some(parts):
            return any(meets(part, row) for part in parts)
        case Not(part):
            return not meets(part, row)
    for name in found.path:
        if not isinstance(row, dict) or name not in row:
            return False
        row = row[name]
    return isinstance(found, Exists) or any(_holds(found, one) for one in (row if isinstance(row, list) else [row]))


def _holds(found, value):
    if isinstance(found, OneOf):
        return any(_kind(value) == _kind(one) and value == one for one in found.values)
    assert isinstance(found, Compared)
    if _kind(value) != _kind(found.value):
        return False
    a, b = value, found.value
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[found.order]


def _kind(value):
    return "number" if type(value) in (int, float) else type(value).__name__
