"""Questions and texts in; the spans of the texts that answer, or that none does, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentvec.batch import TokenIds
from sentvec.errors import InvalidInput
from sentvec.runtime.engine import Array
from sentvec.runtime.headed import HeadedModel
from sentvec.tasks.inputs import listed, whole
from sentvec.tasks.windows import windows
from sentvec.text.tokenizer import Pieces


@dataclass(frozen=True)
class _Window:
    """Part of a context beside its question, as the model reads it.

    Attributes:
        ids: all that the model reads.
        before: tokens before those of the context.
        start, end: tokens of the context that are in it.
        null: place of the token that stands for "no answer".
    """

    ids: TokenIds
    before: int
    start: int
    end: int
    null: int


class QuestionAnswering:
    """Finds the span of a text that answers a question (Rajpurkar et al. 2016, 2018; Devlin et al. 2018, section 4.2).

    The rule: a window's starts and ends each share out one among the tokens of the context and the first token, which
    stands for "no answer". A span scores the product of its start's and its end's share; one that several windows hold
    has its best score. "No answer" scores the least that any window gives it: an answer in one window is enough.

    Args:
        model: a model with a head for question answering.
    """

    head = "question-answering"

    def __init__(self, model: HeadedModel) -> None:
        self.model = model
        self._cls = model.special_id("cls_token")

    def __call__(
        self,
        inputs: Any = None,
        *,
        question: str | None = None,
        context: str | None = None,
        top_k: int = 1,
        max_answer_len: int = 15,
        handle_impossible_answer: bool = False,
        doc_stride: int | None = None,
        align_to_words: bool = True,
    ) -> Any:
        """Answer questions. Contexts of any length are read in windows that overlap.

        Args:
            inputs: one or a list of dicts of `question` and `context`, or of tuples (question, context).
            question: a question, with `context`, in place of `inputs`.
            context: the text that holds the answer.
            top_k: how many answers to tell.
            max_answer_len: most tokens of an answer.
            handle_impossible_answer: whether "no answer", an empty one, is possible.
            doc_stride: tokens that windows share; None is 128, or half of what there is room for if that is less.
            align_to_words: whether an answer is made to hold whole words.

        Returns:
            For each question a dict of `score`, `start`, `end` (characters of the context) and `answer`; a list of
            them, best first, where `top_k` is above 1.

        Raises:
            InvalidInput: something is not a question with a context, the context is empty, or the question leaves no
                room for it.
        """
        if (question is None) != (context is None) or (question is None) == (inputs is None):
            raise InvalidInput("give question and context, or a list of dicts that have both.")
        given, alone = listed({"question": question, "context": context} if inputs is None else inputs)
        asked = [_asked(one, place) for place, one in enumerate(given)]
        whole(top_k, "top_k")
        whole(max_answer_len, "max_answer_len")
        questions = self.model.cut([one for one, _ in asked])
        contexts = self.model.cut([text for _, text in asked])
        cuts = [list(self._windows(questions[i], contexts[i], doc_stride, place=i)) for i in range(len(asked))]
        head = self.model.head
        logits = iter(
            self.model.token_values(
                [window.ids for some in cuts for window in some],
                2,
                lambda states, batch: head(states, batch, self.model.encoder),
            )
        )
        results: list[Any] = []
        for (_, text), pieces, some in zip(asked, contexts, cuts, strict=True):
            spans: dict[tuple[int, int], float] = {}
            null = 1.0
            for window in some:
                shares, none = _shares(window, next(logits))
                null = min(null, none)
                for span, score in _best(window, pieces, shares, max_answer_len, top_k, words=align_to_words).items():
                    spans[span] = max(score, spans.get(span, 0.0))
            answers = [
                {"score": score, "start": start, "end": end, "answer": text[start:end]}
                for (start, end), score in spans.items()
            ]
            if handle_impossible_answer:
                answers.append({"score": null, "start": 0, "end": 0, "answer": ""})
            best = sorted(answers, key=lambda answer: -float(str(answer["score"])))[:top_k]
            results.append(best[0] if top_k == 1 else best)
        return results[0] if alone else results

    def _windows(self, question: Pieces, context: Pieces, stride: int | None, *, place: int) -> Iterator[_Window]:
        tokenizer = self.model.engine.tokenizer
        room = self.model.max_seq_length - tokenizer.pair_special_tokens - len(question)
        if room < 2:
            raise InvalidInput(
                f"question {place} has {len(question)} tokens, which leaves no room for its context in the "
                f"{self.model.max_seq_length} that the model reads. Shorten it."
            )
        if not context.ids:
            raise InvalidInput(f"the context of question {place} is empty, so that nothing in it can answer.")
        overlap = min(128, room // 2) if stride is None else whole(stride, "doc_stride", least=0)
        for start, end in windows(len(context), room, overlap):
            ids, before = tokenizer.assemble(question.ids, context.ids[start:end])
            null = ids.ids.index(self._cls) if self._cls in ids.ids else 0
            yield _Window(ids, before, start, end, null)


def _shares(window: _Window, logits: Array) -> tuple[NDArray[np.float64], float]:
    """Return the shares of starts and ends of the context's tokens, (tokens, 2), and the score of "no answer"."""
    places = [window.null, *range(window.before, window.before + window.end - window.start)]
    powers = np.exp(logits[places].astype(np.float64) - logits[places].max(axis=0))  # products of them are small
    shares = powers / powers.sum(axis=0)
    return shares[1:], float(shares[0, 0] * shares[0, 1])


def _best(
    window: _Window, pieces: Pieces, shares: NDArray[np.float64], longest: int, count: int, *, words: bool
) -> dict[tuple[int, int], float]:
    """Return the best spans of a window that differ, as characters of the context, and their scores."""
    starts, steps = np.indices((len(shares), min(longest, len(shares)))).reshape(2, -1)
    fits = starts + steps < len(shares)
    starts, ends = starts[fits], (starts + steps)[fits]
    scores = shares[starts, 0] * shares[ends, 1]
    found: dict[tuple[int, int], float] = {}
    for at in np.argsort(-scores, kind="stable"):
        span = _characters(pieces, (window.start + int(starts[at]), window.start + int(ends[at])), words=words)
        found.setdefault(span, float(scores[at]))
        if len(found) == count:
            break
    return found


def _characters(pieces: Pieces, span: tuple[int, int], *, words: bool) -> tuple[int, int]:
    """Return the characters of a span of tokens, or of the words that it touches."""
    first, last = span
    if words:
        while first > 0 and pieces.words[first] is not None and pieces.words[first - 1] == pieces.words[first]:
            first -= 1
        end = len(pieces) - 1
        while last < end and pieces.words[last] is not None and pieces.words[last + 1] == pieces.words[last]:
            last += 1
    return pieces.spans[first][0], pieces.spans[last][1]


def _asked(given: object, place: int) -> tuple[str, str]:
    if isinstance(given, Mapping) and given.keys() == {"question", "context"}:
        given = (given["question"], given["context"])
    if isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(part, str) for part in given):
        return given[0], given[1]
    raise InvalidInput(f"question {place} is {str(given)[:60]!r}; give {{'question': a str, 'context': a str}}.")
