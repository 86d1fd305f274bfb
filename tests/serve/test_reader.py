"""Texts that are far too long: what the model reads of them is as if they had been tokenised wholly."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from tests.builders import tiny_bert, tiny_roberta, tiny_xlm_roberta

from sentvec import Embedder
from sentvec.serve.reader import Reader
from sentvec.serve.refusals import Refused

BITS = (
    "the",
    "cat",
    "Cating",
    "caaat",
    " ",
    "  ",
    "\n",
    "\t ",
    "你好",
    "!",
    ", ",
    "é",
    "e\u0301",
    "x" * 150,
    "\u00a0",
    "ing",
)


@pytest.fixture(scope="module", params=[tiny_bert, tiny_roberta, tiny_xlm_roberta])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    make: Callable[[Path], Path] = request.param
    return Reader.of(Embedder.from_pretrained(make(tmp_path_factory.mktemp("model") / "tiny"), device="cpu"))


def long_texts() -> list[str]:
    draw = random.Random(0)
    found = ["".join(draw.choices(BITS, k=draw.choice((300, 2000, 6000)))) for _ in range(8)]
    found += ["".join(draw.choices([bit for bit in BITS if not bit.isspace()], k=3000)) for _ in range(3)]
    return [*found, " " * 20_000 + "the cat " * 100, "the cat" + " " * 20_000 + "sat", "cat" * 5000, "the " * 20_000]


def test_the_beginning(reader: Reader) -> None:
    tokenizer, texts = reader.engine.tokenizer, long_texts()
    expected = tokenizer.encode(texts, reader.limit)
    assert [row.ids for row in reader.read(texts, "")] == [row.ids for row in expected]
    pairs = [*pairwise(texts), (texts[0], "the cat"), ("the cat", texts[0])]
    expected = tokenizer.encode(pairs, reader.limit)
    assert [row.ids for row in reader.read(pairs, "")] == [row.ids for row in expected]


def test_the_end(reader: Reader) -> None:
    tokenizer, room = reader.engine.tokenizer, reader.limit - reader.engine.tokenizer.special_tokens
    texts = [text for text in long_texts() if len(tokenizer.pieces([text])[0]) > room]
    whole = [tokenizer.assemble(tokenizer.pieces([text])[0].ids[-room:])[0].ids for text in texts]
    assert [row.ids for row in reader.read(texts, "", left=True)] == whole


def test_the_rest_is_not_looked_at(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    tokenise = type(reader.engine).tokenize
    monkeypatch.setattr(
        type(reader.engine),
        "tokenize",
        lambda *a: seen.extend(map(len, a[1])) or tokenise(*a),
    )
    reader.read(["the cat sat " * 20_000], "")
    assert sum(seen) < 5000


def test_who_must_not_be_cut_is_refused(reader: Reader) -> None:
    with pytest.raises(Refused, match=r"text 1 has more than \d+ tokens, but the model reads"):
        reader.read(["the", "the cat sat " * 20_000], "", truncate=False)
