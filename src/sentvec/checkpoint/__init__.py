"""Folders on disk <-> live objects: Hugging Face's and sentence-transformers' layouts, old and new."""
