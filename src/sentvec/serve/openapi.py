"""Routes in, the OpenAPI document that describes them out: what is in it is what is checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sentvec import __version__
from sentvec.serve.http import Call, Reply, Route, plain, reply

_REFUSALS = {
    "400": "The body cannot be used",
    "401": "A key is needed",
    "408": "The body did not arrive in time",
    "413": "The body is too large",
    "415": "The body is not plain JSON",
    "421": "The server is not called by this name; only without keys",
    "422": "A field cannot be used",
    "424": "Nothing that is loaded can do it",
    "429": "Too much is waiting; Retry-After says when to try again",
    "500": "The server failed over this request; its log says how",
    "503": "The engine does not answer",
}


def document(routes: Sequence[Route], *, keyed: bool) -> dict[str, Any]:
    """Describe routes, as OpenAPI 3.1 has it; `keyed` says whether the server asks for keys."""
    paths: dict[str, Any] = {}
    for one in routes:
        answer = {"application/json": {"schema": one.answer}} if one.answer else {}
        told: dict[str, Any] = {
            "summary": one.about,
            "operationId": f"{one.method.lower()}{one.path.replace('/', '_')}",
            "responses": {
                "200": {"description": "Done", **({"content": answer} if answer else {})},
                **{code: {"description": about} for code, about in _REFUSALS.items()},
            },
        }
        if keyed and one.open:
            told["security"] = []
        if one.body is not None:
            told["requestBody"] = {"required": True, "content": {"application/json": {"schema": one.body}}}
        paths.setdefault(one.path, {})[one.method.lower()] = told
    info = {"title": "sentvec", "version": __version__, "description": "Vectors of texts, and what is made of them."}
    needed: dict[str, Any] = {"security": [{"key": []}]} if keyed else {}
    schemes = {"key": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer KEY"}}
    return {
        "openapi": "3.1.0",
        "info": info,
        "paths": paths,
        "components": {"securitySchemes": schemes},
        **needed,
    }


def route(routes: Sequence[Route], *, keyed: bool) -> Route:
    """Return the route at which the document is."""
    made = reply(document(routes, keyed=keyed))

    async def tell(call: Call) -> Reply:
        del call
        return made

    return Route("GET", "/openapi.json", tell, plain, "This document", answer={"type": "object"}, engine=False)
