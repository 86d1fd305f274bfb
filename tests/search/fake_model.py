"""A model without weights or torch, and files, for tests: a text's vector is the sum of random ones of its words."""

from __future__ import annotations

import os
import re
import zlib
from functools import cache

import numpy as np

LONG_AGO = 1_000_000_000  # when the files of tests were written


class FakeModel:
    """Satisfies TextEncoder; `encoded` lists every document that went through it."""

    def __init__(self, name="fake", dim=32, max_seq_length=32):
        self.name = name
        self.dim = dim
        self.similarity_name = "cosine"
        self.passage_tokens = max_seq_length - 2
        self.fingerprint = f"{zlib.crc32(f'{name} {dim} {max_seq_length}'.encode()):08x}"
        self.encoded = []

    def token_spans(self, text):
        return [m.span() for m in re.finditer(r"\w+|[^\w\s]", text)]

    def encode_query(self, texts, *, progress=None):
        return self._encode(texts)

    def encode_document(self, texts, *, progress=None):
        self.encoded += texts
        return self._encode(texts)

    def _encode(self, texts):
        assert not isinstance(texts, str)
        return np.array([self._vector(text) for text in texts], dtype=np.float32).reshape(-1, self.dim)

    def _vector(self, text):
        words = [text[a:b].lower() for a, b in self.token_spans(text)] or [""]
        return sum(_of_word(word, self.dim) for word in words)


@cache
def _of_word(word, dim):
    return np.random.default_rng(zlib.crc32(word.encode("utf-8", "replace"))).normal(size=dim)


def write(path, text, age=LONG_AGO):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.utime(path, (age, age))
