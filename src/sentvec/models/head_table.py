"""Which heads each family has, of what parts, and what checkpoints call them: one `Family` for each.

A new family is composed of rows that others have, as far as they are alike, and is named by its architecture's row in
`sentvec.models.registry`.
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


def _family(
    prefix: str, parts: Mapping[str, Part], *, pre_training: Mapping[str, Part] | None = None, **suffixes: str
) -> Family:
    named = {task: {task: part} for task, part in parts.items()}
    if pre_training:
        named["pre-training"] = dict(pre_training)
    endings = dict(SUFFIXES) | {task.replace("_", "-"): ending for task, ending in suffixes.items()}
    return Family(prefix, {task: HeadRow(endings[task], found) for task, found in named.items()})


# rows that many families share
_POOLED = Part(readout="pooler", out="classifier")
_CHOICE = replace(_POOLED, rows=1)
_TOKENS = Part(readout="tokens", out="classifier")
_SPAN = Part(readout="tokens", out="qa_outputs", rows=2)

_BERT_LM = Part(
    readout="tokens",
    dense="cls.predictions.transform.dense",
    norm="cls.predictions.transform.LayerNorm",
    out="cls.predictions.decoder",
    bias="cls.predictions.bias",
    tied=True,
)
_BERT_NEXT = Part(readout="pooler", out="cls.seq_relationship", rows=2)
_BERT_PARTS = {
    "masked-lm": _BERT_LM,
    "next-sentence": _BERT_NEXT,
    "sequence-classification": _POOLED,
    "multiple-choice": _CHOICE,
    "token-classification": _TOKENS,
    "question-answering": _SPAN,
}
_BERT_BOTH = {"masked-lm": _BERT_LM, "next-sentence": _BERT_NEXT}
BERT = _family("bert.", _BERT_PARTS, pre_training=_BERT_BOTH)
ERNIE = _family("ernie.", _BERT_PARTS, pre_training=_BERT_BOTH)

_ROBERTA_PARTS = {
    "masked-lm": Part(
        readout="tokens",
        dense="lm_head.dense",
        act="gelu",
        norm="lm_head.layer_norm",
        out="lm_head.decoder",
        bias="lm_head.bias",
        tied=True,
    ),
    "sequence-classification": Part(readout="first", dense="classifier.dense", act="tanh", out="classifier.out_proj"),
    "multiple-choice": _CHOICE,
    "token-classification": _TOKENS,
    "question-answering": _SPAN,
}
ROBERTA = _family("roberta.", _ROBERTA_PARTS)
MPNET = _family("mpnet.", _ROBERTA_PARTS)

_DISTILBERT_FIRST = Part(readout="first", dense="pre_classifier", act="relu", out="classifier")
DISTILBERT = _family(
    "distilbert.",
    {
        "masked-lm": Part(
            readout="tokens", dense="vocab_transform", norm="vocab_layer_norm", out="vocab_projector", tied=True
        ),
        "sequence-classification": _DISTILBERT_FIRST,
        "multiple-choice": replace(_DISTILBERT_FIRST, rows=1),
        "token-classification": _TOKENS,
        "question-answering": _SPAN,
    },
)

_ALBERT_LM = Part(
    readout="tokens",
    dense="predictions.dense",
    norm="predictions.LayerNorm",
    out="predictions.decoder",
    bias="predictions.bias",
    tied=True,
)
ALBERT = _family(
    "albert.",
    {
        "masked-lm": _ALBERT_LM,
        "sequence-classification": _POOLED,
        "multiple-choice": _CHOICE,
        "token-classification": _TOKENS,
        "question-answering": _SPAN,
    },
    # sentence order in place of the next sentence (Lan et al. 2019)
    pre_training={"masked-lm": _ALBERT_LM, "sentence-order": Part(readout="pooler", out="sop_classifier.classifier")},
)

ELECTRA = _family(
    "electra.",
    {
        "masked-lm": Part(  # of the generator
            readout="tokens",
            dense="generator_predictions.dense",
            act="gelu",
            norm="generator_predictions.LayerNorm",
            out="generator_lm_head",
            tied=True,
        ),
        "sequence-classification": Part(
            readout="first", dense="classifier.dense", act="gelu", out="classifier.out_proj"
        ),
        "multiple-choice": Part(
            readout="first",
            dense="sequence_summary.summary",
            act="gelu",
            out="classifier",
            rows=1,
            settings=(("readout", "summary_type"), ("act", "summary_activation")),
        ),
        "token-classification": _TOKENS,
        "question-answering": _SPAN,
    },
    # of the discriminator (Clark et al. 2020): was this token replaced?
    pre_training={
        "replaced-token": Part(
            readout="tokens",
            dense="discriminator_predictions.dense",
            out="discriminator_predictions.dense_prediction",
            rows=1,
        )
    },
)

_MODERN = Part(
    readout="tokens",
    dense="head.dense",
    act="gelu",
    norm="head.norm",
    out="classifier",
    settings=(("act", "classifier_activation"), ("dense_bias", "classifier_bias"), ("norm_bias", "norm_bias")),
)
_MODERN_FIRST = replace(_MODERN, readout="first", settings=(*_MODERN.settings, ("readout", "classifier_pooling")))
MODERNBERT = _family(
    "model.",
    {
        "masked-lm": replace(
            _MODERN, out="decoder", tied=True, settings=(*_MODERN.settings, ("out_bias", "decoder_bias"))
        ),
        "sequence-classification": _MODERN_FIRST,
        "multiple-choice": replace(_MODERN_FIRST, rows=1),
        "token-classification": _MODERN,
        "question-answering": replace(_MODERN, rows=2),
    },
)

NOMIC_BERT = _family(
    "nomic_bert.",
    {
        "masked-lm": replace(_BERT_LM, norm="cls.predictions.transform.layer_norm"),
        "sequence-classification": _POOLED,
        "token-classification": _TOKENS,
    },
)

_XLNET_LAST = Part(
    readout="last",
    dense="sequence_summary.summary",
    act="tanh",
    out="logits_proj",
    settings=(("readout", "summary_type"), ("act", "summary_activation")),
)
XLNET = _family(
    "transformer.",
    {
        "masked-lm": Part(readout="tokens", out="lm_loss", tied=True),
        "sequence-classification": _XLNET_LAST,
        "multiple-choice": replace(_XLNET_LAST, rows=1),
        "token-classification": _TOKENS,
        "question-answering": _SPAN,
    },
    masked_lm="LMHeadModel",
    question_answering="ForQuestionAnsweringSimple",
)

XLM = _family(
    "transformer.",
    {
        "masked-lm": Part(readout="tokens", out="pred_layer.proj", tied=True),
        "sequence-classification": Part(
            readout="first", out="sequence_summary.summary", settings=(("readout", "summary_type"),)
        ),
        "token-classification": _TOKENS,
        "question-answering": _SPAN,
    },
    masked_lm="WithLMHeadModel",
    question_answering="ForQuestionAnsweringSimple",
)
