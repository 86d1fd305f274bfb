"""Texts and files in, the passages nearest to a question out; kept in one folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence, Sized
from contextlib import closing
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import CollectionCorrupt, InvalidInput
from sentvec.progress import Advance, track
from sentvec.runtime.report import gathered
from sentvec.search import filters, upkeep
from sentvec.search.adding import add, batches
from sentvec.search.asking import Asked, How, asked, one, several
from sentvec.search.checks import as_list, id_list, iterable
from sentvec.search.encoding import Encoding
from sentvec.search.ingest import index_files
from sentvec.search.opening import check_model, folder_of, needed, prepare
from sentvec.search.query import Allowed, Answers, Question, answers, hits, like, question, worded
from sentvec.search.questions import questions
from sentvec.search.reading import Reader
from sentvec.search.repair import repair
from sentvec.search.schema import closed
from sentvec.search.snapshot import snapshot
from sentvec.search.store import CACHE_MIB, Store
from sentvec.search.types import (
    AddReport,
    CompactReport,
    Entry,
    Hit,
    IndexReport,
    Row,
    Stats,
    TextEncoder,
    VerifyReport,
)
from sentvec.search.verify import verify
from sentvec.search.walk import find
from sentvec.search.words import match_query


class Collection:
    """Passages with their vectors in one folder, and search over them.

    What a call has returned is on the disk: it survives a kill and a power cut. One process writes at a time,
    any number read meanwhile; a reader sees what others have committed at its next search. All methods may be
    called from several threads.
    """

    def __init__(self, folder: Path, model: TextEncoder | None, busy_s: float, *, mend: bool = False) -> None:
        """Use `Collection.open`."""
        self._model = model
        self._folder, self._busy_s = folder, busy_s
        self._writing = threading.RLock()
        # Two connections, so that a writer that waits for another process never keeps a search waiting.
        self._reader = Reader(folder, busy_s, mend=mend)
        self._writer: Store | None = None
        self._allowed = Allowed()
        try:
            self._known = self._reader.known
            check_model(folder, self._known, model)
            self._encoding = Encoding(model, self._known.dim) if model is not None else None
            self._reader.plainly(lambda store: upkeep.tidy(folder, store))
            self._writer = Store(folder, busy_s, cache_mib=CACHE_MIB)
        except BaseException:
            self._reader.close()
            raise

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        model: TextEncoder | None = None,
        *,
        busy_timeout: float = 10.0,
        mend: bool = False,
    ) -> Collection:
        """Open the collection in a folder; with a model, one that is not there yet is created.

        Args:
            path: the collection's folder.
            model: makes the vectors. Without it, passages can be read and deleted, and searched by a vector.
            busy_timeout: seconds to wait for another process that is writing.
            mend: open it even where acknowledged commits are missing, to go on without them.

        Raises:
            CollectionNotFound: there is none, and no model was given to create it with.
            CollectionCorrupt: its files are damaged. Nothing is overwritten.
            ModelMismatch: it was made with another model.
            CollectionError: the folder holds other things, or cannot be read or written.
        """
        folder = folder_of(path)
        prepare(folder, model)
        return cls(folder, model, busy_timeout, mend=mend)

    # Writing ----------------------------------------------------------------------------------------

    def add(
        self,
        texts: Iterable[str],
        ids: Iterable[str] | None = None,
        metadata: Iterable[Mapping[str, Any]] | None = None,
        *,
        progress: bool | None = False,
    ) -> AddReport:
        """Add texts, one passage each. An id that is there already gets the new text and metadata.

        Texts are committed 512 at a time, and of a generator no more is held at once. A text longer than the model
        reads is stored whole, but its vector stands for its beginning; `add_files` cuts long texts.

        Args:
            texts: the texts.
            ids: one for each text, all different; random ones where not given.
            metadata: one JSON object for each text.
            progress: as in `sentvec.progress.track`.

        Raises:
            InvalidInput: an argument that cannot be stored. Nothing has been written then; of a generator, the texts
                before it may be.
        """
        given = batches(texts, ids, metadata, self._need_model("add texts").fingerprint)
        total = len(texts) if isinstance(texts, Sized) else None
        with self._writing, gathered(), track("Adding texts", total, progress) as advance:
            return add(given, self._written(), lambda rows: self._vectors(rows, advance))

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
        with self._writing, gathered():
            store = self._written()
            found = find(given, self._folder, store.paths(), prune=prune)
            return index_files(found, store, model, self._vectors, prune=prune, progress=progress)

    def upsert(
        self,
        texts: Iterable[str],
        ids: Iterable[str],
        metadata: Iterable[Mapping[str, Any]] | None = None,
        *,
        progress: bool | None = False,
    ) -> AddReport:
        """Add texts under ids of your own, or replace what is there: as `add`, but without ids it is an error."""
        return self.add(texts, iterable(ids, "ids"), metadata, progress=progress)

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
        if where is not None and ids is not None:
            raise InvalidInput("ids and a filter (where) are given; delete by one of them.")
        names = id_list(ids) if where is None else []  # type: ignore[arg-type]
        condition = None if where is None else filters.sql(filters.parse(where), "metadata")
        with self._writing:
            store = self._written()
            with store.writing():
                return store.remove(names) if condition is None else store.remove_where(*condition)

    def compact(
        self,
        kind: str | None = None,
        *,
        recall: float | None = None,
        queries: Iterable[str] | NDArray[np.float32] | None = None,
        progress: bool | None = False,
    ) -> CompactReport:
        """Put all passages into one new generation of index files, and remove the last one.

        Searching and adding go on meanwhile, in this process and in others. What is added while it is built comes
        after it.

        Args:
            kind: the index: flat, hnsw, hnsw-sq8, ivf-flat, ivf-sq8, ivf-pq, ivf-pq-refine, sq8, pq, lsh, a faiss
                factory string, or auto, which chooses by size and memory; that of the last generation, if None.
            recall: the share of the 10 nearest that an index should find; if None, as asked for last, or 0.95.
            queries: questions of your users, texts or vectors float32 (n, dim), to measure the recall with; they are
                kept, and used until others are given, at most 1000. Without any, passages stand for questions.
            progress: as in `sentvec.progress.track`.

        Raises:
            InvalidInput: a kind that is not known, or a question that cannot be.
            CollectionBusy: another process is compacting.
        """
        upkeep.check_recall(recall)
        with self._writing:
            self._written()
        given = None
        if queries is not None:
            given = questions(several(queries, self._known), lambda: self._need_model("encode questions"))
        report = upkeep.compact(self._folder, self._busy_s, kind, recall, progress, given)
        self._reader.ask(lambda store, view: None)  # to let go of the generation before it
        self._reader.plainly(lambda store: upkeep.tidy(self._folder, store))
        return report

    # Care -------------------------------------------------------------------------------------------

    def verify(self) -> VerifyReport:
        """Read everything, and hold it against its checksums: pages, texts, words, vectors and index files."""
        try:
            return self._reader.ask(lambda store, view: verify(store, view, self._known))
        except CollectionCorrupt:  # so badly that it cannot be searched
            return self._reader.plainly(lambda store: verify(store, None, self._known))

    def repair(self) -> VerifyReport:
        """Repair what `verify` finds: words and index files are made again, and vectors too, where a model is there.

        What cannot be had again, a damaged text say, is still named in the report; a text that came from a file
        comes back when the file is added again.
        """
        with self._writing:
            self._written()
            return repair(self._folder, self._busy_s, self._known, self._encoding, self.compact)

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Copy the collection as of this moment into a new folder; reading and writing go on meanwhile.

        Index files are not copied: `compact` makes them again.

        Raises:
            CollectionError: the folder is not empty, or cannot be written.
        """
        with self._writing:
            self._written()
        with closing(Store(self._folder, self._busy_s)) as store:
            snapshot(store, folder_of(path))

    # Reading ----------------------------------------------------------------------------------------

    def search(self, query: str | NDArray[np.float32], k: int = 10, **how: Unpack[How]) -> list[Hit]:
        """Find the k passages nearest to a question, the best first; equal scores in order of adding.

        Args:
            query: a text, or a vector float32 (dim,).
            k: how many at most.
            how: `where`, `hybrid`, `fusion`, `rerank` and `diversity`, as `sentvec.search.asking.How` says them.

        Raises:
            InvalidInput: an empty text, a vector of another shape or type, k below 1, an option that cannot be.
            CollectionError: a text, where the collection was opened without a model.
        """
        return self._found(one(query, self._known), k, how)[0]

    def search_many(
        self, queries: Iterable[str] | NDArray[np.float32], k: int = 10, **how: Unpack[How]
    ) -> list[list[Hit]]:
        """Find for each of many questions what `search` finds for it, as of one moment, and faster than one by one.

        Args:
            queries: texts, or vectors float32 (n, dim).
            k, how: as for `search`, the same for all.

        Raises:
            InvalidInput, CollectionError: as for `search`, if one question cannot be asked.
        """
        return self._found(several(queries, self._known), k, how)

    def search_text(self, words: str, k: int = 10, *, where: Mapping[str, Any] | None = None) -> list[Hit]:
        """Find the k passages that have the words of a question, by BM25; no model is needed.

        Chinese, Japanese and Korean are compared by pairs of letters. Nothing in the question is an operator.

        Args:
            words: the question.
            k: how many at most.
            where: a filter of metadata, as for `search`.

        Raises:
            InvalidInput: an empty text, k below 1, a filter that cannot be.
        """
        asked = replace(question(k, where=where), matches=(match_query(worded(words)),))
        return hits(asked, self._answers(asked)[0])

    def search_like(
        self, id_: str, k: int = 10, *, where: Mapping[str, Any] | None = None, diversity: float = 0.0
    ) -> list[Hit]:
        """Find the k passages nearest to one that is in the collection, without it; no model is needed.

        Raises:
            InvalidInput: there is no such passage, k is below 1, or an option cannot be.
        """
        options = question(k, where=where, diversity=diversity)
        found, asked = self._reader.ask(lambda store, view: like(options, id_, store, view, self._allowed))
        return hits(asked, found)

    def get(self, ids: Iterable[str]) -> list[Entry]:
        """Return the passages of these ids, in this order; ids that are not there are left out."""
        wanted = id_list(ids)
        found = self._reader.plainly(lambda store: store.entries(wanted))
        return [found[id_] for id_ in wanted if id_ in found]

    def stats(self) -> Stats:
        """Return the collection's size, which model made it, and how it is indexed."""
        return self._reader.plainly(lambda store: upkeep.stats(store, self._known, self._reader.bad))

    def files(self) -> list[str]:
        """Return the absolute paths of the files that passages come from."""
        return self._reader.plainly(Store.paths)

    def __len__(self) -> int:
        """Return how many passages there are."""
        return self._reader.plainly(Store.counts)[0]

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
        with self._writing:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self._reader.close()

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Inside -----------------------------------------------------------------------------------------

    def _written(self) -> Store:
        """Return the connection that writes."""
        if self._writer is None:
            raise closed(self._folder)
        return self._writer

    def _need_model(self, purpose: str) -> TextEncoder:
        return needed(self._folder, self._known, self._model, purpose)

    def _vectors(self, rows: Sequence[Row], advance: Advance) -> tuple[Mapping[str, bytes], int]:
        """Return digest -> vector of these rows, and how many were encoded: each text that is new, once."""
        assert self._encoding is not None  # whoever encodes has asked for the model
        return self._encoding.vectors(rows, self._written(), advance)

    def _found(self, queries: Asked, k: int, how: How) -> list[list[Hit]]:
        whole = asked(queries, k, how, lambda: self._need_model("search by a text"))
        texts = repeat(None) if isinstance(queries, np.ndarray) else queries
        rerank = how.get("rerank")
        return [hits(whole, *one, rerank) for one in zip(self._answers(whole), texts, strict=False)]

    def _answers(self, asked: Question) -> list[Answers]:
        return self._reader.ask(lambda store, view: answers(asked, store, view, self._allowed))
