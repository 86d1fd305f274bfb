"""Generations: rows and vectors in, a folder of index files that is whole or absent out, and the same read again.

A folder ``gen-000007`` holds ``vectors.f32`` (n, dim), as they are compared; ``rows.i64`` (n,), the row of each in the
database, ascending; ``checks.u32`` (n,), a CRC-32 of each vector; ``index.faiss``, where the kind is not flat; and
``MANIFEST.json`` with the size and SHA-256 of each. It is never changed. What a search needs whole is hashed when it is
opened; single vectors are held against their checks when they are fetched for the first time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sentvec.index.rows import unit
from sentvec.search.disk import lock, reached, sync

Array = NDArray[np.float32]
Ids = NDArray[np.int64]

VECTORS, ROWS, CHECKS, INDEX, MANIFEST = "vectors.f32", "rows.i64", "checks.u32", "index.faiss", "MANIFEST.json"
FORMAT = 1
_READ = 1 << 22  # bytes that are hashed at once


class BadGeneration(Exception):
    """A generation is not as it was written; the message says in what. The database has all that it holds."""


class GoneGeneration(Exception):
    """A generation is not there: it was replaced after its number was read."""


@dataclass(frozen=True, slots=True)
class Summed:
    """Size and SHA-256 of a file."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a generation is.

    Attributes:
        generation: its number.
        kind: the index, by name or as a faiss factory string; "flat" has no index file.
        metric: cosine or inner_product.
        dim: numbers in a vector.
        fingerprint: of the model that made the vectors.
        rows: how many vectors.
        last_row: the database's last row when it was made; later rows are not in it.
        longest: length of the longest vector.
        files: what each file is.
        index: what is to be known of the index to search it: its settings, and how they were tuned.
    """

    generation: int
    kind: str
    metric: str
    dim: int
    fingerprint: str
    rows: int
    last_row: int
    longest: float
    files: Mapping[str, Summed]
    index: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Built:
    """An index that was built: its name, what writes it to a path, and what to keep of it in the manifest."""

    kind: str
    write: Callable[[Path], None] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """What a generation is to be made of."""

    metric: str
    dim: int
    fingerprint: str
    last_row: int
    blocks: Iterable[tuple[Ids, Array]]


def place(folder: Path, number: int) -> Path:
    """Return the folder of a generation."""
    return folder / f"gen-{number:06d}"


def write(folder: Path, number: int, source: Source, index: Callable[[Array], Built]) -> tuple[Manifest, str]:
    """Write a generation; on return it is on the disk under its name, and nobody uses it yet.

    Args:
        folder: the collection's.
        number: one that is not taken.
        source: its rows, ascending, and vectors as they are stored.
        index: vectors (n, dim), mapped -> an index of them.

    Returns:
        The manifest, and its SHA-256.

    Raises:
        OSError: it cannot be written; nothing is left of it.
        ValueError: there are no rows.
    """
    building = folder / f".tmp-{place(folder, number).name}-{uuid.uuid4().hex}"
    building.mkdir()
    try:
        rows, longest, files = _write_vectors(building, source)
        if not rows:
            raise ValueError("a generation without rows")
        vectors = np.memmap(building / VECTORS, "<f4", "r", shape=(rows, source.dim))
        built = index(vectors)
        del vectors
        if built.write is not None:
            try:
                built.write(building / INDEX)
            except RuntimeError as error:  # faiss's own, for a full disk too
                raise OSError(f"{INDEX} cannot be written: {str(error).splitlines()[-1]}") from error
            sync(building / INDEX)
            files[INDEX] = _summed(building / INDEX)
        facts = (source.metric, source.dim, source.fingerprint, rows, source.last_row, longest)
        manifest = Manifest(number, built.kind, *facts, files, built.facts)
        content = json.dumps(asdict(manifest), indent=1).encode()
        (building / MANIFEST).write_bytes(content)
        reached("generation written")
        sync(building / MANIFEST)
        sync(building)
        reached("generation synced")
        building.rename(place(folder, number))
        reached("generation named")
        sync(folder)
        reached("generation placed")
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return manifest, hashlib.sha256(content).hexdigest()


def _write_vectors(building: Path, source: Source) -> tuple[int, float, dict[str, Summed]]:
    count, longest = 0, 0.0
    files = {name: _Summing(building / name) for name in (VECTORS, ROWS, CHECKS)}
    try:
        for rows, stored in source.blocks:
            vectors = (unit(stored) if source.metric == "cosine" else stored).astype("<f4")
            checks = [zlib.crc32(vector) for vector in vectors]
            files[VECTORS].write(vectors.tobytes())
            files[ROWS].write(rows.astype("<i8").tobytes())
            files[CHECKS].write(np.array(checks, dtype="<u4").tobytes())
            longest = max(longest, float(np.linalg.norm(vectors.astype(np.float64), axis=1).max(initial=0)))
            count += len(rows)
        return count, longest, {name: file.finish() for name, file in files.items()}
    finally:
        for file in files.values():
            file.close()


class _Summing:
    """A file that is hashed while it is written."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("xb")
        self._sum = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._sum.update(data)

    def finish(self) -> Summed:
        self._file.flush()
        os.fsync(self._file.fileno())
        return Summed(self._file.tell(), self._sum.hexdigest())

    def close(self) -> None:
        self._file.close()


def _summed(path: Path) -> Summed:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while data := file.read(_READ):
            digest.update(data)
            size += len(data)
    return Summed(size, digest.hexdigest())


def read_manifest(folder: Path, number: int, sha256: str) -> Manifest:
    """Read what a generation is.

    Raises:
        GoneGeneration: it is not there; BadGeneration: it is not as it was written.
    """
    try:
        content = (place(folder, number) / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise GoneGeneration(f"{place(folder, number)} has no {MANIFEST}") from None
    except OSError as error:
        raise BadGeneration(f"{MANIFEST} cannot be read: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BadGeneration(f"{MANIFEST} is not as it was written")
    fields = json.loads(content)
    if fields["format"] != FORMAT:
        raise BadGeneration(f"it has format {fields['format']}; this sentvec reads format {FORMAT}")
    files = {name: Summed(**one) for name, one in fields.pop("files").items()}
    return Manifest(**fields, files=files)


def check(folder: Path, manifest: Manifest, names: Iterable[str]) -> None:
    """Hold files of a generation against its manifest, all by their size and these by their SHA-256.

    Raises:
        BadGeneration: one is absent or not as it was written.
    """
    where = place(folder, manifest.generation)
    try:
        for name, wanted in manifest.files.items():
            size = (where / name).stat().st_size
            if size != wanted.bytes:
                raise BadGeneration(f"{name} has {size} bytes, not {wanted.bytes}")
        for name in names:
            if _summed(where / name) != manifest.files[name]:
                raise BadGeneration(f"{name} is not as it was written")
    except OSError as error:
        raise BadGeneration(f"{name} cannot be read: {error.strerror}") from None


class Generation:
    """A generation that is open: its folder stays as long as it is.

    Attributes:
        manifest: what it is.
        rows: (n,) row of each vector in the database, ascending.
        vectors: (n, dim) as they are compared, mapped from the disk.
        path: its folder.
    """

    def __init__(self, folder: Path, number: int, sha256: str) -> None:
        """Open a generation.

        Raises:
            GoneGeneration: it is not there; BadGeneration: it is not as it was written.
        """
        self.path = place(folder, number)
        try:
            self._number = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise GoneGeneration(f"{self.path} is not there") from None
        except OSError as error:
            raise BadGeneration(f"{self.path} cannot be opened: {error.strerror}") from None
        try:
            if not lock(self._number, shared=True) or not self._named():
                raise GoneGeneration(f"{self.path} is being removed")
            self.manifest = read_manifest(folder, number, sha256)
            index = [INDEX] if INDEX in self.manifest.files else []
            check(folder, self.manifest, (ROWS, CHECKS, *index))
            self.rows: Ids = np.fromfile(self.path / ROWS, "<i8").astype(np.int64)
            self._checks = np.fromfile(self.path / CHECKS, "<u4")
            shape = (self.manifest.rows, self.manifest.dim)
            # As a plain array: a memmap is looked into by Python at every access.
            self.vectors: Array = np.memmap(self.path / VECTORS, "<f4", "r", shape=shape).view(np.ndarray)
            self._sound, self._all_sound = np.zeros(shape[0], np.bool_), False
        except BaseException:
            os.close(self._number)
            raise

    def _named(self) -> bool:
        """Tell whether the folder that is locked is still the one of this name."""
        try:
            return os.path.samestat(os.fstat(self._number), self.path.stat())
        except FileNotFoundError:
            return False

    def look(self, places: Ids) -> tuple[Ids, Array]:
        """Return the rows and the vectors at places.

        Raises:
            BadGeneration: a vector is not as it was written.
        """
        vectors: Array = self.vectors.take(places, 0)
        if not self._all_sound and not (known := self._sound[places]).all():
            new = places[~known]
            for at, vector in zip(new.tolist(), vectors[~known], strict=True):
                if zlib.crc32(vector) != self._checks[at]:
                    raise BadGeneration(f"the vector of row {self.rows[at]} in {VECTORS} is not as it was written")
            self._sound[new] = True
        return self.rows[places], vectors

    def check_vectors(self) -> None:
        """Hold all vectors against the manifest, once, before they are compared one by one.

        Raises:
            BadGeneration: they are not as they were written.
        """
        if not self._all_sound:
            check(self.path.parent, self.manifest, (VECTORS,))
            self._all_sound = True

    def places_of(self, rows: Ids) -> Ids:
        """Return the places of those rows that it holds."""
        places = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        found: Ids = places[self.rows[places] == rows]
        return found

    def close(self) -> None:
        """Let go of the folder, which may be removed then."""
        os.close(self._number)
