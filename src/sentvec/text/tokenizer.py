"""Texts in, token ids out, and back: one wrapper around `tokenizers` that is safe to use from many threads.

The backend's own truncation and padding are switched off once, at the start, and never touched again: they
are settings shared by all threads, and files in the wild carry values for them that nobody chose (the
published all-MiniLM-L6-v2 cuts at 128 tokens and pads to 128). Cutting happens here, per call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from tokenizers import Encoding
from tokenizers import Tokenizer as Backend

from sentvec.batch import TokenIds
from sentvec.errors import InvalidInput, TokenizerError
from sentvec.text.guard import guarded

T = TypeVar("T")
Text = str | tuple[str, str]
"""What can be encoded: a text, or a pair of texts."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """One part of the model's input layout: a special token, or the place of the first or second text."""

    source: Literal["special", "first", "second"]
    token_id: int
    type_id: int


@dataclass(frozen=True, slots=True)
class Pieces:
    """One text cut into tokens, without special tokens around it.

    Attributes:
        ids: token ids.
        spans: the (start, end) characters of each token.
        words: number of the word that each token is of; None for a token that stands in the text for something else.
    """

    ids: list[int]
    spans: list[tuple[int, int]]
    words: list[int | None]

    def __len__(self) -> int:
        return len(self.ids)


class Tokenizer:
    """Turns texts into token ids with the special tokens and token types that the checkpoint's files describe.

    Args:
        backend: the tokeniser; it belongs to this object from now on.

    Raises:
        TokenizerError: the backend cannot encode a plain text, or lays it out in a way that is not understood.
    """

    def __init__(self, backend: Backend) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._single = _layout(backend, pair=False)
        self._pair = _layout(backend, pair=True)

    @property
    def kind(self) -> str:
        """Kind of vocabulary: WordPiece, BPE, Unigram or WordLevel."""
        return type(self._backend.model).__name__

    @property
    def special_tokens(self) -> int:
        """How many special tokens are added to a single text."""
        return sum(piece.source == "special" for piece in self._single)

    @property
    def layout(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids of the special tokens around a text or a pair of texts, and all token types; what a model must know."""
        pieces = self._single + self._pair
        ids = {piece.token_id for piece in pieces if piece.source == "special"}
        return tuple(sorted(ids)), tuple(sorted({piece.type_id for piece in pieces}))

    def prefix_length(self, prompt: str) -> int:
        """How many tokens of a text come from a prompt in front of it, the special tokens before it included."""
        sources = [piece.source for piece in self._single]
        return sources.index("first") + len(self.spans(prompt))

    @property
    def vocab_size(self) -> int:
        """One more than the largest token id."""
        return max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def vocab(self) -> dict[str, int]:
        """Return token -> id, added tokens included."""
        return dict(self._backend.get_vocab(with_added_tokens=True))

    def to_json(self) -> str:
        """Return the content of a tokenizer.json with no truncation and no padding baked in."""
        return str(self._backend.to_str(pretty=False))

    def encode(
        self,
        texts: Sequence[Text],
        max_length: int | None = None,
        *,
        places: Sequence[int] | None = None,
        left: bool = False,
    ) -> list[TokenIds]:
        """Encode texts, or pairs of texts, as the model reads them.

        Args:
            texts: strings, or tuples of two strings.
            max_length: most tokens of one text or pair, special tokens included. A longer text loses its
                end; of a pair, the longer text loses its end first ("longest first").
            places: position of each text in the caller's input, for messages.
            left: whether texts lose their beginnings, and not their ends.

        Raises:
            InvalidInput: something is not a string, or holds half of a surrogate pair.
            TokenizerError: the vocabulary has no piece for what is unknown, and something is.
        """
        places = range(len(texts)) if places is None else places
        flat = [part for text, place in zip(texts, places, strict=True) for part in _strings(text, place)]
        encodings = iter(self._encode_flat(flat, texts, places))
        encoded = []
        for text in texts:
            if isinstance(text, str):
                encoded.append(_assemble(self._single, next(encodings).ids, [], max_length, left))
            else:
                encoded.append(_assemble(self._pair, next(encodings).ids, next(encodings).ids, max_length, left))
        return encoded

    def pieces(self, texts: Sequence[str]) -> list[Pieces]:
        """Cut texts into tokens, and say where each stands in its text; `assemble` makes of them what a model reads.

        Raises:
            InvalidInput, TokenizerError: as for `encode`.
        """
        places = range(len(texts))
        flat = [part for text, place in zip(texts, places, strict=True) for part in _strings(text, place)]
        encode = self._backend.encode_batch  # the fast one leaves places out
        found = self._guarded(lambda: encode(flat, add_special_tokens=False), texts, places)
        return [Pieces(list(one.ids), list(one.offsets), list(one.word_ids)) for one in found]

    def assemble(
        self, first: list[int], second: list[int] | None = None, max_length: int | None = None
    ) -> tuple[TokenIds, int]:
        """Lay special tokens around the tokens of a text, or of a pair of texts, cut as `encode` cuts.

        Returns:
            What the model reads, and the place in it of the first token of the text; of the second text of a pair,
            where nothing was cut.
        """
        layout = self._single if second is None else self._pair
        last = "first" if second is None else "second"
        before = 0
        for piece in layout:
            if piece.source == last:
                break
            before += 1 if piece.source == "special" else len(first)
        return _assemble(layout, first, second or [], max_length), before

    @property
    def pair_special_tokens(self) -> int:
        """How many special tokens are added to a pair of texts."""
        return sum(piece.source == "special" for piece in self._pair)

    @property
    def unknown(self) -> str | None:
        """The token for what the vocabulary has no piece for, as far as the vocabulary itself names it."""
        return getattr(self._backend.model, "unk_token", None)

    @property
    def continuing_prefix(self) -> str:
        """What a piece begins with that goes on a word, such as ``"##"``; empty where pieces do not show it."""
        return getattr(self._backend.model, "continuing_subword_prefix", None) or ""

    def join(self, tokens: Sequence[str]) -> str:
        """Return the text that pieces stand for, put together as the tokeniser's files say."""
        decoder = self._backend.decoder
        return " ".join(tokens) if decoder is None else str(decoder.decode(list(tokens)))

    def sources(self, text: Text, max_length: int | None = None) -> list[int | None]:
        """Say where each token of `encode([text], max_length)` comes from.

        Returns:
            0 for a token of the first text, 1 for one of the second, None for a special token of the layout.
        """
        parts = [text] if isinstance(text, str) else list(text)
        counts = [len(encoding.ids) for encoding in self._encode_flat(parts, [text], [0])]
        layout = self._single if isinstance(text, str) else self._pair
        # no vocabulary has ids below 0, so that they can stand for the texts
        marks = _assemble(layout, [-1] * counts[0], [-2] * sum(counts[1:]), max_length)
        return [-1 - i if i < 0 else None for i in marks.ids]

    def special(self) -> dict[str, int]:
        """Return the tokens that the files mark as special, such as ``"[CLS]"``, and their ids."""
        added = self._backend.get_added_tokens_decoder()
        return {token.content: i for i, token in sorted(added.items()) if token.special}

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return the (start, end) characters of each token of a text, without special tokens."""
        _strings(text, 0)
        return list(self._guarded(lambda: self._backend.encode(text, add_special_tokens=False), [text], [0]).offsets)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Return the pieces that token ids stand for, such as ``"##aff"``."""
        return [self._backend.id_to_token(i) or f"<{i}>" for i in _checked(ids)]

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Return the text that token ids stand for, as far as it can be told from them."""
        whole = _checked(ids)
        with guarded("the tokeniser cannot decode these ids"):
            return str(self._backend.decode(whole, skip_special_tokens=skip_special_tokens))

    def _encode_flat(self, flat: list[str], texts: Sequence[Text], places: Sequence[int]) -> list[Encoding]:
        # special tokens are added in `_assemble`, where cutting happens, so that they are never cut off
        encode = self._backend.encode_batch_fast
        return list(self._guarded(lambda: encode(flat, add_special_tokens=False), texts, places))

    @staticmethod
    def _guarded(encode: Callable[[], T], texts: Sequence[Text], places: Sequence[int]) -> T:
        try:
            with guarded("the tokeniser cannot encode these texts"):
                return encode()
        except TokenizerError:
            if (broken := _surrogate(texts, places)) is not None:
                raise broken from None
            raise


def checked(texts: Sequence[object], first: int = 0) -> list[Text]:
    """Return the texts as str and tuples of two str.

    Args:
        texts: what a caller gave.
        first: position of `texts[0]` in the caller's input, for messages.

    Raises:
        InvalidInput: one of them is neither; the message names its position.
    """
    parts = [_strings(text, place) for place, text in enumerate(texts, start=first)]
    return [part[0] if len(part) == 1 else (part[0], part[1]) for part in parts]


def _strings(text: object, place: int) -> tuple[str, ...]:
    if isinstance(text, str):
        return (str.__str__(text),)  # of a class of the caller's own, too, which other processes do not know
    if isinstance(text, tuple | list) and len(text) == 2 and all(isinstance(part, str) for part in text):
        return str.__str__(text[0]), str.__str__(text[1])
    shown = repr(text)
    raise InvalidInput(
        f"text {place} is {type(text).__name__} ({shown[:60]}{'…' * (len(shown) > 60)}), but a text must be a "
        "str, or a pair of texts a tuple of two str. Convert it with str(), or drop it."
    )


def _checked(ids: Sequence[int]) -> list[int]:
    whole = [int(i) for i in ids]
    if odd := [i for i in whole if not 0 <= i < 1 << 32]:
        raise InvalidInput(f"token id {odd[0]} cannot be; ids are whole numbers from 0.")
    return whole


def _surrogate(texts: Sequence[Text], places: Sequence[int]) -> InvalidInput | None:
    """Find the text that cannot be encoded as UTF-8, if there is one, and describe it."""
    for place, text in zip(places, texts, strict=True):
        for part in _strings(text, place):
            try:
                part.encode()
            except UnicodeEncodeError as error:
                return InvalidInput(
                    f"text {place} is not valid Unicode: half of a surrogate pair ({part[error.start]!r}) at "
                    f"character {error.start}. Mend it with text.encode('utf-8', 'replace').decode()."
                )
    return None


def _layout(backend: Backend, *, pair: bool) -> tuple[_Piece, ...]:
    """Learn the input layout by encoding a small sample and looking at what stands around it."""
    with guarded("the tokeniser cannot encode the text 'a'"):
        sample = backend.encode("a", "a" if pair else None, add_special_tokens=True)
        alone = list(backend.encode("a", add_special_tokens=False).ids)
    pieces: list[_Piece] = []
    for token_id, type_id, sequence in zip(sample.ids, sample.type_ids, sample.sequence_ids, strict=True):
        source: Literal["special", "first", "second"]
        source = "special" if sequence is None else ("first", "second")[sequence]
        if source == "special" or not any(piece.source == source for piece in pieces):
            pieces.append(_Piece(source, token_id, type_id))
    if not alone:
        raise TokenizerError(
            "the tokeniser finds no token in the text 'a': its vocabulary is not usable, or its post-processor "
            "leaves the text out."
        )
    again = _assemble(tuple(pieces), alone, alone if pair else [], None)
    whole = all(any(piece.source == source for piece in pieces) for source in ("first", "second")[: 1 + pair])
    if not whole or (again.ids, again.types) != (sample.ids, sample.type_ids):  # a text left out, or at two places
        what = "a pair of texts" if pair else "a text"
        raise TokenizerError(f"the tokeniser's post-processor does not lay out {what} as special tokens around it.")
    return tuple(pieces)


def _assemble(
    layout: tuple[_Piece, ...], a: list[int], b: list[int], max_length: int | None, left: bool = False
) -> TokenIds:
    total = len(a) + len(b)
    if max_length is not None:
        room = max_length - sum(piece.source == "special" for piece in layout)
        keep_a, keep_b = _share(len(a), len(b), max(room, 0))
        a, b = (a[len(a) - keep_a :], b[len(b) - keep_b :]) if left else (a[:keep_a], b[:keep_b])
    ids: list[int] = []
    types: list[int] = []
    for piece in layout:
        part = [piece.token_id] if piece.source == "special" else a if piece.source == "first" else b
        ids += part
        types += [piece.type_id] * len(part)
    return TokenIds(ids, types, lost=total - len(a) - len(b))


def _share(a: int, b: int, room: int) -> tuple[int, int]:
    """Share `room` tokens between two texts of `a` and `b` tokens: the longer one loses its end first.

    >>> _share(3, 9, 10), _share(9, 3, 10), _share(8, 8, 5), _share(4, 0, 3)
    ((3, 7), (7, 3), (2, 3), (3, 0))
    """
    if a + b <= room:
        return a, b
    shorter = min(a, b)
    if 2 * shorter > room:  # both must give
        shorter = room // 2
    longer = room - shorter
    return (shorter, longer) if a <= b else (longer, shorter)
