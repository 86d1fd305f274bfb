"""A model and a store in; what LangChain calls embeddings and a vector store out.

LangChain asks for its own base classes, so this file and `llamaindex.py` are the only ones with such parents.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.extras import require
from sentvec.search.checks import as_list
from sentvec.search.fuse import diverse
from sentvec.search.types import Hit, TextEncoder
from sentvec.stores import border
from sentvec.stores.asking import ask
from sentvec.stores.opening import spec_of
from sentvec.stores.protocol import Store

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import VectorStore
else:
    Document = require("langchain_core.documents", extra="langchain").Document
    Embeddings = require("langchain_core.embeddings", extra="langchain").Embeddings
    VectorStore = require("langchain_core.vectorstores", extra="langchain").VectorStore


class SentvecEmbeddings(Embeddings):
    """A model as LangChain's embeddings: questions and passages each get their own prompt.

    Attributes:
        model: the model.
    """

    def __init__(self, model: TextEncoder) -> None:
        self.model = model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each passage."""
        return self.model.encode_document(texts, progress=False).tolist() if texts else []

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question."""
        return self.model.encode_query([text], progress=False)[0].tolist()  # type: ignore[no-any-return]


class SentvecVectorStore(VectorStore):
    """A store, of any kind, as LangChain's vector store. Filters are ours: `{"year": {">": 2020}}`."""

    def __init__(self, store: Store, model: TextEncoder) -> None:
        """Use a store that is open.

        Raises:
            ModelMismatch: another model made its vectors.
        """
        border.agreed(store.spec, spec_of(model), store.url)
        self._store, self._model = store, model

    @property
    def embeddings(self) -> SentvecEmbeddings:
        """The model, as LangChain's embeddings."""
        return SentvecEmbeddings(self._model)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Encode and store texts; returns their ids, random ones where not given."""
        given = as_list(texts, "texts")
        names = [uuid.uuid4().hex for _ in given] if ids is None else [i or uuid.uuid4().hex for i in ids]
        if given:
            vectors = self._model.encode_document(given, progress=False)
            self._store.upsert(border.batch_of(names, given, np.asarray(vectors, np.float32), metadatas))
        return names

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Delete by ids; without ids, everything. Returns whether that was done."""
        if ids is None:
            self._store.delete(where={})
        else:
            self._store.delete(ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return what is stored under these ids."""
        entries = self._store.get(list(ids)).entries
        return [Document(id=entry.id, page_content=entry.text, metadata=dict(entry.metadata)) for entry in entries]

    def similarity_search(
        self,
        query: str,
        k: int = 4,
        filter: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Find the k nearest; with `hybrid=True`, by words as well."""
        return [document for document, _ in self.similarity_search_with_score(query, k, filter, **kwargs)]

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        filter: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[tuple[Document, float]]:
        """Find the k nearest, with their cosines or inner products."""
        hybrid = bool(kwargs.get("hybrid", False))
        hits = ask(self._store, query, self._model, k, where=filter, hybrid=hybrid)
        return [(_document(hit), hit.score) for hit in hits]

    def similarity_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        filter: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Find the k nearest to a vector."""
        return [_document(hit) for hit in self._store.search(np.array(embedding, np.float32), k, where=filter)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Find k that are near and differ; `lambda_mult` of 1 asks only for the nearest."""
        hits = ask(self._store, query, self._model, max(k, fetch_k), where=filter)
        vectors = self._store.get([hit.id for hit in hits]).vectors
        if len(vectors) < len(hits):
            raise InvalidInput("The store was changed while it was asked; ask again.")
        chosen = diverse(np.array([hit.score for hit in hits]), vectors, k, 1 - lambda_mult) if hits else []
        return [_document(hits[n]) for n in chosen]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        if self._store.spec.metric != "cosine":
            raise InvalidInput("An inner product is no relevance from 0 to 1; use similarity_search_with_score.")
        return lambda score: (1 + score) / 2

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> SentvecVectorStore:
        """Put texts into a store: `store=` is an open one.

        Raises:
            InvalidInput: the embeddings are not ours, or there is no store.
        """
        store = kwargs.get("store")
        if not isinstance(embedding, SentvecEmbeddings) or store is None:
            raise InvalidInput("Give SentvecEmbeddings(model), and an open store as store=open_store(url, spec).")
        made = cls(store, embedding.model)
        made.add_texts(texts, metadatas, ids=ids)
        return made


def _document(hit: Hit) -> Document:
    return Document(id=hit.id, page_content=hit.text, metadata=dict(hit.metadata))
