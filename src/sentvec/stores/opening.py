"""The URL of a store, or a folder, in; the store behind it, opened, out."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from sentvec.errors import InvalidInput
from sentvec.search.opening import metric_of
from sentvec.search.types import TextEncoder
from sentvec.stores.address import Address, address
from sentvec.stores.protocol import Spec, Store

_POSTGRES = ("sentvec.stores.pgvector", "PgStore", ("table", "ssl", "socket"))
_KINDS = {
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
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme not in _KINDS:
        raise InvalidInput(f"{scheme}:// is no kind of store; accepted: {', '.join(f'{s}://' for s in _KINDS)}.")
    module, name, options = _KINDS[scheme]
    opened: Callable[[Address, Spec | None], Store] = getattr(import_module(module), name)
    return opened(address(url, options), spec)


def spec_of(model: TextEncoder) -> Spec:
    """Return the spec of stores for a model's vectors."""
    return Spec(model.name, model.fingerprint, model.dim, metric_of(model))
