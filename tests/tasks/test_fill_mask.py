"""Masked places are filled as transformers fills them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.builders import PIECES, write_vocab
from tests.headed import tiny
from tests.tasks.oracle import both, same

from sentvec.errors import InvalidInput, TokenizerError
from sentvec.tasks.pipeline import pipeline

pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("options", [{}, {"top_k": 2}, {"targets": ["cat", "dog", "猫"]}, {"targets": "cat"}], ids=str)
@pytest.mark.parametrize(("family", "mask"), [("bert", "[MASK]"), ("roberta", "<mask>"), ("distilbert", "[MASK]")])
def test_fill_mask_equals_transformers(tmp_path: Path, family: str, mask: str, options: dict[str, Any]) -> None:
    ours, theirs = both(tmp_path, "fill-mask", family, "ForMaskedLM")
    texts = [f"the {mask} sat on the mat", f"{mask} dogs, {mask}!", f"你好 {mask}", f"the {mask} sat on the mat"]
    found = ours(texts, **options)
    assert same(found, theirs(texts, **options))
    assert same(ours(texts[1], **options), found[1])
    assert found[0] == found[3]


def test_several_masks_in_many_texts_find_their_way_back(tmp_path: Path) -> None:
    tiny(tmp_path, "bert", "ForMaskedLM")
    ours = pipeline("fill-mask", tmp_path, device="cpu")
    texts = [" ".join(["[MASK]"] * (1 + i % 4) + ["cat"] * (i % 7)) for i in range(60)]
    for text, found in zip(texts, ours(texts, top_k=3), strict=True):
        assert same(found, ours(text, top_k=3))


def test_long_texts_are_refused_and_cut_ones_need_a_mask(tmp_path: Path) -> None:
    tiny(tmp_path, "bert", "ForMaskedLM")
    ours = pipeline("fill-mask", tmp_path, device="cpu")
    long = "the cat " * 40 + "[MASK]"
    with pytest.raises(InvalidInput, match="text 0 has 83 tokens, but the model reads 64"):
        ours(long)
    with pytest.raises(InvalidInput, match=r"text 0 has no \[MASK\] in the 64 tokens that are left of it"):
        pipeline("fill-mask", tmp_path, device="cpu", truncate=True)(long)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("the cat", {}, r"text 0 has no \[MASK\]\. Put it where"),
        ("[MASK]", {"top_k": 0}, "top_k is 0"),
        ("[MASK]", {"targets": []}, "targets holds no word"),
        ("[MASK]", {"targets": [" "]}, "target ' ' has no token"),
        ("[MASK]", {"targets": 5}, "targets are int"),
        ("[MASK]", {"targets": ["cat", b"dog"]}, "target 1 is bytes"),
        (3, {}, "the input is int"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: Any, options: dict[str, Any], said: str) -> None:
    tiny(tmp_path, "bert", "ForMaskedLM")
    with pytest.raises(InvalidInput, match=said):
        pipeline("fill-mask", tmp_path, device="cpu")(text, **options)


def test_a_tokeniser_without_a_mask(tmp_path: Path) -> None:
    tiny(tmp_path, "bert", "ForMaskedLM")
    write_vocab(tmp_path, [piece if piece != "[MASK]" else "[other]" for piece in PIECES])
    with pytest.raises(TokenizerError, match="has no mask token"):
        pipeline("fill-mask", tmp_path, device="cpu")
