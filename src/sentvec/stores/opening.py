"""The URL of a store, or a folder, in; the store behind it, opened, out."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from sentvec.errors import InvalidInput
from sentvec.search.opening import metric_of
from sentvec.search.schema import FILE
from sentvec.search.types import TextEncoder
from sentvec.stores.address import Address, address
from sentvec.stores.local import LocalStore
from sentvec.stores.protocol import Spec, Store

_POSTGRES = ("sentvec.stores.pgvector", "PgStore", ("table", "ssl", "socket"))
_QDRANT = ("sentvec.stores.qdrant", "QdrantStore", ())
_ELASTIC = ("sentvec.stores.elastic", "ElasticStore", ())
_KINDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "milvus": ("sentvec.stores.milvus", "MilvusStore", ("collection",)),
    "milvus+https": ("sentvec.stores.milvus", "MilvusStore", ("collection",)),
    "elasticsearch": _ELASTIC,
    "elasticsearch+https": _ELASTIC,
    "opensearch": _ELASTIC,
    "opensearch+https": _ELASTIC,
    "http": _ELASTIC,
    "https": _ELASTIC,
    "qdrant": _QDRANT,
    "qdrant+https": _QDRANT,
    "postgresql": _POSTGRES,
    "postgres": _POSTGRES,
}


def open_store(url: str, spec: Spec | None = None) -> Store:
    """Open a store; with a spec, one that is not there yet is made.

    Args:
        url: ``postgresql://user@host/database?table=name``, ``qdrant://host:6333/name``,
            ``milvus://host:19530/database?collection=name``, ``elasticsearch://host:9200/index``, the path of a
            Milvus Lite database (``*.db``), or the folder of a collection. See docs/stores.md.
        spec: which model made, or is to make, its vectors.

    Raises:
        InvalidInput: the URL cannot be read.
        CollectionNotFound: there is nothing, and no spec was given.
        ModelMismatch: another model made its vectors.
        StoreUnavailable: the server does not answer.
        CollectionError: what is there is not ours, or the server refuses.
        MissingExtra: the client's package is not installed.
    """
    if not isinstance(url, str):
        raise InvalidInput(f"The address of the store is {type(url).__name__}; accepted: a str.")
    if "://" not in url:
        if url.endswith(".db") and not (Path(url) / FILE).exists():
            return _opener("sentvec.stores.milvus", "MilvusStore")(Address("", "", None, url, "", None, {}, url), spec)
        return LocalStore(url, spec)
    scheme = url.partition("://")[0]
    if scheme not in _KINDS:
        raise InvalidInput(f"{scheme}:// is no kind of store; accepted: {', '.join(f'{s}://' for s in _KINDS)}.")
    module, name, options = _KINDS[scheme]
    return _opener(module, name)(address(url, options), spec)


def _opener(module: str, name: str) -> Callable[[Address, Spec | None], Store]:
    opener: Callable[[Address, Spec | None], Store] = getattr(import_module(module), name)
    return opener


def spec_of(model: TextEncoder) -> Spec:
    """Return the spec of stores for a model's vectors."""
    metric = metric_of(model)
    assert metric != "l2"  # no collection compares by it
    return Spec(model.name, model.fingerprint, model.dim, metric)
