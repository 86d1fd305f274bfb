"""How a family's table of heads is made: of what parts, and what checkpoints call them; and the parts that many share.

Which heads a family has stands in its architecture's own file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

READOUTS = ("tokens", "first", "last", "mean", "pooler")
"""What a head looks at: each token's state; a text's first, last or average state; what the encoder's pooler gives."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """How one head is made, and what checkpoints call its weights.

    Attributes:
        readout: one of `READOUTS`.
        out: name of the last map.
        rows: how many logits; None is one for each label of config.json.
        dense: name of a linear map before the last one.
        norm: name of a layer normalisation behind that.
        act: activation of `dense`, as config.json names them; None is the encoder's own.
        tied: whether the last map's weights are the table of word embeddings, and only its bias is the head's own.
        bias: name of the last map's bias, where it does not follow from `out`.
        settings: what config.json may say otherwise, and the key that does: `readout` and `act`, and `dense_bias`,
            `norm_bias` and `out_bias`, which are true or false.
    """

    readout: str
    out: str
    rows: int | None = None
    dense: str | None = None
    norm: str | None = None
    act: str | None = None
    tied: bool = False
    bias: str | None = None
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> dict[str, str]:
        """Our parameter -> the checkpoint's, for all that this head can have."""
        found: dict[str, str] = {}
        for ours, theirs in (("dense", self.dense), ("norm", self.norm), ("out", self.out)):
            if theirs is not None:
                found |= {f"{ours}.weight": f"{theirs}.weight", f"{ours}.bias": f"{theirs}.bias"}
        return found | ({"out.bias": self.bias} if self.bias else {})

    @property
    def copies(self) -> set[str]:
        """Names under which checkpoints store once more what stands elsewhere: tied weights, and their bias."""
        return {f"{self.out}.weight", f"{self.out}.bias"} if self.tied else set()


@dataclass(frozen=True)
class HeadRow:
    """What a checkpoint of one task has on top of its encoder.

    Attributes:
        suffix: how the class name in config.json's `architectures` ends.
        parts: the heads by name; all but those of pre-training have one, called like the task.
    """

    suffix: str
    parts: Mapping[str, Part]


@dataclass(frozen=True)
class Family:
    """The heads of one family.

    Attributes:
        prefix: what stands before the encoder's names when there is a head.
        rows: task -> its heads.
    """

    prefix: str = ""
    rows: Mapping[str, HeadRow] = field(default_factory=lambda: MappingProxyType({}))


SUFFIXES = MappingProxyType(
    {
        "pre-training": "ForPreTraining",
        "masked-lm": "ForMaskedLM",
        "next-sentence": "ForNextSentencePrediction",
        "sequence-classification": "ForSequenceClassification",
        "multiple-choice": "ForMultipleChoice",
        "token-classification": "ForTokenClassification",
        "question-answering": "ForQuestionAnswering",
    }
)
"""Every task, and how its class name usually ends."""


def family(
    prefix: str, parts: Mapping[str, Part], *, pre_training: Mapping[str, Part] | None = None, **suffixes: str
) -> Family:
    """Make the table of a family's heads.

    Args:
        prefix: what stands before the encoder's names when there is a head.
        parts: task -> its one head.
        pre_training: the heads of pre-training by name, where that has heads of its own.
        suffixes: task, with underscores -> how its class name ends, where that is not as in `SUFFIXES`.
    """
    named = {task: {task: part} for task, part in parts.items()}
    if pre_training:
        named["pre-training"] = dict(pre_training)
    endings = dict(SUFFIXES) | {task.replace("_", "-"): ending for task, ending in suffixes.items()}
    return Family(prefix, {task: HeadRow(endings[task], found) for task, found in named.items()})


# parts that many families share
POOLED = Part(readout="pooler", out="classifier")
CHOICE = replace(POOLED, rows=1)
TOKENS = Part(readout="tokens", out="classifier")
SPAN = Part(readout="tokens", out="qa_outputs", rows=2)
BERT_LM = Part(
    readout="tokens",
    dense="cls.predictions.transform.dense",
    norm="cls.predictions.transform.LayerNorm",
    out="cls.predictions.decoder",
    bias="cls.predictions.bias",
    tied=True,
)
_BERT_NEXT = Part(readout="pooler", out="cls.seq_relationship", rows=2)


def bert_heads(prefix: str) -> Family:
    """Make the table of a family that has BERT's heads."""
    return family(
        prefix,
        {
            "masked-lm": BERT_LM,
            "next-sentence": _BERT_NEXT,
            "sequence-classification": POOLED,
            "multiple-choice": CHOICE,
            "token-classification": TOKENS,
            "question-answering": SPAN,
        },
        pre_training={"masked-lm": BERT_LM, "next-sentence": _BERT_NEXT},
    )


def roberta_heads(prefix: str) -> Family:
    """Make the table of a family that has RoBERTa's heads."""
    return family(
        prefix,
        {
            "masked-lm": Part(
                readout="tokens",
                dense="lm_head.dense",
                act="gelu",
                norm="lm_head.layer_norm",
                out="lm_head.decoder",
                bias="lm_head.bias",
                tied=True,
            ),
            "sequence-classification": Part(
                readout="first", dense="classifier.dense", act="tanh", out="classifier.out_proj"
            ),
            "multiple-choice": CHOICE,
            "token-classification": TOKENS,
            "question-answering": SPAN,
        },
    )
