"""How a test opens, and opens again, an empty store of each kind."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from fake_elastic import FakeElastic

from sentvec.stores.address import address
from sentvec.stores.opening import open_store


@dataclass
class Kind:
    """A place for one store: opened with a spec it is made, and found again later."""

    open: Callable


@contextmanager
def local(request, tmp_path):
    yield Kind(lambda spec=None: open_store(str(tmp_path / "c.sv"), spec))


@contextmanager
def pgvector(request, tmp_path):
    _, url = request.getfixturevalue("postgres")
    name = f"t{uuid.uuid4().hex[:12]}"
    yield Kind(lambda spec=None: open_store(f"{url}&table={name}", spec))


@contextmanager
def qdrant(request, tmp_path):
    from sentvec.stores.qdrant import QdrantStore

    client = pytest.importorskip("qdrant_client", reason="needs qdrant-client (extra qdrant)").QdrantClient(":memory:")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Local mode performs exact")
        yield Kind(lambda spec=None: QdrantStore(address("qdrant://memory/texts", ()), spec, client))
    client.close()


@contextmanager
def milvus(request, tmp_path):
    pytest.importorskip("pymilvus", reason="needs pymilvus (extra milvus)")
    pytest.importorskip("milvus_lite", reason="needs milvus-lite (extra milvus)")
    yield Kind(lambda spec=None: open_store(str(tmp_path / "milvus.db"), spec))


def elastic(distribution):
    @contextmanager
    def made(request, tmp_path):
        server = FakeElastic(distribution)
        yield Kind(lambda spec=None: open_store(f"http://127.0.0.1:{server.port}/texts", spec))
        server.close()

    return made


KINDS = {
    "local": local,
    "pgvector": pgvector,
    "qdrant": qdrant,
    "milvus": milvus,
    "elasticsearch": elastic("elasticsearch"),
    "opensearch": elastic("opensearch"),
}
