"""One text (or pair) through an encoder with everything kept: tokens, hidden states, attention, queries and keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sentvec.batch import PackedBatch, TokenIds, pack
from sentvec.nn.probe import Probe
from sentvec.runtime.embedder import Embedder
from sentvec.runtime.engine import Engine
from sentvec.runtime.prompts import prompt_of
from sentvec.runtime.report import Truncation
from sentvec.text.tokenizer import Text, Tokenizer, checked

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What happened inside an encoder while it read one text or pair of texts; all arrays are on the host.

    Attributes:
        model: the model's name.
        tokens: pieces of the vocabulary, special tokens included: length of them.
        labels: the same as a person would read them: pieces that stand for bytes are shown as text.
        ids: token ids, (length,) int64.
        types: token types as the model sees them, (length,) int64.
        segments: 0 for the first text and what stands around it, 1 from the second text on, (length,) int64.
        special: which tokens are special ones of the layout, (length,) bool.
        lost: how many tokens were cut off, because the model does not read so many.
        hidden_states: (layers + 1, length, hidden) float32; the first is the output of the embeddings.
        attentions: (layers, heads, length, length) float32; row i is what token i looks at, and sums to one.
        queries, keys, values: (layers, heads, length, head_dim) float32 as attention gets them (after rotation,
            where the architecture has one), or None where they were not asked for.
        pooler_output: (hidden,) float32, what the checkpoint's own pooler makes of the first token; None without one.
        vector: (dim,) float32, what `Embedder.encode` returns.
    """

    model: str
    tokens: tuple[str, ...]
    labels: tuple[str, ...]
    ids: NDArray[np.int64]
    types: NDArray[np.int64]
    segments: NDArray[np.int64]
    special: NDArray[np.bool_]
    lost: int
    hidden_states: Floats
    attentions: Floats
    queries: Floats | None
    keys: Floats | None
    values: Floats | None
    pooler_output: Floats | None
    vector: Floats

    def __len__(self) -> int:
        """Return the number of tokens (length)."""
        return len(self.tokens)

    @property
    def is_pair(self) -> bool:
        """Whether there is a second text with at least one token."""
        return bool(self.segments.any())


def trace(
    model: Embedder,
    text: str,
    text_pair: str | None = None,
    *,
    qkv: bool = False,
    prompt: str | None = None,
    prompt_name: str | None = None,
) -> Trace:
    """Run a text through the model and keep what is inside. The model itself is not touched.

    Args:
        model: the model; any architecture.
        text: the text.
        text_pair: a second text, laid out behind the first one as the model's files say.
        qkv: keep queries, keys and values as well.
        prompt, prompt_name: as for `Embedder.encode`, whose default prompt applies here too.

    Raises:
        InvalidInput: something is not a text, or a prompt is not known.
    """
    given: Text = text if text_pair is None else (text, text_pair)
    read = Reading.of(model, [given], prompt, prompt_name)
    probe = Probe(attention=True, qkv=qkv)
    with torch.inference_mode():
        last = model.encoder(read.batch, probe=probe)
        pooled = model.encoder.pooler(last[:1]) if model.encoder.pooler is not None else None
    ids = read.ids[0]
    heads = [torch.stack(part).transpose(1, 2) for part in zip(*probe.projections, strict=True)]
    queries, keys, values = (_host(part) for part in heads) if qkv else (None, None, None)
    sources = read.sources[0]
    return Trace(
        model=model.name,
        tokens=tuple(model.tokenizer.tokens(ids.ids)),
        labels=tuple(labels(model.tokenizer, ids.ids)),
        ids=np.array(ids.ids),
        types=np.array(ids.types),
        segments=np.maximum.accumulate(np.array([source == 1 for source in sources])).astype(np.int64),
        special=np.array([source is None for source in sources]),
        lost=ids.lost,
        hidden_states=_host(torch.stack([probe.hidden_states[i] for i in sorted(probe.hidden_states)])),
        attentions=_host(torch.stack([maps[0] for maps in probe.attentions])),
        queries=queries,
        keys=keys,
        values=values,
        pooler_output=None if pooled is None else _host(pooled[0]),
        vector=model.encode([given], prompt=prompt, prompt_name=prompt_name)[0],
    )


@dataclass(frozen=True)
class Reading:
    """Texts as a model reads them.

    Attributes:
        ids: their tokens.
        sources: for each token of each text 0 or 1, the text of the pair that it is of; None for special tokens.
        batch: the same tokens, packed.
        uncounted: tokens at the start of every text that pooling leaves out.
    """

    ids: list[TokenIds]
    sources: list[list[int | None]]
    batch: PackedBatch
    uncounted: int

    @classmethod
    def of(cls, model: Embedder, texts: Sequence[Text], prompt: str | None, prompt_name: str | None) -> Reading:
        """Tokenise texts with a prompt in front, exactly as `Embedder.encode` does."""
        engine = Engine(model.tokenizer, model.recipe, model.device)
        prefix = prompt_of(model.recipe, prompt, prompt_name)
        given = checked(list(texts))
        ids = engine.tokenize(given, prefix)
        sources = [engine.sources(text, prefix) for text in given]
        return cls(ids, sources, pack(ids, model.device), engine.uncounted(prefix))

    def warn(self, limit: int) -> None:
        """Say in the log which texts were cut, as `Embedder.encode` does."""
        report = Truncation(limit)
        for place, ids in enumerate(self.ids):
            report.look(ids, place)
        report.log()


def labels(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """Return tokens as a person would read them.

    Pieces of a byte-level vocabulary spell letters beyond ASCII in other letters; those are decoded, unless they
    hold only some of a letter's bytes.
    """
    pieces = tokenizer.tokens(ids)
    if tokenizer.kind != "BPE":
        return pieces
    return [_decoded(tokenizer, i, piece) for i, piece in zip(ids, pieces, strict=True)]


def _decoded(tokenizer: Tokenizer, token_id: int, piece: str) -> str:
    rest = piece.removeprefix("Ġ")  # a space before the word, which readers of BPE know by this sign
    if rest.isascii():
        return piece
    text = tokenizer.decode([token_id], skip_special_tokens=False).strip()
    return piece if not text or "�" in text else piece[: len(piece) - len(rest)] + text


def _host(values: Tensor) -> Floats:
    return np.ascontiguousarray(values.float().cpu().numpy())
