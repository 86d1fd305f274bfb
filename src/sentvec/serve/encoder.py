"""The engine in, models that a `Collection` can use out: their texts wait in the same queue as everybody's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar

import numpy as np
from numpy.typing import NDArray

from sentvec.runtime.prompts import DOCUMENT, QUERY, with_stored
from sentvec.serve.service import Service

left: ContextVar[Callable[[], bool]] = ContextVar("left", default=lambda: False)
"""Says whether the client has gone for whom texts are encoded, in the context of whoever has them encoded."""


class QueuedEncoder:
    """See `sentvec.search.types.TextEncoder`. Its methods are for threads; the event loop must go on meanwhile.

    Args:
        service: the engine.
        loop: where it runs.
    """

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self._service, self._loop = service, loop

    @property
    def fingerprint(self) -> str:
        """See `TextEncoder`."""
        return self._service.reader.fingerprint

    @property
    def name(self) -> str:
        """See `TextEncoder`."""
        return self._service.reader.name

    @property
    def dim(self) -> int:
        """See `TextEncoder`."""
        return self._service.reader.dim

    @property
    def similarity_name(self) -> str:
        """See `TextEncoder`."""
        return self._service.reader.similarity

    @property
    def passage_tokens(self) -> int:
        """See `TextEncoder`."""
        return self._service.reader.passage_tokens

    def encode_query(self, texts: Sequence[str], *, progress: bool | None = None) -> NDArray[np.float32]:
        """See `TextEncoder`."""
        del progress
        return self._encoded(texts, QUERY)

    def encode_document(self, texts: Sequence[str], *, progress: bool | None = None) -> NDArray[np.float32]:
        """See `TextEncoder`."""
        del progress
        return self._encoded(texts, DOCUMENT)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """See `TextEncoder`."""
        return self._service.reader.engine.tokenizer.spans(text)

    def _encoded(self, texts: Sequence[str], names: tuple[str, ...]) -> NDArray[np.float32]:
        stored = with_stored(self._service.reader.engine.recipe, names, {}).get("prompt_name")

        step = self._service.settings.max_texts  # of one client's; the sentences of many passages are more

        async def work() -> list[NDArray[np.float32]]:
            found: list[NDArray[np.float32]] = []
            for first in range(0, len(texts), step):
                with self._service.asking(left.get()) as asked:
                    part = list(texts[first : first + step])
                    found += await self._service.vectors(part, asked, prompt_name=stored, truncate=True)
            return found

        return np.stack(asyncio.run_coroutine_threadsafe(work(), self._loop).result())


class QueuedScorer:
    """The server's reranker, as a `Collection` uses one; for threads, too.

    Args:
        service: the engine, with a reranker.
        loop: where it runs.
    """

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self._service, self._loop = service, loop

    def score(self, pairs: Iterable[tuple[str, str]], *, progress: bool | None = None) -> NDArray[np.float32]:
        """Return a score for each pair, (n,)."""
        del progress
        given = list(pairs)

        async def work() -> list[float]:
            with self._service.asking(left.get()) as asked:
                return await self._service.scores(given, asked, raw=False, truncate=True)

        return np.array(asyncio.run_coroutine_threadsafe(work(), self._loop).result(), np.float32)
