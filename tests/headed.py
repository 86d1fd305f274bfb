"""Small seeded models with task heads, written by transformers itself: a folder's path in, the oracle's model out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.builders import PIECES, byte_vocab, tiny_bert, tiny_roberta, tiny_xlm_roberta, write_json
from tests.models.oracle import seeded

from sentvec.checkpoint.tokenizer import read_tokenizer
from sentvec.models.registry import ARCHITECTURES

LETTERS = 40  # at least the size of the Unigram vocabulary of `tiny_xlm_roberta`
SMALL = {"hidden": 32, "layers": 2, "heads": 4, "intermediate": 48, "positions": 64, "vocab": len(PIECES)}


def tiny_generic(folder: Path) -> Path:
    """Write BERT's pieces as a tokenizer.json, as families do that have no tokeniser class of their own."""
    tiny_bert(folder)
    backend = read_tokenizer(folder).to_json()
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer.json").write_text(backend, encoding="utf-8")
    special = {f"{role}_token": f"[{role.upper()}]" for role in ("cls", "sep", "pad", "unk", "mask")}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"} | special)
    return folder


@dataclass(frozen=True)
class Kin:
    """What does not follow from a family's row: keys of a small config.json, and who writes a tokeniser."""

    config: dict[str, Any] = field(default_factory=dict)
    tokenizer: Callable[..., Path] = tiny_bert


_BEHIND_PADDING = {"max_position_embeddings": 66, "pad_token_id": 1}
_ROBERTA = _BEHIND_PADDING | {"bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}
_SPECIAL = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
_BYTES = len(byte_vocab()[0])
# families that need more than a tokeniser of BERT's pieces; all others need no row
KIN = {
    "roberta": Kin(_ROBERTA | {"vocab_size": _BYTES}, tiny_roberta),
    "xlm-roberta": Kin(_ROBERTA | {"vocab_size": LETTERS + 8}, tiny_xlm_roberta),
    "camembert": Kin(_ROBERTA | {"vocab_size": _BYTES}, tiny_roberta),
    "albert": Kin({"embedding_size": 16}),
    "electra": Kin({"embedding_size": 16}),
    "mpnet": Kin(_BEHIND_PADDING | {"bos_token_id": 2, "eos_token_id": 3}),
    "modernbert": Kin(
        _SPECIAL
        | {"cls_token_id": 2, "sep_token_id": 3}
        | {"local_attention": 8, "global_attn_every_n_layers": 2, "num_hidden_layers": 3},
        tiny_generic,
    ),
    "nomic_bert": Kin(tokenizer=tiny_generic),
    "deberta-v2": Kin(
        {"relative_attention": True, "share_att_key": True, "pos_att_type": "p2c|c2p", "norm_rel_ebd": "layer_norm"}
        | {"position_buckets": 8, "position_biased_input": False, "type_vocab_size": 0}
    ),
    "xlm": Kin({"pad_index": 0, "unk_index": 1, "bos_index": 2, "eos_index": 3}, tiny_generic),
    "xlnet": Kin({"pad_token_id": 0}),
}


def small_config(family: str) -> dict[str, Any]:
    """Return the keys of a small config.json, as the family calls them."""
    row = ARCHITECTURES[family]
    sizes = {key: SMALL[ours] for ours, (key, _) in row.keys.items() if ours in SMALL}
    return sizes | KIN.get(family, Kin()).config


def tiny(folder: Path, family: str, ending: str, *, seed: int = 0, **config: Any) -> Any:
    """Write a folder with a tokeniser, and with a model as transformers saves it.

    Args:
        folder: made if absent.
        family: a key of `ARCHITECTURES`.
        ending: the end of the class name, such as ``"ForMaskedLM"``.
        seed: of the weights.
        config: changes to the configuration.

    Returns:
        transformers' model, in evaluation mode.
    """
    import transformers

    prefix = ARCHITECTURES[family].saved_as.removesuffix("Model")
    KIN.get(family, Kin()).tokenizer(folder)
    numbers = getattr(transformers, f"{prefix}Config")(attn_implementation="eager", **(small_config(family) | config))
    model = seeded(getattr(transformers, prefix + ending)(numbers), seed)
    model.save_pretrained(folder)
    return model
