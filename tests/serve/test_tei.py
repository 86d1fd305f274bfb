"""The surface of text-embeddings-inference, as Hugging Face's client uses it, and its status codes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from huggingface_hub import InferenceClient
from tests.serve.running import Running

if TYPE_CHECKING:
    from sentvec import Embedder


@pytest.fixture(autouse=True)
def _not_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Hub's client speak to this machine, although these tests are offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


TEXTS = ["a quick brown fox", "今天天气很好", "short"]


def test_vectors_are_those_of_encode_bit_for_bit(server: Running, minilm: Embedder) -> None:
    client = InferenceClient(model=f"{server.url}/embed")
    assert np.array_equal(client.feature_extraction(TEXTS), minilm.encode(TEXTS))
    assert np.array_equal(client.feature_extraction("one"), minilm.encode(["one"]))
    flat = client.feature_extraction("one", normalize=False)
    assert np.array_equal(flat, minilm.encode(["one"], normalize=False))


def test_similarity(server: Running, minilm: Embedder) -> None:
    client = InferenceClient(model=f"{server.url}/similarity")
    found = client.sentence_similarity("a cat", ["a dog", "a cat"])
    assert np.allclose(found, minilm.similarity(minilm.encode("a cat"), minilm.encode(["a dog", "a cat"]))[0])


def test_states_of_all_tokens(server: Running, minilm: Embedder) -> None:
    found = server.post("/embed_all", {"inputs": TEXTS}).json
    for one, expected in zip(found, minilm.encode_tokens(TEXTS), strict=True):
        assert np.array_equal(np.array(one, np.float32), expected)


def test_tokens_and_back(server: Running) -> None:
    found = server.post("/tokenize", {"inputs": "unaffable fox"}).json
    assert [one["special"] for one in found[0]] == [True, *[False] * (len(found[0]) - 2), True]
    assert found[0][0] == {"id": 101, "text": "[CLS]", "special": True, "start": None, "stop": None}
    assert found[0][-2] == {"id": 4419, "text": "fox", "special": False, "start": 10, "stop": 13}
    ids = [one["id"] for one in found[0]]
    assert server.post("/decode", {"ids": ids}).json == ["unaffable fox"]
    assert server.post("/decode", {"ids": [ids], "skip_special_tokens": False}).json == ["[CLS] unaffable fox [SEP]"]
    bare = server.post("/tokenize", {"inputs": ["fox"], "add_special_tokens": False}).json
    assert [one["id"] for one in bare[0]] == [4419]


def test_truncation(server: Running, minilm: Embedder) -> None:
    words = " ".join(str(number) for number in range(1000))
    right = server.post("/embed", {"inputs": words}).json
    assert np.array_equal(np.array(right, np.float32)[0], minilm.encode(words))
    left = server.post("/embed", {"inputs": words, "truncation_direction": "Left"}).json
    spans = minilm.token_spans(words)
    ending = words[spans[-(minilm.max_seq_length - 2)][0] :]
    assert np.array_equal(np.array(left, np.float32)[0], minilm.encode(ending))
    refused = server.post("/embed", {"inputs": words, "truncate": False})
    assert (refused.status, refused.json["error_type"]) == (422, "Validation")


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "said"),
    [
        ("/embed", {"inputs": ""}, 400, "Empty", "cannot be empty"),
        ("/embed", {"inputs": []}, 400, "Empty", "cannot be empty"),
        ("/embed", {"inputs": ["a"] * 2049}, 422, "Validation", "batch size 2049 > maximum allowed batch size 2048"),
        ("/embed", {"inputs": 7}, 422, "Validation", "inputs is 7"),
        ("/embed", {"inputs": "a", "dimensions": 1000}, 422, "Validation", "1 to 384"),
        ("/embed", {"inputs": "a", "prompt_name": "../x"}, 422, "Validation", "not stored"),
        ("/embed", {"inputs": "a", "truncation_direction": "up"}, 422, "Validation", "truncation_direction"),
        ("/embed_all", {"inputs": ["a " * 300] * 90}, 422, "Validation", "8,388,608 are the most"),
        ("/rerank", {"query": "a", "texts": ["b"]}, 424, "Backend", "--reranker"),
        ("/predict", {"inputs": "a"}, 424, "Backend", "--task"),
        ("/decode", {"ids": [-1]}, 422, "Validation", "-1"),
        ("/decode", {"ids": [10**30]}, 422, "Validation", "token id"),
    ],
)
def test_status_codes(server: Running, path: str, body: dict, status: int, kind: str, said: str) -> None:
    answer = server.post(path, body)
    assert (answer.status, answer.json["error_type"]) == (status, kind), answer.content
    assert re.search(re.escape(said), answer.json["error"]), answer.json


def test_info_tells_settings_and_health_is_empty(server: Running, minilm: Embedder) -> None:
    told = server.get("/info").json
    assert told["max_input_length"] == minilm.max_seq_length
    assert told["model_type"] == {"embedding": {"pooling": "mean"}}
    assert told["sentvec"]["fingerprint"] == minilm.fingerprint
    assert told["sentvec"]["settings"]["max_texts"] == 2048
    health = server.get("/health")
    assert (health.status, health.content) == (200, b"")


def test_metrics_have_its_names(server: Running) -> None:
    before = server.get("/metrics").content.decode()
    server.post("/embed", {"inputs": ["a", "b"]})
    after = server.get("/metrics").content.decode()

    def count(text: str) -> float:
        found = re.search(r'^te_request_count\{method="batch"\} (\d+)$', text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    assert count(after) == count(before) + 1
    names = set(re.findall(r"^# TYPE (\w+) ", after, re.MULTILINE))
    assert {"te_request_success", "te_request_duration", "te_queue_size", "te_batch_next_tokens"} <= names
    assert "te_request_input_length_bucket" in after


def test_times_are_told(server: Running) -> None:
    answer = server.post("/embed", {"inputs": "a b c"})
    assert answer.headers["x-compute-tokens"] == "5"
    assert (answer.headers["x-compute-characters"], answer.headers["x-compute-type"]) == ("5", "cpu")
    assert 0 <= int(answer.headers["x-inference-time"]) <= int(answer.headers["x-total-time"]) + 1
    assert int(answer.headers["x-inference-time"]) >= 0
