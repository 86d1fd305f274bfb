"""Servers that are not there, that go away, that refuse or are too old: an error that names the URL and what to do."""

from __future__ import annotations

import socket
import time

import numpy as np
import pytest
from fake_elastic import FakeElastic

from sentvec.errors import CollectionError, InvalidInput, MissingExtra, StoreUnavailable
from sentvec.stores.address import PASSWORD, address
from sentvec.stores.border import batch_of
from sentvec.stores.opening import open_store

ONE = batch_of(["a"], ["text"], np.ones((1, 16), np.float32))


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
@pytest.mark.parametrize(
    ("url", "module"),
    [
        ("postgresql://me@127.0.0.1:{}/db", "pg8000"),
        ("qdrant://127.0.0.1:{}/texts", "qdrant_client"),
        ("milvus://127.0.0.1:{}", "pymilvus"),
        ("http://127.0.0.1:{}/texts", "json"),
    ],
)
def test_a_server_that_is_not_there_is_named(url, module, closed_port, spec, monkeypatch):
    pytest.importorskip(module)
    monkeypatch.setenv(PASSWORD, "secret")
    url = url.format(closed_port)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match="does not answer") as caught:
        open_store(url, spec)
    assert str(caught.value).startswith(f"{url} ") and "Is the server running" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert time.monotonic() - begun < 60


def test_postgres_that_restarts_is_told_of_once_and_used_again(postgres, spec):
    server, url = postgres
    with open_store(f"{url}&table=restarted", spec) as store:
        store.upsert(ONE)
        server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sentvec';")
        with pytest.raises(StoreUnavailable, match="table=restarted does not answer"):
            store.count()
        assert store.count() == 1
        assert store.search(np.ones(16, np.float32))[0].id == "a"


def test_a_table_that_is_not_ours_is_left_alone(postgres, spec):
    server, url = postgres
    server.psql("CREATE TABLE theirs (id int);")
    with pytest.raises(CollectionError, match="sentvec did not make it"):
        open_store(f"{url}&table=theirs", spec)


def test_postgres_refuses_in_its_own_words(postgres, spec):
    _, url = postgres
    with pytest.raises(CollectionError, match='database "absent" does not exist'):
        open_store(url.replace("/postgres?", "/absent?"), spec)


def test_a_large_table_gets_an_index_which_filters_do_not_starve(postgres, spec, monkeypatch):
    _, url = postgres
    monkeypatch.setattr("sentvec.stores.pgvector.INDEXED_FROM", 2000)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2000, 16)).astype(np.float32)
    with open_store(f"{url}&table=large", spec) as store:
        for first in range(0, 2000, 500):
            ids = [str(n) for n in range(first, first + 500)]
            store.upsert(batch_of(ids, ids, vectors[first : first + 500], [{"rare": int(i) % 200 == 0} for i in ids]))
        store.optimize()
        asked = vectors[7] + 0.1
        rare = [hit.id for hit in store.search(asked, 10, where={"rare": True})]
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        order = [str(n) for n in np.argsort(-(unit @ asked)) if n % 200 == 0]
        assert rare == order
        exact = [hit.id for hit in store.search(asked, 10, exact=True)]
        assert exact == [str(n) for n in np.argsort(-(unit @ asked))[:10]]
        assert len(set(exact) & {hit.id for hit in store.search(asked, 10)}) >= 9


class TestElastic:
    @pytest.fixture
    def server(self):
        server = FakeElastic()
        yield server
        server.close()

    def test_an_answer_of_a_gateway_is_no_answer(self, server, spec):
        with open_store(f"http://127.0.0.1:{server.port}/texts", spec) as store:
            server.status = 503
            with pytest.raises(StoreUnavailable, match="HTTP 503"):
                store.upsert(ONE)
            server.status = 400
            with pytest.raises(CollectionError, match="refused: HTTP 400.*told to"):
                store.upsert(ONE)
            server.status = None
            assert store.upsert(ONE) == 1

    def test_a_kept_connection_that_was_closed_is_made_again(self, server, spec):
        with open_store(f"http://127.0.0.1:{server.port}/texts", spec) as store:
            store._http._connection.sock.shutdown(socket.SHUT_RDWR)
            assert store.upsert(ONE) == 1

    def test_the_password_is_sent_and_not_shown(self, server, spec):
        with open_store(f"http://me:geheim@127.0.0.1:{server.port}/texts", spec) as store:
            assert store.url == f"http://me@127.0.0.1:{server.port}/texts"
        assert {request[3]["Authorization"] for request in server.requests} == {"Basic bWU6Z2VoZWlt"}

    def test_an_old_or_unknown_server_is_refused(self, server, spec, monkeypatch):
        for version, said in (({"number": "7.17.0"}, "elasticsearch 7.17.0"), ({"distribution": "x"}, "is x 0")):
            monkeypatch.setattr(server, "answer", lambda *_, told=version: (200, {"version": told}))
            with pytest.raises(CollectionError, match=said):
                open_store(f"http://127.0.0.1:{server.port}/texts", spec)

    def test_a_document_that_is_refused_is_named(self, server, spec, monkeypatch):
        with open_store(f"http://127.0.0.1:{server.port}/texts", spec) as store:
            item = {"index": {"_id": "a", "error": {"type": "mapper_parsing_exception"}}}
            monkeypatch.setattr(server, "bulk", lambda *_: {"errors": True, "items": [item]})
            with pytest.raises(CollectionError, match="refused 'a'.*mapper_parsing"):
                store.upsert(ONE)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://host/db", "mysql:// is no kind of store"),
        ("postgresql://host:port/db", "cannot be read"),
        ("postgresql://host/db?tabel=x", "'tabel' is no option"),
        ("postgresql://host/db?table=a b", "accepted: up to 48"),
        ("http://host/UPPER", "index 'UPPER' cannot be"),
        ("milvus://host/?collection=a-b", "accepted: letters"),
    ],
)
def test_a_url_that_cannot_be_is_refused(url, said, spec):
    with pytest.raises((InvalidInput, MissingExtra), match=f"{said}|not installed"):
        open_store(url, spec)


def test_a_password_comes_from_the_url_or_the_environment(monkeypatch):
    monkeypatch.setenv(PASSWORD, "of the environment")
    assert address("postgresql://me:p%40ss@host/db", ()).password == "p@ss"
    assert address("postgresql://me@host/db", ()).password == "of the environment"
    assert "p%40ss" not in address("postgresql://me:p%40ss@host/db", ()).shown
