"""What Elasticsearch and OpenSearch are told: a spec, a vector or a plan in, the JSON of their requests out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sentvec.stores.facts import Both, Either, Has, Lacks, Plan
from sentvec.stores.protocol import Metric, Spec

Json = dict[str, Any]
Ask = Callable[[Sequence[float], int, int, Json | None, Metric], Json]
_M, _QUEUE = 16, 200  # of HNSW, when it is built


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one of both is spoken to.

    Attributes:
        oldest: the oldest major version.
        index: (spec, its JSON) -> what makes an index.
        nearest: (vector, k, candidates, condition, metric) -> a search through the graph.
        exact: the same -> a search that compares every vector.
    """

    oldest: int
    index: Callable[[Spec, str], Json]
    nearest: Ask
    exact: Ask


def filtered(found: Plan) -> Json:
    """Return a plan as a query."""
    if isinstance(found, Both):
        return {"bool": {"filter": [filtered(part) for part in found.parts]}}
    if isinstance(found, Either):
        return {"bool": {"should": [filtered(part) for part in found.parts], "minimum_should_match": 1}}
    if isinstance(found, Has):
        return {"terms": {"facts": list(found.tokens)}} if found.tokens else {"match_none": {}}
    if isinstance(found, Lacks):
        held = {"terms": {"facts": list(found.tokens)}}
        return {"bool": {"must_not": [held]}} if found.tokens else {"match_all": {}}
    name = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}[found.order]
    return {"range": {f"bounds.{found.key}": {name: found.value}}}


def _made(told: str, vector: Json, settings: Json) -> Json:
    # Words come parted and without case and accents; endings are taken off for English, as a collection does.
    analyzer = {"type": "custom", "tokenizer": "whitespace", "filter": ["porter_stem"]}
    properties = {
        "id": {"type": "keyword"},
        "text": {"type": "text", "index": False},
        "words": {"type": "text", "analyzer": "sentvec_words"},
        "source": {"type": "keyword", "ignore_above": 8191},
        "place": {"type": "object", "enabled": False},
        "metadata": {"type": "keyword", "index": False, "doc_values": False},
        "facts": {"type": "keyword"},
        "bounds": {"type": "object", "dynamic": True},
        "vector": vector,
        "raw": {"type": "binary"},
    }
    templates = [
        {kind: {"path_match": f"bounds.{kind}_*", "mapping": {"type": mapped}}}
        for kind, mapped in (("number", "double"), ("text", "keyword"))
    ]
    return {
        "settings": {**settings, "analysis": {"analyzer": {"sentvec_words": analyzer}}},
        "mappings": {
            "_meta": {"sentvec": told},
            "_source": {"excludes": ["vector", "words", "facts", "bounds"]},
            "dynamic": False,
            "dynamic_templates": templates,
            "properties": properties,
        },
    }


def _elastic_index(spec: Spec, told: str) -> Json:
    vector = {
        "type": "dense_vector",
        "dims": spec.dim,
        "index": True,
        "similarity": "cosine" if spec.metric == "cosine" else "max_inner_product",
        # said outright: the defaults keep one bit or byte of each number, and differ between versions
        "index_options": {"type": "hnsw", "m": _M, "ef_construction": _QUEUE},
    }
    return _made(told, vector, {})


def _elastic_nearest(vector: Sequence[float], k: int, many: int, condition: Json | None, metric: Metric) -> Json:
    del metric
    knn: Json = {"field": "vector", "query_vector": list(vector), "k": k, "num_candidates": min(many, 10_000)}
    return {"knn": knn if condition is None else {**knn, "filter": condition}}


def _elastic_exact(vector: Sequence[float], k: int, many: int, condition: Json | None, metric: Metric) -> Json:
    del k, many
    script = {
        "cosine": "cosineSimilarity(params.query, 'vector') + 1.0",
        "inner_product": "sigmoid(1, Math.E, -dotProduct(params.query, 'vector'))",  # no score may be below 0
    }[metric]
    return _scored({"source": script, "params": {"query": list(vector)}}, condition)


def _open_index(spec: Spec, told: str) -> Json:
    space = "cosinesimil" if spec.metric == "cosine" else "innerproduct"
    method = {
        "name": "hnsw",
        "engine": "lucene",
        "space_type": space,
        "parameters": {"m": _M, "ef_construction": _QUEUE},
    }
    return _made(told, {"type": "knn_vector", "dimension": spec.dim, "method": method}, {"index": {"knn": True}})


def _open_nearest(vector: Sequence[float], k: int, many: int, condition: Json | None, metric: Metric) -> Json:
    del many, metric
    knn: Json = {"vector": list(vector), "k": k}
    return {"query": {"knn": {"vector": knn if condition is None else {**knn, "filter": condition}}}}


def _open_exact(vector: Sequence[float], k: int, many: int, condition: Json | None, metric: Metric) -> Json:
    del k, many
    space = "cosinesimil" if metric == "cosine" else "innerproduct"
    params = {"field": "vector", "query_value": list(vector), "space_type": space}
    return _scored({"lang": "knn", "source": "knn_score", "params": params}, condition)


def _scored(script: Mapping[str, Any], condition: Json | None) -> Json:
    query = {"match_all": {}} if condition is None else {"bool": {"filter": [condition]}}
    return {"query": {"script_score": {"query": query, "script": script}}}


DIALECTS = {
    "elasticsearch": Dialect(8, _elastic_index, _elastic_nearest, _elastic_exact),
    "opensearch": Dialect(2, _open_index, _open_nearest, _open_exact),
}
