"""MegatronBERT (Shoeybi et al. 2019, arXiv 1909.08053): a packed batch in, hidden states (tokens, hidden) out.

BERT with pre-norm layers: nothing is normalised behind the embeddings, and all is once more behind the last layer.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.models import bert
from sentvec.models.architecture import Names, weight_and_bias
from sentvec.models.config import EncoderConfig
from sentvec.nn.attention import SelfAttention
from sentvec.nn.feedforward import FeedForward
from sentvec.nn.layer import PreNormLayer
from sentvec.nn.pooler import Pooler
from sentvec.nn.probe import Probe
from sentvec.nn.stack import Layers


class MegatronBertEncoder(nn.Module):
    """Embeddings, a stack of pre-norm layers, a last normalisation and, where the checkpoint has one, the pooler.

    Args:
        config: the encoder's numbers.
        add_pooling_layer: whether to build the pooler.
    """

    def __init__(self, config: EncoderConfig, *, add_pooling_layer: bool = True) -> None:
        super().__init__()
        self.config = config
        self.embeddings = bert.embeddings_of(config, norm_eps=None)
        self.layers = Layers(_layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.hidden, eps=config.norm_eps)
        self.pooler = Pooler(hidden=config.hidden) if add_pooling_layer else None

    def forward(self, batch: PackedBatch, *, kernel: str = "auto", probe: Probe | None = None) -> Tensor:
        """Encode a packed batch: (tokens, hidden), normalised. Arguments are those of `BertEncoder`."""
        out: Tensor = self.norm(self.layers(self.embeddings(batch), batch, kernel, probe))
        if probe is not None:
            probe.hidden(self.config.layers, out)
        return out


def _layer(config: EncoderConfig) -> PreNormLayer:
    return PreNormLayer(
        SelfAttention(hidden=config.hidden, heads=config.heads, dropout=config.attention_dropout),
        FeedForward(hidden=config.hidden, intermediate=config.intermediate, act=config.act),
        hidden=config.hidden,
        norm_eps=config.norm_eps,
        dropout=config.dropout,
        feed_forward_dropout=config.dropout,
    )


NAMES: Names = (
    *(row for row in bert.NAMES if "norm." not in row[0]),
    *weight_and_bias(
        (
            ("layers.{i}.attention_norm.*", "encoder.layer.{i}.attention.ln.*"),
            ("layers.{i}.feed_forward_norm.*", "encoder.layer.{i}.ln.*"),
            ("norm.*", "encoder.ln.*"),
        )
    ),
)

ARCHITECTURE = replace(
    bert.ARCHITECTURE, build=MegatronBertEncoder, names=NAMES, saved_as="MegatronBertModel", prefixes=()
)
