"""OpenAI's surface, as OpenAI's own client and LangChain's use it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.serve.running import Running

if TYPE_CHECKING:
    from sentvec import Embedder

openai = pytest.importorskip("openai")

TEXTS = ["a quick brown fox", "", "今天天气很好", "short", "a text that goes on for somewhat longer than the others do"]
NOT_EMPTY = [text for text in TEXTS if text]


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.mark.parametrize("form", ["base64", "float"])
def test_vectors_are_those_of_encode_bit_for_bit(client: openai.OpenAI, minilm: Embedder, form: str) -> None:
    answer = client.embeddings.create(model="any", input=NOT_EMPTY, encoding_format=form)
    found = [one.embedding for one in answer.data]
    if form == "base64":
        found = [np.frombuffer(base64.b64decode(one), "<f4") for one in found]
    assert np.array_equal(np.array(found, np.float32), minilm.encode(NOT_EMPTY))
    assert [one.index for one in answer.data] == [0, 1, 2, 3]
    assert answer.usage.prompt_tokens == sum(minilm.count_tokens(NOT_EMPTY)) == answer.usage.total_tokens
    assert answer.model == "sentence-transformers/all-MiniLM-L6-v2"


def test_the_client_reads_its_own_default(client: openai.OpenAI, minilm: Embedder) -> None:
    answer = client.embeddings.create(model="any", input="one text")
    assert np.array_equal(np.array(answer.data[0].embedding, np.float32), minilm.encode("one text"))


def test_fewer_dimensions_have_length_one_again(client: openai.OpenAI, minilm: Embedder) -> None:
    answer = client.embeddings.create(model="any", input=NOT_EMPTY, dimensions=64)
    found = np.array([one.embedding for one in answer.data], np.float32)
    assert np.array_equal(found, minilm.encode(NOT_EMPTY, dim=64))
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_token_ids_are_used_as_they_are(client: openai.OpenAI, minilm: Embedder) -> None:
    ids = [[101, 1037, 4248, 2829, 4419, 102], [101, 2460, 102]]
    answer = client.embeddings.create(model="any", input=ids)
    found = np.array([one.embedding for one in answer.data], np.float32)
    assert np.array_equal(found, minilm.encode(["a quick brown fox", "short"]))
    one = client.embeddings.create(model="any", input=ids[1])
    assert np.array_equal(np.array(one.data[0].embedding, np.float32), found[1])


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([[64, 4062, 14198, 3993]], "not laid out"),
        ([101, 100257, 102], "vocabulary of 30522"),
        ([101] * 300, "are never cut"),
    ],
)
def test_ids_of_another_tokeniser_are_refused(client: openai.OpenAI, ids: list, said: str) -> None:
    with pytest.raises(openai.BadRequestError, match=said) as refused:
        client.embeddings.create(model="any", input=ids)
    assert refused.value.type == "invalid_request_error"
    assert refused.value.param == "input"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"input": ""}, "cannot be empty"),
        ({"input": []}, "cannot be empty"),
        ({"input": ["a", ""]}, "cannot be empty"),
        ({"input": ["a", 5]}, "a whole number|a string"),
        ({"input": None}, "null"),
        ({}, "input is missing"),
        ({"input": "a", "dimensions": 0}, "from 1"),
        ({"input": "a", "dimensions": 385}, "1 to 384"),
        ({"input": "a", "encoding_format": "md5"}, '"float", "base64"'),
        ({"input": ["a"] * 2049}, "2049"),
    ],
)
def test_what_cannot_be_is_refused_in_openais_words(server: Running, body: dict, said: str) -> None:
    answer = server.post("/v1/embeddings", body)
    assert answer.status == 400, answer.content
    assert answer.json["error"].keys() == {"message", "type", "param", "code"}
    assert re.search(said, answer.json["error"]["message"]), answer.json


def test_the_model_is_listed(client: openai.OpenAI) -> None:
    assert [one.id for one in client.models.list()] == ["sentence-transformers/all-MiniLM-L6-v2"]


def test_langchain_sends_texts_where_it_is_told_to(server: Running, minilm: Embedder) -> None:
    langchain = pytest.importorskip("langchain_openai")
    model = langchain.OpenAIEmbeddings(
        base_url=f"{server.url}/v1", api_key="none", model="any", check_embedding_ctx_length=False
    )
    assert np.array_equal(np.array(model.embed_documents(NOT_EMPTY), np.float32), minilm.encode(NOT_EMPTY))
