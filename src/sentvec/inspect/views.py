"""What was traced or explained in; a page to look at it out."""

from __future__ import annotations

from sentvec.inspect.page import Page, floats, page
from sentvec.inspect.why import Explanation


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
