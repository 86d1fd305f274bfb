"""Pairs of texts in, scores out: a cross-encoder that says how well each document answers a query."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from sentvec.checkpoint.headed import Headed
from sentvec.errors import HeadNotFound, InvalidInput
from sentvec.models.heads import elementwise
from sentvec.runtime.engine import Array
from sentvec.runtime.headed import HeadedModel, read_headed
from sentvec.text.tokenizer import Tokenizer

TASK = "sequence-classification"


@dataclass(frozen=True)
class Ranked:
    """One document's place in a ranking.

    Attributes:
        index: its position among the documents that were given.
        score: larger is better.
        text: the document.
    """

    index: int
    score: float
    text: str


class Reranker:
    """Scores pairs of texts with one cross-encoder (Nogueira & Cho 2019, arXiv 1901.04085).

    Make one with `from_pretrained`. Safe to use from several threads at once.

    Attributes:
        name: the repository's name, or the folder that it was made from.
        activation: class path of what follows the logits.
    """

    def __init__(
        self,
        headed: Headed,
        *,
        name: str,
        folder: Path | None = None,
        precision: str = "float32",
        device: str = "auto",
    ) -> None:
        if headed.task != TASK:
            raise HeadNotFound(f"{name} was read for {headed.task}; a reranker needs a head for {TASK}.")
        # a single logit is trained with binary cross-entropy unless the files say otherwise
        self.activation = headed.activation or ("torch.nn.Sigmoid" if len(headed.labels) == 1 else "torch.nn.Identity")
        self._act: nn.Module = elementwise(self.activation, f"the activation function {{!r}} of {name}")
        self.name = name
        self._model = HeadedModel(headed, name=name, folder=folder, precision=precision, device=device)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        precision: str = "float32",
        device: str = "auto",
        revision: str | None = None,
        local_files_only: bool = False,
        max_seq_length: int | None = None,
    ) -> Reranker:
        """Load a cross-encoder: a checkpoint with a head for sequence classification.

        Args:
            name: a folder, or a repository of the Hugging Face Hub such as ``"BAAI/bge-reranker-base"``.
            precision: float32, bfloat16, float16 or int8: what the encoder runs in. Scores are float32.
            device: auto, cpu, cuda, cuda:1, mps …
            revision: branch, tag or commit on the Hub.
            local_files_only: never touch the network.
            max_seq_length: most tokens of a pair, special tokens included, instead of the checkpoint's.

        Raises:
            HeadNotFound: the checkpoint has another head, or none.
            ModelNotFound: there is no such model.
            ModelError: the model's files are broken, unsafe or not supported.
            InvalidInput: an argument's value is not known.
        """
        headed, folder = read_headed(
            name,
            TASK,
            precision=precision,
            revision=revision,
            local_files_only=local_files_only,
            max_seq_length=max_seq_length,
        )
        return cls(headed, name=os.fspath(name), folder=folder, device=device, precision=precision)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the scores of a pair; one for most rerankers."""
        return self._model.labels

    @property
    def max_seq_length(self) -> int:
        """Most tokens of a pair, special tokens included; of a longer one the longer text loses its end."""
        return self._model.max_seq_length

    @property
    def precision(self) -> str:
        """The encoder's number format."""
        return self._model.precision

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokeniser."""
        return self._model.engine.tokenizer

    def score(
        self, pairs: Iterable[tuple[str, str]], *, raw: bool = False, left: bool = False, progress: bool | None = None
    ) -> Array:
        """Score pairs, in the order in which they come.

        A pair that is longer than `max_seq_length` tokens loses the end of its longer text, token by token; how many
        did is logged once, as a warning.

        Args:
            pairs: (query, document) tuples; any iterable of them, a generator too.
            raw: return logits, without the checkpoint's activation.
            left: whether texts lose their beginnings, and not their ends.
            progress: True shows progress, False does not, None shows it on a terminal after two seconds.

        Returns:
            float32, (n,) for a model with one label, else (n, labels).

        Raises:
            InvalidInput: something is not a pair of texts.
            NonFiniteOutput: a score is NaN or infinity.
        """
        then = None if raw else self._act
        scores = self._model.text_logits(_pairs(pairs), then=then, left=left, progress=progress)
        return scores[:, 0] if len(self.labels) == 1 else scores

    def rank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_k: int | None = None,
        raw: bool = False,
        progress: bool | None = None,
    ) -> list[Ranked]:
        """Order documents by how well they answer a query.

        Args:
            query: a text.
            documents: texts.
            top_k: how many to return; None is all.
            raw: rank with logits, without the checkpoint's activation. The order is the same unless that saturates.
            progress: as for `score`.

        Returns:
            The best first; of equal scores the one given first.

        Raises:
            InvalidInput: something is not a text, `top_k` is below 1, or the model has several labels.
            NonFiniteOutput: a score is NaN or infinity.
        """
        if len(self.labels) != 1:
            raise InvalidInput(
                f"{self.name} gives {len(self.labels)} scores for a pair ({', '.join(self.labels[:5])}), so there is "
                "no one order. Call score, and order by the label that you want."
            )
        if top_k is not None and (not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1):
            raise InvalidInput(f"top_k is {top_k!r}, which should be a whole number, 1 or more.")
        if not isinstance(query, str):
            raise InvalidInput(f"query is {type(query).__name__} ({str(query)[:60]!r}); give a str.")
        texts = _documents(documents)
        scores = self.score([(query, text) for text in texts], raw=raw, progress=progress)
        order = np.argsort(-scores, kind="stable")[:top_k]
        return [Ranked(int(i), float(scores[i]), texts[i]) for i in order]

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that transformers, sentence-transformers' CrossEncoder and sentvec can load, in float32.

        Raises:
            InvalidInput: there is a file of that name.
        """
        self._model.save_pretrained(folder)


def _documents(documents: Iterable[str]) -> list[str]:
    if isinstance(documents, str | bytes | Mapping) or not isinstance(documents, Iterable):
        raise InvalidInput(f"documents is {type(documents).__name__}; give a list or other iterable of str.")
    texts = list(documents)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidInput(f"document {place} is {type(text).__name__} ({str(text)[:60]!r}); give a str.")
    return texts


def _pairs(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Return the pairs as something to go through in which everything is a pair."""
    if isinstance(pairs, str | bytes | Mapping) or not isinstance(pairs, Iterable):
        raise InvalidInput(f"pairs is {type(pairs).__name__}; give a list or other iterable of (query, document).")
    if isinstance(pairs, tuple) and len(pairs) == 2 and all(isinstance(part, str) for part in pairs):
        raise InvalidInput("pairs is one pair; give a list of pairs: [(query, document)].")

    def each(given: Iterable[object]) -> Iterable[tuple[str, str]]:
        for place, pair in enumerate(given):
            if isinstance(pair, str) or not isinstance(pair, tuple | list) or len(pair) != 2:
                raise InvalidInput(
                    f"pair {place} is {type(pair).__name__} ({str(pair)[:60]!r}); give a tuple of two str: "
                    "(query, document)."
                )
            yield pair[0], pair[1]

    return list(each(pairs)) if isinstance(pairs, list | tuple) else each(pairs)
