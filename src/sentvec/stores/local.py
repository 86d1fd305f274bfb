"""A collection in a folder of this machine, behind the protocol of stores: vectors come from outside, no model."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from sentvec.search.checks import id_list
from sentvec.search.collection import Collection
from sentvec.search.encoding import numbers
from sentvec.search.opening import folder_of, identity, prepare
from sentvec.search.schema import FILE
from sentvec.search.store import Store as Database
from sentvec.search.types import Entry, FileState, Hit, Row, text_digest
from sentvec.stores import border
from sentvec.stores.protocol import Array, Batch, Caps, Spec

CAPS = Caps("BM25", text_order=True, exact=False, durable="yes", max_dim=65_536)
_BUSY_S = 10.0


@dataclass(frozen=True, slots=True)
class _Maker:
    """What a new collection is told of the model that makes its vectors."""

    name: str
    fingerprint: str
    dim: int
    similarity_name: str


class LocalStore:
    """See `sentvec.stores.protocol.Store`; made by `open_store`."""

    caps = CAPS

    def __init__(self, path: str, spec: Spec | None) -> None:
        """Open a collection, or make it for a spec where it is not there."""
        folder = folder_of(path)
        self.url = str(folder)
        if spec is not None:
            border.fitting(spec, self.caps, self.url)
            similarity = "dot" if spec.metric == "inner_product" else "cosine"
            prepare(folder, _Maker(spec.model, spec.fingerprint, spec.dim, similarity))
        elif not (folder / FILE).exists():
            raise border.absent(self.url)
        self._turn = threading.RLock()
        self._collection = Collection.open(folder)
        try:
            self._database = Database(folder, _BUSY_S)
        except BaseException:
            self._collection.close()
            raise
        try:
            known = identity(self._database)
            assert known.metric != "l2"  # no collection compares by it
            held = Spec(known.name, known.fingerprint, known.dim, known.metric)
            self.spec = border.agreed(held, spec, self.url)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the collection."""
        with self._turn:
            self._collection.close()
            self._database.close()

    # Writing ----------------------------------------------------------------------------------------

    def upsert(self, batch: Batch) -> int:
        """Store passages in one commit; see the protocol."""
        metadata = border.checked(batch, self.spec, self.caps)
        with self._turn, self._database.writing():
            files: dict[str, int] = {}
            for entry, fields, vector in zip(batch.entries, metadata, batch.vectors, strict=True):
                file = None if entry.source is None else files.setdefault(entry.source, self._file(entry.source))
                self._put(entry, fields, vector.astype("<f4").tobytes(), file)
        return len(batch.entries)

    def _file(self, path: str) -> int:
        """Return the number of a file; one that is new is taken for changed when it is indexed here."""
        return self._database.touch(self._database.file(path) or FileState(path, -1, 0, "", 0))

    def _put(self, entry: Entry, metadata: str, vector: bytes, file: int | None) -> None:
        there = self._database.row_of(entry.id)
        if there is not None and self._database.vectors_after(there - 1, 1) != [(there, vector)]:
            self._database.remove([entry.id])  # the collection itself keeps the vector of a text that stays
        digest = text_digest(entry.text, self.spec.fingerprint)
        row = Row(entry.id, entry.text, digest, entry.line, entry.end_line, metadata)
        self._database.put([row], {digest: vector}, file)

    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Delete by ids or by a filter; see the protocol."""
        names, found = border.asked_ids(ids, where)
        return self._collection.delete(names) if found is None else self._collection.delete(where=where)

    def optimize(self) -> None:
        """Build an index where so much has come that it is worth it."""
        if self._collection.stats().due:
            self._collection.compact()

    # Reading ----------------------------------------------------------------------------------------

    def get(self, ids: Sequence[str]) -> Batch:
        """Return what is stored under ids; see the protocol."""
        with self._turn, self._database.reading():
            rows = [row for id_ in dict.fromkeys(id_list(ids)) if (row := self._database.row_of(id_)) is not None]
            return self._batch([(row, self._database.vectors_after(row - 1, 1)[0][1]) for row in rows])

    def _batch(self, held: list[tuple[int, bytes]]) -> Batch:
        entries = self._database.entries_of_rows([row for row, _ in held])
        vectors = numbers(self._database.folder, held, self.spec.dim)
        return Batch(tuple(entries[row] for row, _ in held), vectors)

    def search(
        self, vector: Array, k: int = 10, *, where: Mapping[str, Any] | None = None, exact: bool = False
    ) -> list[Hit]:
        """Find the nearest; see the protocol."""
        return self.search_many(border.one_question(vector, self.spec), k, where=where, exact=exact)[0]

    def search_many(
        self, vectors: Array, k: int = 10, *, where: Mapping[str, Any] | None = None, exact: bool = False
    ) -> list[list[Hit]]:
        """Find the nearest to each of many; see the protocol."""
        border.asked_vectors(vectors, k, where, self.spec, self.caps, exact=exact)
        return self._collection.search_many(np.ascontiguousarray(vectors), k, where=where)

    def search_text(self, words: str, k: int = 10, *, where: Mapping[str, Any] | None = None) -> list[Hit]:
        """Find what has the words of a question, by BM25; see the protocol."""
        border.asked(k, where, self.caps)
        return self._collection.search_text(border.asked_words(words, self.caps, self.url), k, where=where)

    def ids_of_source(self, source: str) -> list[str]:
        """Return the ids of what came from a file."""
        sql = "SELECT id FROM passages JOIN files USING (file) WHERE path = ?"
        with self._turn:
            return [id_ for (id_,) in self._database.select(sql, (source,))]

    def scan(self, many: int = 256) -> Iterator[Batch]:
        """Give everything, in the order of adding."""
        last, many = 0, border.counted(many, "many")
        while True:
            with self._turn, self._database.reading():
                held = self._database.vectors_after(last, many)
                batch = self._batch(held)
            if not held:
                return
            yield batch
            last = held[-1][0]

    def count(self) -> int:
        """Return how many passages there are."""
        return len(self._collection)

    def __enter__(self) -> LocalStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
