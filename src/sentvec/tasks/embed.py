"""Texts in, vectors of their tokens or how similar they are out: tasks that need no head, or only may have one."""

from __future__ import annotations

from typing import Any

from sentvec.errors import InvalidInput
from sentvec.runtime.embedder import Embedder
from sentvec.runtime.reranker import Reranker
from sentvec.tasks.inputs import listed, plain_text, text_or_pair
from sentvec.text.tokenizer import Text


class FeatureExtraction:
    """Gives the last hidden state of every token, special tokens included.

    Args:
        model: the encoder.
        truncate: cut texts that are too long, instead of refusing them.
    """

    def __init__(self, model: Embedder, *, truncate: bool = False) -> None:
        self.model = model
        self.truncate = truncate

    def __call__(self, texts: Any) -> Any:
        """Extract: one str or a list of them.

        Returns:
            For each text a list with one list in it, of as many lists of numbers as the text has tokens: (1, tokens,
            hidden), as the field has it. `Embedder.encode_tokens` gives arrays.

        Raises:
            InvalidInput: something is not a text, or is too long.
        """
        given, alone = listed(texts)
        sentences = [plain_text(text, place) for place, text in enumerate(given)]
        if not self.truncate:
            _refuse_long(self.model.count_tokens(sentences), self.model.max_seq_length)
        found = [[states.tolist()] for states in self.model.encode_tokens(sentences)]
        return found[0] if alone else found


class TextSimilarity:
    """Says how similar the two texts of a pair are.

    Args:
        model: an encoder, whose vectors are compared with the similarity that the checkpoint names; or a
            cross-encoder with one label, whose score it is.
        truncate: cut texts that are too long, instead of refusing them.

    Raises:
        InvalidInput: the cross-encoder has several labels.
    """

    def __init__(self, model: Embedder | Reranker, *, truncate: bool = False) -> None:
        if isinstance(model, Reranker) and len(model.labels) != 1:
            raise InvalidInput(
                f"{model.name} tells pairs apart as {', '.join(model.labels[:8])}, which is no one similarity. "
                "Use the task text-classification."
            )
        self.model = model
        self.truncate = truncate

    def __call__(self, texts: Any) -> Any:
        """Compare pairs: one or a list of (text, text), or of dicts of `text` and `text_pair`.

        Returns:
            A dict of `score` for each pair; larger is more similar.

        Raises:
            InvalidInput: something is not a pair of texts, or is too long.
        """
        given, alone = listed(texts)
        pairs = [_pair(text_or_pair(text, place), place) for place, text in enumerate(given)]
        found = [{"score": score} for score in self._scores(pairs)]
        return found[0] if alone else found

    def _scores(self, pairs: list[tuple[str, str]]) -> list[float]:
        model = self.model
        if isinstance(model, Reranker):
            if not self.truncate:
                rows = model.tokenizer.encode(pairs)
                _refuse_long([len(ids) for ids in rows], model.max_seq_length)
            scores: list[float] = model.score(pairs).tolist()
            return scores
        flat = [text for pair in pairs for text in pair]
        if not self.truncate:
            counts = model.count_tokens(flat)
            _refuse_long([max(counts[i : i + 2]) for i in range(0, len(counts), 2)], model.max_seq_length)
        vectors = model.encode(flat)
        return [float(model.similarity(*vectors[i : i + 2])[0, 0]) for i in range(0, len(flat), 2)]


def _pair(text: Text, place: int) -> tuple[str, str]:
    if isinstance(text, str):
        raise InvalidInput(f"text {place} is one text; text-similarity needs a pair: (text, text).")
    return text


def _refuse_long(counts: list[int], limit: int) -> None:
    for place, count in enumerate(counts):
        if count > limit:
            raise InvalidInput(
                f"text {place} has {count} tokens, but the model reads {limit}, special tokens included. "
                "Shorten it, or pass truncate=True to lose its end."
            )
