"""What a task costs: what multiplies a short request is seen, and what does not is not made dearer."""

from __future__ import annotations

import pytest

from sentvec.serve.costs import of_task, tokens

TEXT = "a text of words " * 500  # about 2,000 tokens
ASKED = {"question": "who sat on the mat?", "context": TEXT}


def test_what_is_usual_costs_about_its_tokens() -> None:
    for task, given, options in (
        ("token-classification", TEXT, {}),
        ("question-answering", ASKED, {}),
        ("fill-mask", TEXT, {}),
        ("text-classification", TEXT, {"top_k": None}),
    ):
        assert tokens(TEXT) <= of_task(task, given, options, 512) < 2 * tokens(TEXT), task
    assert of_task("token-classification", "the cat", {"stride": 100}, 512) < 10


@pytest.mark.parametrize(
    ("task", "given", "options", "times"),
    [
        ("zero-shot-classification", "the cat sat", {"candidate_labels": ["a"] * 1000}, 1000),
        ("token-classification", TEXT, {"stride": 508}, 400),
        ("question-answering", ASKED, {"doc_stride": 500}, 100),
        ("question-answering", ASKED | {"question": "word " * 400}, {}, 30),
        ("question-answering", ASKED, {"top_k": 10**9, "max_answer_len": 10**9}, 10),
        ("fill-mask", "the [MASK] " * 30, {"top_k": 30_000}, 100),
        ("fill-mask", "[MASK]", {"targets": ["cat"] * 1000}, 500),
        ("multiple-choice", {"prompt": "the cat sat", "choices": ["a"] * 1000}, {}, 500),
    ],
)
def test_what_multiplies_is_seen(task: str, given: object, options: dict, times: int) -> None:
    assert of_task(task, given, options, 512) > times * tokens("the cat sat")


def test_what_cannot_be_done_costs_little() -> None:
    assert of_task("token-classification", TEXT, {"stride": 10**9}, 512) < 2 * tokens(TEXT)
