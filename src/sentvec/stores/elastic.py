"""A store in Elasticsearch 8 or newer, or OpenSearch 2 or newer: one index, spoken to in plain HTTP, without a client.

Vectors are kept twice: as what the server searches, and as base64 of their float32, from which scores are computed
here; so scores are cosines and inner products whatever the server calls a score. BM25 ranks words that we have parted
ourselves. No server of this kind is at hand where sentvec is tested: see docs/stores.md.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from sentvec.errors import CollectionError, InvalidInput
from sentvec.search.checks import id_list
from sentvec.search.types import Entry, Hit
from sentvec.stores import border
from sentvec.stores.address import Address
from sentvec.stores.elastic_index import DIALECTS, Dialect, filtered
from sentvec.stores.facts import facts, plan
from sentvec.stores.protocol import Array, Batch, Caps, Spec
from sentvec.stores.wire import Http
from sentvec.stores.wording import asked_terms, terms

_ROWS = 10_000  # hits of one search: the default of index.max_result_window
CAPS = Caps("BM25", text_order=True, exact=True, durable="server", max_dim=4096, max_k=_ROWS)
_CANDIDATES = 100
_NAME = set("abcdefghijklmnopqrstuvwxyz0123456789_-")
_KEPT = ["id", "text", "place", "metadata", "raw"]


class ElasticStore:
    """See `sentvec.stores.protocol.Store`; made by `open_store`."""

    caps = CAPS

    def __init__(self, address: Address, spec: Spec | None) -> None:
        """Open an index, or make it for a spec where it is not there; a password without a user is an API key."""
        self.url, self._name = address.shown, address.path or "sentvec"
        if not set(self._name) <= _NAME or self._name[0] in "_-":
            raise InvalidInput(f"The index {self._name!r} cannot be; accepted: small letters, digits, _ and -.")
        self._http = Http(address, 9200)
        try:
            self._dialect = self._spoken()
            self.spec = self._opened(spec)
        except BaseException:
            self.close()
            raise

    def _spoken(self) -> Dialect:
        told = self._http.call("GET", "/").get("version", {})
        name = told.get("distribution", "elasticsearch")
        number = str(told.get("number", "0"))
        dialect = DIALECTS.get(name)
        if dialect is None or int(number.split(".", maxsplit=1)[0]) < dialect.oldest:
            raise CollectionError(
                f"{self.url} is {name} {number}; needed is Elasticsearch 8 or newer, or OpenSearch 2 or newer."
            )
        return dialect

    def _opened(self, spec: Spec | None) -> Spec:
        held = self._http.call("GET", f"/{self._name}/_mapping", absent=True)
        if held is not None:
            told = next(iter(held.values()))["mappings"].get("_meta", {}).get("sentvec")
            return border.agreed(border.held_spec(told, self.url), spec, self.url)
        if spec is None:
            raise border.absent(self.url)
        border.fitting(spec, self.caps, self.url)
        self._http.call("PUT", f"/{self._name}", self._dialect.index(spec, border.spec_text(spec)))
        return spec

    def close(self) -> None:
        """Let go of the server."""
        self._http.close()

    # Writing ----------------------------------------------------------------------------------------

    def upsert(self, batch: Batch) -> int:
        """Store passages; see the protocol."""
        border.checked(batch, self.spec, self.caps)
        lines: list[Any] = []
        for entry, vector in zip(batch.entries, batch.vectors, strict=True):
            lines += [{"index": {"_id": entry.id}}, self._document(entry, vector)]
        self._bulk(lines)
        return len(batch.entries)

    def _document(self, entry: Entry, vector: Array) -> dict[str, Any]:
        found = facts(entry.metadata)
        return {
            "id": entry.id,
            "text": entry.text,
            "words": " ".join(terms(entry.text)),
            "source": entry.source,
            "place": border.place_of(entry),
            "metadata": json.dumps(dict(entry.metadata)),
            "facts": list(found.tokens),
            "bounds": dict(found.bounds),
            "vector": vector.tolist(),
            "raw": base64.b64encode(vector.astype("<f4").tobytes()).decode(),
        }

    def _bulk(self, lines: Sequence[Any]) -> list[dict[str, Any]]:
        """Send many changes; they can be found when this returns."""
        if not lines:
            return []
        body = "".join(f"{json.dumps(line)}\n" for line in lines)
        told = self._http.call("POST", f"/{self._name}/_bulk?refresh=true", body)
        done = [next(iter(item.values())) for item in told["items"]]
        for item in done:
            if "error" in item:
                raise CollectionError(f"{self.url} refused {item['_id']!r}: {json.dumps(item['error'])[:300]}")
        return done

    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Delete by ids or by a filter; see the protocol."""
        names, found = border.asked_ids(ids, where)
        if found is None:
            done = self._bulk([{"delete": {"_id": name}} for name in dict.fromkeys(names)])
            return sum(item["result"] == "deleted" for item in done)
        body = {"query": {"bool": {"filter": [filtered(plan(found))]}}}
        told = self._http.call("POST", f"/{self._name}/_delete_by_query?refresh=true&conflicts=proceed", body)
        return int(told["deleted"])

    def optimize(self) -> None:
        """Do nothing: the server builds and merges its indexes by itself."""

    # Reading ----------------------------------------------------------------------------------------

    def get(self, ids: Sequence[str]) -> Batch:
        """Return what is stored under ids; see the protocol."""
        names = list(dict.fromkeys(id_list(ids)))
        if not names:
            return self._batch([])
        told = self._http.call("POST", f"/{self._name}/_mget", {"ids": names})
        return self._batch([doc["_source"] for doc in told["docs"] if doc.get("found")])

    def search(
        self, vector: Array, k: int = 10, *, where: Mapping[str, Any] | None = None, exact: bool = False
    ) -> list[Hit]:
        """Find the nearest; see the protocol."""
        return self.search_many(border.one_question(vector, self.spec), k, where=where, exact=exact)[0]

    def search_many(
        self, vectors: Array, k: int = 10, *, where: Mapping[str, Any] | None = None, exact: bool = False
    ) -> list[list[Hit]]:
        """Find the nearest to each of many; see the protocol."""
        found = border.asked_vectors(vectors, k, where, self.spec, self.caps, exact=exact)
        condition = None if found is None else filtered(plan(found))
        speak = self._dialect.exact if exact else self._dialect.nearest
        hits: list[list[Hit]] = []
        for part in border.in_parts(vectors, max(1, _ROWS // k)):
            bodies = [speak(one, k, max(_CANDIDATES, 2 * k), condition, self.spec.metric) for one in part.tolist()]
            hits += [self._scored(*one) for one in zip(part, self._searched(bodies, k), strict=True)]
        return hits

    def _scored(self, vector: Array, held: Sequence[Mapping[str, Any]]) -> list[Hit]:
        """Return what was found for a vector, the best first, by scores of our own."""
        batch = self._batch(held)
        scores = batch.vectors.astype(np.float64) @ vector.astype(np.float64)
        if self.spec.metric == "cosine":
            lengths = np.linalg.norm(batch.vectors.astype(np.float64), axis=1) * np.linalg.norm(vector)
            scores = scores / np.where(lengths > 0, lengths, 1)
        order = np.argsort(-scores, kind="stable").tolist()
        return [border.hit(batch.entries[n], float(scores[n])) for n in order]

    def search_text(self, words: str, k: int = 10, *, where: Mapping[str, Any] | None = None) -> list[Hit]:
        """Find what has the words of a question, by BM25; see the protocol."""
        found = border.asked(k, where, self.caps)
        query = asked_terms(border.asked_words(words, self.caps, self.url))
        if not query:
            return []
        conditions = [] if found is None else [filtered(plan(found))]
        match = {"match": {"words": {"query": " ".join(query)}}}
        body = {"query": {"bool": {"must": [match], "filter": conditions}}}
        told = self._http.call("POST", f"/{self._name}/_search", {**body, "size": k, "_source": _KEPT})
        return [border.hit(_entry(hit["_source"]), float(hit["_score"])) for hit in told["hits"]["hits"]]

    def _search(self, body: Mapping[str, Any], size: int) -> list[dict[str, Any]]:
        told = self._http.call("POST", f"/{self._name}/_search", {**body, "size": size, "_source": _KEPT})
        return [hit["_source"] for hit in told["hits"]["hits"]]

    def _searched(self, bodies: Sequence[Mapping[str, Any]], size: int) -> list[list[dict[str, Any]]]:
        """Send several searches at once."""
        lines = [line for body in bodies for line in ({}, {**body, "size": size, "_source": _KEPT})]
        told = self._http.call("POST", f"/{self._name}/_msearch", "".join(f"{json.dumps(line)}\n" for line in lines))
        for one in told["responses"]:
            if "error" in one:
                raise CollectionError(f"{self.url} refused: {json.dumps(one['error'])[:300]}")
        return [[hit["_source"] for hit in one["hits"]["hits"]] for one in told["responses"]]

    def ids_of_source(self, source: str) -> list[str]:
        """Return the ids of what came from a file."""
        return [entry.id for part in self._scrolled({"term": {"source": source}}, 1000) for entry in part.entries]

    def scan(self, many: int = 256) -> Iterator[Batch]:
        """Give everything, by id."""
        return self._scrolled({"match_all": {}}, border.counted(many, "many"))

    def _scrolled(self, query: Mapping[str, Any], many: int) -> Iterator[Batch]:
        after: dict[str, Any] = {}
        while True:
            held = self._search({"query": query, "sort": [{"id": "asc"}], **after}, many)
            if not held:
                return
            yield self._batch(held)
            after = {"search_after": [held[-1]["id"]]}

    def count(self) -> int:
        """Return how many passages there are."""
        return int(self._http.call("GET", f"/{self._name}/_count")["count"])

    def _batch(self, held: Sequence[Mapping[str, Any]]) -> Batch:
        data = b"".join(base64.b64decode(one["raw"]) for one in held)
        vectors = np.frombuffer(data, dtype="<f4").astype(np.float32).reshape(-1, self.spec.dim)
        return Batch(tuple(map(_entry, held)), vectors)

    def __enter__(self) -> ElasticStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _entry(held: Mapping[str, Any]) -> Entry:
    return border.entry_of(held["id"], held["text"], held["place"], json.loads(held["metadata"]))
