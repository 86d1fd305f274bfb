"""Texts and files in, the passages nearest to a question out; kept in one folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import CollectionError, InvalidInput
from sentvec.progress import Advance, track
from sentvec.search import filters, upkeep
from sentvec.search.checks import as_list, id_list, rows_to_add, storable, vectors_of_model
from sentvec.search.encoding import BATCH, Encoding
from sentvec.search.generation import BadGeneration, GoneGeneration
from sentvec.search.ingest import index_files
from sentvec.search.opening import check_model, folder_of, identity, prepare
from sentvec.search.schema import damaged
from sentvec.search.store import Store
from sentvec.search.types import AddReport, CompactReport, Entry, Hit, IndexReport, Row, Stats, TextEncoder
from sentvec.search.view import View
from sentvec.search.walk import find

_TRIES = 5  # transactions in which a generation may be replaced under a search
_Answer = TypeVar("_Answer")


class Collection:
    """Passages with their vectors in one folder, and exact search over them.

    What a call has returned is on the disk: it survives a kill and a power cut. One process writes at a time,
    any number read meanwhile; a reader sees what others have committed at its next search. All methods may be
    called from several threads.
    """

    def __init__(self, folder: Path, model: TextEncoder | None, busy_s: float) -> None:
        """Use `Collection.open`."""
        self._model = model
        self._closed = False
        self._folder, self._busy_s = folder, busy_s
        # Two connections, so that a writer that waits for another process never keeps a search waiting.
        self._reader = Store(folder, busy_s)
        self._writer = Store(folder, busy_s)
        self._reading = threading.RLock()
        self._writing = threading.RLock()
        try:
            self._known = known = identity(self._reader)
            self._view = View(folder, known.dim, known.metric)
            check_model(folder, known, model)
            self._encoding = Encoding(model, known.dim) if model is not None else None
            upkeep.tidy(folder, self._reader)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], model: TextEncoder | None = None, *, busy_timeout: float = 10.0
    ) -> Collection:
        """Open the collection in a folder; with a model, one that is not there yet is created.

        Args:
            path: the collection's folder.
            model: makes the vectors. Without it, passages can be read and deleted, and searched by a vector.
            busy_timeout: seconds to wait for another process that is writing.

        Raises:
            CollectionNotFound: there is none, and no model was given to create it with.
            CollectionCorrupt: its files are damaged. Nothing is overwritten.
            ModelMismatch: it was made with another model.
            CollectionError: the folder holds other things, or cannot be read or written.
        """
        folder = folder_of(path)
        prepare(folder, model)
        return cls(folder, model, busy_timeout)

    # Writing ----------------------------------------------------------------------------------------

    def add(
        self,
        texts: Iterable[str],
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        *,
        progress: bool | None = False,
    ) -> AddReport:
        """Add texts, one passage each. An id that is there already gets the new text and metadata.

        Texts are committed 512 at a time. A text longer than the model reads is stored whole, but its vector
        stands for its beginning; `add_files` cuts long texts.

        Args:
            texts: the texts.
            ids: one for each text, all different; random ones where not given.
            metadata: one JSON object for each text.
            progress: as in `sentvec.progress.track`.

        Raises:
            InvalidInput: an argument that cannot be stored. Nothing has been written then.
        """
        model = self._need_model("add texts")
        rows = rows_to_add(as_list(texts, "texts"), ids, metadata, model.fingerprint)
        added = updated = encoded = 0
        with self._writing, track("Adding texts", len(rows), progress) as advance:
            for first in range(0, len(rows), BATCH):
                part = rows[first : first + BATCH]
                vectors, fresh = self._vectors(part, advance)
                with self._open(self._writer).writing():
                    new, there = self._writer.put(part, vectors, None)
                added, updated, encoded = added + new, updated + there, encoded + fresh
        return AddReport(tuple(row.id for row in rows), added, updated, encoded)

    def add_files(
        self,
        paths: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
        *,
        prune: bool = False,
        progress: bool | None = False,
    ) -> IndexReport:
        """Add files, and all files of folders; bring those that are there already up to date.

        Long files are cut into overlapping passages. Of a file that has changed, only new passages are
        encoded. A file that cannot be read is named in the report, and what was stored of it stays. Each
        file is committed whole, small ones in groups.

        Args:
            paths: files (.txt, .md, .rst, .csv, .tsv, .jsonl, or others, read as text) and folders.
            prune: delete what came from the given paths and is no longer there.
            progress: as in `sentvec.progress.track`.

        Raises:
            InvalidInput: a path does not exist. Nothing has been written then.
        """
        model = self._need_model("add files")
        given = [paths] if isinstance(paths, str | os.PathLike) else as_list(paths, "paths")
        with self._writing:
            store = self._open(self._writer)
            found = find(given, self._folder, store.paths(), prune=prune)
            return index_files(found, store, model, self._vectors, prune=prune, progress=progress)

    def upsert(
        self,
        texts: Iterable[str],
        ids: Sequence[str],
        metadata: Sequence[Mapping[str, Any]] | None = None,
        *,
        progress: bool | None = False,
    ) -> AddReport:
        """Add texts under ids of your own, or replace what is there: as `add`, but without ids it is an error."""
        return self.add(texts, id_list(ids), metadata, progress=progress)

    def delete(self, ids: Iterable[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Delete passages by their ids or by a filter. Returns how many were deleted.

        Ids that are not there are passed over. A passage of a file comes back when the file has changed and is added
        again.

        Args:
            ids: the ids.
            where: a filter of metadata, as for `search`.

        Raises:
            InvalidInput: an id or a filter that cannot be; or both are given, or none.
        """
        if (ids is None) == (where is None):
            raise InvalidInput("Give either ids or a filter (where=) to delete by.")
        names = None if ids is None else id_list(ids)
        condition = None if where is None else filters.sql(filters.parse(where), "metadata")
        with self._writing:
            store = self._open(self._writer)
            with store.writing():
                return store.remove(names) if names is not None else store.remove_where(*(condition or ("0", ())))

    def compact(self, kind: str | None = None, *, recall: float = 0.95, progress: bool | None = False) -> CompactReport:
        """Put all passages into one new generation of index files, and remove the last one.

        Searching and adding go on meanwhile, in this process and in others. What is added while it is built comes
        after it.

        Args:
            kind: the index: flat, hnsw, hnsw-sq8, ivf-flat, ivf-sq8, ivf-pq, ivf-pq-refine, sq8, pq, lsh, a faiss
                factory string, or auto, which chooses by size and memory; that of the last generation, if None.
            recall: the share of the 10 nearest passages that an index should find.
            progress: as in `sentvec.progress.track`.

        Raises:
            InvalidInput: a kind that is not known.
            CollectionBusy: another process is compacting.
        """
        upkeep.check_recall(recall)
        with self._reading:
            self._open(self._reader)
        report = upkeep.compact(self._folder, self._busy_s, kind, recall, progress)
        self._ask(lambda store, view: None)  # to let go of the generation before it
        with self._reading:
            upkeep.tidy(self._folder, self._open(self._reader))
        return report

    # Reading ----------------------------------------------------------------------------------------

    def search(self, query: str | NDArray[np.float32], k: int = 10) -> list[Hit]:
        """Find the k passages nearest to a question, the best first; equal scores in order of adding.

        Args:
            query: a text, or a vector float32 (dim,).
            k: how many at most.

        Raises:
            InvalidInput: an empty text, a vector of another shape or type, k below 1.
            CollectionError: a text, where the collection was opened without a model.
        """
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise InvalidInput(f"k is {k!r}; accepted: a whole number of 1 or more.")
        vector = self._query_vector(query)

        def answer(store: Store, view: View) -> list[Hit]:
            ((scores, rows),) = view.nearest(vector[None, :], k)
            return self._hits(store, scores.tolist(), rows.tolist())

        return self._ask(answer)

    def get(self, ids: Iterable[str]) -> list[Entry]:
        """Return the passages of these ids, in this order; ids that are not there are left out."""
        wanted = id_list(ids)
        with self._reading:
            found = self._open(self._reader).entries(wanted)
        return [found[id_] for id_ in wanted if id_ in found]

    def stats(self) -> Stats:
        """Return the collection's size, which model made it, and how it is indexed."""
        return self._ask(lambda store, view: upkeep.stats(store, view, self._known))

    def files(self) -> list[str]:
        """Return the absolute paths of the files that passages come from."""
        with self._reading:
            return self._open(self._reader).paths()

    def __len__(self) -> int:
        """Return how many passages there are."""
        with self._reading:
            return self._open(self._reader).counts()[0]

    @property
    def model(self) -> TextEncoder | None:
        """The model that the collection was opened with."""
        return self._model

    @property
    def model_name(self) -> str:
        """The name of the model that the collection was made with."""
        return self._known.name

    def close(self) -> None:
        """Close the collection; it cannot be used afterwards. A second call does nothing."""
        with self._writing, self._reading:
            if not self._closed:
                self._closed = True
                self._view.close()
                self._writer.close()
                self._reader.close()

    def __enter__(self) -> Collection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Inside -----------------------------------------------------------------------------------------

    def _open(self, store: Store) -> Store:
        if self._closed:
            raise CollectionError(f"The collection {str(self._folder)!r} is closed; open it again.")
        return store

    def _need_model(self, purpose: str) -> TextEncoder:
        if self._model is None:
            raise CollectionError(
                f"A model is needed to {purpose}, and the collection was opened without one. Open it with "
                f"Collection.open({str(self._folder)!r}, model=Embedder.from_pretrained({self._known.name!r}))."
            )
        return self._model

    def _query_vector(self, query: str | NDArray[np.float32]) -> NDArray[np.float32]:
        if isinstance(query, str):
            model = self._need_model("search by a text")
            if not storable(query, "the query").strip():
                raise InvalidInput("The query is empty; give some words.")
            vectors = vectors_of_model(
                model.encode_query([query], progress=False), (1, self._known.dim), self._known.name
            )
            return vectors.reshape(self._known.dim)
        if not isinstance(query, np.ndarray) or query.dtype != np.float32 or query.shape != (self._known.dim,):
            shape = f"{query.dtype} {query.shape}" if isinstance(query, np.ndarray) else type(query).__name__
            raise InvalidInput(f"query is {shape}; accepted: a str, or a float32 array ({self._known.dim},).")
        return np.asarray(query, dtype=np.float32)

    def _vectors(self, rows: Sequence[Row], advance: Advance) -> tuple[Mapping[str, bytes], int]:
        """Return digest -> vector of these rows, and how many were encoded: each text that is new, once."""
        self._need_model("encode")
        assert self._encoding is not None
        return self._encoding.vectors(rows, self._open(self._writer), advance)

    def _ask(self, question: Callable[[Store, View], _Answer]) -> _Answer:
        """Ask a question in a read transaction, with a view of the vectors that is that transaction's."""
        with self._reading:
            store = self._open(self._reader)
            tries = 0
            while True:
                tries += 1
                try:
                    with store.reading():
                        self._view.refresh(store, patient=tries < _TRIES)
                        return question(store, self._view)
                except (BadGeneration, GoneGeneration):  # set aside, or replaced: the next transaction sees another
                    if tries > 2 * _TRIES:
                        raise damaged(self._folder, "its index files change while they are read") from None

    def _hits(self, store: Store, scores: Sequence[float], rows: Sequence[int]) -> list[Hit]:
        """Return what is stored of rows, in their order."""
        entries = store.entries_of_rows(rows)
        if len(entries) < len(rows):
            raise damaged(self._folder, "a vector has no passage")
        return [
            Hit(e.id, float(score), e.text, e.source, e.line, e.end_line, e.metadata)
            for score, e in zip(scores, (entries[row] for row in rows), strict=True)
        ]
