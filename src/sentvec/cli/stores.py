"""What `--store URL` does in place of a collection: a store's URL and options in, a report or hits out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sentvec.cli.common import DEFAULT_MODEL, open_model
from sentvec.errors import CollectionNotFound

if TYPE_CHECKING:
    from sentvec.search.types import Hit, IndexReport, TextEncoder
    from sentvec.search.walk import Found


def index_into(
    url: str, found: Found, model: str | None, device: str, *, offline: bool
) -> tuple[str, IndexReport, int]:
    """Put files into a store; returns where it is (without a password), the report, and how many passages it holds."""
    from sentvec.stores.filing import file_in
    from sentvec.stores.opening import open_store, spec_of

    own = None
    try:
        with open_store(url) as there:  # before a model is loaded: does the server answer?
            own = there.spec.model
    except CollectionNotFound:
        pass
    encoder = open_model(model or own or DEFAULT_MODEL, device, offline=offline)
    with open_store(url, spec_of(encoder)) as store:
        report = file_in(found, store, encoder, progress=None)
        store.optimize()
        return store.url, report, store.count()


def search_in(
    url: str,
    asked: str,
    k: int,
    where: Mapping[str, Any] | None,
    model: str | None,
    device: str,
    *,
    hybrid: bool,
    words: bool,
    offline: bool,
) -> tuple[list[Hit], TextEncoder | None]:
    """Ask a store; returns the hits, and the model where one was needed."""
    from sentvec.stores.asking import ask
    from sentvec.stores.opening import open_store

    with open_store(url) as store:
        encoder = None if words else open_model(model or store.spec.model, device, offline=offline)
        return ask(store, asked, encoder, k, where=where, hybrid=hybrid), encoder
