"""Passages and vectors kept on servers: the same questions, asked of PostgreSQL, Qdrant, Milvus or Elasticsearch."""
