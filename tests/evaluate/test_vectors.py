"""Texts are encoded once, with the prompt of their role, and a vector that is no number names its text."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.builders import PIECES, add_modules, tiny_bert
from tests.evaluate.given import Given

from sentvec import Embedder
from sentvec.errors import NonFiniteOutput
from sentvec.evaluate.vectors import Counts, Vectors

TABLE = {"a": [1, 2], "b": [3, 4], "ask: a": [5, 6], "find: a": [7, 8]}
PROMPTS = {"query": "ask: ", "passage": "find: "}


def test_texts_that_occur_twice_are_encoded_once():
    model = Given(TABLE)
    vectors = model.vectors
    assert vectors.encode(["b", "a", "b"]).tolist() == [[3, 4], [1, 2], [3, 4]]
    assert model.encoded == 2 and vectors.counts == Counts(2, 0)


def test_each_role_has_its_prompt_and_its_place_in_the_cache(tmp_path):
    for encoded in (3, 0):
        model = Given(TABLE, prompts=PROMPTS)
        vectors = Vectors(model, cache=tmp_path, progress=False)
        found = [vectors.encode(["a"], role).tolist() for role in ("text", "query", "document")]
        assert found == [[[1, 2]], [[5, 6]], [[7, 8]]]
        assert model.encoded == encoded and vectors.counts == Counts(encoded, 3 - encoded)


def test_a_vector_that_is_no_number_is_not_kept_and_names_its_text(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("text,label\na,x\nb,y\n", encoding="utf-8")
    for _ in range(2):
        vectors = Vectors(Given(TABLE | {"b": [np.inf, 1]}), cache=tmp_path / "cache", progress=False)
        with pytest.raises(NonFiniteOutput, match="texts.csv, line 3: the vector of 'b' holds NaN or infinity"):
            vectors.encode(["a", "b"], files=[path])
    with pytest.raises(NonFiniteOutput, match="^the vector of 'b' holds NaN or infinity"):
        vectors.encode(["a", "b"])


def test_a_damaged_model_names_the_text_too(tmp_path):
    """An encoder refuses such vectors by itself, and counts texts in its own order."""
    model = Embedder.from_pretrained(add_modules(tiny_bert(tmp_path / "model"), "Pooling"), device="cpu")
    path = tmp_path / "texts.csv"
    texts = ["the cat sat on the mat", "dog", "世 cat", "the dog sat on the cat"]
    path.write_text("".join(f"{text},{i % 2}\n" for i, text in enumerate(texts)), encoding="utf-8")
    with torch.no_grad():
        model.encoder.embeddings.token_table.weight[PIECES.index("世")] = torch.nan
    with pytest.raises(NonFiniteOutput, match="texts.csv, line 3: the vector of '世 cat' holds NaN or infinity"):
        Vectors(model, progress=False).encode(texts, files=[path])
