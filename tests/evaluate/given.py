"""Models whose vectors are given: one for this package, and the same one for sentence-transformers' evaluators."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from sentvec.checkpoint.recipe import Recipe
from sentvec.evaluate.vectors import Vectors
from sentvec.ops.similarity import similarity


class Given:
    """Satisfies `sentvec.evaluate.vectors.Model`; `encoded` counts the texts that went through it."""

    name = "given"
    precision = "float32"
    fingerprint = "0" * 64

    def __init__(self, vectors, kind="cosine", prompts=None):
        self.table = {text: np.asarray(row, np.float32) for text, row in vectors.items()}
        self.dim = len(next(iter(self.table.values())))
        self.similarity_name = kind
        self.recipe = Recipe(max_seq_length=16, similarity=kind, prompts=prompts or {})
        self.encoded = 0

    def encode(self, texts, *, prompt=None, progress=None, workers=None):
        texts = [f"{prompt or ''}{text}" for text in texts]
        self.encoded += len(texts)
        return np.array([self.table[text] for text in texts], np.float32).reshape(-1, self.dim)

    @property
    def vectors(self):
        return Vectors(self, progress=False)


class Peer:
    """The same for sentence-transformers."""

    def __init__(self, model):
        self._model = model
        self.similarity_fn_name = model.similarity_name
        self.similarity = similarity(model.similarity_name)
        self.model_card_data = SimpleNamespace(set_evaluation_metrics=lambda *_: None)

    def encode(self, sentences, convert_to_numpy=True, convert_to_tensor=False, **_):
        rows = self._model.encode(list(sentences))
        if convert_to_tensor:
            return torch.from_numpy(rows)
        return rows if convert_to_numpy else list(torch.from_numpy(rows))

    encode_query = encode_document = encode


def near(centres, noise, random):
    """Return vectors around others."""
    return (centres + noise * random.normal(size=centres.shape)).astype(np.float32)
