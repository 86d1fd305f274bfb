"""A store in Milvus, or in a Milvus Lite database: one collection, asked by `facts`; it cannot search by words.

Ids go in by their hashes, because Milvus' client writes ids into expressions as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.extras import require
from sentvec.search.checks import id_list
from sentvec.search.types import Entry, Hit
from sentvec.stores import border
from sentvec.stores.address import Address
from sentvec.stores.facts import Both, Either, Has, Lacks, Plan, facts, plan
from sentvec.stores.protocol import Array, Batch, Caps, Spec

_STRING = 65_535  # bytes of a VARCHAR
_TOKENS = 4096  # elements of an array
SERVER = Caps("", text_order=True, exact=False, durable="server", max_dim=32_768, max_text=_STRING, max_k=16_384)
LITE = Caps("", text_order=True, exact=False, durable="no", max_dim=32_768, max_text=_STRING, max_k=16_384)
_AT_ONCE = 500  # rows of one call, and keys of one expression
_ASKED = 100  # questions of one request
_TIMEOUT_S = 60
_FIELDS = ["id", "text", "place", "metadata"]
_UNAVAILABLE = 2  # of Milvus' own codes


class MilvusStore:
    """See `sentvec.stores.protocol.Store`; made by `open_store`."""

    def __init__(self, address: Address, spec: Spec | None) -> None:
        """Open a collection, or make it for a spec where it is not there; an address without a scheme is a file."""
        pymilvus = require("pymilvus", extra="milvus")
        self._types, self._failure = pymilvus.DataType, pymilvus.exceptions.MilvusException
        self.url, self._name = address.shown, address.options.get("collection", "sentvec")
        if not self._name.isidentifier() or not self._name.isascii():
            raise InvalidInput(f"collection={self._name!r}; accepted: letters, digits and _, the first no digit.")
        self._client: Any = None
        with self._answering():
            self._client = pymilvus.MilvusClient(**self._where(address))
        try:
            self.spec = self._opened(spec)
        except BaseException:
            self.close()
            raise

    def _where(self, address: Address) -> dict[str, Any]:
        if not address.scheme:
            require("milvus_lite", extra="milvus")
            self.caps = LITE
            return {"uri": address.path}
        self.caps = SERVER
        scheme = "https" if address.scheme.endswith("https") else "http"
        token = f"{address.user}:{address.password}" if address.user else address.password or ""
        return {
            "uri": f"{scheme}://{address.host or 'localhost'}:{address.port or 19530}",
            "token": token,
            "db_name": address.path,
            "timeout": _TIMEOUT_S,
        }

    def _opened(self, spec: Spec | None) -> Spec:
        with self._answering():
            if self._client.has_collection(self._name):
                told = self._client.describe_collection(self._name)
                # Milvus Lite gives no descriptions back, and a server no properties that it does not know.
                held = (told.get("properties") or {}).get("sentvec.spec") or told.get("description")
                self._client.load_collection(self._name)
                return border.agreed(border.held_spec(held, self.url), spec, self.url)
            if spec is None:
                raise border.absent(self.url)
            self._make(border.fitting(spec, self.caps, self.url))
            return spec

    def _make(self, spec: Spec) -> None:
        types, told = self._types, border.spec_text(spec)
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False, description=told)
        schema.add_field("key", types.VARCHAR, is_primary=True, max_length=32)
        schema.add_field("id", types.VARCHAR, max_length=border.MAX_ID)
        schema.add_field("source", types.VARCHAR, max_length=32)
        for name in ("text", "place", "metadata"):
            schema.add_field(name, types.VARCHAR, max_length=_STRING)
        schema.add_field("facts", types.ARRAY, element_type=types.VARCHAR, max_capacity=_TOKENS, max_length=32)
        schema.add_field("bounds", types.JSON)
        schema.add_field("vector", types.FLOAT_VECTOR, dim=spec.dim)
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="AUTOINDEX", metric_type="COSINE" if spec.metric == "cosine" else "IP")
        self._client.create_collection(
            self._name,
            schema=schema,
            index_params=index,
            consistency_level="Strong",  # what was acknowledged is found by the next search
            properties={"sentvec.spec": told},
        )

    def _answering(self) -> AbstractContextManager[None]:
        return border.answering(
            self.url,
            (OSError,),
            (self._failure, ValueError),
            lambda error: getattr(error, "code", None) == _UNAVAILABLE or "UNAVAILABLE" in str(error),
        )

    def close(self) -> None:
        """Let go of the server."""
        if self._client is not None:
            self._client.close()
            self._client = None

    # Writing ----------------------------------------------------------------------------------------

    def upsert(self, batch: Batch) -> int:
        """Store passages; see the protocol."""
        metadata = border.checked(batch, self.spec, self.caps)
        rows = [self._row(*one) for one in zip(batch.entries, metadata, batch.vectors, strict=True)]
        for first in range(0, len(rows), _AT_ONCE):
            with self._answering():
                self._client.upsert(self._name, rows[first : first + _AT_ONCE])
        return len(rows)

    def _row(self, entry: Entry, metadata: str, vector: Array) -> dict[str, Any]:
        found = facts(entry.metadata)
        bounds = {key: _ordered(value) for key, value in found.bounds.items()}
        large = max(len(metadata.encode()), len(json.dumps(bounds)))
        if len(found.tokens) > _TOKENS or large > _STRING:
            raise InvalidInput(
                f"The metadata of {entry.id!r} has {len(found.tokens)} fields and values and {large} bytes; Milvus "
                f"takes {_TOKENS} and {_STRING}."
            )
        return {
            "key": _key(entry.id),
            "id": entry.id,
            "source": "" if entry.source is None else _key(entry.source),
            "text": entry.text,
            "place": json.dumps(border.place_of(entry)),
            "metadata": metadata,
            "facts": list(found.tokens),
            "bounds": bounds,
            "vector": vector,
        }

    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Delete by ids or by a filter; see the protocol."""
        names, found = border.asked_ids(ids, where)
        if found is None:
            keys = [row["key"] for row in self._rows_of(list(map(_key, names)), ["key"])]
        else:
            keys = [row["key"] for part in self._parts(_expression(plan(found)), ["key"], _AT_ONCE) for row in part]
        for first in range(0, len(keys), _AT_ONCE):
            with self._answering():
                self._client.delete(self._name, ids=keys[first : first + _AT_ONCE])
        return len(keys)

    def optimize(self) -> None:
        """Do nothing: Milvus builds its indexes by itself."""

    # Reading ----------------------------------------------------------------------------------------

    def get(self, ids: Sequence[str]) -> Batch:
        """Return what is stored under ids; see the protocol."""
        names = list(dict.fromkeys(id_list(ids)))
        rows = self._rows_of(list(map(_key, names)), [*_FIELDS, "vector"])
        found = {row["id"]: row for row in rows}
        return self._batch([found[name] for name in names if name in found])

    def _rows_of(self, keys: Sequence[str], fields: Sequence[str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for first in range(0, len(keys), _AT_ONCE):
            with self._answering():
                rows += self._client.query(
                    self._name, ids=list(keys[first : first + _AT_ONCE]), output_fields=list(fields)
                )
        return rows

    def _parts(self, expression: str, fields: Sequence[str], many: int) -> Iterator[list[dict[str, Any]]]:
        """Give what meets an expression, in the order of keys."""
        last = ""
        while True:
            with self._answering():
                after = self._client.query_iterator(
                    self._name,
                    batch_size=many,
                    limit=many,
                    filter=f'key > "{last}" and ({expression})',
                    output_fields=["key", *fields],
                )
                rows = after.next()
                after.close()
            if not rows:
                return
            yield rows
            last = max(row["key"] for row in rows)

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
        condition, found_by = "" if found is None else _expression(plan(found)), []
        for part in border.in_parts(vectors, _ASKED):
            with self._answering():
                found_by += self._client.search(
                    self._name, data=list(part), limit=k, filter=condition, output_fields=_FIELDS
                )
        return [[border.hit(_entry(hit["entity"]), float(hit["distance"])) for hit in hits] for hits in found_by]

    def search_text(self, words: str, k: int = 10, *, where: Mapping[str, Any] | None = None) -> list[Hit]:
        """Refuse; Milvus Lite, by which this store is tested, has no measure of words over all it holds."""
        del k, where
        border.asked_words(words, self.caps, self.url)
        return []

    def ids_of_source(self, source: str) -> list[str]:
        """Return the ids of what came from a file."""
        parts = self._parts(f'source == "{_key(source)}"', ["id"], _AT_ONCE)
        return [row["id"] for part in parts for row in part]

    def scan(self, many: int = 256) -> Iterator[Batch]:
        """Give everything, by hashes of ids."""
        for rows in self._parts(_EVERYTHING, [*_FIELDS, "vector"], border.counted(many, "many")):
            yield self._batch(rows)

    def count(self) -> int:
        """Return how many passages there are."""
        with self._answering():
            return int(self._client.query(self._name, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def _batch(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        vectors = np.array([row["vector"] for row in rows], dtype=np.float32).reshape(-1, self.spec.dim)
        return Batch(tuple(map(_entry, rows)), vectors)

    def __enter__(self) -> MilvusStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_EVERYTHING, _NOTHING = 'key != ""', 'key == ""'


def _expression(found: Plan) -> str:
    """Return a plan as Milvus writes filters; only numbers and hexadecimal digits of ours are in it."""
    if isinstance(found, Both | Either):
        joint = " and " if isinstance(found, Both) else " or "
        return "(" + joint.join(map(_expression, found.parts)) + ")"
    if isinstance(found, Has | Lacks):
        if not found.tokens:
            return _NOTHING if isinstance(found, Has) else _EVERYTHING
        held = f"array_contains_any(facts, {json.dumps(list(found.tokens))})"
        return held if isinstance(found, Has) else f"(not {held})"
    return f'bounds["{found.key}"] {found.order} {json.dumps(_ordered(found.value))}'


def _ordered(value: float | str) -> float | str:
    """Return a bound in letters that need no quoting; their order is that of the text's characters."""
    return value.encode().hex() if isinstance(value, str) else value


def _entry(row: Mapping[str, Any]) -> Entry:
    return border.entry_of(row["id"], row["text"], json.loads(row["place"]), json.loads(row["metadata"]))


def _key(id_: str) -> str:
    return hashlib.blake2b(id_.encode(), digest_size=16).hexdigest()
