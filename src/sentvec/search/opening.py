"""Where a collection is and what made it: a path and a model in, a folder that can be opened out."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from sentvec.errors import CollectionError, CollectionNotFound, InvalidInput, ModelMismatch
from sentvec.index.menu import Metric
from sentvec.search.disk import network
from sentvec.search.schema import FILE, create, damaged, translated
from sentvec.search.store import Store
from sentvec.search.types import TextEncoder

_log = logging.getLogger("sentvec")

_MOUNTS = Path("/proc/self/mounts")  # Linux; elsewhere a network is not seen


@dataclass(frozen=True, slots=True)
class Identity:
    """What made a collection's vectors: the model's name and fingerprint, numbers in a vector, and how they compare."""

    name: str
    fingerprint: str
    dim: int
    metric: Metric


class Maker(Protocol):
    """What a new collection needs to know of the model that makes its vectors; every `TextEncoder` is one."""

    @property
    def name(self) -> str:
        """The name or folder that the model can be loaded by again."""

    @property
    def fingerprint(self) -> str:
        """Hex digest of all that a vector depends on."""

    @property
    def dim(self) -> int:
        """Numbers in a vector."""

    @property
    def similarity_name(self) -> str:
        """The similarity that the model was trained for."""


def folder_of(path: str | os.PathLike[str]) -> Path:
    """Return the folder that is meant, absolute.

    Raises:
        CollectionError: it can be none; or it lies on a file system on which a collection is not safe.
    """
    given = os.fspath(path) if isinstance(path, os.PathLike) else path
    if given == "":  # which would be the folder one stands in
        raise CollectionError("An empty path cannot be a collection's folder; give a name, or '.' for this folder.")
    try:
        folder = Path(given).absolute()
        str(folder).encode()
    except (TypeError, UnicodeEncodeError):
        raise CollectionError(
            f"{given!r} cannot be a collection's folder; accepted: a str or Path that UTF-8 can hold."
        ) from None
    if "\0" in str(folder):
        raise CollectionError(f"{given!r} cannot be a collection's folder: it holds a NUL character.")
    if _MOUNTS.is_file() and (kind := network(folder, _MOUNTS.read_text(errors="replace"))):
        raise CollectionError(
            f"{str(folder)!r} lies on a network file system ({kind}), whose locks and shared memory cannot keep a "
            "collection safe. Give a folder on a disk of this machine."
        )
    return folder


def prepare(folder: Path, model: Maker | None) -> None:
    """Make a collection for a model where there is none.

    Raises:
        CollectionNotFound: the path is that of a file.
        InvalidInput: the model is none.
        CollectionError: the folder holds other things, or cannot be written.
    """
    check_is_model(model)
    with translated(folder):
        if folder.exists() and not folder.is_dir():
            raise CollectionNotFound(f"{str(folder)!r} is a file; a collection is a folder. Give another path.")
        if model is None or (folder / FILE).exists():
            return
        if folder.is_dir() and any(not file.name.startswith(f".{FILE}.") for file in folder.iterdir()):
            raise CollectionError(
                f"{str(folder)!r} holds other files and no collection. Give an empty or a new folder."
            )
        metric = metric_of(model)
        if model.similarity_name not in ("dot", "cosine"):
            _log.warning(
                "The model %r was trained for %s similarity; the collection %r ranks by cosine instead.",
                *(model.name, model.similarity_name, str(folder)),
            )
        create(folder, {"model": model.name, "fingerprint": model.fingerprint, "dim": model.dim, "metric": metric})


def check_is_model(model: object) -> None:
    """Refuse a name where a model is wanted; None is none.

    Raises:
        InvalidInput: it is no model.
    """
    if model is not None and not hasattr(model, "similarity_name"):
        raise InvalidInput(
            f"model is {type(model).__name__}; accepted: an Embedder, as Embedder.from_pretrained(name) gives."
        )


def metric_of(model: Maker) -> Metric:
    """Return how a collection compares the vectors of a model."""
    return "inner_product" if model.similarity_name == "dot" else "cosine"


def identity(store: Store) -> Identity:
    """Return what made a collection's vectors.

    Raises:
        CollectionCorrupt: it does not say so.
    """
    meta = store.meta()
    name, fingerprint, dim, metric = (meta.get(key) for key in ("model", "fingerprint", "dim", "metric"))
    if not isinstance(name, str) or not isinstance(fingerprint, str):
        raise damaged(store.folder, "it does not say which model made it")
    if not isinstance(dim, int) or not 0 < dim < 1 << 31 or metric not in ("cosine", "inner_product"):
        raise damaged(store.folder, f"it says that its vectors have {dim!r} numbers and the metric {metric!r}")
    return Identity(name, fingerprint, dim, cast(Metric, metric))


def needed(folder: Path, known: Identity, model: TextEncoder | None, purpose: str) -> TextEncoder:
    """Return the model that a collection was opened with.

    Raises:
        CollectionError: it was opened without one.
    """
    if model is None:
        raise CollectionError(
            f"A model is needed to {purpose}, and the collection was opened without one. Open it with "
            f"Collection.open({str(folder)!r}, model=Embedder.from_pretrained({known.name!r}))."
        )
    return model


def check_model(folder: Path, known: Identity, model: TextEncoder | None) -> None:
    """Refuse a model that did not make the collection.

    Raises:
        ModelMismatch: it is another.
    """
    if model is None or (model.fingerprint, model.dim) == (known.fingerprint, known.dim):
        return
    raise ModelMismatch(
        f"The collection {str(folder)!r} was made with the model {known.name!r} "
        f"({known.dim} numbers a vector, fingerprint {known.fingerprint[:12]}); the model given is "
        f"{model.name!r} ({model.dim}, {model.fingerprint[:12]}), whose vectors cannot be compared with "
        f"those. Open it with {known.name!r}, change its model with `sentvec reencode`, or index your files "
        "into a new folder."
    )
