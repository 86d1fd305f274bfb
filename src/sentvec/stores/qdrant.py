"""A store in Qdrant: one collection with a dense vector, and words as a sparse one; filters by `facts`."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Any

import numpy as np

from sentvec.errors import CollectionError
from sentvec.extras import require
from sentvec.search.checks import id_list
from sentvec.search.types import Entry, Hit
from sentvec.stores import border
from sentvec.stores.address import Address
from sentvec.stores.facts import Both, Either, Has, Lacks, Plan, facts, plan
from sentvec.stores.protocol import Array, Batch, Caps, Spec
from sentvec.stores.wording import asked_terms, terms

CAPS = Caps(words="BM25", text_order=False, exact=True, durable="server", max_dim=65_536)
_TIMEOUT_S = 60
_GATEWAY = (502, 503, 504)
_ASKED = 100  # questions of one request
_K1, _B, _USUAL = 1.2, 0.75, 100  # of BM25; the words of a usual passage, because Qdrant does not count them


class QdrantStore:
    """See `sentvec.stores.protocol.Store`; made by `open_store`."""

    caps = CAPS

    def __init__(self, address: Address, spec: Spec | None, client: Any = None) -> None:
        """Open a collection, or make it for a spec where it is not there.

        Args:
            address: where; the password is the API key.
            spec: which model makes its vectors.
            client: a client that is there already, for a Qdrant within this process.
        """
        require("qdrant_client", extra="qdrant")
        self._models = require("qdrant_client.models", extra="qdrant")
        self._errors = require("qdrant_client.http.exceptions", extra="qdrant")
        self.url, self._name, self._own = address.shown, address.path or "sentvec", client is None
        scheme = "https" if address.scheme.endswith("https") else "http"
        self._client = client or require("qdrant_client", extra="qdrant").QdrantClient(
            url=f"{scheme}://{address.host or 'localhost'}:{address.port or 6333}",
            api_key=address.password,
            timeout=_TIMEOUT_S,
            check_compatibility=False,
        )
        # A Qdrant within this process is not for several threads at once.
        self._turn: AbstractContextManager[Any] = nullcontext() if self._own else threading.RLock()
        try:
            self.spec = self._opened(spec)
        except BaseException:
            self.close()
            raise

    def _opened(self, spec: Spec | None) -> Spec:
        with self._answering():
            if not self._client.collection_exists(self._name):
                if spec is None:
                    raise border.absent(self.url)
                self._make(border.fitting(spec, self.caps, self.url))
            held = (self._client.get_collection(self._name).config.metadata or {}).get("sentvec")
        return border.agreed(border.held_spec(held, self.url), spec, self.url)

    def _make(self, spec: Spec) -> None:
        models = self._models
        distance = models.Distance.COSINE if spec.metric == "cosine" else models.Distance.DOT
        self._client.create_collection(
            self._name,
            vectors_config={"dense": models.VectorParams(size=spec.dim, distance=distance)},
            sparse_vectors_config={"words": models.SparseVectorParams(modifier=models.Modifier.IDF)},
            metadata={"sentvec": border.spec_text(spec)},
        )
        if (self._client.get_collection(self._name).config.metadata or {}).get("sentvec") is None:
            self._client.delete_collection(self._name)
            raise CollectionError(f"{self.url} keeps no metadata of collections; needed is Qdrant 1.16 or newer.")
        if self._own:  # a Qdrant within this process has no such indexes
            for field in ("facts", "source"):
                self._client.create_payload_index(self._name, field, models.PayloadSchemaType.KEYWORD, wait=True)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        gone, refused = (self._errors.ResponseHandlingException, OSError), (self._errors.ApiException, ValueError)
        with self._turn, border.answering(self.url, gone, refused, _lost):
            yield

    def close(self) -> None:
        """Let go of the server."""
        if self._own:
            self._client.close()

    # Writing ----------------------------------------------------------------------------------------

    def upsert(self, batch: Batch) -> int:
        """Store passages; see the protocol."""
        border.checked(batch, self.spec, self.caps)
        points = [self._point(entry, row) for entry, row in zip(batch.entries, batch.vectors, strict=True)]
        if points:
            with self._answering():
                self._client.upsert(self._name, points, wait=True)
        return len(points)

    def _point(self, entry: Entry, vector: Array) -> Any:
        found = facts(entry.metadata)
        payload = {
            "id": entry.id,
            "text": entry.text,
            "source": entry.source,
            "place": border.place_of(entry),
            "metadata": dict(entry.metadata),
            "facts": list(found.tokens),
            "bounds": {key: value for key, value in found.bounds.items() if not isinstance(value, str)},
        }
        named = {"dense": vector.tolist(), "words": self._weights(entry.text)}
        return self._models.PointStruct(id=_key(entry.id), vector=named, payload=payload)

    def _weights(self, text: str) -> Any:
        """Return a text's words by hashes, each weighted as BM25 does; how rare a word is, Qdrant adds."""
        words = terms(text)
        longer = _K1 * (1 - _B + _B * len(words) / _USUAL)
        weights: dict[int, float] = {}
        for word, times in Counter(words).items():
            place = _hash(word)
            weights[place] = weights.get(place, 0.0) + times * (_K1 + 1) / (times + longer)
        return self._models.SparseVector(indices=list(weights), values=list(weights.values()))

    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Delete by ids or by a filter; see the protocol."""
        names, found = border.asked_ids(ids, where)
        models = self._models
        if found is None:
            chosen = models.Filter(must=[models.HasIdCondition(has_id=[_key(name) for name in names])])
        else:
            chosen = self._filter(plan(found))
        with self._answering():
            many = int(self._client.count(self._name, count_filter=chosen, exact=True).count)
            if many:
                self._client.delete(self._name, models.FilterSelector(filter=chosen), wait=True)
        return many

    def optimize(self) -> None:
        """Do nothing: Qdrant builds its indexes by itself."""

    # Reading ----------------------------------------------------------------------------------------

    def get(self, ids: Sequence[str]) -> Batch:
        """Return what is stored under ids; see the protocol."""
        names = list(dict.fromkeys(id_list(ids)))
        with self._answering():
            points = self._client.retrieve(
                self._name, [_key(name) for name in names], with_payload=True, with_vectors=["dense"]
            )
        found = {point.payload["id"]: point for point in points}
        return self._batch([found[name] for name in names if name in found])

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
        condition = None if found is None else plan(found)
        hits: list[list[Hit]] = []
        for part in border.in_parts(vectors, _ASKED):
            hits += self._query(part.tolist(), "dense", k, condition, exact=exact)
        return hits

    def search_text(self, words: str, k: int = 10, *, where: Mapping[str, Any] | None = None) -> list[Hit]:
        """Find what has the words of a question, by BM25 with a fixed usual length; see the protocol."""
        found = border.asked(k, where, self.caps)
        places = list({_hash(word) for word in asked_terms(border.asked_words(words, self.caps, self.url))})
        if not places:
            return []
        query = self._models.SparseVector(indices=places, values=[1.0] * len(places))
        return self._query([query], "words", k, None if found is None else plan(found), exact=False)[0]

    def _query(self, queries: list[Any], name: str, k: int, found: Plan | None, *, exact: bool) -> list[list[Hit]]:
        models = self._models
        same = {
            "using": name,
            "filter": None if found is None else self._filter(found),
            "params": models.SearchParams(exact=True) if exact else None,
            "limit": k,
            "with_payload": True,
        }
        with self._answering():
            told = self._client.query_batch_points(
                self._name, [models.QueryRequest(query=query, **same) for query in queries]
            )
        return [[border.hit(_entry(point), float(point.score)) for point in one.points] for one in told]

    def ids_of_source(self, source: str) -> list[str]:
        """Return the ids of what came from a file."""
        models = self._models
        chosen = models.Filter(must=[models.FieldCondition(key="source", match=models.MatchValue(value=source))])
        return [point.payload["id"] for part in self._scrolled(256, chosen, vectors=False) for point in part]

    def scan(self, many: int = 256) -> Iterator[Batch]:
        """Give everything, by Qdrant's own ids."""
        for points in self._scrolled(border.counted(many, "many"), None, vectors=True):
            yield self._batch(points)

    def _scrolled(self, many: int, chosen: Any, *, vectors: bool) -> Iterator[list[Any]]:
        offset = None
        while True:
            with self._answering():
                points, offset = self._client.scroll(
                    self._name,
                    scroll_filter=chosen,
                    limit=many,
                    offset=offset,
                    with_payload=True,
                    with_vectors=["dense"] if vectors else False,
                )
            if points:
                yield points
            if offset is None:
                return

    def count(self) -> int:
        """Return how many passages there are."""
        with self._answering():
            return int(self._client.count(self._name, exact=True).count)

    def _batch(self, points: Sequence[Any]) -> Batch:
        vectors = np.array([point.vector["dense"] for point in points], dtype=np.float32)
        return Batch(tuple(map(_entry, points)), vectors.reshape(-1, self.spec.dim))

    def _filter(self, found: Plan) -> Any:
        """Return a plan as Qdrant writes filters."""
        models = self._models
        if isinstance(found, Both):
            return models.Filter(must=[self._filter(part) for part in found.parts])
        if isinstance(found, Either):
            return models.Filter(should=[self._filter(part) for part in found.parts])
        if isinstance(found, Has | Lacks):
            if not found.tokens:
                nobody = [models.HasIdCondition(has_id=[])]
                return models.Filter(must=nobody) if isinstance(found, Has) else models.Filter(must_not=nobody)
            held = [models.FieldCondition(key="facts", match=models.MatchAny(any=list(found.tokens)))]
            return models.Filter(must=held) if isinstance(found, Has) else models.Filter(must_not=held)
        name = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}[found.order]
        bound = models.Range(**{name: found.value})
        return models.Filter(must=[models.FieldCondition(key=f"bounds.{found.key}", range=bound)])

    def __enter__(self) -> QdrantStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _entry(point: Any) -> Entry:
    held = point.payload
    return border.entry_of(held["id"], held["text"], held["place"], held["metadata"])


def _lost(error: BaseException) -> bool:
    return getattr(error, "status_code", None) in _GATEWAY


def _key(id_: str) -> str:
    """Return the id as Qdrant takes ids: a UUID."""
    return str(uuid.UUID(bytes=hashlib.blake2b(id_.encode(), digest_size=16).digest()))


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "little")
