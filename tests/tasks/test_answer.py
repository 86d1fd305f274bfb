"""Answers are those that the documented rule finds in transformers' own logits, window by window."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.headed import tiny
from tests.tasks.oracle import same

from sentvec.errors import InvalidInput
from sentvec.tasks.pipeline import pipeline

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle

HEAD = "ForQuestionAnswering"
CONTEXT = "the unaffable cat sat on the mat, dogs sitting. 你好世界 猫"
ASKED = [("the cat?", CONTEXT), ("dogs", CONTEXT * 8), ("猫", "cat"), ("the cat?", CONTEXT * 3)]


def by_hand(folder: Path, model: Any, question: str, context: str, **options: Any) -> list[dict[str, Any]]:
    """Follow the rule with loops, on the reference's windows and logits."""
    longest, stride = options.get("max_answer_len", 15), options["doc_stride"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(
        question, context, truncation="only_second", max_length=64, stride=stride, return_overflowing_tokens=True,
        return_offsets_mapping=True, return_tensors="pt", padding=True,
    )  # fmt: skip
    whole = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)
    words = dict(zip(whole["offset_mapping"], whole.word_ids(0), strict=True))
    bounds: dict[int, tuple[int, int]] = {}
    for (start, end), word in words.items():
        low, high = bounds.get(word, (start, end))
        bounds[word] = (min(low, start), max(high, end))
    best: dict[tuple[int, int], float] = {}
    null = 1.0
    for window in range(len(inputs["input_ids"])):
        named = {"input_ids", "attention_mask", "token_type_ids"} & inputs.keys()
        with torch.no_grad():
            out = model(**{name: inputs[name][window : window + 1] for name in named})
        inside = [i for i, source in enumerate(inputs.sequence_ids(window)) if source == 1]
        spans = inputs["offset_mapping"][window].tolist()
        start, end = (one[0, [0, *inside]].double().softmax(0).tolist() for one in (out.start_logits, out.end_logits))
        null = min(null, start[0] * end[0])
        for i in range(len(inside)):
            for j in range(i, min(i + longest, len(inside))):
                first, last = tuple(spans[inside[i]]), tuple(spans[inside[j]])
                if options.get("align_to_words", True):
                    first, last = bounds[words[first]], bounds[words[last]]
                where = (first[0], last[1])
                best[where] = max(best.get(where, 0), start[i + 1] * end[j + 1])
    found = [{"score": s, "start": a, "end": b, "answer": context[a:b]} for (a, b), s in best.items()]
    if options.get("handle_impossible_answer"):
        found.append({"score": null, "start": 0, "end": 0, "answer": ""})
    return sorted(found, key=lambda one: -one["score"])[: options.get("top_k", 1)]


@pytest.mark.parametrize(
    "options",
    [{}, {"top_k": 9}, {"top_k": 5, "handle_impossible_answer": True}, {"top_k": 4, "max_answer_len": 2},
     {"top_k": 7, "align_to_words": False}, {"top_k": 3, "doc_stride": 0}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_answers_follow_the_rule(tmp_path: Path, family: str, options: dict[str, Any]) -> None:
    model = tiny(tmp_path, family, HEAD)
    given = {"doc_stride": 16} | options
    ours = pipeline("question-answering", tmp_path, device="cpu")
    asked = ASKED if family == "bert" else [(q, c[:40]) for q, c in ASKED] + [("the", "the cat sat on the mat " * 6)]
    found = ours([{"question": question, "context": context} for question, context in asked], **given)
    for (question, context), answers in zip(asked, found, strict=True):
        listed = answers if isinstance(answers, list) else [answers]
        expected = by_hand(tmp_path, model, question, context, **given)
        assert [one["score"] for one in listed] == pytest.approx([one["score"] for one in expected], abs=1e-5)
        gaps = [a["score"] - b["score"] for a, b in pairwise(expected)]
        if min(gaps, default=1) > 1e-6:  # else rounding decides which comes first
            assert same(listed, expected)
        assert all(context[one["start"] : one["end"]] == one["answer"] for one in listed)


def test_all_spans_of_all_windows_follow_the_rule(tmp_path: Path) -> None:
    """Also those that several windows hold, and "no answer" over several windows."""
    model = tiny(tmp_path, "bert", HEAD)
    given = {"doc_stride": 30, "top_k": 10**6, "handle_impossible_answer": True, "max_answer_len": 4}
    found = pipeline("question-answering", tmp_path, device="cpu")([ASKED[1]], **given)[0]
    expected = by_hand(tmp_path, model, *ASKED[1], **given)
    scores = {(one["start"], one["end"]): one["score"] for one in found}
    assert len(scores) == len(found) == len(expected)
    assert scores == pytest.approx({(one["start"], one["end"]): one["score"] for one in expected}, rel=1e-3, abs=1e-9)
    assert scores[0, 0] > 0  # no answer


def test_both_ways_to_ask(tmp_path: Path) -> None:
    tiny(tmp_path, "bert", HEAD)
    ours = pipeline("question-answering", tmp_path, device="cpu")
    alone = ours(question="the cat?", context=CONTEXT)
    assert same(alone, ours(("the cat?", CONTEXT)))
    assert same([alone], ours([{"question": "the cat?", "context": CONTEXT}]))
    assert ours([]) == []


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        (None, {"question": "a"}, "give question and context"),
        (None, {}, "give question and context"),
        ([{"question": "a"}], {}, "question 0 is"),
        ([("a", "b"), "c"], {}, "question 1 is 'c'"),
        ([("a", "")], {}, "the context of question 0 is empty"),
        ([("the cat " * 40, "a")], {}, "question 0 has 80 tokens, which leaves no room"),
        ([("a", "b")], {"top_k": 0}, "top_k is 0"),
        ([("a", "b")], {"max_answer_len": 0}, "max_answer_len is 0"),
        ([("a", "the cat " * 40)], {"doc_stride": 60}, "cannot overlap by 60"),
    ],
)
def test_what_is_refused(tmp_path: Path, inputs: Any, options: dict[str, Any], said: str) -> None:
    tiny(tmp_path, "bert", HEAD)
    with pytest.raises(InvalidInput, match=said):
        pipeline("question-answering", tmp_path, device="cpu")(inputs, **options)
