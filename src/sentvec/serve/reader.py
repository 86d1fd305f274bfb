"""Texts and token ids in, what the model reads out: the part of a text's path that runs in the server's own process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sentvec.batch import TokenIds
from sentvec.errors import InvalidInput
from sentvec.runtime.checks import possible_dim
from sentvec.runtime.embedder import Embedder
from sentvec.runtime.engine import Engine
from sentvec.runtime.forward import Finish
from sentvec.runtime.prompts import prompt_of
from sentvec.serve.refusals import Refused
from sentvec.text.tokenizer import Text

LONG = 16
"""Characters for each token that the model reads, beyond which a text is not tokenised wholly."""


@dataclass(frozen=True)
class Reader:
    """What the server knows of its embedder, without the weights.

    Attributes:
        name: as the user wrote it.
        engine: tokenises.
        full_dim: features before anything is cut.
        dim: features of a vector.
        hidden: features of a token's state.
        fingerprint, precision, model_type, similarity: see `Embedder`.
        vocab: rows of the model's table of words.
        tokens: the tokeniser's tokens and their ids.
        passage_tokens: see `Embedder`.
    """

    name: str
    engine: Engine
    full_dim: int
    dim: int
    hidden: int
    fingerprint: str
    precision: str
    model_type: str
    similarity: str
    vocab: int
    tokens: Mapping[str, int]
    passage_tokens: int

    @classmethod
    def of(cls, model: Embedder) -> Reader:
        """Remember what is needed of a model that is there."""
        recipe, config = model.recipe, model.encoder.config
        return cls(
            name=model.name,
            engine=Engine(model.tokenizer, recipe, model.device),
            full_dim=recipe.width(config.hidden),
            dim=model.dim,
            hidden=config.hidden,
            fingerprint=model.fingerprint,
            precision=model.precision,
            model_type=model.model_type,
            similarity=model.similarity_name,
            vocab=config.vocab,
            tokens=model.tokenizer.vocab(),
            passage_tokens=model.passage_tokens,
        )

    @property
    def limit(self) -> int:
        """Most tokens of a text, special tokens included."""
        return self.engine.recipe.max_seq_length

    def prefix(self, prompt_name: str | None) -> str:
        """Return the text to put in front of every text."""
        return prompt_of(self.engine.recipe, None, prompt_name)

    def finish(self, prefix: str, dim: int | None, unit: bool | None) -> Finish:
        """Say what becomes of pooled states; the same as `Embedder.encode` with these arguments."""
        recipe = self.engine.recipe
        kept = self.dim if dim is None and recipe.dim is not None else dim
        if dim is not None:
            possible_dim(dim, self.full_dim)
        return Finish(prompt_tokens=self.engine.uncounted(prefix), dim=kept, unit=unit)

    def read(self, texts: Sequence[Text], prefix: str, *, truncate: bool = True, left: bool = False) -> list[TokenIds]:
        """Tokenise texts.

        Args:
            texts: texts or pairs.
            prefix: put in front.
            truncate: whether a text that is too long loses tokens, or is refused.
            left: whether it loses them at its beginning.

        Raises:
            Refused: a text is too long.
            InvalidInput: something is not a text.
        """
        whole, texts = texts, [self._needed(text, left) for text in texts]
        rows = replace(self.engine, left=left).tokenize(texts, prefix)
        for place, row in enumerate(rows):
            if row.lost and not truncate:
                more = "" if texts[place] is whole[place] else "more than "
                raise Refused(
                    "too_long",
                    f"text {place} has {more}{len(row) + row.lost} tokens, but the model reads {self.limit}, special "
                    "tokens included. Shorten it, or ask for truncation.",
                )
        return rows

    def verbatim(self, ids: Sequence[int], place: int) -> TokenIds:
        """Take token ids as they are.

        Raises:
            Refused: they cannot be this model's.
        """
        if len(ids) > self.limit:  # first: the rest looks at every one
            raise Refused(
                "too_long",
                f"input {place} has {len(ids)} token ids, but the model reads {self.limit}; ids are never cut.",
                field="input",
            )
        most = self.vocab
        if odd := [i for i in ids if not 0 <= i < most]:
            raise Refused(
                "malformed",
                f"token id {odd[0]} of input {place} is not in the model's vocabulary of {most}. Ids must come from "
                "this model's own tokeniser (POST /tokenize), special tokens included; those of another one, such as "
                "tiktoken, mean other words. Send the text itself; LangChain's OpenAIEmbeddings does so with "
                "check_embedding_ctx_length=False.",
                field="input",
            )
        tokenizer = self.engine.tokenizer
        empty, before = tokenizer.assemble([])
        after = len(empty) - before
        found, _ = tokenizer.assemble(list(ids[before : len(ids) - after]))
        if found.ids != list(ids):
            around = " … ".join(str(part) for part in (empty.ids[:before], empty.ids[before:]))
            raise Refused(
                "malformed",
                f"the token ids of input {place} are not laid out as this model reads them: {around}. Ids are used "
                "exactly as they are sent, so they must come from this model's own tokeniser (POST /tokenize), "
                "special tokens included; those of another one, such as tiktoken, mean other words. Send the text "
                "itself; LangChain's OpenAIEmbeddings does so with check_embedding_ctx_length=False.",
                field="input",
            )
        return found

    def verbatims(self, texts: Sequence[Sequence[int]]) -> list[TokenIds]:
        """Take the token ids of several texts as they are; see `verbatim`."""
        return [self.verbatim(ids, place) for place, ids in enumerate(texts)]

    def pieces(self, words: Sequence[str]) -> list[int]:
        """Return the ids of tokens that a client has cut itself; unknown ones are the unknown token."""
        unknown = self.tokens.get(self.engine.tokenizer.unknown or "")
        ids = [self.tokens.get(word, unknown) for word in words]
        if None in ids:
            raise InvalidInput(f"token {words[ids.index(None)]!r} is not in the vocabulary.")
        return [i for i in ids if i is not None]

    def _needed(self, text: Text, left: bool) -> Text:
        """Return what the model can read of a very long text, and more: the rest only costs time and memory.

        A cut between words changes none of the tokens before it. Where there are no words, it lies as many tokens away
        from what is read as that has.
        """
        if not isinstance(text, str):
            first, second = text  # both lose their ends, the longer one first, so it must be known which one that is
            if len(second) <= self.limit // 4:  # no character is more than four tokens
                first = self._part(first, left)
            elif len(first) <= self.limit // 4:
                second = self._part(second, left)
            return first, second
        return self._part(text, left)

    def _part(self, text: str, left: bool) -> str:
        size = LONG * self.limit
        while size < len(text):
            if left:
                cut = next((at for at in range(len(text) - size, len(text) - size // 2) if _gap(text, at)), None)
                part = text[len(text) - size if cut is None else cut :]
            else:
                cut = next((at for at in range(size, size // 2, -1) if _gap(text, at)), None)
                part = text[: size if cut is None else cut]
            if self.engine.tokenize([part])[0].lost > (self.limit if cut is None else 0):
                return part
            size *= 4
        return text


def _gap(text: str, at: int) -> bool:
    """Say whether a word ends before a place, and none begins there."""
    return text[at].isspace() and not text[at - 1].isspace()
