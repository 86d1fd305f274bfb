"""bert-as-service's surface, through the client that old code calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.serve.conftest import KEY
from tests.serve.running import Running

from sentvec.client import BertClient, ServerError

if TYPE_CHECKING:
    from sentvec import Embedder

TEXTS = ["a quick brown fox", "今天天气很好", "short"]


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[BertClient]:
    with BertClient("127.0.0.1", server.port) as made:
        yield made


def test_encode(client: BertClient, minilm: Embedder) -> None:
    found = client.encode(TEXTS)
    assert (found.dtype, found.shape) == (np.float32, (3, 384))
    assert np.array_equal(found, minilm.encode(TEXTS))


def test_pairs(client: BertClient, minilm: Embedder) -> None:
    found = client.encode(["a ||| b ||| c", "a|||b"])
    assert np.array_equal(found, minilm.encode([("a ||| b", "c"), "a|||b"]))


def test_tokens_cut_by_the_caller(client: BertClient, minilm: Embedder) -> None:
    found, tokens = client.encode(
        [["a", "quick", "zzzz"], ["fox", "|||", "short"]], is_tokenized=True, show_tokens=True
    )
    assert tokens == [["[CLS]", "a", "quick", "[UNK]", "[SEP]"], ["[CLS]", "fox", "[SEP]", "short", "[SEP]"]]
    assert np.array_equal(found[1], minilm.encode([("fox", "short")])[0])


def test_vectors_of_tokens(client: BertClient, minilm: Embedder) -> None:
    found = client.encode(TEXTS, pooling="NONE")
    for row, states in zip(found, minilm.encode_tokens(TEXTS), strict=True):
        assert np.array_equal(row[: len(states)], states)
        assert not row[len(states) :].any()


def test_another_pooling_is_refused(client: BertClient) -> None:
    assert client.encode(["a"], pooling="REDUCE_MEAN").shape == (1, 384)
    with pytest.raises(ServerError, match="pools with: mean"):
        client.encode(["a"], pooling="REDUCE_MAX")


def test_without_waiting(client: BertClient, minilm: Embedder) -> None:
    for text in TEXTS:
        assert client.encode([text], blocking=False) is None
    assert client.status["num_pending_request"] == 3
    assert np.array_equal(client.fetch_all(concat=True), minilm.encode(TEXTS))
    assert client.fetch_all() == []
    batches = [[text, "more"] for text in TEXTS * 7]
    for batch, found in zip(batches, client.encode_async(iter(batches)), strict=True):
        assert np.array_equal(found, minilm.encode(batch))
    assert len(list(client.encode_async(iter(batches), max_num_batch=4))) == 4


def test_lists(server: Running) -> None:
    with BertClient("127.0.0.1", server.port, output_fmt="list") as client:
        assert isinstance(client.encode(["a"])[0][0], float)


@pytest.mark.parametrize(
    ("texts", "error"), [("a", TypeError), ([], ValueError), ([" "], ValueError), ([5], TypeError), ((), TypeError)]
)
def test_what_is_no_list_of_texts(client: BertClient, texts: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        client.encode(texts)  # type: ignore[arg-type]


def test_status(client: BertClient) -> None:
    told = client.server_status
    assert told["pooling_strategy"] == "mean"
    before = told["statistic"]["num_data_request"]
    client.encode(["a"])
    assert client.server_status["statistic"]["num_data_request"] == before + 1


def test_a_key(strict: Running) -> None:
    with pytest.raises(ServerError, match="401"):
        BertClient("127.0.0.1", strict.port)
    with BertClient("127.0.0.1", strict.port, api_key=KEY) as client:
        assert client.encode(["the cat"]).shape == (1, 32)


def test_the_answer_has_both_names_and_the_id(server: Running) -> None:
    told = server.post("/encode", {"id": {"any": ["thing"]}, "texts": ["a"], "is_tokenized": False}).json
    assert (told["id"], told["status"], told["result"]) == ({"any": ["thing"]}, 200, told["results"])


@pytest.mark.parametrize(
    "body", [{"texts": []}, {"texts": [["a"]]}, {"texts": ["a"], "is_tokenized": True}, {"texts": "a"}, {}]
)
def test_refusals_have_a_description(server: Running, body: dict) -> None:
    answer = server.post("/encode", body)
    assert (answer.status, answer.json["status"]) == (400, 400)
    assert answer.json["description"]


def test_no_answer_in_time() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        BertClient("127.0.0.1", silent.getsockname()[1], timeout=200)
