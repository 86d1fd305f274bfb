"""Texts with masked places in, the likeliest tokens for each place out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from sentvec.batch import PackedBatch, TokenIds
from sentvec.errors import InvalidInput, TokenizerError
from sentvec.runtime.engine import Array
from sentvec.runtime.headed import HeadedModel
from sentvec.tasks.inputs import Result, listed, plain_text, texts_of, whole

_log = logging.getLogger("sentvec")


class FillMask:
    """Fills masked places in texts (Devlin et al. 2018).

    Only masked places go through the head, and all texts through the encoder together.

    Args:
        model: a model with a head for masked language modelling.

    Raises:
        TokenizerError: the tokeniser has no mask token.
    """

    head = "masked-lm"

    def __init__(self, model: HeadedModel) -> None:
        self.model = model
        mask = model.special_id("mask_token")
        if mask is None:
            raise TokenizerError(f"the tokeniser of {model.name} has no mask token, so there is nothing to fill.")
        self.mask = mask

    def __call__(self, texts: Any, *, top_k: int = 5, targets: str | Sequence[str] | None = None) -> Any:
        """Fill masked places.

        Args:
            texts: one str or a list of them; each holds the mask token at least once.
            top_k: how many tokens to tell for each place, best first.
            targets: choose among these words only. One that is no token of the vocabulary stands for its first
                token, which the log says.

        Returns:
            For each text a list of dicts of `score`, `token` (its id), `token_str` and `sequence` (the text with the
            token in it); for a text with several masked places a list of such lists. Places are filled one by one: in
            `sequence` the others stay masked.

        Raises:
            InvalidInput: a text is not one, has no masked place, or is too long.
        """
        given, alone = listed(texts)
        sentences = [plain_text(text, place) for place, text in enumerate(given)]
        chosen = None if targets is None else self._targets(targets)
        head = self.model.head
        count = min(whole(top_k, "top_k"), head.out_features if chosen is None else len(chosen))
        rows = self.model.engine.tokenize(sentences)
        for place, ids in enumerate(rows):
            if self.mask not in ids.ids:
                (token,) = self.model.engine.tokenizer.tokens([self.mask])
                cut = f" in the {len(ids)} tokens that are left of it" if ids.lost else ""
                raise InvalidInput(f"text {place} has no {token}{cut}. Put it where a word is to be found.")
        among = None if chosen is None else torch.tensor(chosen, device=self.model.device)

        def forward(states: Tensor, batch: PackedBatch) -> Tensor:
            shares = head.logits(states[batch.ids == self.mask], self.model.encoder).softmax(dim=-1)
            scores, places = (shares if among is None else shares[:, among]).topk(count)
            ids = places if among is None else among[places]
            return torch.cat([scores, ids.to(scores.dtype)], dim=-1)  # float32 holds every id: they end at 2 ** 24

        values = self.model.token_values(rows, 2 * count, forward, chosen=self.mask)
        # the same few tokens fill most places
        spelled = cache(lambda token: self.model.engine.tokenizer.decode([token], skip_special_tokens=False))
        found = [self._filled(ids, one, spelled) for ids, one in zip(rows, values, strict=True)]
        return found[0] if alone else found

    def _filled(self, row: TokenIds, values: Array, spelled: Callable[[int], str]) -> list[Any]:
        tokenizer = self.model.engine.tokenizer
        places = [place for place, i in enumerate(row.ids) if i == self.mask]
        count = values.shape[1] // 2
        results: list[list[Result]] = []
        for place, numbers in zip(places, values, strict=True):
            ranked = []
            for score, token in zip(numbers[:count].tolist(), numbers[count:].astype(int).tolist(), strict=True):
                ids = [*row.ids[:place], token, *row.ids[place + 1 :]]
                ranked.append(
                    {
                        "score": score,
                        "token": token,
                        "token_str": spelled(token),
                        # of several masked places, the others are to be seen
                        "sequence": tokenizer.decode(ids, skip_special_tokens=len(places) == 1),
                    }
                )
            results.append(ranked)
        return results[0] if len(results) == 1 else results

    def _targets(self, given: str | Sequence[str]) -> list[int]:
        tokenizer = self.model.engine.tokenizer
        words = [given] if isinstance(given, str) else texts_of(given, "target")
        vocab = tokenizer.vocab()
        found: dict[int, None] = {}
        for word, pieces in zip(words, tokenizer.pieces(words), strict=True):
            if word in vocab:
                found[vocab[word]] = None
            elif not pieces.ids:
                raise InvalidInput(f"target {word!r} has no token; give words.")
            else:
                (token,) = tokenizer.tokens(pieces.ids[:1])
                _log.warning("target %r is no token of the vocabulary; %r stands for it", word, token)
                found[pieces.ids[0]] = None
        if not found:
            raise InvalidInput("targets holds no word; give some, or leave it away for the whole vocabulary.")
        return sorted(found)
