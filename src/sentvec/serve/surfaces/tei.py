"""The API of text-embeddings-inference: its fields, defaults and status codes in, its words out.

Facts: github.com/huggingface/text-embeddings-inference, router/src/http. Unlike there, token ids are used as they are,
and not turned into text and back.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np

from sentvec import __version__
from sentvec.ops.similarity import similarity
from sentvec.runtime.checks import comparable
from sentvec.serve import costs
from sentvec.serve.fields import DIRECTION, INPUT, MANY_IDS, MATRIX, ONE_IDS, ONE_TEXT, VECTOR, listed, written
from sentvec.serve.http import Call, Reply, Route, reply
from sentvec.serve.refusals import STATUS, Refused, wanted
from sentvec.serve.schema import Schema, one_of, optional, record
from sentvec.text.tokenizer import Tokenizer

_BOOL: Schema = {"type": "boolean"}
_NAME: Schema = {"type": "string"}
_HOW = {"truncate": optional(_BOOL), "truncation_direction": DIRECTION, "prompt_name": optional(_NAME)}
_CUT = {"truncate": optional(_BOOL), "truncation_direction": DIRECTION}
_TEXTS: Schema = {"type": "array", "items": _NAME, "minItems": 1}
_PAIR: Schema = {"type": "array", "items": _NAME, "minItems": 2, "maxItems": 2}
_SCORED = record(("index", "score"), index={"type": "integer"}, score={"type": "number"}, text=_NAME)
_LABEL = record(("score", "label"), score={"type": "number"}, label=_NAME)
_LABELS: Schema = {"type": "array", "items": _LABEL}
_BATCH: Schema = {
    "type": "array",
    "items": {"type": "array", "items": _NAME, "minItems": 1, "maxItems": 2},
    "minItems": 1,
}

EMBED = record(
    ("inputs",),
    inputs=INPUT,
    normalize=optional(_BOOL, True),
    dimensions=optional({"type": "integer", "minimum": 1}),
    **_HOW,
)
EMBED_ALL = record(("inputs",), inputs=INPUT, **_HOW)
RERANK = record(
    ("query", "texts"),
    query=ONE_TEXT,
    texts=_TEXTS,
    raw_scores=optional(_BOOL, False),
    return_text=optional(_BOOL, False),
    **_CUT,
)
PREDICT = record(("inputs",), inputs=one_of(ONE_TEXT, _PAIR, _BATCH), raw_scores=optional(_BOOL, False), **_CUT)
SIMILARITY = record(
    ("inputs",),
    inputs=record(("source_sentence", "sentences"), source_sentence=ONE_TEXT, sentences=_TEXTS),
    parameters=optional(record((), **_HOW)),
)
TOKENIZE = record(
    ("inputs",),
    inputs=one_of(_NAME, _TEXTS),
    add_special_tokens=optional(_BOOL, True),
    prompt_name=optional(_NAME),
)
DECODE = record(("ids",), ids=one_of(ONE_IDS, MANY_IDS), skip_special_tokens=optional(_BOOL, True))
_PLACE = optional({"type": "integer"})
_TOKEN = record(("id", "text", "special"), id={"type": "integer"}, text=_NAME, special=_BOOL, start=_PLACE, stop=_PLACE)

_STATUS = {"malformed": 422, "too_long": 422, "too_many": 422, "unsupported": 424, "failed": 424}
_TYPES = {
    "empty": "Empty",
    "overloaded": "Overloaded",
    "unsupported": "Backend",
    "failed": "Backend",
    "unhealthy": "Unhealthy",
    "unauthorised": "Unauthorized",
}


def worded(refused: Refused) -> tuple[int, Any]:
    """Word a refusal as text-embeddings-inference does."""
    status = _STATUS.get(refused.kind, STATUS[refused.kind])
    return status, {"error": refused.message, "error_type": _TYPES.get(refused.kind, "Validation")}


def _how(body: Any) -> dict[str, Any]:
    return {"prompt_name": body["prompt_name"], **_cut(body)}


def _cut(body: Any) -> dict[str, Any]:
    return {"truncate": body["truncate"], "left": body["truncation_direction"].lower() == "left"}


async def embed(call: Call) -> Reply:
    """Vectors; of length one unless `normalize` is false."""
    body = call.body
    texts, ids = listed(body["inputs"])
    options = {"dim": body["dimensions"], "normalize": body["normalize"]}
    if texts is not None:
        vectors = await call.service.vectors(texts, call.asked, **options, **_how(body))
    else:
        vectors = await call.service.ids_vectors(ids or [], call.asked, **options)
    return Reply(await written(call.service, vectors), headers=_times(call, texts))


async def embed_all(call: Call) -> Reply:
    """States of all tokens, special ones included."""
    texts, ids = listed(call.body["inputs"])
    if texts is not None:
        states = await call.service.states(texts, call.asked, **_how(call.body))
    else:
        call.service.limit_texts(len(ids or []))
        reader = call.asked.now.reader
        rows = await call.service.aside(lambda: reader.verbatims(ids or []), sum(map(len, ids or [])))
        states = await call.service.rows_states(rows, call.asked)
    return Reply(await written(call.service, states), headers=_times(call, texts))


async def rerank(call: Call) -> Reply:
    """Texts in the order in which they answer the query, best first."""
    body = call.body
    texts = body["texts"]
    pairs = [(body["query"], text) for text in texts]
    scores = await call.service.scores(pairs, call.asked, raw=body["raw_scores"], **_cut(body))
    order = np.argsort(-np.array(scores), kind="stable").tolist()
    told = [{"index": i, **({"text": texts[i]} if body["return_text"] else {}), "score": scores[i]} for i in order]
    return reply(told, headers=_times(call, chain.from_iterable(pairs)))


async def predict(call: Call) -> Reply:
    """Labels of texts, or of pairs of texts, best first."""
    given, alone = call.body["inputs"], False
    if isinstance(given, str) or isinstance(given[0], str):
        given, alone = [given if isinstance(given, str) else tuple(given)], True
    else:
        given = [one[0] if len(one) == 1 else tuple(one) for one in given]
    raw = {"function_to_apply": "none"} if call.body["raw_scores"] else {}
    how = {**raw, **_cut(call.body)}
    found = await call.service.task("text-classification", given, call.asked, top_k=None, **how)
    told = [[{"score": one["score"], "label": one["label"]} for one in labels] for labels in found]
    flat = chain.from_iterable([one] if isinstance(one, str) else one for one in given)
    return reply(told[0] if alone else told, headers=_times(call, flat))


async def compare(call: Call) -> Reply:
    """The similarity of one text with others."""
    given, how = call.body["inputs"], call.body["parameters"] or {}
    options = _how(how) if how else {}
    texts = [given["source_sentence"], *given["sentences"]]
    vectors = await call.service.vectors(texts, call.asked, **options)
    left, right = comparable(vectors[0], np.stack(vectors[1:]))
    scores = similarity("cosine")(left, right)[0].tolist()
    return reply(scores, headers=_times(call, texts))


async def tokenize(call: Call) -> Reply:
    """Tokens of texts with their places."""
    body, now = call.body, call.asked.now
    texts = [body["inputs"]] if isinstance(body["inputs"], str) else body["inputs"]
    call.service.limit_texts(len(texts))
    tokenizer = now.reader.engine.tokenizer

    most = call.service.settings.max_tokens

    def work() -> Reply:
        prefix = now.reader.prefix(body["prompt_name"])
        found: list[list[dict[str, Any]]] = []
        count = 0
        for text in texts:
            found.append(_tokens(tokenizer, prefix + text, body["add_special_tokens"], most - count))
            count += len(found[-1])
        return reply(found)

    with wanted(), now.queue.reserved(sum(map(costs.tokens, texts))):  # a token's place takes more than its vector
        return await call.service.aside(work, sum(map(len, texts)))


def _tokens(tokenizer: Tokenizer, text: str, special: bool, most: int) -> list[dict[str, Any]]:
    pieces = tokenizer.pieces([text])[0]
    if len(pieces) > most:
        del pieces  # the error would hold on to them
        raise Refused("too_many", "these texts have more tokens than a request may have. Send several.")
    middle = [
        {"id": i, "text": text[start:stop], "special": False, "start": start, "stop": stop}
        for i, (start, stop) in zip(pieces.ids, pieces.spans, strict=True)
    ]
    if not special:
        return middle
    whole, before = tokenizer.assemble(pieces.ids)
    names = tokenizer.tokens(whole.ids)
    around = [
        {"id": i, "text": name, "special": True, "start": None, "stop": None}
        for i, name in zip(whole.ids, names, strict=True)
    ]
    return [*around[:before], *middle, *around[before + len(middle) :]]


async def decode(call: Call) -> Reply:
    """Texts of token ids."""
    ids = call.body["ids"]
    rows = ids if isinstance(ids[0], list) else [ids]
    tokenizer = call.asked.now.reader.engine.tokenizer
    skip = call.body["skip_special_tokens"]

    def work() -> list[str]:
        return [tokenizer.decode(row, skip_special_tokens=skip) for row in rows]

    with wanted():
        return reply(await call.service.aside(work, 4 * sum(map(len, rows))))


async def info(call: Call) -> Reply:
    """What is served, and how."""
    service = call.service
    now, settings = call.asked.now, service.settings
    reader = now.reader
    return reply(
        {
            "model_id": settings.model,
            "model_sha": settings.revision or None,
            "model_dtype": reader.precision,
            "served_model_name": now.name,
            "model_type": {"embedding": {"pooling": "+".join(reader.engine.recipe.pooling)}},
            "max_concurrent_requests": settings.max_requests,
            "max_input_length": reader.limit,
            "max_batch_tokens": settings.batch_tokens,
            "max_batch_requests": None,
            "max_client_batch_size": settings.max_texts,
            "auto_truncate": settings.truncate,
            "tokenization_workers": service.threads._max_workers,
            "version": __version__,
            "sha": None,
            "docker_label": None,
            "sentvec": {
                "architecture": reader.model_type,
                "fingerprint": reader.fingerprint,
                "dim": reader.dim,
                "similarity": reader.similarity,
                "prompts": sorted(reader.engine.recipe.prompts),
                "reranker": now.loaded.reranker,
                "tasks": [name for name, _ in now.loaded.tasks],
                "processes": len(now.crew.lanes),
                "settings": settings.shown(),
            },
        }
    )


async def health(call: Call) -> Reply:
    """Nothing, if a text went through the engine just now."""
    await call.service.healthy()
    return Reply(b"", kind="text/plain")


async def metrics(call: Call) -> Reply:
    """Counts, as Prometheus reads them."""
    return Reply(call.service.metrics.text(), kind="text/plain; version=0.0.4; charset=utf-8")


def _times(call: Call, texts: Iterable[str] | None) -> tuple[tuple[str, str], ...]:
    """Return what the request cost, in milliseconds, characters and tokens."""
    asked = call.asked
    total = round(1000 * (time.monotonic() - asked.begun))
    parts = {
        "x-compute-type": asked.now.reader.engine.device.type,
        "x-compute-time": total,
        "x-compute-characters": sum(map(len, texts or ())),
        "x-compute-tokens": asked.tokens,
        "x-total-time": total,
        "x-tokenization-time": round(1000 * asked.tokenised_s),
        "x-queue-time": round(1000 * asked.queued_s),
        "x-inference-time": round(1000 * asked.encoded_s),
    }
    return tuple((name, str(value)) for name, value in parts.items())


_ITEMS: Schema = {"type": "array", "items": {"type": "array", "items": _TOKEN}}
ROUTES = (
    Route("POST", "/embed", embed, worded, "Vectors of texts", EMBED, MATRIX),
    Route("POST", "/embed_all", embed_all, worded, "Vectors of tokens", EMBED_ALL, {"type": "array", "items": MATRIX}),
    Route("POST", "/rerank", rerank, worded, "Order texts by a query", RERANK, {"type": "array", "items": _SCORED}),
    Route("POST", "/predict", predict, worded, "Labels", PREDICT, one_of(_LABELS, {"type": "array", "items": _LABELS})),
    Route("POST", "/similarity", compare, worded, "Similarity of texts", SIMILARITY, VECTOR),
    Route("POST", "/tokenize", tokenize, worded, "Tokens of texts", TOKENIZE, _ITEMS),
    Route("POST", "/decode", decode, worded, "Texts of tokens", DECODE, _TEXTS),
    Route("GET", "/info", info, worded, "What is served", answer={"type": "object"}, engine=False),
    Route("GET", "/health", health, worded, "Whether the engine works", open=True, engine=False),
    Route("GET", "/ping", health, worded, "The same", open=True, engine=False),
    Route("GET", "/metrics", metrics, worded, "Counts for Prometheus", engine=False),
)
