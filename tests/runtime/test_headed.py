"""A model with heads gives rows for texts and for tokens, in order, whatever windows and batches they went through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.headed import tiny

from sentvec.errors import InvalidInput, ModelError
from sentvec.runtime import engine, headed
from sentvec.runtime.headed import HeadedModel

pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle

TEXTS = [f"the cat {'sat on ' * (i % 7)}mat {i}" for i in range(40)]


def read(folder: Path, **options: object) -> HeadedModel:
    return HeadedModel.from_pretrained(folder, device="cpu", **options)  # type: ignore[arg-type]


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (engine, headed):
        monkeypatch.setattr(module, "WINDOW", 8)


def test_rows_of_texts_come_in_order_across_windows(tmp_path: Path, small_windows: None) -> None:
    tiny(tmp_path, "bert", "ForSequenceClassification")
    model = read(tmp_path)
    together = model.text_logits(TEXTS)
    alone = np.concatenate([model.text_logits([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=2e-5)
    assert model.text_logits([]).shape == (0, 2)
    np.testing.assert_allclose(model.text_logits(TEXTS, then=torch.sigmoid), 1 / (1 + np.exp(-together)), atol=1e-6)


def test_rows_of_tokens_come_in_order_across_windows(tmp_path: Path, small_windows: None) -> None:
    tiny(tmp_path, "bert", "ForTokenClassification")
    model = read(tmp_path)
    rows = model.engine.tokenize(TEXTS)

    def places(states: torch.Tensor, batch: object) -> torch.Tensor:
        return batch.positions[:, None].float()  # type: ignore[attr-defined]

    found = model.token_values(rows, 1, places)
    assert [part[:, 0].tolist() for part in found] == [list(range(len(row))) for row in rows]


def test_rows_of_chosen_tokens_go_to_the_texts_that_hold_them(tmp_path: Path, small_windows: None) -> None:
    tiny(tmp_path, "bert", "ForMaskedLM")
    model = read(tmp_path)
    texts = [" ".join(["[MASK]"] * (i % 3) + ["cat"] * (i % 5)) for i in range(40)]
    mask = model.special_id("mask_token")
    assert mask is not None
    rows = model.engine.tokenize(texts)
    found = model.token_values(
        rows, 1, lambda _, batch: batch.positions[batch.ids == mask][:, None].float(), chosen=mask
    )
    expected = [[place for place, i in enumerate(row.ids) if i == mask] for row in rows]
    assert [part[:, 0].tolist() for part in found] == expected
    assert {len(part) for part in expected} == {0, 1, 2}


def test_a_head_for_tokens_has_no_row_for_a_text(tmp_path: Path) -> None:
    tiny(tmp_path, "bert", "ForTokenClassification")
    with pytest.raises(InvalidInput, match="the head for token-classification gives logits for tokens, not for texts"):
        read(tmp_path).text_logits(["a"])


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_saving_rounds_nothing(tmp_path: Path, precision: str) -> None:
    changes = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 96}
    tiny(tmp_path / "a", "bert", "ForSequenceClassification", **changes)
    read(tmp_path / "a", precision=precision).save_pretrained(tmp_path / "b")
    given, written = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert given.keys() == written.keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in given.items())


def test_changed_heads_are_saved_and_a_changed_folder_is_refused(tmp_path: Path) -> None:
    tiny(tmp_path / "a", "bert", "ForSequenceClassification")
    model = read(tmp_path / "a", precision="bfloat16")
    with torch.no_grad():
        model.head.out.weight.mul_(2)
    model.save_pretrained(tmp_path / "b")
    given, written = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert torch.equal(written["classifier.weight"], 2 * given["classifier.weight"])
    tiny(tmp_path / "a", "bert", "ForSequenceClassification", seed=1)
    with pytest.raises(ModelError, match="does not hold the weights that this model was loaded with"):
        model.save_pretrained(tmp_path / "b")


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    tiny(tmp_path / "a", "bert", "ForSequenceClassification")
    (tmp_path / "b").write_text("in the way")
    with pytest.raises(InvalidInput, match="is a file; give a folder to save to"):
        read(tmp_path / "a").save_pretrained(tmp_path / "b")


def test_letters_are_lowered_one_by_one_so_that_places_stay(tmp_path: Path) -> None:
    tiny(tmp_path, "bert", "ForTokenClassification")
    (tmp_path / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    (pieces,) = read(tmp_path).cut(["THE İ CAT"])
    assert pieces.spans[0] == (0, 3)
    assert pieces.spans[-1] == (6, 9)
