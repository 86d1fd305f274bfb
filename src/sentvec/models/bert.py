"""BERT (Devlin et al. 2018, arXiv 1810.04805): a packed batch in, hidden states (tokens, hidden) out.

RoBERTa and its kin are this encoder with another `position_offset`, see `sentvec.models.roberta`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.models.architecture import Architecture, Names, weight_and_bias
from sentvec.models.config import EncoderConfig
from sentvec.models.head_table import bert_heads
from sentvec.nn.attention import SelfAttention
from sentvec.nn.embeddings import TokenEmbeddings
from sentvec.nn.feedforward import FeedForward
from sentvec.nn.layer import PostNormLayer
from sentvec.nn.pooler import Pooler
from sentvec.nn.probe import Probe
from sentvec.nn.stack import Layers


class BertEncoder(nn.Module):
    """Embeddings, a stack of post-norm layers and, where the checkpoint has one, the pooler.

    Args:
        config: the encoder's numbers.
        add_pooling_layer: whether to build the pooler.
    """

    def __init__(self, config: EncoderConfig, *, add_pooling_layer: bool = True) -> None:
        super().__init__()
        self.config = config
        self.embeddings = embeddings_of(config)
        self.layers = Layers(layer_of(config) for _ in range(config.layers))
        self.pooler = Pooler(hidden=config.hidden) if add_pooling_layer else None

    def forward(self, batch: PackedBatch, *, kernel: str = "auto", probe: Probe | None = None) -> Tensor:
        """Encode a packed batch.

        Args:
            batch: texts without padding.
            kernel: name of the attention kernel, see `sentvec.nn.kernels`.
            probe: collects hidden states and attention on the way; nothing is computed for it when absent.

        Returns:
            The last layer's hidden states, (tokens, hidden).
        """
        out: Tensor = self.layers(self.embeddings(batch), batch, kernel, probe)
        return out


def embeddings_of(config: EncoderConfig, **changes: Any) -> TokenEmbeddings:
    """Build input embeddings as BERT's family has them, but for changes to the arguments of `TokenEmbeddings`."""
    usual = {
        "vocab": config.vocab,
        "hidden": config.hidden,
        "positions": config.positions,
        "types": config.types,
        "norm_eps": config.norm_eps,
        "dropout": config.dropout,
        "position_offset": config.position_offset,
    }
    return TokenEmbeddings(**(usual | changes))


def layer_of(config: EncoderConfig) -> PostNormLayer:
    """Build one of BERT's layers."""
    return PostNormLayer(
        SelfAttention(hidden=config.hidden, heads=config.heads, dropout=config.attention_dropout),
        FeedForward(hidden=config.hidden, intermediate=config.intermediate, act=config.act),
        hidden=config.hidden,
        norm_eps=config.norm_eps,
        dropout=config.dropout,
    )


# heads of the whole kinship: tools that convert checkpoints carry them from one family to another
HEADS = ("cls.", "lm_head.", "classifier.", "qa_outputs.", "predictions.", "score.", "dropout.", "seq_relationship.")
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")

NAMES: Names = (
    ("embeddings.token_table.weight", ("embeddings.word_embeddings.weight",)),
    ("embeddings.position_table.weight", ("embeddings.position_embeddings.weight",)),
    ("embeddings.type_table.weight", ("embeddings.token_type_embeddings.weight",)),
    ("embeddings.norm.weight", ("embeddings.LayerNorm.weight",)),
    ("embeddings.norm.bias", ("embeddings.LayerNorm.bias",)),
    *weight_and_bias(
        (
            (
                "layers.{i}.attention.qkv.*",
                (
                    "encoder.layer.{i}.attention.self.query.*",
                    "encoder.layer.{i}.attention.self.key.*",
                    "encoder.layer.{i}.attention.self.value.*",
                ),
            ),
            ("layers.{i}.attention.output.*", "encoder.layer.{i}.attention.output.dense.*"),
            ("layers.{i}.attention_norm.*", "encoder.layer.{i}.attention.output.LayerNorm.*"),
            ("layers.{i}.feed_forward.up.*", "encoder.layer.{i}.intermediate.dense.*"),
            ("layers.{i}.feed_forward.down.*", "encoder.layer.{i}.output.dense.*"),
            ("layers.{i}.feed_forward_norm.*", "encoder.layer.{i}.output.LayerNorm.*"),
            ("pooler.dense.*", "pooler.dense.*"),
        )
    ),
)

ARCHITECTURE = Architecture(
    build=BertEncoder,
    names=NAMES,
    saved_as="BertModel",
    tasks=bert_heads("bert."),
    # checkpoints that are BERT in all but the name, such as chinese-roberta-wwm, come with this one too
    prefixes=("roberta.",),
    heads=HEADS,
    buffers=BUFFERS,
)
