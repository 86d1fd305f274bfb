"""Parts that `Embedder.encode_to` wrote, and the texts that it encoded, in; all of it in a collection, once, out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from sentvec.errors import InvalidInput, ModelMismatch, NonFiniteOutput
from sentvec.progress import track
from sentvec.runtime.shards import Array, Id, Shard, digest_rows, read_manifest, read_part
from sentvec.search.checks import rows_to_add
from sentvec.search.opening import Identity, folder_of, identity
from sentvec.search.store import Store
from sentvec.search.types import PartsReport


def add_parts(
    path: str | os.PathLike[str],
    parts: str | os.PathLike[str],
    texts: Iterable[str],
    metadata: Iterable[Mapping[str, Any]] | None = None,
    *,
    prefix: str = "",
    busy_timeout: float = 10.0,
    progress: bool | None = False,
) -> PartsReport:
    """Add passages whose vectors were encoded before, without the model.

    A part is committed whole, together with a note that it is in: a run that was killed is run again with the same
    arguments, and passes over what is in. Memory holds one part. Texts must have been encoded as documents are.

    Args:
        path: the folder of the collection.
        parts: the folder that was encoded into.
        texts: those that were encoded, in the same order; they are held against the parts' digests.
        metadata: one JSON object for each text.
        prefix: put before each id, which else is that of the part; numbers are written out.
        busy_timeout: seconds to wait for another process that is writing.
        progress: as in `sentvec.progress.track`.

    Raises:
        ModelMismatch: the parts were made with another model, or are of another width.
        InvalidInput: the texts are not those that were encoded, or an id or metadata cannot be stored. Parts before
            the one at fault are in.
        NonFiniteOutput: a vector holds NaN or infinity.
        OutputError: the folder or a part is absent or damaged.
    """
    manifest, shards = read_manifest(Path(parts))
    store = Store(folder_of(path), busy_timeout)
    try:
        known = identity(store)
        _check_made_by(manifest["key"], known, Path(parts))
        given, fields = iter(texts), None if metadata is None else iter(metadata)
        report = PartsReport()
        with track("Adding parts (passages)", sum(shard.rows for shard in shards), progress) as advance:
            for shard in shards:
                report = _add(store, known, Path(parts), manifest["key"], shard, prefix, given, fields, report)
                advance(shard.rows)
    finally:
        store.close()
    return report


def _add(
    store: Store,
    known: Identity,
    folder: Path,
    made: Mapping[str, Any],
    shard: Shard,
    prefix: str,
    texts: Iterator[str],
    metadata: Iterator[Mapping[str, Any]] | None,
    report: PartsReport,
) -> PartsReport:
    """Add one part, unless it is in."""
    part, fields = list(islice(texts, shard.rows)), None if metadata is None else list(islice(metadata, shard.rows))
    name = json.dumps([made, shard.file, shard.input_sha256, prefix], sort_keys=True)
    key = hashlib.sha256(name.encode()).hexdigest()
    if list(store.select("SELECT 1 FROM shards WHERE key = ?", (key,))):
        return replace(report, passed=report.passed + 1)
    ids, vectors = read_part(folder, shard)
    if len(part) < shard.rows or digest_rows(zip(ids, part, strict=True)) != shard.input_sha256:
        raise InvalidInput(
            f"The texts are not those that {folder / shard.file} was made from. Give the same texts in the same order; "
            "parts before it are in."
        )
    _check_finite(folder / shard.file, ids, vectors)
    rows = rows_to_add(part, [f"{prefix}{id_}" for id_ in ids], fields, known.fingerprint)
    found = {row.digest: vector.astype("<f4").tobytes() for row, vector in zip(rows, vectors, strict=True)}
    with store.writing():
        if list(store.select("SELECT 1 FROM shards WHERE key = ?", (key,))):  # another process was faster
            return replace(report, passed=report.passed + 1)
        new, there = store.put(rows, found, None)
        store.change("INSERT INTO shards VALUES (?, ?)", (key, shard.rows))
    return replace(report, parts=report.parts + 1, added=report.added + new, updated=report.updated + there)


def _check_made_by(made: Mapping[str, Any], known: Identity, folder: Path) -> None:
    if made.get("fingerprint") != known.fingerprint:
        raise ModelMismatch(
            f"The parts in {str(folder)!r} were made with another model (fingerprint "
            f"{str(made.get('fingerprint'))[:12]}) than the collection ({known.name!r}, {known.fingerprint[:12]}). "
            "Encode the texts with that model, or add the parts to a collection of theirs."
        )
    if made.get("dim") not in (None, known.dim):
        raise ModelMismatch(
            f"The vectors in {str(folder)!r} have {made['dim']} numbers, those of the collection {known.dim}. Encode "
            "the texts without cutting the vectors (dim)."
        )


def _check_finite(file: Path, ids: list[Id], vectors: Array) -> None:
    finite = np.isfinite(vectors.astype(np.float32)).all(axis=1)
    if not finite.all():
        raise NonFiniteOutput(f"{file} holds NaN or infinity for {ids[int(np.argmin(finite))]!r}. Encode it again.")
