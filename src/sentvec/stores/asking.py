"""A question that is a text in, the passages of a store that answer it out: by vectors, by words, or by both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.search.checks import vectors_of_model
from sentvec.search.fuse import fused
from sentvec.search.query import DEEP, worded
from sentvec.search.types import Hit, TextEncoder
from sentvec.stores import border
from sentvec.stores.opening import spec_of
from sentvec.stores.protocol import Store


def ask(
    store: Store,
    question: str,
    model: TextEncoder | None,
    k: int = 10,
    *,
    where: Mapping[str, Any] | None = None,
    hybrid: bool = False,
) -> list[Hit]:
    """Find the k best answers.

    Args:
        store: the store.
        question: a text.
        model: encodes it; None ranks by words alone.
        k: how many at most.
        where: a filter of metadata.
        hybrid: rank by vectors and by words, and fuse both rankings by reciprocal rank.

    Raises:
        InvalidInput: the question is empty, or the store cannot do what is asked.
        ModelMismatch: another model made the store's vectors.
    """
    if model is None:
        if hybrid:
            raise InvalidInput("A hybrid search needs the model as well as the words; give a model.")
        return store.search_text(question, k, where=where)
    border.agreed(store.spec, spec_of(model), store.url)
    vectors = vectors_of_model(model.encode_query([worded(question)], progress=False), (1, store.spec.dim), model.name)
    vector = np.ascontiguousarray(vectors[0])
    if not hybrid:
        return store.search(vector, k, where=where)
    deep = max(k, DEEP)
    rankings = store.search(vector, deep, where=where), store.search_text(question, deep, where=where)
    hits = {hit.id: hit for ranking in rankings for hit in ranking}
    number = {id_: n for n, id_ in enumerate(hits)}
    found = fused([[number[hit.id] for hit in ranking] for ranking in rankings], (0.5, 0.5))
    named = list(hits.values())
    return [replace(named[n], score=score) for n, score in found[:k]]
