"""A decoder that spells out a text from its vector: (seqs, hidden) and the text's tokens in, (tokens, hidden) out.

It borrows the layers of an encoder, and looks at each text's vector where a decoder looks at an encoder's output. As
that is one vector, attention to it is a linear map of it: a softmax over one key is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sentvec.batch import PackedBatch
from sentvec.errors import ConfigError
from sentvec.nn.attention import SelfAttention
from sentvec.nn.kernels import equal_runs
from sentvec.nn.layer import PostNormLayer


class Decoder(nn.Module):
    """Post-norm decoder layers that share all but the look at the vector with an encoder (Wang et al. 2021, TSDAE).

    Args:
        layers: the encoder's layers, which must be plain `PostNormLayer`s; they are held, not owned.
        hidden: width of the states.
        dim: width of the vectors.
        norm_eps: epsilon of the normalisations.
        dropout: dropped share of what the vectors give, in training.

    Raises:
        ConfigError: the layers are of another kind.
    """

    def __init__(
        self, layers: Sequence[nn.Module], *, hidden: int, dim: int, norm_eps: float, dropout: float = 0.0
    ) -> None:
        super().__init__()
        for layer in layers:
            if not (
                isinstance(layer, PostNormLayer)
                and isinstance(layer.attention, SelfAttention)
                and layer.attention.plain
            ):
                raise ConfigError("this architecture's layers cannot decode; BERT's and RoBERTa's can.")
        self._layers = [layer for layer in layers if isinstance(layer, PostNormLayer)]
        self.looks = nn.ModuleList(nn.Linear(dim, hidden) for _ in layers)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden, eps=norm_eps) for _ in layers)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, vectors: Tensor, batch: PackedBatch) -> Tensor:
        """Decode.

        Args:
            states: embedded tokens, (tokens, hidden).
            vectors: one for each text, (seqs, dim).
            batch: the texts that the tokens are of.

        Returns:
            (tokens, hidden): each token knows those before it, itself, and its text's vector.
        """
        text = torch.repeat_interleave(torch.arange(len(batch), device=states.device), batch.offsets.diff())
        for layer, look, norm in zip(self._layers, self.looks, self.norms, strict=True):
            assert isinstance(layer.attention, SelfAttention), "see __init__"
            mixed = _causal(layer.attention, states, batch)
            states = layer.attention_norm(states + layer.dropout(mixed))
            states = norm(states + self.dropout(look(vectors))[text])
            states = layer.feed_forward_norm(states + layer.dropout(layer.feed_forward(states)))
        return states


def _causal(attention: SelfAttention, states: Tensor, batch: PackedBatch) -> Tensor:
    """Self-attention in which a token sees none that come after it, (tokens, hidden)."""
    tokens, hidden = states.shape
    qkv = attention.qkv(states).view(tokens, 3, attention.heads, hidden // attention.heads)
    dropout = attention.dropout if attention.training else 0.0
    parts = []
    for start, count, length in equal_runs(batch.lengths):
        run = qkv[start : start + count * length].view(count, length, *qkv.shape[1:])
        q, k, v = run.permute(2, 0, 3, 1, 4)  # each (seqs, heads, length, head_dim)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        parts.append(mixed.transpose(1, 2).reshape(count * length, hidden))
    out: Tensor = attention.output(torch.cat(parts))
    return out
