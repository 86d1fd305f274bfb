"""`sentvec run`: tasks from a shell, over arguments, files and standard input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import add_modules, tiny_bert
from tests.cli.running import Run, inside
from tests.headed import tiny
from tests.tasks.oracle import same

from sentvec.tasks.pipeline import pipeline

pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle

ENDINGS = {
    "fill-mask": "ForMaskedLM",
    "text-classification": "ForSequenceClassification",
    "zero-shot-classification": "ForSequenceClassification",
    "ner": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "multiple-choice": "ForMultipleChoice",
    "next-sentence": "ForNextSentencePrediction",
}
NLI = {"id2label": {0: "contradiction", 1: "entailment"}, "label2id": {"contradiction": 0, "entailment": 1}}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return inside(monkeypatch, capsys)


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize(
    ("task", "texts", "arguments", "inputs", "options"),
    [
        ("fill-mask", ["the [MASK]"], ["--top-k", 2], ["the [MASK]"], {"top_k": 2}),
        ("fill-mask", ["a [MASK]"], ["--target", "cat", "--target", "dog"], ["a [MASK]"], {"targets": ["cat", "dog"]}),
        ("text-classification", ["a", "dogs"], [], ["a", "dogs"], {}),
        ("text-classification", ["a"], ["--pair", "b", "--top-k", 2], [("a", "b")], {"top_k": 2}),
        (
            "zero-shot-classification",
            ["the cat", "dogs"],
            ["--label", "cat", "--label", "dog", "--template", "a {}", "--multi-label"],
            ["the cat", "dogs"],
            {"candidate_labels": ["cat", "dog"], "hypothesis_template": "a {}", "multi_label": True},
        ),
        (
            "ner",
            ["the cat"],
            ["--aggregation", "simple", "--stride", 0],
            ["the cat"],
            {"aggregation_strategy": "simple"},
        ),
        (
            "question-answering",
            ["the cat?"],
            ["--pair", "the cat sat", "--no-answer", "--stride", 3, "--top-k", 2],
            [("the cat?", "the cat sat")],
            {"handle_impossible_answer": True, "doc_stride": 3, "top_k": 2},
        ),
        ("next-sentence", ["the cat"], ["--pair", "sat"], [("the cat", "sat")], {}),
        (
            "multiple-choice",
            ["cat"],
            ["--choice", "a", "--choice", "b"],
            [{"prompt": "cat", "choices": ["a", "b"]}],
            {},
        ),
    ],
)
def test_each_task_prints_what_its_pipeline_finds(
    tmp_path: Path, run: Run, task: str, texts: list[str], arguments: list[Any], inputs: list[Any], options: Any
) -> None:
    tiny(tmp_path, "bert", ENDINGS[task], **NLI)
    ended = run("run", task, *texts, "-m", tmp_path, "--device", "cpu", *arguments)
    assert (ended.code, ended.err) == (0, ended.err)
    found = lines(ended.out)
    assert [one["text"] for one in found] == texts
    assert same([one["result"] for one in found], pipeline(task, tmp_path, device="cpu")(inputs, **options))


def test_tasks_of_encoders(tmp_path: Path, run: Run) -> None:
    add_modules(tiny_bert(tmp_path), "Pooling")
    ended = run("run", "text-similarity", "cat", "-m", tmp_path, "--pair", "cat")
    (line,) = lines(ended.out)
    assert line == {"text": "cat", "pair": "cat", "result": {"score": pytest.approx(1, abs=1e-6)}}
    (line,) = lines(run("run", "feature-extraction", "cat", "-m", tmp_path).out)
    assert [len(line["result"]), len(line["result"][0]), len(line["result"][0][0])] == [1, 3, 32]


def test_files_and_standard_input(tmp_path: Path, run: Run) -> None:
    tiny(tmp_path / "m", "bert", "ForSequenceClassification")
    model = ("-m", tmp_path / "m", "--device", "cpu")
    expected = lines(run("run", "text-classification", "the cat", "dogs", *model).out)
    assert lines(run("run", "text-classification", *model, stdin=b"the cat\ndogs\n").out) == expected
    assert lines(run("run", "text-classification", "-", *model, stdin=b"the cat\ndogs\n").out) == expected
    (tmp_path / "texts.csv").write_text("id,body\n1,the cat\n2,dogs\n", encoding="utf-8")
    assert (
        lines(run("run", "text-classification", "-f", tmp_path / "texts.csv", "--field", "body", *model).out)
        == expected
    )
    rows = [{"text": "the cat", "to": "sat"}, {"text": "dogs", "to": "mat"}]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = lines(run("run", "text-classification", "-f", tmp_path / "pairs.jsonl", "--pair-field", "to", *model).out)
    assert [(one["text"], one["pair"]) for one in found] == [("the cat", "sat"), ("dogs", "mat")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fill-mask", "a"], "name a model with --model"),
        (["sing", "a", "-m", "m"], "task 'sing' is not known"),
        (
            ["fill-mask", "a", "-m", "m", "--aggregation", "max"],
            "--aggregation is for token-classification, ner, not for",
        ),
        (["ner", "a", "-m", "m", "--top-k", 0], "--top-k is for fill-mask"),
        (["zero-shot-classification", "a", "-m", "m"], "needs --label"),
        (["multiple-choice", "a", "-m", "m"], "needs --choice"),
        (["next-sentence", "a", "-m", "m"], "takes two texts; give the second one with --pair"),
        (["ner", "a", "-m", "m", "--pair", "b"], "--pair is for"),
        (["ner", "a", "-m", "m", "-f", "b"], "give texts, or --file, not both"),
        (["text-classification", "a", "-m", "m", "--pair-field", "b"], "--pair-field names a field of --file"),
        (["text-classification", "-m", "m", "-f", "b", "--pair", "a", "--pair-field", "b"], "not both"),
    ],
)
def test_what_is_refused(run: Run, arguments: list[Any], said: str) -> None:
    ended = run("run", *arguments)
    assert ended.code == 1
    assert said in ended.err
    assert ended.out == ""


def test_what_is_too_long_is_refused_or_cut(tmp_path: Path, run: Run) -> None:
    tiny(tmp_path, "bert", "ForSequenceClassification")
    long = "the cat " * 40
    ended = run("run", "text-classification", long, "-m", tmp_path)
    assert ended.code == 1
    assert "text 0 has 82 tokens, but the model reads 64" in ended.err
    assert run("run", "text-classification", long, "-m", tmp_path, "--truncate").code == 0


def test_the_head_that_is_there_is_named(tmp_path: Path, run: Run) -> None:
    tiny(tmp_path, "bert", "ForMaskedLM")
    ended = run("run", "ner", "a", "-m", tmp_path)
    assert ended.code == 1
    assert f"{tmp_path} has no head for ner: config.json says BertForMaskedLM" in ended.err
    assert "It can do fill-mask." in ended.err


def test_the_words_are_those_that_were_given(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_bert(tmp_path / "plain")
    monkeypatch.chdir(tmp_path)
    ended = run("run", "fill-mask", "a", "-m", "plain")
    assert ended.code == 1
    assert ended.err.startswith("error: plain has no head for fill-mask: ") and str(tmp_path) not in ended.err
    assert "masked-lm" not in ended.err
    assert "Give a model that was trained for fill-mask; this one can do feature-extraction and text-sim" in ended.err
