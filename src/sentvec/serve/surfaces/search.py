"""A collection over HTTP: a question in, passages out; and documents to add."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from sentvec.errors import CollectionBusy, CollectionError, InvalidInput
from sentvec.search.collection import Collection
from sentvec.search.fuse import FUSIONS
from sentvec.search.snippets import snippets
from sentvec.serve.encoder import QueuedEncoder, QueuedScorer, left
from sentvec.serve.fields import ONE_TEXT
from sentvec.serve.generation import Generation
from sentvec.serve.http import Call, Reply, Route, plain, reply
from sentvec.serve.places import Place
from sentvec.serve.refusals import Refused
from sentvec.serve.schema import Schema, optional, record
from sentvec.serve.service import Service

_log = logging.getLogger("sentvec.serve")

SEARCHES = 8
"""Searches at a time: they wait for their questions' vectors more than they work."""

ADDINGS = 2
"""Requests with documents at a time; a collection takes one after the other, while the next is encoded."""

_DOCUMENT = record(("text",), text=ONE_TEXT, id=optional(ONE_TEXT), metadata=optional({"type": "object"}))
SEARCH = record(
    ("query",),
    query=ONE_TEXT,
    k=optional({"type": "integer", "minimum": 1, "maximum": 1000}, 10),
    where=optional({"type": "object"}),
    hybrid=optional({"anyOf": [{"type": "boolean"}, {"type": "number", "minimum": 0, "maximum": 1}]}, False),
    fusion=optional({"type": "string", "enum": list(FUSIONS)}, FUSIONS[0]),
    diversity=optional({"type": "number", "minimum": 0, "maximum": 1}, 0.0),
    rerank=optional({"type": "boolean"}, False),
    snippets=optional({"type": "boolean"}, False),
)
DOCUMENTS = record(("documents",), documents={"type": "array", "items": _DOCUMENT, "minItems": 1})
_HIT = record(("id", "score", "text"), id=ONE_TEXT, score={"type": "number"}, text={"type": "string"})
FOUND = record(("hits",), hits={"type": "array", "items": _HIT})
_COUNT: Schema = {"type": "integer"}
ADDED = record(("ids", "added", "updated"), ids={"type": "array", "items": ONE_TEXT}, added=_COUNT, updated=_COUNT)


class Shelf:
    """The server's collection, opened when it is first asked for; again when the models were loaded again, for it may
    be another one as well, and when it failed, for somebody may have put it right.

    Args:
        service: the engine.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._opened: Collection | None = None
        self._models: Generation | None = None  # that were there when it was opened
        self._guard = asyncio.Lock()
        patience = service.settings.deadline_s
        self._searches, self._addings = Place("search", SEARCHES, patience), Place("add", ADDINGS, patience)

    async def open(self) -> Collection:
        """Return the collection."""
        path = self._service.settings.collection
        if not path:
            raise Refused("unsupported", "no collection is served; start the server with --collection FOLDER.")
        async with self._guard:
            now = self._service.now
            if self._opened is None or self._models is not now:
                encoder = QueuedEncoder(self._service, asyncio.get_running_loop())
                with self._using(None):
                    self._opened = await self._addings.run(lambda: Collection.open(path, encoder))
                self._models = now
            return self._opened

    async def search(self, call: Call) -> Reply:
        """Find passages."""
        body, asked = call.body, call.asked
        opened = await self.open()
        options = {name: body[name] for name in ("where", "hybrid", "fusion", "diversity") if body[name]}
        if body["rerank"]:
            if asked.now.loaded.reranker is None:
                raise Refused("unsupported", "no reranker is loaded; start the server with --reranker MODEL.")
            options["rerank"] = QueuedScorer(self._service, asyncio.get_running_loop())
        left.set(asked.left)
        with self._using(opened):
            hits = await self._searches.run(lambda: opened.search(body["query"], body["k"], **options), asked.left)
        asked.texts += 1
        told = [asdict(hit) for hit in hits]
        model = opened.model
        if body["snippets"] and hits and model is not None:
            with self._using(opened):
                shown = await self._searches.run(lambda: snippets(model, body["query"], hits), asked.left)
            told = [{**one, "snippet": snippet} for one, snippet in zip(told, shown, strict=True)]
        return reply({"hits": told})

    async def add(self, call: Call) -> Reply:
        """Add documents; one whose id is there is replaced. Only on servers that ask for a key."""
        if not self._service.settings.keys:
            raise Refused(
                "unauthorised", "adding documents needs a key, and this server has none; start it with SENTVEC_API_KEY."
            )
        given = call.body["documents"]
        self._service.limit_texts(len(given))
        named = [one for one in given if one["id"] is not None]
        if named and len(named) < len(given):
            raise Refused("malformed", "give an id for each document, or for none.", field="documents")
        opened = await self.open()
        ids = [one["id"] for one in given] if named else None
        metadata = [one["metadata"] or {} for one in given]
        texts = [one["text"] for one in given]
        left.set(lambda: False)  # what has begun goes on without the client, for half of it would be worse
        with self._using(opened):
            report = await self._addings.run(lambda: opened.add(texts, ids, metadata), call.asked.left)
        call.asked.texts += len(given)
        return reply({"ids": report.ids, "added": report.added, "updated": report.updated})

    async def stats(self, call: Call) -> Reply:
        """Tell the collection's size."""
        opened = await self.open()
        with self._using(opened):
            found = asdict(await self._searches.run(opened.stats, call.asked.left))
        return reply({name: found[name] for name in ("passages", "files", "model", "fingerprint", "dim", "bytes")})

    @contextmanager
    def _using(self, opened: Collection | None) -> Iterator[None]:
        """Make refusals of what a collection raises."""
        try:
            yield
        except InvalidInput as error:
            raise Refused("malformed", str(error)) from None
        except CollectionBusy as error:
            raise Refused("overloaded", str(error), retry_after=2.0) from None
        except CollectionError as error:
            _log.error("the collection failed: %s", error)
            if opened is not None and opened is self._opened:  # closed by the last one who uses it
                self._opened = None
            raise Refused("failed", "the collection cannot be used; the server's log says why.") from None

    @property
    def routes(self) -> tuple[Route, ...]:
        """What is answered."""
        return (
            Route("POST", "/search", self.search, plain, "Passages nearest to a question", SEARCH, FOUND),
            Route("POST", "/documents", self.add, plain, "Add passages", DOCUMENTS, ADDED),
            Route("GET", "/collection", self.stats, plain, "The collection's size", engine=False),
        )


def check(made: Generation) -> None:
    """Look whether the collection was made with these models, before they serve.

    Raises:
        InvalidInput: it was made with another one.
        CollectionError: it is not there, or damaged.
    """
    path = made.settings.collection
    if not path:
        return
    with Collection.open(path) as opened:
        found = opened.stats()
    if found.fingerprint != made.reader.fingerprint:
        raise InvalidInput(
            f"the collection {path} was made with {found.model} (fingerprint {found.fingerprint[:12]}), but the server "
            f"has {made.reader.name} ({made.reader.fingerprint[:12]}). Serve that model, or index into a new folder."
        )
