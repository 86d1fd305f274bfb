"""Every family's heads give transformers' numbers, from folders that it wrote, and it reads what we write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.builders import tiny_bert, write_json
from tests.headed import tiny

from sentvec.batch import TokenIds, pack
from sentvec.checkpoint.headed import Headed, load_headed, save_headed
from sentvec.errors import ConfigError, HeadNotFound, WeightsError
from sentvec.models.registry import ARCHITECTURES

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle

TEXTS = [("the cat sat", "on mat"), "dogs", ("a", ""), ("dog cat dog cat dog cat", "the mat, the cat")]
EVERY = [(family, task) for family in ARCHITECTURES for task in ARCHITECTURES[family].tasks.rows]
# the reference's own rounding: its float32 is 1.01e-5 from its float64 here, where ours is 0.97e-5
BOUNDS = {("xlnet", "masked-lm"): 2.5e-5}


def ours(headed: Headed, texts: list[TokenIds]) -> dict[str, list[torch.Tensor]]:
    """Return each head's logits for each text."""
    batch = pack(texts)
    with torch.inference_mode():
        states = headed.checkpoint.encoder(batch)
        found = {}
        for name, head in headed.heads.items():
            logits = head(states, batch, headed.checkpoint.encoder)
            assert logits.dtype == torch.float32
            found[name] = list(logits.split(list(batch.lengths) if head.readout == "tokens" else 1))
    return found


def theirs(model: Any, family: str, task: str, ids: TokenIds, types: int) -> list[torch.Tensor]:
    """Return the logits of each of the model's heads for one text, where the encoder knows so many token types."""
    inputs = {"input_ids": torch.tensor([ids.ids])}
    if types:
        inputs["token_type_ids"] = torch.tensor([[0] * len(ids) if types == 1 else ids.types])
    if task == "multiple-choice":
        inputs = {key: value[None] for key, value in inputs.items()}
    with torch.inference_mode():
        out = model(**inputs)
    if task == "question-answering":
        return [torch.stack([out.start_logits[0], out.end_logits[0]], dim=-1)]
    if task == "pre-training" and family == "electra":
        return [out.logits[0][:, None]]
    if task == "pre-training":
        return [out[0][0], out[1]]
    return [out.logits[0] if out.logits.ndim == 3 else out.logits]


def worst(headed: Headed, model: Any, family: str) -> float:
    texts = headed.checkpoint.tokenizer.encode(TEXTS)
    gaps = []
    for name, rows in zip(headed.heads, ours(headed, texts).values(), strict=True):
        at = list(headed.heads).index(name)
        for ids, row in zip(texts, rows, strict=True):
            expected = theirs(model, family, headed.task, ids, headed.checkpoint.encoder.config.types)[at]
            assert row.shape == expected.shape
            gaps.append(float((row - expected).abs().max()))
    return max(gaps)


@pytest.mark.parametrize(("family", "task"), EVERY)
def test_logits_equal_transformers_and_the_way_back(tmp_path: Path, family: str, task: str) -> None:
    suffix = ARCHITECTURES[family].tasks.rows[task].suffix
    model = tiny(tmp_path / "theirs", family, suffix)
    headed = load_headed(tmp_path / "theirs")
    assert headed.task == task
    bound = BOUNDS.get((family, task), 1e-5)
    assert worst(headed, model, family) < bound

    save_headed(tmp_path / "ours", headed)
    kind = type(model)
    again, told = kind.from_pretrained(tmp_path / "ours", output_loading_info=True, attn_implementation="eager")
    assert not any(told.values()), told
    expected = model.state_dict()
    assert again.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.state_dict().items())
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["architectures"] == [kind.__name__]
    assert worst(load_headed(tmp_path / "ours"), model, family) < bound


@pytest.mark.parametrize("problem", ["regression", "single_label_classification", "multi_label_classification", None])
def test_labels_and_problem_type_are_read_and_written(tmp_path: Path, problem: str | None) -> None:
    names = ["warm"] if problem == "regression" else ["cold", "mild", "hot"]
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    model = tiny(tmp_path / "theirs", "bert", "ForSequenceClassification", problem_type=problem, **labels)
    headed = load_headed(tmp_path / "theirs")
    assert (headed.labels, headed.problem_type) == (tuple(names), problem)
    assert headed.heads["sequence-classification"].out_features == len(names)
    assert worst(headed, model, "bert") < 1e-5
    save_headed(tmp_path / "ours", headed)
    again = transformers.AutoConfig.from_pretrained(tmp_path / "ours")
    assert (list(again.id2label.values()), again.label2id) == (names, labels["label2id"])
    assert again.problem_type == problem


@pytest.mark.parametrize(
    ("family", "suffix", "settings"),
    [
        ("modernbert", "ForMaskedLM", {"decoder_bias": False, "classifier_bias": True, "norm_bias": True}),
        ("modernbert", "ForSequenceClassification", {"classifier_pooling": "mean", "classifier_activation": "silu"}),
        ("modernbert", "ForSequenceClassification", {"classifier_pooling": "cls"}),
        ("electra", "ForMultipleChoice", {"summary_type": "mean", "summary_activation": "tanh"}),
        ("xlnet", "ForSequenceClassification", {"summary_type": "first", "summary_activation": "relu"}),
        ("xlnet", "ForSequenceClassification", {"summary_activation": ""}),
        ("electra", "ForMultipleChoice", {"summary_activation": ""}),
        ("bert", "ForMaskedLM", {"hidden_act": "relu", "layer_norm_eps": 0.1}),
        ("roberta", "ForMaskedLM", {"hidden_act": "relu"}),
        ("distilbert", "ForMaskedLM", {"activation": "relu"}),
        ("bert", "ForMaskedLM", {"tie_word_embeddings": False}),
        ("roberta", "ForMaskedLM", {"tie_word_embeddings": False}),
    ],
)
def test_what_config_json_says_of_a_head_is_done(
    tmp_path: Path, family: str, suffix: str, settings: dict[str, Any]
) -> None:
    model = tiny(tmp_path, family, suffix, **settings)
    headed = load_headed(tmp_path)
    assert worst(headed, model, family) < 1e-5
    save_headed(tmp_path / "ours", headed)
    again = type(model).from_pretrained(tmp_path / "ours", attn_implementation="eager")
    assert worst(headed, again, family) < 1e-5


@pytest.mark.parametrize("suffix", ["ForMaskedLM", "ForNextSentencePrediction"])
def test_either_head_of_pre_training_can_be_asked_for_alone(tmp_path: Path, suffix: str) -> None:
    tiny(tmp_path, "bert", "ForPreTraining")
    task = {row.suffix: name for name, row in ARCHITECTURES["bert"].tasks.rows.items()}[suffix]
    headed = load_headed(tmp_path, task)
    assert list(headed.heads) == [task]
    model = getattr(transformers, f"Bert{suffix}").from_pretrained(tmp_path, attn_implementation="eager")
    assert worst(headed, model, "bert") < 1e-5


def test_published_files_keep_tied_weights_twice_and_old_names(tmp_path: Path) -> None:
    """As bert-base-uncased does: gamma and beta, the decoder beside the embeddings, its bias under both names."""
    model = tiny(tmp_path, "bert", "ForPreTraining")
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].clone()
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
           for name, tensor in tensors.items()}  # fmt: skip
    save_file(old, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text()) | {"architectures": ["BertForMaskedLM"]}
    write_json(tmp_path / "config.json", config)
    headed = load_headed(tmp_path)
    assert headed.task == "masked-lm"
    assert headed.heads["masked-lm"].tied
    full = load_headed(tmp_path, "pre-training")  # the weights are there, whatever the name says
    assert worst(full, model, "bert") < 1e-5
    del old["cls.predictions.bias"]  # and the oldest have it with the decoder alone
    save_file(old, tmp_path / "model.safetensors")
    assert worst(load_headed(tmp_path, "pre-training"), model, "bert") < 1e-5


def test_tied_weights_follow_the_encoder(tmp_path: Path) -> None:
    tiny(tmp_path, "bert", "ForMaskedLM")
    headed = load_headed(tmp_path)
    texts = headed.checkpoint.tokenizer.encode(["the cat"])
    before = ours(headed, texts)["masked-lm"][0]
    encoder = headed.checkpoint.encoder
    assert isinstance(encoder, torch.nn.Module)
    with torch.no_grad():
        encoder.get_parameter("embeddings.token_table.weight")[7] += 1  # no token of this text
    after = ours(headed, texts)["masked-lm"][0]
    assert (before - after).abs().amax(dim=0).nonzero().flatten().tolist() == [7]


def test_the_error_names_the_head_that_is_there(tmp_path: Path) -> None:
    tiny(tmp_path, "bert", "ForTokenClassification")
    with pytest.raises(
        HeadNotFound,
        match=r"no head for sequence-classification: .*BertForTokenClassification.*token-classification "
        r"\(ForTokenClassification\)\. Ask for token-classification",
    ):
        load_headed(tmp_path, "sequence-classification")


def test_an_encoder_alone_has_no_head(tmp_path: Path) -> None:
    tiny_bert(tmp_path)
    for task in (None, "masked-lm"):
        with pytest.raises(HeadNotFound, match="the encoder alone. Use it as an Embedder"):
            load_headed(tmp_path, task)
    with pytest.raises(HeadNotFound, match="no task 'sing'. Known: pre-training, masked-lm"):
        load_headed(tmp_path, "sing")


def test_without_architectures_the_weights_tell(tmp_path: Path) -> None:
    def undeclared(folder: Path, suffix: str) -> Path:
        tiny(folder, "bert", suffix)
        config = json.loads((folder / "config.json").read_text())
        del config["architectures"]
        write_json(folder / "config.json", config)
        return folder

    assert load_headed(undeclared(tmp_path / "a", "ForQuestionAnswering")).task == "question-answering"
    several = undeclared(tmp_path / "b", "ForSequenceClassification")
    with pytest.raises(HeadNotFound, match="has several task heads: .* Ask for one of these"):
        load_headed(several)  # the weights of three tasks are called the same
    assert load_headed(several, "sequence-classification").task == "sequence-classification"


def test_all_that_does_not_fit_is_named_at_once(tmp_path: Path) -> None:
    tiny(tmp_path, "bert", "ForSequenceClassification", num_labels=3)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["classifier.bias"]
    save_file(tensors | {"classifier.scale": torch.ones(3)}, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    write_json(tmp_path / "config.json", config | {"id2label": {"0": "no", "1": "yes"}})
    with pytest.raises(WeightsError) as raised:
        load_headed(tmp_path)
    said = str(raised.value)
    assert "Wrong (1): classifier.weight is (3, 32), config.json asks for (2, 32)" in said
    assert "Missing (1): classifier.bias" in said
    assert "Unexpected (1): classifier.scale" in said


def test_a_missing_pooler_is_named(tmp_path: Path) -> None:
    tiny(tmp_path, "bert", "ForSequenceClassification")
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in tensors.items() if "pooler" not in name}, tmp_path / "model.safetensors"
    )
    with pytest.raises(WeightsError, match=r"Missing \(2\): pooler.dense.bias, pooler.dense.weight"):
        load_headed(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, "without gaps"),
        ({"id2label": ["a", "b"]}, "should map numbers to names"),
        ({"id2label": None, "num_labels": 0}, "num_labels in config.json is 0"),
        ({"problem_type": "guessing"}, "problem_type 'guessing' .* Known: regression"),
        ({"sentence_transformers": {"activation_fn": 3}}, "is 3, which should be a class path"),
        (
            {"classifier_dropout": "much"},
            "classifier_dropout in config.json is 'much', which should be a number from 0",
        ),
        ({"classifier_dropout": float("nan")}, "classifier_dropout in config.json is nan"),
    ],
)
def test_what_config_json_cannot_say(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    tiny(tmp_path, "bert", "ForSequenceClassification")
    config = json.loads((tmp_path / "config.json").read_text())
    write_json(tmp_path / "config.json", config | change)
    with pytest.raises(ConfigError, match=said):
        load_headed(tmp_path)
