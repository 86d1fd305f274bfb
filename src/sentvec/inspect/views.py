"""What was traced or explained in; a page to look at it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.inspect.capture import Trace
from sentvec.inspect.page import Page, floats, page, shares
from sentvec.inspect.projection import Projected
from sentvec.inspect.why import Explanation

_PLAIN = 1e-3
"""How far attention may be from the softmax of queries and keys, before the neuron view says that there is more."""


def head_view(found: Trace) -> Page:
    """Show lines between tokens, for a layer and any of its heads; a token's lines alone when it is pointed at.

    Args:
        found: what `trace` returned. For a pair of texts the page can show one text looking at the other.
    """
    return page("head", title="Attention: heads", about=_about(found), data=_attention(found))


def model_view(found: Trace) -> Page:
    """Show every head of every layer as a small picture; one of them, enlarged, when it is clicked.

    Args:
        found: what `trace` returned.
    """
    return page("model", title="Attention: the whole model", about=_about(found), data=_attention(found))


def neuron_view(found: Trace) -> Page:
    """Show how a token's query and all keys become attention: the product of each of their numbers, sum, softmax.

    Args:
        found: what `trace(..., qkv=True)` returned.

    Raises:
        InvalidInput: the trace holds no queries and keys.
    """
    if found.queries is None or found.keys is None:
        raise InvalidInput("the neuron view needs queries and keys; make the trace with trace(..., qkv=True).")
    scores = found.queries @ found.keys.swapaxes(-1, -2) / np.sqrt(found.keys.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    plain = np.abs(weights / weights.sum(-1, keepdims=True) - found.attentions).max() < _PLAIN
    more = {"queries": floats(found.queries), "keys": floats(found.keys), "plain": bool(plain)}
    return page("neuron", title="Attention: queries and keys", about=_about(found), data=_attention(found) | more)


def similarity_view(found: Explanation, *, pairs: int = 15) -> Page:
    """Show why two texts are similar: a matrix of tokens × tokens, its sums, and the strongest pairs.

    Args:
        found: what `explain_similarity` returned.
        pairs: how many of the strongest pairs to list.
    """
    return page(
        "similarity",
        title="Why are these two texts similar?",
        about=f"{found.model} · {len(found.rows)} × {len(found.columns)} tokens",
        data={
            "rows": found.rows,
            "columns": found.columns,
            "matrix": floats(found.matrix),
            "score": found.score,
            "strongest": [pair.places for pair in found.strongest(pairs)],
        },
    )


def map_view(found: Projected, texts: Sequence[str], *, groups: Sequence[str] | None = None, about: str = "") -> Page:
    """Show texts as points on a plane, with the text of the one that is pointed at.

    Args:
        found: what `project` returned for the texts' vectors.
        texts: n texts.
        groups: a name for each text; texts of a group have a colour.
        about: of which model and file, for the head of the page.

    Raises:
        InvalidInput: texts, groups and points are not equally many.
    """
    if {len(texts), len(groups if groups is not None else texts)} != {len(found.points)}:
        counts = f"{len(found.points)} points, {len(texts)} texts and {len(groups or ())} groups"
        raise InvalidInput(f"there are {counts}; give a text for each point, and a group for each or for none.")
    names = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
    kept = "" if found.explained is None else f" keeps {100 * sum(found.explained):.0f} % of the variance"
    return page(
        "map",
        title="A map of texts",
        about=" · ".join(part for part in (about, f"{len(texts):,} texts", names[found.method] + kept) if part),
        data={
            "texts": list(texts),
            "groups": None if groups is None else [str(group) for group in groups],
            "points": floats(found.points),
        },
    )


def _attention(found: Trace) -> dict[str, Any]:
    return {
        "labels": found.labels,
        "special": found.special.tolist(),
        "segments": found.segments.tolist(),
        "attention": shares(found.attentions),
    }


def _about(found: Trace) -> str:
    layers, heads = found.attentions.shape[:2]
    cut = f" · {found.lost} more were cut off" if found.lost else ""
    return f"{found.model} · {layers} layers of {heads} heads · {len(found)} tokens{cut}"
