"""How a test opens, and opens again, an empty store of each kind."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

from sentvec.stores.opening import open_store


@dataclass
class Kind:
    """A place for one store: opened with a spec it is made, and found again later."""

    name: str
    open: Callable


@contextmanager
def pgvector(request, tmp_path):
    _, url = request.getfixturevalue("postgres")
    name = f"t{uuid.uuid4().hex[:12]}"
    yield Kind("pgvector", lambda spec=None: open_store(f"{url}&table={name}", spec))


KINDS = {"pgvector": pgvector}
