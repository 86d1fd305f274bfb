"""Labelled texts, tagged words and answered questions in; token ids with targets, and batches of them, out."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sentvec.batch import TokenIds
from sentvec.errors import InvalidInput
from sentvec.tasks.windows import windows
from sentvec.text.tokenizer import Text, Tokenizer
from sentvec.train.heads import IGNORED, Rows
from sentvec.train.together import Team


@dataclass(frozen=True)
class Question:
    """A question about a text.

    Attributes:
        question: the question.
        context: the text.
        answers: what can be answered, each with the place of its first character, or -1 where it is not in the text;
            none where the text does not say.
    """

    question: str
    context: str
    answers: tuple[tuple[str, int], ...]

    @property
    def lost(self) -> bool:
        """Whether the answer to be learnt, the first one, is not in the text."""
        return bool(self.answers) and self.answers[0][1] < 0


class RowSource:
    """Rows in batches, shuffled anew in each epoch.

    Args:
        head: the head that learns from them.
        rows: what the model reads, and its target.
        batch_size: rows of a batch.
        seed: of the order.
        team: the processes, each of which gets its share of each batch.
    """

    def __init__(
        self,
        head: str,
        rows: Sequence[tuple[TokenIds, Tensor]],
        *,
        batch_size: int,
        seed: int,
        team: Team | None = None,
    ) -> None:
        if not rows:
            raise InvalidInput("there are no rows to learn from.")
        self._head, self._rows, self._size, self._seed, self._team = head, rows, batch_size, seed, team or Team()

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Rows]]:
        """Yield (0, rows) of an epoch from its `start`-th batch on."""
        order = list(range(len(self._rows)))
        random.Random(f"{self._seed} {epoch}").shuffle(order)  # noqa: S311 - no secret
        for first in range(start * self._size, len(order), self._size):
            share = order[first : first + self._size][self._team.rank :: self._team.size]
            chosen = [self._rows[i] for i in share]
            yield 0, Rows([tokens for tokens, _ in chosen], {self._head: [target for _, target in chosen]})

    def steps(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        del epoch  # all have as many
        return -(-len(self._rows) // self._size)


def text_rows(
    texts: Sequence[Text], targets: Iterable[float | int | Sequence[float]], tokenizer: Tokenizer, limit: int
) -> list[tuple[TokenIds, Tensor]]:
    """Return texts or pairs with their label's number, their score, or 0 and 1 for each label."""
    return list(zip(tokenizer.encode(texts, limit), map(_target, targets), strict=True))


def word_rows(
    sentences: Sequence[tuple[Sequence[str], Sequence[int]]], tokenizer: Tokenizer, limit: int
) -> list[tuple[TokenIds, Tensor]]:
    """Return sentences, whose words have labels, as tokens of which the first of each word has it.

    A sentence that is too long is read in windows that do not overlap, so that each label is learnt once.

    Args:
        sentences: words, and the number of each word's label.
        tokenizer: the tokeniser.
        limit: most tokens of a row, special tokens included.
    """
    flat = [word for words, _ in sentences for word in words]
    cut = iter(tokenizer.pieces(flat))
    rows = []
    for words, labels in sentences:
        ids: list[int] = []
        targets: list[int] = []
        for _, label in zip(words, labels, strict=True):
            piece = next(cut).ids
            ids += piece
            targets += [label, *[IGNORED] * (len(piece) - 1)] if piece else []
        for start, end in windows(len(ids), limit - tokenizer.special_tokens, 0):
            row, before = tokenizer.assemble(ids[start:end])
            after = len(row) - before - (end - start)
            wanted = [*[IGNORED] * before, *targets[start:end], *[IGNORED] * after]
            rows.append((row, torch.tensor(wanted)))
    return rows


def question_rows(
    questions: Sequence[Question], tokenizer: Tokenizer, limit: int, *, overlap: int = 128
) -> list[tuple[TokenIds, Tensor]]:
    """Return questions beside their texts, in windows, with the places of the first answer's first and last token.

    A window without the answer has the place of the first token, which stands for "no answer" (Devlin et al. 2018,
    section 4.3). Questions whose answer is not in the text are left out.
    """
    questions = [one for one in questions if not one.lost]
    asked = tokenizer.pieces([one.question for one in questions])
    told = tokenizer.pieces([one.context for one in questions])
    rows = []
    for one, question, context in zip(questions, asked, told, strict=True):
        room = limit - tokenizer.pair_special_tokens - len(question)
        if room < 2:
            raise InvalidInput(f"the question {one.question[:60]!r} leaves no room for its text in {limit} tokens.")
        first, last = _span(one, context.spans)
        for start, end in windows(len(context), room, min(overlap, room // 2)):
            row, before = tokenizer.assemble(question.ids, context.ids[start:end])
            inside = first is not None and last is not None and start <= first and last < end
            at = (
                (before + first - start, before + last - start)
                if inside and first is not None and last is not None
                else (0, 0)
            )
            rows.append((row, torch.tensor(at)))
    return rows


def _span(one: Question, spans: Sequence[tuple[int, int]]) -> tuple[int | None, int | None]:
    """Return the first and the last token of the first answer."""
    if not one.answers:
        return None, None
    text, start = one.answers[0]
    touched = [i for i, (a, b) in enumerate(spans) if a < start + len(text) and b > start]
    return (touched[0], touched[-1]) if touched else (None, None)


def _target(value: float | int | Sequence[float]) -> Tensor:
    return torch.tensor(value, dtype=torch.int64 if isinstance(value, int) else torch.float32)
