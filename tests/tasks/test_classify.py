"""Classification, zero-shot, next sentence and multiple choice say what transformers' models and pipelines say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.headed import tiny
from tests.tasks.oracle import both, same

from sentvec.errors import HeadNotFound, InvalidInput
from sentvec.tasks.pipeline import TASKS, Task, pipeline

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle

TEXTS = ["the cat sat on the mat", "dogs", "", "unaffable, 你好世界!", "dogs"]
HEAD = "ForSequenceClassification"
NLI = {
    "id2label": {0: "contradiction", 1: "neutral", 2: "ENTAILMENT"},
    "label2id": {"contradiction": 0, "neutral": 1, "ENTAILMENT": 2},
}


@pytest.mark.parametrize(
    "config",
    [
        {"num_labels": 3},
        {"num_labels": 1},
        {"num_labels": 3, "problem_type": "multi_label_classification"},
        {"num_labels": 1, "problem_type": "regression"},
        {"id2label": {0: "bad", 1: "good"}, "problem_type": "single_label_classification"},
    ],
    ids=str,
)
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_classification_equals_transformers(tmp_path: Path, family: str, config: dict[str, Any]) -> None:
    ours, theirs = both(tmp_path, "sentiment-analysis", family, HEAD, **config)
    pair = {"text": "the cat", "text_pair": "dogs"}
    assert same(ours(TEXTS), theirs(TEXTS))
    assert same(ours(TEXTS[0]), theirs(TEXTS[0]))
    assert same(ours(TEXTS, top_k=None), theirs(TEXTS, top_k=None))
    assert same(ours(TEXTS[0], top_k=2), theirs(TEXTS[0], top_k=2))
    assert same(ours([pair]), theirs([pair]))
    assert same(ours(pair), theirs(pair))
    assert ours([("the cat", "dogs")]) == ours([pair])
    for function in ("sigmoid", "softmax", "none"):
        assert same(ours(TEXTS, function_to_apply=function), theirs(TEXTS, function_to_apply=function))
    assert ours([]) == []


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("labels", [["cat", "dog", "mat"], "cat, dog", ["cat"]], ids=str)
def test_zero_shot_equals_transformers(tmp_path: Path, labels: Any, multi_label: bool) -> None:
    ours, theirs = both(tmp_path, "zero-shot-classification", "bert", HEAD, **NLI)
    texts = [text for text in TEXTS if text]
    options = {"candidate_labels": labels, "multi_label": multi_label}
    assert same(ours(texts, **options), theirs(texts, **options))
    options["hypothesis_template"] = "the {} sat"
    assert same(ours(texts[0], **options), theirs(texts[0], **options))


def test_zero_shot_with_entailment_first(tmp_path: Path) -> None:
    config = {"id2label": {0: "entailment", 1: "not_entailment"}, "label2id": {"entailment": 0, "not_entailment": 1}}
    ours, theirs = both(tmp_path, "zero-shot-classification", "bert", HEAD, **config)
    options = {"candidate_labels": ["cat", "dog"], "multi_label": True}
    assert same(ours("the cat", **options), theirs("the cat", **options))


def test_zero_shot_needs_entailment(tmp_path: Path) -> None:
    tiny(tmp_path, "bert", HEAD, num_labels=2)
    with pytest.raises(HeadNotFound, match="classifies texts as LABEL_0, LABEL_1; .* begins with 'entail'"):
        pipeline("zero-shot-classification", tmp_path, device="cpu")


def test_next_sentence_is_the_models_softmax(tmp_path: Path) -> None:
    model = tiny(tmp_path, "bert", "ForNextSentencePrediction")
    ours = pipeline("next-sentence", tmp_path, device="cpu")
    pairs = [("the cat sat", "on the mat"), ("dogs", "cat"), ("cat", "dogs"), ("a", "b"), ("mat", "the unaffable cat")]
    found = ours(pairs)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for pair, one in zip(pairs, found, strict=True):
        with torch.no_grad():
            shares = model(**tokenizer(*pair, return_tensors="pt")).logits[0].softmax(-1)
        assert one["label"] == ("is_next", "not_next")[int(shares.argmax())]
        assert one["score"] == pytest.approx(float(shares.max()), abs=1e-5)
    assert same(ours(pairs[0]), found[0])
    with pytest.raises(InvalidInput, match="text 0 is one text; next-sentence needs a pair"):
        ours("the cat")


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_multiple_choice_is_the_models_softmax(tmp_path: Path, family: str) -> None:
    model = tiny(tmp_path, family, "ForMultipleChoice")
    ours = pipeline("multiple-choice", tmp_path, device="cpu")
    choices = ["on the mat", "dogs", "unaffable"]
    found = ours([{"prompt": "the cat sat", "choices": choices}, ("dogs", choices[:2])])
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for prompt, some, answer in zip(["the cat sat", "dogs"], [choices, choices[:2]], found, strict=True):
        inputs = tokenizer([prompt] * len(some), some, return_tensors="pt", padding=True)
        with torch.no_grad():
            shares = model(**{key: value[None] for key, value in inputs.items()}).logits[0].softmax(-1).numpy()
        order = np.argsort(-shares)
        assert [(one["label"], one["index"]) for one in answer] == [(some[i], i) for i in order]
        assert [one["score"] for one in answer] == pytest.approx(shares[order].tolist(), abs=1e-5)
    assert same(ours({"prompt": "dogs", "choices": choices[:2]}), found[1])


@pytest.fixture
def classifier(tmp_path: Path) -> Task:
    tiny(tmp_path, "bert", HEAD, **NLI)
    return pipeline("text-classification", tmp_path, device="cpu")


def test_too_long_is_refused_or_cut_and_told(
    tmp_path: Path, classifier: Task, caplog: pytest.LogCaptureFixture
) -> None:
    long = "the cat " * 40
    with pytest.raises(InvalidInput, match=r"text 1 has 82 tokens, but the model reads 64.*pass truncate=True"):
        classifier(["dogs", long])
    assert not caplog.records
    cutting = pipeline("text-classification", tmp_path, device="cpu", truncate=True)
    assert same(cutting([long]), cutting(["the cat " * 31]))
    assert "1 of 1 texts were longer than 64 tokens" in caplog.text


def test_too_long_beside_a_partner_is_named_by_its_own_number(tmp_path: Path) -> None:
    tiny(tmp_path / "nli", "bert", HEAD, **NLI)
    with pytest.raises(InvalidInput, match="text 1 has 9. tokens"):
        pipeline("zero-shot-classification", tmp_path / "nli", device="cpu")(
            ["dogs", "the cat " * 40], ["cat", "dog", "mat"]
        )
    tiny(tmp_path / "choice", "bert", "ForMultipleChoice")
    with pytest.raises(InvalidInput, match="text 1 has 84 tokens"):
        pipeline("multiple-choice", tmp_path / "choice", device="cpu")(
            [("dogs", ["a", "b"]), ("cat", ["a", "the cat " * 40, "b"])]
        )


@pytest.mark.parametrize(
    ("texts", "options", "said"),
    [
        (None, {}, "the input is NoneType"),
        ([None], {}, "text 0 is NoneType"),
        ([("a", "b", "c")], {}, "text 0 is tuple"),
        ([{"txt": "a"}], {}, "text 0 is a dict of txt"),
        (["a"], {"top_k": 0}, "top_k is 0"),
        (["a"], {"function_to_apply": "tanh"}, "function_to_apply 'tanh' is not known. Known: sigmoid, softmax, none"),
    ],
)
def test_what_is_refused(classifier: Task, texts: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        classifier(texts, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"candidate_labels": []}, "candidate_labels has no label"),
        ({"candidate_labels": ", "}, "candidate_labels has no label"),
        ({"candidate_labels": None}, "labels are NoneType .* give a list of str"),
        ({"candidate_labels": ["a", 5]}, "label 1 is int"),
        ({"candidate_labels": "a, b, a"}, "label 'a' stands twice"),
        *(
            ({"candidate_labels": ["a"], "hypothesis_template": template}, "should be a sentence with one {}")
            for template in ("it is so", "{} {}", "{", "{x}", "{1}", "{0.__class__}", "{:>1000000}", "{{}}", "{!r}", 5)
        ),
    ],
    ids=str,
)
def test_zero_shot_refuses(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    tiny(tmp_path, "bert", HEAD, **NLI)
    with pytest.raises(InvalidInput, match=said):
        pipeline("zero-shot-classification", tmp_path, device="cpu")("a", **options)


@pytest.mark.parametrize("multi_label", [False, True])
def test_zero_shot_of_nothing_is_nothing(tmp_path: Path, multi_label: bool) -> None:
    tiny(tmp_path, "bert", HEAD, **NLI)
    ours = pipeline("zero-shot-classification", tmp_path, device="cpu")
    assert ours([], ["a", "b"], multi_label=multi_label) == []
    braces = ours("the cat", ["a", "b"], hypothesis_template="{{ {} }}", multi_label=multi_label)
    assert braces == ours("the cat", ["a", "b"], hypothesis_template="{{ {0} }}", multi_label=multi_label)


def test_a_task_asked_of_another_head_names_the_head(tmp_path: Path) -> None:
    tiny(tmp_path, "bert", "ForMaskedLM")
    for task, kind in TASKS.items():
        if kind.head not in ("masked-lm", None):
            with pytest.raises(HeadNotFound, match=r"BertForMaskedLM.*It can do fill-mask"):
                pipeline(task, tmp_path)
    for odd in ("sing", None, []):
        with pytest.raises(InvalidInput, match=r"task .* is not known. Known: .*ner"):
            pipeline(odd, tmp_path)  # type: ignore[arg-type]


def test_one_forward_serves_many_texts(classifier: Task) -> None:
    """Nothing runs text by text: a thousand short texts are a few calls of the encoder."""
    calls = []
    encoder = classifier.model.encoder  # type: ignore[attr-defined]
    handle = encoder.register_forward_hook(lambda *_: calls.append(1))
    classifier([f"the cat {i}" for i in range(1000)])
    handle.remove()
    assert len(calls) <= 20
