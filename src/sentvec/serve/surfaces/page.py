"""The page at /, and what it draws: two texts in, what their tokens add to the cosine; a text in, who looks at whom."""

from __future__ import annotations

from importlib.resources import files

from sentvec.serve.fields import MATRIX, ONE_TEXT
from sentvec.serve.http import Call, Handler, Reply, Route, plain, reply
from sentvec.serve.schema import Schema, optional, record

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""What the page may do: run its own script and speak to this server."""

KINDS = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
_NAME: Schema = {"type": "string"}
_NAMES: Schema = {"type": "array", "items": _NAME}
_COUNT: Schema = {"type": "integer", "minimum": 0}

WHY = record(("a", "b"), a=ONE_TEXT, b=ONE_TEXT)
EXPLAINED = record(("score", "rows", "columns", "matrix"), score={}, rows=_NAMES, columns=_NAMES, matrix=MATRIX)
ATTENTION = record(
    ("text",),
    text=ONE_TEXT,
    text_pair=optional(ONE_TEXT),
    layer=optional({"type": "integer", "minimum": 1}, 1),
    head=optional(_COUNT, 0),
)
SEEN = record(("tokens", "attention", "layers", "heads"), tokens=_NAMES, attention=MATRIX, layers=_COUNT, heads=_COUNT)


async def why(call: Call) -> Reply:
    """Split the cosine of two texts into what each pair of their tokens adds."""
    return reply(await call.service.view("why", call.asked, a=call.body["a"], b=call.body["b"]))


async def attention(call: Call) -> Reply:
    """Tell how much each token looks at each other one, in a layer; head 0 is the mean of all."""
    names = ("text", "text_pair", "layer", "head")
    return reply(await call.service.view("attention", call.asked, **{name: call.body[name] for name in names}))


def _file(name: str) -> Handler:
    content = (files("sentvec.serve") / "assets" / name).read_bytes()
    safe = (("content-security-policy", POLICY), ("x-content-type-options", "nosniff"), ("cache-control", "no-cache"))
    made = Reply(content, kind=KINDS[name.rpartition(".")[2]], headers=(*safe, ("referrer-policy", "no-referrer")))

    async def give(call: Call) -> Reply:
        del call
        return made

    return give


def routes() -> tuple[Route, ...]:
    """Return the page with its files, which need no key, and what it draws."""
    parts = (
        ("/", "index.html", "The page"),
        ("/assets/page.css", "page.css", "Its colours"),
        ("/assets/page.js", "page.js", "Its script"),
    )
    return (
        *(Route("GET", path, _file(name), plain, about, open=True, engine=False) for path, name, about in parts),
        Route("POST", "/why", why, plain, "Why two texts are similar", WHY, EXPLAINED),
        Route("POST", "/attention", attention, plain, "Who looks at whom", ATTENTION, SEEN),
    )
