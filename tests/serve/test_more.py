"""Routes of rerankers, task heads and collections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import InferenceClient
from tests.serve.conftest import KEY
from tests.serve.running import Running

from sentvec import Reranker, pipeline

WITH = {"authorization": f"Bearer {KEY}"}
TEXTS = ["the cat sat", "on the mat", "a dog"]


@pytest.fixture(autouse=True)
def _not_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Hub's client speak to this machine, although these tests are offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def hub(server: Running, task: str) -> InferenceClient:
    return InferenceClient(model=f"{server.url}/tasks/{task}", token=KEY)


def test_rerank(strict: Running, heads: dict[str, Path]) -> None:
    model = Reranker.from_pretrained(heads["reranker"], device="cpu")
    for raw in (False, True):
        told = strict.post("/rerank", {"query": "cat", "texts": TEXTS, "raw_scores": raw, "return_text": raw}, **WITH)
        expected = model.rank("cat", TEXTS, raw=raw)
        assert [one["index"] for one in told.json] == [one.index for one in expected]
        assert np.allclose([one["score"] for one in told.json], [one.score for one in expected], atol=1e-6)
        assert [one.get("text") for one in told.json] == [one.text if raw else None for one in expected]
    long = {"query": "cat", "texts": ["the cat " * 60]}
    assert strict.post("/rerank", long, **WITH).status == 422  # --no-truncate
    assert strict.post("/rerank", long | {"truncate": True}, **WITH).status == 200


def test_texts_that_are_too_long_lose_the_end_that_is_asked_for(strict: Running, heads: dict[str, Path]) -> None:
    texts = ["a dog " * 60 + "the cat sat on the mat " * 9, "the cat " * 70 + "a dog " * 40]
    model = Reranker.from_pretrained(heads["reranker"], device="cpu")
    do = pipeline("text-classification", heads["text-classification"], device="cpu", truncate=True)
    for direction, left in (("Left", True), ("right", False)):
        how = {"truncate": True, "truncation_direction": direction, "raw_scores": True}
        told = strict.post("/rerank", {"query": "cat", "texts": texts, **how}, **WITH).json
        scores = model.score([("cat", text) for text in texts], raw=True, left=left)
        assert {one["index"]: pytest.approx(one["score"], abs=1e-6) for one in told} == dict(enumerate(scores))
        labels = strict.post("/predict", {"inputs": [[text] for text in texts], **how}, **WITH).json
        logits = do.model.text_logits(texts, left=left)
        assert [sorted(one["score"] for one in each) for each in labels] == [
            pytest.approx(sorted(row), abs=1e-6) for row in logits
        ]
    other = model.score([("cat", text) for text in texts], raw=True)
    assert not np.allclose(other, model.score([("cat", text) for text in texts], raw=True, left=True), atol=1e-4)


def test_what_is_scored_is_counted_apart(strict: Running) -> None:
    def counts() -> tuple[float, ...]:
        lines = dict(line.rsplit(" ", 1) for line in strict.get("/metrics", **WITH).content.decode().splitlines())
        return tuple(float(lines[f"te_{what}_success"]) for what in ("embed", "predict"))

    before = counts()
    assert strict.post("/rerank", {"query": "cat", "texts": TEXTS}, **WITH).headers["x-compute-characters"] == "35"
    assert strict.post("/predict", {"inputs": ["a", "cat"]}, **WITH).headers["x-compute-characters"] == "4"
    assert strict.post("/embed", {"inputs": TEXTS}, **WITH).status == 200
    assert [after - one for after, one in zip(counts(), before, strict=True)] == [3, 4]


def test_predict(strict: Running, heads: dict[str, Path]) -> None:
    do = pipeline("text-classification", heads["text-classification"], device="cpu")
    one = strict.post("/predict", {"inputs": "the cat"}, **WITH).json
    assert_same(one, do("the cat", top_k=None))
    pair = strict.post("/predict", {"inputs": ["the cat", "a dog"], "raw_scores": True}, **WITH).json
    assert_same(pair, do(("the cat", "a dog"), top_k=None, function_to_apply="none"))
    batch = strict.post("/predict", {"inputs": [["the cat"], ["the cat", "a dog"]]}, **WITH).json
    assert_same(batch, do(["the cat", ("the cat", "a dog")], top_k=None))


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
        return
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == (pytest.approx(value, abs=1e-5) if isinstance(value, float) else value)


def test_tasks_through_the_hubs_client(strict: Running, heads: dict[str, Path]) -> None:
    labels = hub(strict, "text-classification").text_classification("the cat")
    assert_same(
        [vars(one) for one in labels],
        pipeline("text-classification", heads["text-classification"])("the cat", top_k=None),
    )
    entities = hub(strict, "token-classification").token_classification("the cat sat", aggregation_strategy="simple")
    do = pipeline("token-classification", heads["token-classification"], device="cpu")
    assert [one.word for one in entities] == [one["word"] for one in do("the cat sat", aggregation_strategy="simple")]
    filled = hub(strict, "fill-mask").fill_mask("the [MASK] sat", top_k=2)
    expected = pipeline("fill-mask", heads["fill-mask"], device="cpu")("the [MASK] sat", top_k=2)
    assert [one.token for one in filled] == [one["token"] for one in expected]
    answer = hub(strict, "question-answering").question_answering(question="who sat", context="the cat sat on the mat")
    expected = pipeline("question-answering", heads["question-answering"], device="cpu")(
        question="who sat", context="the cat sat on the mat"
    )
    assert (answer.answer, answer.start) == (expected["answer"], expected["start"])


def test_a_list_gives_a_list(strict: Running) -> None:
    told = strict.post("/tasks/fill-mask", {"inputs": ["a [MASK]", "the [MASK]"], "parameters": {"top_k": 1}}, **WITH)
    assert [len(one) for one in told.json] == [1, 1]


@pytest.mark.parametrize(
    ("task", "body", "status"),
    [
        ("fill-mask", {"inputs": "no place"}, 422),
        ("fill-mask", {"inputs": "a [MASK]", "parameters": {"top_k": 0}}, 422),
        ("fill-mask", {"inputs": []}, 400),
        ("question-answering", {"inputs": "text"}, 422),
        ("next-sentence", {"inputs": {"text": "a", "text_pair": "b"}}, 424),
        ("zero-shot-classification", {"inputs": "a"}, 422),
        ("zero-shot-classification", {"inputs": "a", "parameters": {"candidate_labels": ["b"]}}, 424),
    ],
)
def test_what_tasks_refuse(strict: Running, task: str, body: dict, status: int) -> None:
    assert strict.post(f"/tasks/{task}", body, **WITH).status == status


class TestCollection:
    def test_search(self, strict: Running) -> None:
        told = strict.post("/search", {"query": "the cat sat", "k": 2, "snippets": True}, **WITH).json["hits"]
        assert told[0]["id"] == "cat"
        assert told[0]["score"] == pytest.approx(1, abs=1e-5)
        assert told[0]["snippet"] == "the cat sat"
        assert len(told) == 2

    def test_adding(self, strict: Running) -> None:
        given = [{"id": "new", "text": "a passage", "metadata": {"year": 1969}}]
        told = strict.post("/documents", {"documents": given}, **WITH).json
        assert told == {"ids": ["new"], "added": 1, "updated": 0}
        assert strict.post("/documents", {"documents": given}, **WITH).json["updated"] == 1
        hit = strict.post("/search", {"query": "a passage", "k": 1}, **WITH).json["hits"][0]
        assert (hit["id"], hit["metadata"]) == ("new", {"year": 1969})
        assert strict.get("/collection", **WITH).json["passages"] >= 4

    def test_ways_of_searching(self, strict: Running) -> None:
        def found(**how: Any) -> list[str]:
            return [
                hit["id"] for hit in strict.post("/search", {"query": "the mat", "k": 9, **how}, **WITH).json["hits"]
            ]

        documents = [{"id": "old", "text": "a mat of old", "metadata": {"year": 1900}}]
        assert strict.post("/documents", {"documents": documents}, **WITH).status == 200
        assert found(where={"year": {"<": 1950}}) == ["old"]
        assert set(found(hybrid=0.5)) == set(found()) == set(found(rerank=True, diversity=0.5))
        assert found(hybrid=1)[0] == found(hybrid=1, fusion="score")[0] == "dogs"

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/search", {"query": "a", "where": {"year": {"~": 1}}}),
            ("/search", {"query": "a", "hybrid": 2}),
            ("/search", {"query": "a", "fusion": "best"}),
            ("/search", {"query": ""}),
            ("/search", {"query": " "}),
            ("/search", {"query": "a", "k": 0}),
            ("/search", {"query": "\ud800"}),
            ("/documents", {"documents": [{"text": "a", "id": "b"}, {"text": "c"}]}),
            ("/documents", {"documents": [{"text": "a", "id": "b"}, {"text": "c", "id": "b"}]}),
            ("/documents", {"documents": []}),
        ],
    )
    def test_refusals(self, strict: Running, path: str, body: dict) -> None:
        assert strict.post(path, body, **WITH).status == 400

    def test_adding_needs_a_server_with_a_key(self, server: Running) -> None:
        assert server.post("/documents", {"documents": [{"text": "a"}]}).status == 401
        assert "--collection" in server.post("/search", {"query": "a"}).json["error"]
