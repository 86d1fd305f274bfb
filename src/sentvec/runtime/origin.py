"""A model's name in, its checkpoint out: as the caller wants it, and again as it was before anything was rounded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sentvec.checkpoint.adapters import is_adapter, merge, read_adapter
from sentvec.checkpoint.hub import resolve
from sentvec.checkpoint.load import Checkpoint, load
from sentvec.errors import ConfigError, ModelError
from sentvec.ops.pooling import check_pooling
from sentvec.runtime.fingerprint import fingerprint


@dataclass(frozen=True)
class Origin:
    """Where a model comes from.

    Attributes:
        name: the repository's name, or the absolute path of the folder that was asked for.
        folder: where its files are.
        changes: what the caller wants otherwise in the recipe.
        local_files_only: whether the network must not be asked for the model that adapters are of.
    """

    name: str
    folder: Path
    changes: dict[str, Any]
    local_files_only: bool = False

    def load(self) -> Checkpoint:
        """Load the checkpoint, with the caller's changes; see `sentvec.checkpoint.load.load`.

        Of a folder of adapters it is the model that they are of, with them in it.
        """
        checkpoint = _loaded(self.folder, self.local_files_only)
        return replace(checkpoint, recipe=replace(checkpoint.recipe, **self.changes))


def find(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    pooling: str | Sequence[str] | None = None,
    max_seq_length: int | None = None,
) -> Origin:
    """Find a model's folder; arguments and errors as for `Embedder.from_pretrained`."""
    folder = resolve(name, revision=revision, local_files_only=local_files_only)
    changes: dict[str, Any] = {}
    if pooling is not None:
        names = (pooling,) if isinstance(pooling, str) else tuple(pooling)
        changes["pooling"] = tuple(check_pooling(one) for one in names)
    if max_seq_length is not None:
        changes["max_seq_length"] = max_seq_length
    # a collection remembers this name, and must find the model again from another working directory
    known_as = str(folder.absolute()) if Path(name).expanduser() == folder else os.fspath(name)
    return Origin(known_as, folder, changes, local_files_only)


def unrounded(checkpoint: Checkpoint, folder: Path, expected: str) -> Checkpoint:
    """Load a checkpoint's weights again as its files hold them, for one whose encoder runs in fewer digits.

    Raises:
        ModelError: they are no longer those with the fingerprint `expected`.
    """
    again = replace(_loaded(folder, local_files_only=True), recipe=checkpoint.recipe)
    if fingerprint(again) != expected:
        raise ModelError(f"{folder} has changed since the model was loaded from it; load it again to save.")
    return again


def _loaded(folder: Path, local_files_only: bool) -> Checkpoint:
    if not is_adapter(folder):
        return load(folder)
    adapter = read_adapter(folder)
    if not adapter.base:
        raise ConfigError(f"the adapter in {folder} does not say which model it is of, as base_model_name_or_path.")
    checkpoint = load(resolve(adapter.base, local_files_only=local_files_only))
    merge(checkpoint, adapter)
    return checkpoint
