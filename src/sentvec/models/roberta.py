"""RoBERTa (Liu et al. 2019, arXiv 1907.11692) and its kin: BERT's encoder, whose positions begin behind the padding id.

XLM-RoBERTa (Conneau et al. 2019, 1911.02116) and CamemBERT (Martin et al. 2019, 1911.03894) have other vocabularies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sentvec.errors import ConfigError
from sentvec.models import bert
from sentvec.models.config import EncoderConfig, read_config
from sentvec.models.head_table import roberta_heads


def read(raw: Mapping[str, Any]) -> EncoderConfig:
    """Read config.json.

    Raises:
        ConfigError: see `read_config`; or the padding id leaves no rows of the position table.
    """
    plain = read_config(raw)
    padding = raw.get("pad_token_id", 1)
    if not isinstance(padding, int) or not 0 <= padding < plain.positions - 1:
        raise ConfigError(
            f"config.json cannot be used: pad_token_id is {padding!r}, which should be a whole number below "
            "max_position_embeddings."
        )
    # rows 0 .. padding id of the position table are not for tokens (Liu et al. 2019; fairseq's numbering)
    return replace(plain, position_offset=padding + 1)


ARCHITECTURE = replace(
    bert.ARCHITECTURE, read=read, saved_as="RobertaModel", tasks=roberta_heads("roberta."), prefixes=("bert.",)
)
XLM_ROBERTA = replace(ARCHITECTURE, saved_as="XLMRobertaModel")
CAMEMBERT = replace(ARCHITECTURE, saved_as="CamembertModel")
