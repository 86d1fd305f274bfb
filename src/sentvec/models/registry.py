"""The only dispatch on `model_type`: config.json in, the architecture that reads it out.

A new architecture is one file beside this one, which ends with its `ARCHITECTURE`, and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sentvec.errors import UnknownModelType
from sentvec.models import (
    albert,
    bert,
    deberta_v2,
    distilbert,
    electra,
    ernie,
    gte,
    megatron_bert,
    modernbert,
    mpnet,
    nomic_bert,
    roberta,
    roformer,
    xlm,
    xlnet,
)
from sentvec.models.architecture import Architecture

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "bert": bert.ARCHITECTURE,
        "roberta": roberta.ARCHITECTURE,
        "xlm-roberta": roberta.XLM_ROBERTA,
        "camembert": roberta.CAMEMBERT,
        "distilbert": distilbert.ARCHITECTURE,
        "albert": albert.ARCHITECTURE,
        "electra": electra.ARCHITECTURE,
        "ernie": ernie.ARCHITECTURE,
        "megatron-bert": megatron_bert.ARCHITECTURE,
        "roformer": roformer.ARCHITECTURE,
        "xlm": xlm.ARCHITECTURE,
        "mpnet": mpnet.ARCHITECTURE,
        "modernbert": modernbert.ARCHITECTURE,
        "xlnet": xlnet.ARCHITECTURE,
        "nomic_bert": nomic_bert.ARCHITECTURE,
        "gte": gte.ARCHITECTURE,
        "deberta-v2": deberta_v2.ARCHITECTURE,
    }
)


def architecture(model_type: str) -> Architecture:
    """Return the architecture that `model_type` of config.json names.

    Raises:
        UnknownModelType: there is none of that name.
    """
    if model_type not in ARCHITECTURES:
        raise UnknownModelType(
            f"model_type {model_type!r} in config.json is not known. Known: {', '.join(ARCHITECTURES)}. "
            "CONTRIBUTING.md says how to add an architecture."
        )
    return ARCHITECTURES[model_type]
