"""Vectors in, files out that are whole or absent, with a manifest from which an interrupted run goes on.

A folder holds ``part-00000.parquet`` (columns ``id`` and ``vector``) or ``part-00000.npy`` with
``part-00000.ids.json``, and ``manifest.json``. A part is written under another name, synced to the disk, renamed,
and only then named in the manifest: what the manifest names is complete, and everything else will be written again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentvec.checkpoint.files import locked, publish, read_json, write_json
from sentvec.errors import ConfigError, OutputError
from sentvec.extras import require

Array = NDArray[np.float32]
Id = int | str

MANIFEST = "manifest.json"
FORMATS = ("parquet", "npy")
_VERSION = 1


@dataclass(frozen=True)
class Shard:
    """One finished part.

    Attributes:
        file: its name in the folder.
        rows: vectors in it.
        bytes: its size, by which damage is noticed.
        input_sha256: digest of the ids and texts that its vectors were made from.
    """

    file: str
    rows: int
    bytes: int
    input_sha256: str


class ShardFolder:
    """A folder of parts that one run writes; use it in a ``with`` block.

    Args:
        folder: made if it is not there.
        key: all that decides what the vectors are. A folder is gone on with under the same key only.
        resume: whether to go on with parts that are there.

    Raises:
        OutputError: the folder holds parts and `resume` is not set, or they were made under another key, or are
            damaged; or another run is writing; or the folder cannot be made.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], *, resume: bool) -> None:
        self.folder = folder
        self._key = dict(key)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = locked(folder)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written to ({error.strerror or error}).") from None
        try:
            self.done: list[Shard] = self._read(resume)
        except BaseException:
            self._lock.close()
            raise

    def write(self, ids: Sequence[Id], vectors: Array, digest: str) -> None:
        """Add one part: its rows are safe on the disk once this returns.

        Raises:
            OutputError: it cannot be written, for want of space say; finished parts stay.
        """
        kind = self._key["format"]
        path = self.folder / f"part-{len(self.done):05d}.{kind}"
        partial = path.with_name(f".{path.name}.partial")
        try:
            if kind == "parquet":
                _write_parquet(partial, ids, vectors)
            else:
                _write_npy(partial, vectors)
                write_json(path.with_suffix(".ids.json"), list(ids))
            publish(partial, path)
            shard = Shard(path.name, len(ids), path.stat().st_size, digest)
            self._write_manifest([*self.done, shard], complete=False)
            self.done.append(shard)  # now, and not before: what the manifest does not name is not finished
        except OSError as error:
            raise self._unwritten(path, error) from None
        finally:
            partial.unlink(missing_ok=True)

    def finish(self) -> None:
        """Say in the manifest that nothing is to follow.

        Raises:
            OutputError: it cannot be written; finished parts stay.
        """
        try:
            self._write_manifest(self.done, complete=True)
        except OSError as error:
            raise self._unwritten(self.folder / MANIFEST, error) from None

    def _unwritten(self, path: Path, error: OSError) -> OutputError:
        rows = sum(shard.rows for shard in self.done)
        return OutputError(
            f"{path} cannot be written ({error.strerror or error}). {rows} finished rows stay in {self.folder}; "
            "make room and run again with resume."
        )

    def __enter__(self) -> ShardFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def _write_manifest(self, shards: Sequence[Shard], *, complete: bool) -> None:
        content = {"version": _VERSION, "complete": complete, "rows": sum(shard.rows for shard in shards)}
        rows = [asdict(shard) for shard in shards]
        write_json(self.folder / MANIFEST, {**content, "key": self._key, "shards": rows})

    def _read(self, resume: bool) -> list[Shard]:
        if not (self.folder / MANIFEST).exists():
            others = [path.name for path in self.folder.iterdir() if not path.name.startswith(".")]
            # a run killed between naming its first part and naming it in the manifest leaves that part
            if others and not (resume and all(name.startswith("part-00000.") for name in others)):
                raise OutputError(f"{self.folder} holds other files ({others[0]}); give an empty or a new folder.")
            return []
        content, shards = read_manifest(self.folder)
        if not resume:
            rows = sum(shard.rows for shard in shards)
            raise OutputError(
                f"{self.folder} holds {rows} finished rows. Go on with them with resume (--resume), "
                "or give another folder."
            )
        before = content["key"]
        differ = [name for name in self._key if before.get(name) != self._key[name]]
        if differ:
            told = "; ".join(f"{name} was {before.get(name)!r} and is {self._key[name]!r}" for name in differ)
            raise OutputError(f"{self.folder} was begun with other settings: {told}. Use those, or another folder.")
        for shard in shards:
            path = self.folder / shard.file
            if not path.is_file() or path.stat().st_size != shard.bytes:
                raise OutputError(
                    f"{path} is absent or damaged, though the manifest names it. Encode into a new folder."
                )
        return shards


def read_manifest(folder: Path) -> tuple[dict[str, Any], list[Shard]]:
    """Read a folder's manifest: its content, and its parts.

    Raises:
        OutputError: there is none, or it is damaged.
    """
    try:
        content = read_json(folder / MANIFEST)
        shards = [Shard(**shard) for shard in content["shards"]]
        if content["version"] != _VERSION or not isinstance(content["key"], dict):
            raise OutputError(f"{folder / MANIFEST} is of version {content['version']!r}; known: {_VERSION}.")
        if any(type(shard.rows) is not int or shard.rows < 1 for shard in shards):
            raise OutputError(f"{folder / MANIFEST} names parts without rows. Encode into a new folder.")
        if any(Path(shard.file).name != shard.file for shard in shards):
            raise OutputError(f"{folder / MANIFEST} points outside its folder; it is not safe to read.")
    except (ConfigError, KeyError, TypeError) as error:
        raise OutputError(f"{folder / MANIFEST} cannot be used ({error}).") from None
    return content, shards


def read_vectors(folder: str | os.PathLike[str]) -> Iterator[tuple[list[Id], Array]]:
    """Read a folder that `Embedder.encode_to` has written, one part at a time, in order.

    Yields:
        ids, and vectors (rows, dim).

    Raises:
        OutputError: the manifest or a part is absent or damaged.
    """
    for shard in read_manifest(Path(folder))[1]:
        yield read_part(Path(folder), shard)


def read_part(folder: Path, shard: Shard) -> tuple[list[Id], Array]:
    """Read one part: ids, and vectors (rows, dim).

    Raises:
        OutputError: it is absent or damaged.
    """
    try:
        part = _read_part(folder / shard.file)
        if not len(part[0]) == len(part[1]) == shard.rows:
            raise ValueError(f"{len(part[0])} ids and {len(part[1])} vectors, where {shard.rows} should be")
    except (OSError, ValueError, EOFError) as error:  # pyarrow's errors are of the first two kinds
        raise OutputError(f"{folder / shard.file} is absent or damaged ({error}).") from None
    return part


def _read_part(path: Path) -> tuple[list[Id], Array]:
    if path.suffix == ".npy":
        ids = json.loads(path.with_suffix(".ids.json").read_text(encoding="utf-8"))
        return ids, np.load(path, allow_pickle=False)
    table = require("pyarrow.parquet", extra="bulk").read_table(path)
    column = table["vector"].combine_chunks()
    return table["id"].to_pylist(), column.values.to_numpy().reshape(len(column), column.type.list_size)


def digest_rows(rows: Iterable[tuple[Id, Any]]) -> str:
    """Sha256 of ids and texts."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=True).encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _write_npy(path: Path, vectors: Array) -> None:
    with path.open("wb") as file:
        np.save(file, vectors)


def _write_parquet(path: Path, ids: Sequence[Id], vectors: Array) -> None:
    arrow, parquet = require("pyarrow", extra="bulk"), require("pyarrow.parquet", extra="bulk")
    column = arrow.array(list(ids))
    flat = arrow.array(np.ascontiguousarray(vectors).reshape(-1))
    vector = arrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    # numbers of vectors do not get smaller by compression, only slower
    parquet.write_table(
        arrow.table({"id": column, "vector": vector}), path, compression={"id": "zstd", "vector.list.element": "none"}
    )
