"""ERNIE gives transformers' numbers, with embeddings of tasks and without."""

from __future__ import annotations

import pytest
import torch
from tests.builders import PIECES, write_vocab
from tests.models.oracle import assert_embeds_alike, assert_fast_is_near, assert_parity, saved_and_loaded, seeded

from sentvec.errors import ConfigError, WeightsError
from sentvec.models.registry import architecture

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle


def ernie(kind: str = "ErnieModel", **changes):
    numbers = {"vocab_size": len(PIECES), "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    numbers |= {"intermediate_size": 96, "type_vocab_size": 4, "use_task_id": True}
    config = transformers.ErnieConfig(**(numbers | changes), attn_implementation="eager")
    return seeded(getattr(transformers, kind)(config))


def test_published_widths_equal_transformers(tmp_path):
    changes = {"hidden_size": 768, "num_hidden_layers": 4, "num_attention_heads": 12, "intermediate_size": 3072}
    assert_parity(ernie(**changes, hidden_act="relu", max_position_embeddings=2048), tmp_path, types=4)


@pytest.mark.parametrize(
    "changes",
    [
        {"use_task_id": False},
        {"task_type_vocab_size": 16},
        {"type_vocab_size": 2},
        {"type_vocab_size": 1},
        {"layer_norm_eps": 0.1},
        {"hidden_act": "relu"},
    ],
)
def test_variants_equal_transformers(tmp_path, changes):
    assert_parity(ernie(**changes), tmp_path, types=changes.get("type_vocab_size", 4))


def test_the_table_of_tasks_is_added(tmp_path):
    with_tasks = saved_and_loaded(ernie(), tmp_path)
    assert with_tasks.embeddings.task_table.weight.shape == (3, 64)
    assert with_tasks.embeddings.task_table.weight[0].abs().max() > 0.1


@pytest.mark.parametrize("kind", ["PreTraining", "MaskedLM", "SequenceClassification"])
def test_heads_are_left_out(tmp_path, kind):
    whole = ernie(f"ErnieFor{kind}")
    found = saved_and_loaded(whole, tmp_path).state_dict()["embeddings.task_table.weight"]
    assert torch.equal(found, whole.ernie.embeddings.task_type_embeddings.weight)


def test_vectors_of_texts_and_pairs_equal_the_reference(tmp_path):
    ernie().save_pretrained(tmp_path / "a")
    write_vocab(tmp_path / "a")
    assert_embeds_alike(tmp_path / "a", tmp_path / "b")


@pytest.mark.data
def test_vectors_with_a_chinese_vocabulary_equal_the_reference(tmp_path, shared_data):
    vocab = (shared_data / "tokenizers/bert-base-chinese/vocab.txt").read_text(encoding="utf-8").splitlines()
    ernie(vocab_size=len(vocab)).save_pretrained(tmp_path / "a")
    write_vocab(tmp_path / "a", vocab)
    assert_embeds_alike(tmp_path / "a", tmp_path / "b")


def test_every_precision_is_near(tmp_path):
    ernie().save_pretrained(tmp_path)
    write_vocab(tmp_path)
    assert_fast_is_near(tmp_path)


def test_a_table_that_config_json_denies_is_not_left_out_in_silence(tmp_path):
    reference = ernie()
    reference.config.use_task_id = False
    with pytest.raises(WeightsError, match=r"Unexpected \(1\): embeddings\.task_type_embeddings\.weight"):
        saved_and_loaded(reference, tmp_path)


@pytest.mark.parametrize(("key", "value"), [("use_task_id", "yes"), ("task_type_vocab_size", 0), ("is_decoder", True)])
def test_what_is_not_computed_is_refused_by_its_key(key, value):
    with pytest.raises(ConfigError, match=key):
        architecture("ernie").read(ernie().config.to_dict() | {key: value})
