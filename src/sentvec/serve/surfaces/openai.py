"""OpenAI's API of embeddings: what its own clients, LangChain's and LlamaIndex's send in, its words out.

Facts: github.com/openai/openai-openapi. Clients ask for base64 unless told otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sentvec.runtime.engine import Array
from sentvec.serve.fields import INPUT, VECTOR, as_base64, listed
from sentvec.serve.floats import numbers
from sentvec.serve.http import Call, Reply, Route, reply
from sentvec.serve.refusals import STATUS, Refused
from sentvec.serve.schema import optional, record
from sentvec.serve.service import NUMBERS

BODY = record(
    ("input",),
    input=INPUT,
    model=optional({"type": "string"}),
    encoding_format=optional({"type": "string", "enum": ["float", "base64"]}, "float"),
    dimensions=optional({"type": "integer", "minimum": 1}),
    user=optional({"type": "string"}),
)
_EMBEDDING = record(
    ("object", "index", "embedding"),
    object={"type": "string"},
    index={"type": "integer"},
    embedding={"anyOf": [VECTOR, {"type": "string"}]},
)
ANSWER = record(
    ("object", "data", "model", "usage"),
    object={"type": "string"},
    data={"type": "array", "items": _EMBEDDING},
    model={"type": "string"},
    usage=record(("prompt_tokens",), prompt_tokens={"type": "integer"}, total_tokens={"type": "integer"}),
)
_MODEL = record(("id", "object"), id={"type": "string"}, object={"type": "string"})
MODELS = record(("object", "data"), object={"type": "string"}, data={"type": "array", "items": _MODEL})

_TYPES = {"overloaded": "rate_limit_error", "failed": "server_error", "unhealthy": "server_error"}
_CODES = {"unauthorised": "invalid_api_key", "overloaded": "rate_limit_exceeded"}


def worded(refused: Refused) -> tuple[int, Any]:
    """Word a refusal as OpenAI does."""
    kind = _TYPES.get(refused.kind, "invalid_request_error")
    told = {"message": refused.message, "type": kind, "param": refused.field, "code": _CODES.get(refused.kind)}
    return STATUS[refused.kind], {"error": told}


async def embeddings(call: Call) -> Reply:
    """Encode `input`; vectors have length one. Any name of a model is taken: the answer says which one it was."""
    body, asked, service = call.body, call.asked, call.service
    texts, ids = listed(body["input"])
    if texts is not None:
        vectors = await service.vectors(texts, asked, dim=body["dimensions"], normalize=True)
    else:
        vectors = await service.ids_vectors(ids or [], asked, dim=body["dimensions"], normalize=True)
    write = _in_base64 if body["encoding_format"] == "base64" else _in_numbers
    data = await service.aside(lambda: write(vectors), sum(map(len, vectors)) // NUMBERS)
    name = json.dumps(asked.now.name).encode()
    usage = b'{"prompt_tokens":%d,"total_tokens":%d}' % (asked.tokens, asked.tokens)
    return Reply(b'{"object":"list","data":[%s],"model":%s,"usage":%s}' % (data, name, usage))


def _in_base64(vectors: list[Array]) -> bytes:
    return _items(b'"%s"' % as_base64(vector) for vector in vectors)


def _in_numbers(vectors: list[Array]) -> bytes:
    return _items(b"[%s]" % numbers(vector) for vector in vectors)


def _items(written: Iterable[bytes]) -> bytes:
    return b",".join(b'{"object":"embedding","index":%d,"embedding":%s}' % one for one in enumerate(written))


async def models(call: Call) -> Reply:
    """Tell the model's name."""
    service = call.service
    told = {"id": service.now.name, "object": "model", "created": int(service.begun), "owned_by": "sentvec"}
    return reply({"object": "list", "data": [told]})


ROUTES = (
    Route("POST", "/v1/embeddings", embeddings, worded, "Vectors of texts, as OpenAI's API has it", BODY, ANSWER),
    Route("POST", "/embeddings", embeddings, worded, "The same without the prefix", BODY, ANSWER),
    Route("GET", "/v1/models", models, worded, "The model that is served", answer=MODELS, engine=False),
    Route("GET", "/models", models, worded, "The same without the prefix", answer=MODELS, engine=False),
)
