"""Vectors kept on the disk by what they are vectors of: hashes of texts in; rows that are there already, out.

A folder holds any number of parts, `NAME.part`: two arrays in numpy's format, one behind the other. The first has the
sorted hashes of the texts, each with a checksum of its vector; the second the vectors, (rows, dim) float32, which are
read only where they are asked for. A part is on the disk, whole, before it has its name, so a killed run leaves none
that is half written; runs side by side write parts of their own and never wait for each other.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sentvec.errors import OutputError

_log = logging.getLogger("sentvec")

_HASH = 16  # bytes: of a million texts, two share a hash once in 10^27 runs
_ENTRY = np.dtype([("key", f"S{_HASH}"), ("sum", "<u4")])
_ABANDONED_S = 24 * 3600.0  # no part takes a day to write: such a file is of a run that was killed
Keys = NDArray[np.bytes_]
Vectors = NDArray[np.float32]


def default_folder() -> Path:
    """Return the folder for vectors of this user, below the one that the system has for caches."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sentvec" / "vectors"


def keys_of(texts: Sequence[str]) -> Keys:
    """Return a hash of each text: (n,) of 16 bytes."""
    # half of a surrogate pair is refused where texts are encoded, with the place of the text
    digests = (hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_HASH).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype=f"S{_HASH}")


@dataclass(frozen=True)
class _Part:
    path: Path
    keys: Keys
    sums: NDArray[np.uint32]
    vectors: Vectors


class Cache:
    """Vectors of one model under one setting.

    What is damaged is said once, taken away and, by whoever uses the cache, made again.

    Args:
        folder: where all models' vectors lie; made if it is not there.
        setting: all that decides what a vector is besides the text. Another setting is another folder inside.
        dim: features of a vector.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(self, folder: Path, setting: Mapping[str, Any], dim: int) -> None:
        about = json.dumps(setting, sort_keys=True, indent=1)
        self.folder = folder / hashlib.sha256(about.encode()).hexdigest()[:32]
        self._dim = dim
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "about.json").write_text(about, encoding="utf-8")  # for people: nothing reads it
        except OSError as error:
            raise OutputError(
                f"the cache {folder} cannot be written ({error.strerror or error}). Name another folder for it, or "
                "go without."
            ) from None
        _clear(self.folder)
        found = (self._opened(path) for path in sorted(self.folder.glob("*.part")))
        self._parts = [part for part in found if part is not None]

    def get(self, keys: Keys, out: Vectors) -> NDArray[np.bool_]:
        """Fill the rows of `out` whose vectors are there.

        Args:
            keys: (n,) from `keys_of`.
            out: (n, dim).

        Returns:
            (n,): which rows were filled.
        """
        found = np.zeros(len(keys), dtype=bool)
        for part in list(self._parts):
            places = np.minimum(np.searchsorted(part.keys, keys), len(part.keys) - 1)
            here = np.flatnonzero((part.keys[places] == keys) & ~found)
            rows = part.vectors[places[here]]
            if np.array_equal(_sums(rows), part.sums[places[here]]):
                out[here] = rows
                found[here] = True
            else:
                self._drop(part.path, "its vectors are not what was written")
                self._parts.remove(part)
        return found

    def put(self, keys: Keys, vectors: Vectors) -> None:
        """Keep vectors: (n, dim) under n different keys. A disk that is full costs the cache, not the run."""
        if not len(keys):
            return
        order = np.argsort(keys)
        rows = np.ascontiguousarray(vectors[order])
        entries = np.empty(len(keys), _ENTRY)
        entries["key"], entries["sum"] = keys[order], _sums(rows)
        partial = self.folder / f"{uuid.uuid4().hex}.partial"
        try:
            with partial.open("wb") as file:
                for values in (entries, rows):
                    # not to the file itself: numpy would write past Python, and lose the reason why that failed
                    npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(values))
                    file.write(values.tobytes())
                file.flush()
                os.fsync(file.fileno())
            path = partial.replace(partial.with_suffix(".part"))
        except OSError as error:
            _log.warning("vectors are not kept: %s cannot be written (%s)", self.folder, error.strerror or error)
            partial.unlink(missing_ok=True)
            return
        part = self._opened(path)
        if part is not None:
            self._parts.append(part)

    def _opened(self, path: Path) -> _Part | None:
        try:
            with path.open("rb") as file:
                names, of = _header(file)
                if of != _ENTRY or len(names) != 1 or not 0 < names[0] * _ENTRY.itemsize < path.stat().st_size:
                    raise ValueError(f"it holds {names} {of}")  # before memory is taken for what a header makes up
                entries: NDArray[Any] = np.frombuffer(file.read(names[0] * _ENTRY.itemsize), _ENTRY)
                shape, kind = _header(file)
                start = file.tell()
            if kind != np.float32 or shape != (len(entries), self._dim):
                raise ValueError(f"it holds {shape} {kind} for {len(entries)} texts")
            vectors = np.memmap(path, np.float32, "r", start, shape)
        except FileNotFoundError:
            return None  # another run found it damaged
        except (OSError, ValueError, EOFError) as error:
            self._drop(path, str(error))
            return None
        return _Part(path, np.ascontiguousarray(entries["key"]), np.ascontiguousarray(entries["sum"]), vectors)

    @staticmethod
    def _drop(path: Path, why: str) -> None:
        _log.warning("%s is damaged (%s); it is taken away, and its texts are encoded again", path, why)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s cannot be taken away (%s)", path, error.strerror or error)


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read shape and type of the array that begins here.

    Raises:
        ValueError: there is none.
    """
    if npy.read_magic(file) != (1, 0):
        raise ValueError("unknown version")
    try:
        shape, _, kind = npy.read_array_header_1_0(file)
    except (SyntaxError, TypeError, RecursionError, TokenError) as error:  # numpy reads a header as Python's words
        raise ValueError(f"no header, {error}") from None
    return shape, kind


def _sums(rows: Vectors) -> NDArray[np.uint32]:
    return np.fromiter((zlib.crc32(row.data) for row in rows), np.uint32, len(rows))


def _clear(folder: Path) -> None:
    """Take away what killed runs left half written."""
    for path in folder.glob("*.partial"):
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()
        except OSError:  # another run was quicker
            continue
