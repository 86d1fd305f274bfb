"""Texts and files in, the passages nearest to a question out; kept in one folder."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import CollectionError, CollectionNotFound, InvalidInput, ModelMismatch
from sentvec.index.flat import FlatIndex
from sentvec.progress import Advance, track
from sentvec.search.checks import as_list, id_list, rows_to_add, storable, vectors_of_model
from sentvec.search.ingest import index_files
from sentvec.search.schema import FILE, create, damaged, translated
from sentvec.search.store import Store
from sentvec.search.types import AddReport, Entry, Hit, IndexReport, Row, Stats, TextEncoder
from sentvec.search.walk import find

_log = logging.getLogger("sentvec")

BATCH = 512  # texts committed at once by `add`, and the most encoded at once
STEP, STEP_S = 32, 0.5  # texts encoded at first; a step that took less than this many seconds doubles the next
_LOAD = 8192  # vectors read from the database at once


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
        self._step = STEP  # small ones move the bar of progress, large ones keep a fast device busy
        self._folder = folder
        # Two connections, so that a writer that waits for another process never keeps a search waiting.
        self._reader = Store(folder, busy_s)
        self._writer = Store(folder, busy_s)
        self._reading = threading.RLock()
        self._writing = threading.RLock()
        try:
            self._read_meta()
            self._check_model()
        except BaseException:
            self.close()
            raise

    def _read_meta(self) -> None:
        meta = self._reader.meta()
        name, fingerprint, dim, metric = (meta.get(key) for key in ("model", "fingerprint", "dim", "metric"))
        if not isinstance(name, str) or not isinstance(fingerprint, str):
            raise damaged(self._folder, "it does not say which model made it")
        if not isinstance(dim, int) or not 0 < dim < 1 << 31 or metric not in ("cosine", "inner_product"):
            raise damaged(self._folder, f"it says that its vectors have {dim!r} numbers and the metric {metric!r}")
        self._name, self._fingerprint, self._dim = name, fingerprint, dim
        self._index = FlatIndex(dim, metric)
        self._last_row = 0
        self._removed = self._commits = 0

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
        folder = _folder(path)
        with translated(folder):
            if folder.exists() and not folder.is_dir():
                raise CollectionNotFound(f"{str(path)!r} is a file; a collection is a folder. Give another path.")
            if model is not None and not (folder / FILE).exists():
                _create(folder, model)
        return cls(folder, model, busy_timeout)

    def _check_model(self) -> None:
        model = self._model
        if model is None or (model.fingerprint, model.dim) == (self._fingerprint, self._dim):
            return
        raise ModelMismatch(
            f"The collection {str(self._folder)!r} was made with the model {self._name!r} "
            f"({self._dim} numbers a vector, fingerprint {self._fingerprint[:12]}); the model given is "
            f"{model.name!r} ({model.dim}, {model.fingerprint[:12]}), whose vectors cannot be compared with "
            f"those. Open it with {self._name!r}, or index your files into a new folder."
        )

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

    def delete(self, ids: Iterable[str]) -> int:
        """Delete passages. Ids that are not there are passed over; returns how many were deleted.

        A passage of a file comes back when the file has changed and is added again.
        """
        names = id_list(ids)
        with self._writing:
            store = self._open(self._writer)
            with store.writing():
                return store.remove(names)

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
        with self._reading:
            store = self._open(self._reader)
            with store.reading():
                self._refresh()
                scores, rows = self._index.search(vector[None, :], k)
                entries = store.entries_of_rows(rows[0].tolist())
                if len(entries) < rows.size:
                    raise damaged(self._folder, "a vector has no passage")
        return [
            Hit(e.id, float(score), e.text, e.source, e.line, e.end_line, e.metadata)
            for score, e in zip(scores[0], (entries[row] for row in rows[0].tolist()), strict=True)
        ]

    def get(self, ids: Iterable[str]) -> list[Entry]:
        """Return the passages of these ids, in this order; ids that are not there are left out."""
        wanted = id_list(ids)
        with self._reading:
            found = self._open(self._reader).entries(wanted)
        return [found[id_] for id_ in wanted if id_ in found]

    def stats(self) -> Stats:
        """Return the collection's size, and which model made it."""
        with self._reading:
            store = self._open(self._reader)
            with store.reading():
                count, files = store.counts()
        size = sum(file.stat().st_size for file in self._folder.glob(f"{FILE}*"))
        return Stats(str(self._folder), count, files, self._name, self._fingerprint, self._dim, size)

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
        return self._name

    def close(self) -> None:
        """Close the collection; it cannot be used afterwards. A second call does nothing."""
        with self._writing, self._reading:
            if not self._closed:
                self._closed = True
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
                f"Collection.open({str(self._folder)!r}, model=Embedder.from_pretrained({self._name!r}))."
            )
        return self._model

    def _query_vector(self, query: str | NDArray[np.float32]) -> NDArray[np.float32]:
        if isinstance(query, str):
            model = self._need_model("search by a text")
            if not storable(query, "the query").strip():
                raise InvalidInput("The query is empty; give some words.")
            vectors = vectors_of_model(model.encode_query([query], progress=False), (1, self._dim), self._name)
            return vectors.reshape(self._dim)
        if not isinstance(query, np.ndarray) or query.dtype != np.float32 or query.shape != (self._dim,):
            shape = f"{query.dtype} {query.shape}" if isinstance(query, np.ndarray) else type(query).__name__
            raise InvalidInput(f"query is {shape}; accepted: a str, or a float32 array ({self._dim},).")
        return np.asarray(query, dtype=np.float32)

    def _vectors(self, rows: Sequence[Row], advance: Advance) -> tuple[Mapping[str, bytes], int]:
        """Return digest -> vector of these rows, and how many were encoded: each text that is new, once."""
        model = self._need_model("encode")
        texts = {row.digest: row.text for row in rows}
        found = self._open(self._writer).vectors_of(texts)
        new = [key for key in texts if key not in found]
        count = len(new)
        advance(len(rows) - count)
        while new:
            part, new = new[: self._step], new[self._step :]
            begun = time.monotonic()
            vectors = model.encode_document([texts[key] for key in part], progress=False)
            vectors = vectors_of_model(vectors, (len(part), self._dim), model.name)
            found.update(zip(part, (v.astype("<f4").tobytes() for v in vectors), strict=True))
            advance(len(part))
            fast = time.monotonic() - begun < STEP_S
            self._step = min(2 * self._step, BATCH) if fast else max(self._step // 2, STEP)
        return found, count

    def _refresh(self) -> None:
        """Bring the index in memory to the state that the current read transaction sees."""
        commits = self._reader.commits()
        if commits == self._commits:
            return
        gone, self._removed = self._reader.removed_after(self._removed)
        self._index.remove(np.array(gone, dtype=np.int64))
        while part := self._reader.vectors_after(self._last_row, _LOAD):
            ids = np.array([row for row, _ in part], dtype=np.int64)
            self._index.add(ids, self._numbers(part))
            self._last_row = int(ids[-1])
        if len(self._index) != self._reader.counts()[0]:
            raise damaged(self._folder, "it has not one vector for each passage")
        self._commits = commits

    def _numbers(self, part: Sequence[tuple[int, bytes]]) -> NDArray[np.float32]:
        data = b"".join(vector for _, vector in part)
        if any(len(vector) != 4 * self._dim for _, vector in part):
            raise damaged(self._folder, "it holds a vector of a wrong length")
        vectors = np.frombuffer(data, dtype="<f4").reshape(len(part), self._dim).astype(np.float32)
        if not np.isfinite(vectors).all():
            raise damaged(self._folder, "it holds a vector that is not finite")
        return vectors


def _create(folder: Path, model: TextEncoder) -> None:
    if folder.is_dir() and any(not file.name.startswith(f".{FILE}.") for file in folder.iterdir()):
        raise CollectionError(f"{str(folder)!r} holds other files and no collection. Give an empty or a new folder.")
    metric = "inner_product" if model.similarity_name == "dot" else "cosine"
    if model.similarity_name not in ("dot", "cosine"):
        _log.warning(
            "The model %r was trained for %s similarity; the collection %r ranks by cosine instead.",
            *(model.name, model.similarity_name, str(folder)),
        )
    create(folder, {"model": model.name, "fingerprint": model.fingerprint, "dim": model.dim, "metric": metric})


def _folder(path: str | os.PathLike[str]) -> Path:
    """Return the folder that is meant, absolute, or raise CollectionError where it can be none."""
    given = os.fspath(path) if isinstance(path, os.PathLike) else path
    try:
        folder = Path(given).absolute()
        str(folder).encode()
    except (TypeError, UnicodeEncodeError):
        raise CollectionError(
            f"{given!r} cannot be a collection's folder; accepted: a str or Path that UTF-8 can hold."
        ) from None
    if "\0" in str(folder):
        raise CollectionError(f"{given!r} cannot be a collection's folder: it holds a NUL character.")
    return folder
