"""bert-as-service's API over HTTP: texts, pairs `a ||| b` and lists of tokens in, vectors out; and its status.

Facts: github.com/jina-ai/clip-as-service at v1.10.0. Its README promises `results` and its code sends `result`; both
are sent here. `sentvec.client.BertClient` speaks this.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from sentvec import __version__
from sentvec.batch import TokenIds
from sentvec.serve.fields import MANY_TEXTS, ONE_TEXT, written
from sentvec.serve.http import Call, Reply, Route, reply
from sentvec.serve.reader import Reader
from sentvec.serve.refusals import STATUS, Refused, wanted
from sentvec.serve.schema import Schema, one_of, optional, record
from sentvec.text.tokenizer import Text

_TOKENS: Schema = {"type": "array", "items": {"type": "array", "items": ONE_TEXT, "minItems": 1}, "minItems": 1}
BODY = record(
    ("texts",),
    id={},
    texts=one_of(MANY_TEXTS, _TOKENS),
    is_tokenized=optional({"type": "boolean"}, False),
    pooling=optional({"type": "string"}),
    show_tokens=optional({"type": "boolean"}, False),
)
ANSWER = record(("results", "result", "status"), id={}, results={}, result={}, status={"type": "integer"})

POOLINGS = {
    "REDUCE_MEAN": ("mean",),
    "REDUCE_MAX": ("max",),
    "REDUCE_MEAN_MAX": ("mean", "max"),
    "FIRST_TOKEN": ("first",),
    "CLS_TOKEN": ("first",),
    "LAST_TOKEN": ("last",),
    "SEP_TOKEN": ("last",),
    "CLS_POOLED": ("pooler",),
}
"""Its names -> the server's."""

BETWEEN = "|||"
_PAIR = re.compile(r"^(.*) \|\|\| (.*)$", re.DOTALL)


def worded(refused: Refused) -> tuple[int, Any]:
    """Word a refusal as bert-as-service does: with a description."""
    status = STATUS[refused.kind]
    return status, {"description": refused.message, "type": refused.kind, "status": status}


async def encode(call: Call) -> Reply:
    """Encode; with pooling NONE, the states of all tokens, filled up with zeros to the longest text."""
    body, service = call.body, call.service
    reader = call.asked.now.reader
    pooling = body["pooling"]
    if pooling not in (None, "NONE") and POOLINGS.get(pooling) != reader.engine.recipe.pooling:
        own = "+".join(reader.engine.recipe.pooling)
        raise Refused(
            "malformed",
            f"pooling {str(pooling)[:40]!r} is not what this server pools with: {own}. Leave it away, ask for NONE, or "
            "start a server with another --pooling.",
        )
    texts, tokens = body["texts"], body["is_tokenized"]
    if tokens != isinstance(texts[0], list):
        raise Refused("malformed", "texts must be lists of tokens if is_tokenized is true, and else strings.")
    service.limit_texts(len(texts))
    if tokens:
        with wanted():
            rows = [_row(reader, words) for words in texts]
    else:
        rows = await service.read([pair(text) for text in texts], call.asked, prefix=reader.prefix(None))
    if pooling == "NONE":
        longest = max(map(len, rows))
        service.limit_numbers(len(rows) * longest * reader.hidden)  # a long text among short ones makes them all long
        states = await service.rows_states(rows, call.asked)
        filled = [np.concatenate([one, np.zeros((longest - len(one), one.shape[1]), np.float32)]) for one in states]
        found = await written(service, filled)
    else:
        found = await written(service, await service.rows_vectors(rows, call.asked))
    told = {"id": body["id"], "status": 200}
    if body["show_tokens"]:
        told["tokens"] = [reader.engine.tokenizer.tokens(row.ids) for row in rows]
    begun = json.dumps(told, ensure_ascii=False)[:-1].encode("utf-8", "replace")
    return Reply(b'%s,"results":%s,"result":%s}' % (begun, found, found))


def pair(text: str) -> Text:
    """Return the two texts that ` ||| ` stands between, the last one of them; or the text.

    >>> pair("a ||| b"), pair("a|||b")
    (('a', 'b'), 'a|||b')
    """
    found = _PAIR.match(text)
    return (found[1], found[2]) if found else text


def _row(reader: Reader, words: list[str]) -> TokenIds:
    tokenizer = reader.engine.tokenizer
    if BETWEEN not in words:
        return tokenizer.assemble(reader.pieces(words), None, reader.limit)[0]
    at = words.index(BETWEEN)
    return tokenizer.assemble(reader.pieces(words[:at]), reader.pieces(words[at + 1 :]), reader.limit)[0]


async def status(call: Call) -> Reply:
    """Tell what serves, under the names that bert-as-service gave it, and how much it has done."""
    service = call.service
    reader, metrics = service.reader, service.metrics
    return reply(
        {
            "model_dir": service.now.name,
            "max_seq_len": reader.limit,
            "pooling_strategy": "+".join(reader.engine.recipe.pooling),
            "num_worker": len(service.now.crew.lanes),
            "num_concurrent_socket": service.settings.max_requests,
            "max_batch_size": service.settings.max_texts,
            "server_version": __version__,
            "server_start_time": service.begun,
            "statistic": {
                "num_data_request": int(metrics.requests.total),
                "num_total_seq": int(metrics.texts.total),
                "num_total_request": int(metrics.responses.total),
            },
        }
    )


ROUTES = (
    Route("POST", "/encode", encode, worded, "Vectors, as bert-as-service has it", BODY, ANSWER),
    Route("GET", "/status/server", status, worded, "What serves, and what it has done", engine=False),
)
