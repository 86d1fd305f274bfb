"""LangChain's and LlamaIndex's own classes over a store: what they put in, they find, filter and delete."""

from __future__ import annotations

import asyncio
import warnings

import numpy as np
import pytest

from sentvec.errors import InvalidInput, ModelMismatch
from sentvec.stores.opening import open_store, spec_of

WORDS = ("cat", "dog", "fish", "bird", "tree", "stone")
TEXTS = ["a cat", "a dog and a cat", "the fish", "bird and fish"]
METADATA = [{"n": n, "tags": [text.split()[-1]]} for n, text in enumerate(TEXTS)]


class Model:
    """A text's vector counts its words; a question's leans a little towards stone."""

    name, fingerprint, dim, similarity_name, passage_tokens = "counting", "c" * 32, len(WORDS) + 1, "cosine", 100

    def encode_document(self, texts, *, progress=None):
        return np.array([[text.count(word) for word in WORDS] + [0.1] for text in texts], np.float32)

    def encode_query(self, texts, *, progress=None):
        return self.encode_document(texts) + np.array([0.0] * len(WORDS) + [0.01], np.float32)


@pytest.fixture
def opened(tmp_path):
    with open_store(str(tmp_path / "c.sv"), spec_of(Model())) as store:
        yield store


def test_langchain(opened):
    pytest.importorskip("langchain_core", reason="needs langchain-core (extra langchain)")
    from langchain_core.documents import Document

    from sentvec.stores.langchain import SentvecEmbeddings, SentvecVectorStore

    embeddings = SentvecEmbeddings(Model())
    assert embeddings.embed_documents([]) == []
    assert embeddings.embed_query("cat") != embeddings.embed_documents(["cat"])[0]
    store = SentvecVectorStore.from_texts(TEXTS, embeddings, METADATA, ids=list("abcd"), store=opened)
    (first,) = store.similarity_search("cat", 1)
    assert (first.id, first.page_content, first.metadata) == ("a", TEXTS[0], METADATA[0])
    assert [d.id for d in store.similarity_search("fish", 4, filter={"n": {">": 2}})] == ["d"]
    assert [d.id for d in store.similarity_search("dog", 1, hybrid=True)] == ["b"]
    ((found, score),) = store.similarity_search_with_relevance_scores("fish", 1)
    assert found.id == "c" and 0.99 < score <= 1
    assert [d.id for d in store.similarity_search_by_vector(embeddings.embed_query("bird"), 1)] == ["d"]
    diverse = [d.id for d in store.max_marginal_relevance_search("cat", 2, lambda_mult=0.1)]
    assert diverse[0] == "a" and diverse[1] in "cd"
    assert store.as_retriever(search_kwargs={"k": 1}).invoke("the fish")[0].id == "c"
    added = store.add_documents([Document(id="e", page_content="a tree"), Document(page_content="a stone")])
    assert added[0] == "e" and len(set(added)) == 2
    assert [d.id for d in asyncio.run(store.asimilarity_search("tree", 1))] == ["e"]
    assert [d.page_content for d in store.get_by_ids(["e", "absent", "a"])] == ["a tree", "a cat"]
    assert store.delete(["e"]) and store.get_by_ids(["e"]) == []
    assert store.delete() and opened.count() == 0
    with pytest.raises(InvalidInput, match="open_store"):
        SentvecVectorStore.from_texts(TEXTS, embeddings)


def test_langchain_refuses_another_model(opened):
    pytest.importorskip("langchain_core", reason="needs langchain-core (extra langchain)")
    from sentvec.stores.langchain import SentvecVectorStore

    other = Model()
    other.fingerprint = "d" * 32
    with pytest.raises(ModelMismatch, match="counting"):
        SentvecVectorStore(opened, other)


def test_llamaindex(opened):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, at import
        pytest.importorskip("llama_index.core", reason="needs llama-index-core (extra llamaindex)")
        from llama_index.core import StorageContext, VectorStoreIndex
        from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
        from llama_index.core.vector_stores import MetadataFilter, MetadataFilters, VectorStoreQuery
        from llama_index.core.vector_stores.types import FilterOperator, VectorStoreQueryMode

        from sentvec.stores.llamaindex import SentvecEmbedding, SentvecVectorStore

    embedding, store = SentvecEmbedding(Model()), SentvecVectorStore(opened, Model())
    of = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="document")}
    nodes = [
        TextNode(id_=i, text=text, metadata={"n": m["n"], "tags": m["tags"]}, relationships=of if i in "ab" else {})
        for i, text, m in zip("abcd", TEXTS, METADATA, strict=True)
    ]
    # what the node is encoded with would else be its metadata too
    for node in nodes:
        node.excluded_embed_metadata_keys = ["n", "tags"]
    index = VectorStoreIndex(
        nodes, storage_context=StorageContext.from_defaults(vector_store=store), embed_model=embedding
    )
    (found,) = index.as_retriever(similarity_top_k=1).retrieve("the fish")
    assert (found.node.node_id, found.node.text, found.node.metadata) == ("c", "the fish", METADATA[2])
    assert found.score > 0.99

    def asked(filters, words="fish", **more):
        vector = embedding.get_query_embedding(words)
        query = VectorStoreQuery(query_embedding=vector, similarity_top_k=9, filters=filters, query_str=words, **more)
        return store.query(query).ids

    def where(key, value, operator="=="):
        return MetadataFilter(key=key, value=value, operator=FilterOperator(operator))

    assert asked(None)[0] == "c" and len(asked(None)) == 4
    assert asked(MetadataFilters(filters=[where("n", 2, ">="), where("tags", "fish", "contains")]))[0] == "c"
    either = MetadataFilters(filters=[where("n", [0, 1], "in"), where("n", 3)], condition="or")
    assert sorted(asked(either)) == ["a", "b", "d"]
    assert sorted(asked(MetadataFilters(filters=[where("n", [0, 1], "nin"), either]))) == ["d"]
    assert asked(None, "dog", mode=VectorStoreQueryMode.TEXT_SEARCH) == ["b"]
    assert sorted(asked(None, doc_ids=["document"])) == ["a", "b"]
    with pytest.raises(InvalidInput, match="text_match"):
        asked(MetadataFilters(filters=[where("n", "x", "text_match")]))
    with pytest.raises(InvalidInput, match="mode"):
        asked(None, mode=VectorStoreQueryMode.SPARSE)
    assert [node.text for node in store.get_nodes(["b"])] == [TEXTS[1]]
    store.delete("document")
    assert sorted(asked(None)) == ["c", "d"]
    store.delete_nodes(["c"])
    store.clear()
    assert opened.count() == 0
