"""Vectors kept on the disk by what they are vectors of: hashes of texts in; rows that are there already, out.

A folder holds any number of parts. A part is two files: `NAME.vectors.npy`, (rows, dim) float32, and `NAME.keys.npy`,
the sorted hashes of the rows' texts. The second is written last and under its name at once, so that a part is whole or
is not there; runs side by side write parts of their own and never wait for each other.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import OutputError

_log = logging.getLogger("sentvec")

_HASH = 16  # bytes: of a million texts, two share a hash once in 10^27 runs
Keys = NDArray[np.bytes_]
Vectors = NDArray[np.float32]


def default_folder() -> Path:
    """Return the folder for vectors of this user, below the one that the system has for caches."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sentvec" / "vectors"


def keys_of(texts: Sequence[str]) -> Keys:
    """Return a hash of each text: (n,) of 16 bytes."""
    digests = (hashlib.blake2b(text.encode(), digest_size=_HASH).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype=f"S{_HASH}")


class Cache:
    """Vectors of one model under one setting.

    Args:
        folder: where all models' vectors lie; made if it is not there.
        setting: all that decides what a vector is besides the text. Another setting is another folder inside.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(self, folder: Path, setting: Mapping[str, Any]) -> None:
        about = json.dumps(setting, sort_keys=True, indent=1)
        self.folder = folder / hashlib.sha256(about.encode()).hexdigest()[:32]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "about.json").write_text(about, encoding="utf-8")  # for people: nothing reads it
        except OSError as error:
            raise OutputError(
                f"the cache {folder} cannot be written ({error.strerror or error}). Name another folder for it, or "
                "go without."
            ) from None
        self._parts = [part for path in sorted(self.folder.glob("*.keys.npy")) if (part := _opened(path)) is not None]

    def get(self, keys: Keys, out: Vectors) -> NDArray[np.bool_]:
        """Fill the rows of `out` whose vectors are there.

        Args:
            keys: (n,) from `keys_of`.
            out: (n, dim).

        Returns:
            (n,): which rows were filled.
        """
        found = np.zeros(len(keys), dtype=bool)
        for names, vectors in self._parts:
            places = np.minimum(np.searchsorted(names, keys), len(names) - 1)
            here = (names[places] == keys) & ~found
            if here.any():
                out[here] = vectors[places[here]]
                found |= here
        return found

    def put(self, keys: Keys, vectors: Vectors) -> None:
        """Keep vectors: (n, dim) under n different keys. A disk that is full costs the cache, not the run."""
        if not len(keys):
            return
        order = np.argsort(keys)
        name = uuid.uuid4().hex
        try:
            for what, values in (("vectors", vectors[order]), ("keys", keys[order])):
                partial = self.folder / f"{name}.{what}.partial"
                with partial.open("wb") as file:
                    np.save(file, values)
                partial.replace(self.folder / f"{name}.{what}.npy")
        except OSError as error:
            _log.warning("vectors are not kept: %s cannot be written (%s)", self.folder, error.strerror or error)
            for path in self.folder.glob(f"{name}.*"):
                path.unlink(missing_ok=True)
            return
        part = _opened(self.folder / f"{name}.keys.npy")
        if part is not None:
            self._parts.append(part)


def _opened(path: Path) -> tuple[Keys, Vectors] | None:
    try:
        keys = np.load(path)
        vectors = np.load(path.with_name(path.name.replace(".keys.", ".vectors.")), mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        _log.warning("%s is passed over, as it cannot be read (%s)", path, error)
        return None
    if len(keys) != len(vectors) or not len(keys):
        _log.warning("%s is passed over: %d keys, %d vectors", path, len(keys), len(vectors))
        return None
    return keys, vectors
