"""Plain text in; rows whose masked tokens, and whose pairs of passages, are to be told, out (Devlin et al. 2018).

15 % of the tokens are asked for: of these 80 % show the mask, 10 % another token and 10 % themselves. Pairs of passages
follow one another or not: "nsp" puts a passage of another document second (BERT), "sop" turns the two round (Lan et al.
2020, ALBERT, arXiv 1909.11942). Each epoch masks and pairs anew.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sentvec.batch import TokenIds
from sentvec.errors import InvalidInput
from sentvec.text.tokenizer import Pieces, Tokenizer
from sentvec.train.heads import IGNORED, Rows
from sentvec.train.together import Team

PAIRS = ("nsp", "sop")
Segment = Callable[[str], Sequence[str]]
"""Cuts a text into words: for languages that put no blanks between them."""


@dataclass(frozen=True, kw_only=True)
class Masking:
    """What is masked.

    Attributes:
        share: of the tokens.
        whole_words: whether a word is masked with all its pieces (Cui et al. 2021, arXiv 1906.08101).
        segment: for `whole_words`, what a word is; None is what the tokeniser parts by blanks and signs, which for
            Chinese is one character.
        hidden: share of the chosen tokens that show the mask; half of the rest show another token.
    """

    share: float = 0.15
    whole_words: bool = False
    segment: Segment | None = None
    hidden: float = 0.8

    def __post_init__(self) -> None:
        """Refuse what is not possible.

        Raises:
            InvalidInput: a share is not one, or words are asked for that are not to be masked whole.
        """
        if not (0 < self.share < 1 and 0 <= self.hidden <= 1):
            raise InvalidInput(f"shares of masked tokens are {self.share} and {self.hidden}; accepted: 0 to 1.")
        if self.segment is not None and not self.whole_words:
            raise InvalidInput("segment says what a word is, so it needs whole_words=True.")


class MaskedSource:
    """Rows of a corpus, masked anew in each epoch; see `sentvec.train.loop.Source`.

    Args:
        documents: each a list of sentences or paragraphs, in their order.
        tokenizer: the tokeniser.
        limit: most tokens of a row, special tokens included.
        batch_size: rows of a batch.
        seed: of all that is random.
        masking: what is masked.
        pairs: None for single passages, "nsp" or "sop".
        heads: names of the heads that tell masked tokens, and which of the two a pair is.
        team: the processes, each of which gets its share of each batch.

    Raises:
        InvalidInput: there is no text, the tokeniser has no mask, or a value is not possible.
    """

    def __init__(
        self,
        documents: Sequence[Sequence[str]],
        tokenizer: Tokenizer,
        limit: int,
        *,
        batch_size: int,
        seed: int,
        masking: Masking | None = None,
        pairs: str | None = None,
        heads: tuple[str, str] = ("masked-lm", "next-sentence"),
        team: Team | None = None,
    ) -> None:
        if pairs not in (None, *PAIRS):
            raise InvalidInput(f"pairs is {pairs!r}. Known: {', '.join(PAIRS)}, or None.")
        self._masking = masking or Masking()
        self._tokenizer, self._size, self._seed, self._pairs = tokenizer, batch_size, seed, pairs
        self._heads, self._team = heads, team or Team()
        special = tokenizer.special()
        mask = next((i for token, i in special.items() if "mask" in token.lower()), None)
        if mask is None:
            raise InvalidInput("the tokeniser has no token that stands for a masked one, such as [MASK].")
        self._mask = mask
        self._plain = sorted(set(tokenizer.vocab().values()) - set(special.values()))
        around = tokenizer.special_tokens if pairs is None else tokenizer.pair_special_tokens
        room = limit - around
        if room < 2:
            raise InvalidInput(f"rows of {limit} tokens leave no room for text.")
        self._passages = self._cut(documents, room if pairs is None else room // 2)
        self._follow = [
            (i, i + 1)
            for i in range(len(self._passages) - 1)
            if pairs is not None and self._passages[i].document == self._passages[i + 1].document
        ]
        if not (self._passages if pairs is None else self._follow):
            need = "text" if pairs is None else "document of two passages"
            raise InvalidInput(f"there is no {need} to learn from.")

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Rows]]:
        """Yield (0, rows) of an epoch from its `start`-th batch on."""
        order = list(range(self._count))
        random.Random(f"{self._seed} {epoch}").shuffle(order)  # noqa: S311 - no secret
        for first in range(start * self._size, len(order), self._size):
            share = order[first : first + self._size][self._team.rank :: self._team.size]
            made = [self._row(epoch, number) for number in share]
            targets: dict[str, list[Tensor]] = {self._heads[0]: [masked for _, masked, _ in made]}
            if self._pairs is not None:
                targets[self._heads[1]] = [torch.tensor(label) for _, _, label in made]
            yield 0, Rows([tokens for tokens, _, _ in made], targets)

    def steps(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        del epoch  # all have as many
        return -(-self._count // self._size)

    @property
    def _count(self) -> int:
        return len(self._passages) if self._pairs is None else len(self._follow)

    def _row(self, epoch: int, number: int) -> tuple[TokenIds, Tensor, int]:
        """Make a row anew: what the model reads, the tokens that are asked for, and which of the two a pair is."""
        draw = random.Random(f"{self._seed} {epoch} {number}")  # noqa: S311 - no secret
        if self._pairs is None:
            passage = self._passages[number]
            row, before = self._tokenizer.assemble(passage.ids)
            return *self._masked(row, [(before, passage)], draw), 0
        one, two = (self._passages[i] for i in self._follow[number])
        label = int(draw.random() < 0.5)
        if label and self._pairs == "sop":
            one, two = two, one
        elif label:
            label = int(self._passages[0].document != self._passages[-1].document)  # is there another document?
            while label and two.document == one.document:
                two = draw.choice(self._passages)
        row, before = self._tokenizer.assemble(one.ids, two.ids)
        at = [(self._tokenizer.assemble(one.ids)[1], one), (before, two)]
        return *self._masked(row, at, draw), label

    def _masked(
        self, row: TokenIds, passages: Sequence[tuple[int, _Passage]], draw: random.Random
    ) -> tuple[TokenIds, Tensor]:
        masking = self._masking
        words: dict[tuple[int, int], list[int]] = {}
        for turn, (before, passage) in enumerate(passages):
            for place, number in enumerate(passage.words):
                words.setdefault((turn, number if masking.whole_words else place), []).append(before + place)
        order = list(words.values())
        draw.shuffle(order)
        wanted = max(round(masking.share * sum(map(len, order))), 1)
        ids, targets = list(row.ids), [IGNORED] * len(row)
        taken = 0
        for word in order:
            if taken and taken + len(word) > wanted:
                continue
            for at in word:
                targets[at] = row.ids[at]
                chance = draw.random()
                if chance < masking.hidden:
                    ids[at] = self._mask
                elif chance < (1 + masking.hidden) / 2:
                    ids[at] = draw.choice(self._plain)
            taken += len(word)
            if taken >= wanted:
                break
        return TokenIds(ids, row.types), torch.tensor(targets)

    def _cut(self, documents: Sequence[Sequence[str]], room: int) -> list[_Passage]:
        """Fill passages with sentences one after the other; none reaches over the end of a document."""
        flat = [(number, text) for number, document in enumerate(documents) for text in document]
        pieces = self._tokenizer.pieces([text for _, text in flat])
        found: list[_Passage] = []
        ids: list[int] = []
        words: list[int] = []
        last = -1
        for (number, text), piece in zip(flat, pieces, strict=True):
            own = self._words(text, piece)
            if ids and (number != last or len(ids) + len(piece) > room):
                found.append(_Passage(ids, words, last))
                ids, words = [], []
            last = number
            for start in range(0, len(piece), room):  # a sentence that is too long alone
                part = slice(start, start + room)
                if len(ids) + len(piece.ids[part]) > room:
                    found.append(_Passage(ids, words, number))
                    ids, words = [], []
                first = words[-1] + 1 if words else 0
                ids = ids + piece.ids[part]
                words = words + [first + word for word in own[part]]
        return [*found, _Passage(ids, words, last)] if ids else found

    def _words(self, text: str, piece: Pieces) -> list[int]:
        """Number the words of a text, for each of its tokens."""
        if self._masking.segment is None:
            numbers: list[int] = []
            for place, number in enumerate(piece.words):
                new = place == 0 or number is None or number != piece.words[place - 1]
                numbers.append((numbers[-1] if numbers else -1) + new)
            return numbers
        ends: list[int] = []
        end = 0
        for word in self._masking.segment(text):
            begin = text.find(word, end)
            if begin < 0:
                raise InvalidInput(f"segment gives {word!r}, which does not stand in {text[:60]!r} in its turn.")
            end = begin + len(word)
            ends.append(end)
        return [sum(end <= start for end in ends) for start, _ in piece.spans]


@dataclass(frozen=True)
class _Passage:
    """Tokens of one document, the number of each one's word, and the document's number."""

    ids: list[int]
    words: list[int]
    document: int
