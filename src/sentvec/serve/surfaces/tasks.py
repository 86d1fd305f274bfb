"""Task heads over HTTP, in the words of Hugging Face's inference API: `inputs` and `parameters` in, findings out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from sentvec.serve.http import Call, Reply, Route, reply
from sentvec.serve.schema import Schema, one_of, optional, record
from sentvec.serve.surfaces.tei import worded

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 1}
_LABELS: Schema = {"type": "array", "items": _TEXT, "minItems": 1}
_BOTH = record(("text",), text=_TEXT, text_pair=optional(_TEXT))
_QUESTION = record(("question", "context"), question=_TEXT, context=_TEXT)
_CHOICE = record(("prompt", "choices"), prompt=_TEXT, choices=_LABELS)
_STRATEGY: Schema = {"type": "string", "enum": ["none", "simple", "first", "average", "max"]}
_FUNCTION: Schema = {"type": "string", "enum": ["sigmoid", "softmax", "none"]}
_FLAG: Schema = {"type": "boolean"}

TAKEN: Mapping[str, tuple[Schema, tuple[str, ...], dict[str, Schema]]] = {
    "fill-mask": (_TEXT, (), {"top_k": _COUNT, "targets": _LABELS}),
    "text-classification": (one_of(_TEXT, _BOTH), (), {"top_k": _COUNT, "function_to_apply": _FUNCTION}),
    "zero-shot-classification": (
        _TEXT,
        ("candidate_labels",),
        {"candidate_labels": _LABELS, "hypothesis_template": _TEXT, "multi_label": _FLAG},
    ),
    "token-classification": (
        _TEXT,
        (),
        {"aggregation_strategy": _STRATEGY, "ignore_labels": _LABELS, "stride": {"type": "integer", "minimum": 0}},
    ),
    "question-answering": (
        _QUESTION,
        (),
        {
            "top_k": _COUNT,
            "max_answer_len": _COUNT,
            "handle_impossible_answer": _FLAG,
            "doc_stride": {"type": "integer", "minimum": 0},
            "align_to_words": _FLAG,
        },
    ),
    "multiple-choice": (_CHOICE, (), {}),
    "next-sentence": (_BOTH, (), {}),
}
"""Task -> what an input is, and the parameters that it must and may have."""


async def run(task: str, call: Call) -> Reply:
    """Run a task on one input, or on a list of them."""
    given = call.body["inputs"]
    alone = not isinstance(given, list)
    inputs = [given] if alone else given
    parameters = call.body["parameters"] or {}
    options = {name: value for name, value in parameters.items() if value is not None and name in TAKEN[task][2]}
    if task == "text-classification":
        options.setdefault("top_k", None)  # all labels, as its clients expect
    found = await call.service.task(task, inputs, call.asked, **options)
    if alone and task != "text-classification":
        return reply(found[0])
    return reply(found)


def _routes() -> tuple[Route, ...]:
    made = []
    for task, (one, needed, parameters) in TAKEN.items():
        fields = {name: optional(schema) for name, schema in parameters.items()}
        options = record(needed, **(fields | {name: parameters[name] for name in needed}))
        inputs = one_of(one, {"type": "array", "items": one, "minItems": 1})
        body = record(
            ("inputs", "parameters") if needed else ("inputs",),
            inputs=inputs,
            parameters=options if needed else optional(options),
        )
        made.append(Route("POST", f"/tasks/{task}", partial(run, task), worded, f"The task {task}", body))
    return tuple(made)


ROUTES = _routes()
