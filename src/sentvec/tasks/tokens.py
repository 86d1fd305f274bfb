"""Texts in, labelled tokens and entities with their places in the text out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from sentvec.errors import InvalidInput
from sentvec.runtime.engine import Array
from sentvec.runtime.headed import HeadedModel
from sentvec.tasks.entities import STRATEGIES, Token, entities, merged
from sentvec.tasks.inputs import Result, listed, one_of, plain_text, texts_of, whole
from sentvec.tasks.windows import windows
from sentvec.text.tokenizer import Pieces


class TokenClassification:
    """Finds names, parts of speech and other entities in texts.

    Args:
        model: a model with a head for token classification.
    """

    head = "token-classification"

    def __init__(self, model: HeadedModel) -> None:
        self.model = model
        self._unknown = model.special_id("unk_token")

    def __call__(
        self,
        texts: Any,
        *,
        aggregation_strategy: str = "none",
        ignore_labels: str | Sequence[str] = ("O",),
        stride: int | None = None,
    ) -> Any:
        """Find entities.

        A text that is too long is read in windows; of entities in the part that two windows share, the longer one
        counts, of equals the surer one.

        Args:
            texts: one str or a list of them, in any language that the model reads.
            aggregation_strategy: none, simple, first, average or max, see `sentvec.tasks.entities.entities`.
            ignore_labels: labels that are not told, or one of them.
            stride: tokens that windows share; None is a quarter of what the model reads.

        Returns:
            For each text a list of dicts of `entity_group` (`entity` for the strategy none), `score`, `word`, `start`
            and `end`: characters of the text.

        Raises:
            InvalidInput: something is not a text, an argument's value is not possible, or a text is too long for the
                strategy none, with which windows cannot be put together.
        """
        given, alone = listed(texts)
        sentences = [plain_text(text, place) for place, text in enumerate(given)]
        strategy = one_of(aggregation_strategy, STRATEGIES, "aggregation_strategy")
        ignored = [ignore_labels] if isinstance(ignore_labels, str) else texts_of(ignore_labels, "ignored label")
        tokenizer = self.model.engine.tokenizer
        room = self.model.max_seq_length - tokenizer.special_tokens
        overlap = room // 4 if stride is None else whole(stride, "stride", least=0)
        pieces = self.model.cut(sentences)
        spans = [windows(len(one), room, overlap) for one in pieces]
        if strategy == "none":
            for place, found in enumerate(spans):
                if len(found) > 1:
                    raise InvalidInput(
                        f"text {place} has {len(pieces[place]) + tokenizer.special_tokens} tokens, but the model reads "
                        f"{self.model.max_seq_length}. Give aggregation_strategy='simple' to read it in windows."
                    )
        rows = [
            tokenizer.assemble(one.ids[start:end])[0]
            for one, cuts in zip(pieces, spans, strict=True)
            for start, end in cuts
        ]
        head = self.model.head
        scores = iter(
            self.model.token_values(
                rows,
                len(self.model.labels),
                lambda states, batch: torch.softmax(head(states, batch, self.model.encoder), dim=-1),
            )
        )
        results = []
        for text, one, cuts in zip(sentences, pieces, spans, strict=True):
            every: list[Result] = []
            for cut in cuts:
                tokens = self._tokens(text, one, cut, next(scores))
                told = entities(tokens, self.model.labels, strategy, tokenizer.join)
                every += [e for e in told if e.get("entity_group", e.get("entity")) not in ignored]
            results.append(merged(every) if len(cuts) > 1 else every)
        return results[0] if alone else results

    def _tokens(self, text: str, pieces: Pieces, cut: tuple[int, int], scores: Array) -> list[Token]:
        tokenizer = self.model.engine.tokenizer
        ids = pieces.ids[slice(*cut)]
        _, before = tokenizer.assemble(ids)
        found = []
        for place, (i, piece) in enumerate(zip(ids, tokenizer.tokens(ids), strict=True)):
            start, end = pieces.spans[cut[0] + place]
            word = text[start:end] if i == self._unknown else piece
            if i == self._unknown:
                goes_on = False
            elif tokenizer.continuing_prefix:  # a piece that shows more than stands in the text goes on a word
                goes_on = len(piece) != end - start
            else:
                goes_on = start > 0 and " " not in text[start - 1 : start + 1]
            found.append(Token(word, scores[before + place], start, end, before + place, goes_on))
        return found
