"""A model and a store in; what LlamaIndex calls an embedding and a vector store out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.extras import require
from sentvec.search.types import Hit, TextEncoder
from sentvec.stores import border
from sentvec.stores.opening import spec_of
from sentvec.stores.protocol import Store

if TYPE_CHECKING:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.schema import BaseNode
    from llama_index.core.vector_stores import types
    from llama_index.core.vector_stores.types import BasePydanticVectorStore
    from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict
else:
    BaseEmbedding = require("llama_index.core.base.embeddings.base", extra="llamaindex").BaseEmbedding
    PrivateAttr = require("llama_index.core.bridge.pydantic", extra="llamaindex").PrivateAttr
    BaseNode = require("llama_index.core.schema", extra="llamaindex").BaseNode
    types = require("llama_index.core.vector_stores.types", extra="llamaindex")
    BasePydanticVectorStore = types.BasePydanticVectorStore
    _utils = require("llama_index.core.vector_stores.utils", extra="llamaindex")
    metadata_dict_to_node, node_to_metadata_dict = _utils.metadata_dict_to_node, _utils.node_to_metadata_dict

_ORDERS = ("==", "!=", "<", "<=", ">", ">=")


class SentvecEmbedding(BaseEmbedding):
    """A model as LlamaIndex's embedding: questions and passages each get their own prompt."""

    _model: Any = PrivateAttr()

    def __init__(self, model: TextEncoder, **options: Any) -> None:
        super().__init__(model_name=model.name, **options)
        self._model = model

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex stores."""
        return "SentvecEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._model.encode_query([query], progress=False)[0].tolist()  # type: ignore[no-any-return]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._model.encode_document(texts, progress=False).tolist()  # type: ignore[no-any-return]


class SentvecVectorStore(BasePydanticVectorStore):
    """A store, of any kind, as LlamaIndex's vector store; nodes are kept whole."""

    stores_text: bool = True
    flat_metadata: bool = False
    _store: Any = PrivateAttr()

    def __init__(self, store: Store, model: TextEncoder) -> None:
        """Use a store that is open.

        Raises:
            ModelMismatch: another model made its vectors.
        """
        super().__init__(stores_text=True)
        border.agreed(store.spec, spec_of(model), store.url)
        self._store = store

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex stores."""
        return "SentvecVectorStore"

    @property
    def client(self) -> Store:
        """The store itself."""
        store: Store = self._store
        return store

    def add(self, nodes: Sequence[BaseNode], **options: Any) -> list[str]:
        """Store nodes with their vectors; returns their ids."""
        del options
        ids = [node.node_id for node in nodes]
        if nodes:
            vectors = np.array([node.get_embedding() for node in nodes], dtype=np.float32)
            texts = [node.get_content() for node in nodes]
            metadata = [node_to_metadata_dict(node, remove_text=True, flat_metadata=False) for node in nodes]
            self._store.upsert(border.batch_of(ids, texts, vectors, metadata))
        return ids

    def delete(self, ref_doc_id: str, **options: Any) -> None:
        """Delete all nodes of a document."""
        del options
        self._store.delete(where={"ref_doc_id": ref_doc_id})

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: types.MetadataFilters | None = None, **options: Any
    ) -> None:
        """Delete nodes by ids or by filters."""
        del options
        self._store.delete(node_ids, where=None if filters is None else _where(filters))

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: types.MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return nodes by their ids."""
        if node_ids is None or filters is not None:
            raise InvalidInput("Nodes are given by their ids; to find some by filters, query with them.")
        return [_node(entry.metadata, entry.text) for entry in self._store.get(node_ids).entries]

    def clear(self) -> None:
        """Delete everything."""
        self._store.delete(where={})

    def query(self, query: types.VectorStoreQuery, **options: Any) -> types.VectorStoreQueryResult:
        """Find the nearest nodes, or those with the words of the question where its mode is text search.

        Raises:
            InvalidInput: a mode or a filter that stores do not have.
        """
        del options
        where = None if query.filters is None else _where(query.filters)
        for field, given in (("ref_doc_id", query.doc_ids), ("id_", query.node_ids)):
            if given and field == "id_":
                raise InvalidInput("Questions among given node ids are not answered; use filters.")
            if given:
                where = {"$and": [where or {}, {field: {"in": list(given)}}]}
        hits = self._hits(query, where)
        return types.VectorStoreQueryResult(
            nodes=[_node(hit.metadata, hit.text) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )

    def _hits(self, query: types.VectorStoreQuery, where: dict[str, Any] | None) -> list[Hit]:
        store = self.client
        if query.mode == types.VectorStoreQueryMode.TEXT_SEARCH and query.query_str is not None:
            return store.search_text(query.query_str, query.similarity_top_k, where=where)
        if query.mode != types.VectorStoreQueryMode.DEFAULT or query.query_embedding is None:
            raise InvalidInput(f"The mode {query.mode} is not answered; accepted: default and text_search.")
        return store.search(np.array(query.query_embedding, np.float32), query.similarity_top_k, where=where)


def _node(metadata: Any, text: str) -> BaseNode:
    node: BaseNode = metadata_dict_to_node(dict(metadata), text=text)
    return node


def _where(filters: types.MetadataFilters) -> dict[str, Any]:
    """Return LlamaIndex's filters as ours."""
    parts = [_where(one) if isinstance(one, types.MetadataFilters) else _condition(one) for one in filters.filters]
    if not parts:
        return {}
    if filters.condition == types.FilterCondition.OR:
        return {"$or": parts}
    if filters.condition == types.FilterCondition.NOT:
        return {"$not": {"$or": parts}}
    return {"$and": parts}


def _condition(given: types.MetadataFilter) -> dict[str, Any]:
    name = "\\" * given.key.startswith("$") + given.key
    operator = given.operator.value
    if operator in _ORDERS:
        return {name: {operator: given.value}}
    if operator in ("in", "nin"):
        held = {name: {"in": given.value}}
        return held if operator == "in" else {"$not": held}
    if operator == "contains":  # a list holds the value: that is what == means here
        return {name: {"==": given.value}}
    raise InvalidInput(f"The operator {operator!r} is not answered; accepted: {', '.join(_ORDERS)}, in, nin, contains.")
