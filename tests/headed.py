"""Small seeded models with task heads, written by transformers itself: a folder's path in, the oracle's model out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.builders import PIECES, byte_vocab, tiny_bert, tiny_roberta, tiny_xlm_roberta, write_json
from tests.models.oracle import seeded

from sentvec.checkpoint.tokenizer import read_tokenizer
from sentvec.models.registry import ARCHITECTURES

LETTERS = 40  # at least the size of the Unigram vocabulary of `tiny_xlm_roberta`
_SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
_ROBERTA = _SHAPE | {"max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1}
_ROBERTA |= {"bos_token_id": 0, "eos_token_id": 2}
_BERT = _SHAPE | {"max_position_embeddings": 64, "vocab_size": len(PIECES)}


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
    """What tests must know of a family: its small shape, and who writes its tokeniser."""

    shape: dict[str, Any]
    tokenizer: Callable[..., Path] = tiny_bert


# families whose keys or tokeniser are not BERT's
_UNLIKE_BERT = {
    "roberta": Kin(_ROBERTA | {"vocab_size": len(byte_vocab()[0])}, tiny_roberta),
    "xlm-roberta": Kin(_ROBERTA | {"vocab_size": LETTERS + 8}, tiny_xlm_roberta),
    "camembert": Kin(_ROBERTA | {"vocab_size": len(byte_vocab()[0])}, tiny_roberta),
    "distilbert": Kin(
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 64}
        | {"vocab_size": len(PIECES)},
    ),
    "albert": Kin(_BERT | {"embedding_size": 16}),
    "electra": Kin(_BERT | {"embedding_size": 16}),
    "mpnet": Kin(_BERT | {"max_position_embeddings": 66, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3}),
    "modernbert": Kin(
        _BERT
        | {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
        | {"local_attention": 8, "global_attn_every_n_layers": 2, "num_hidden_layers": 3},
        tiny_generic,
    ),
    "nomic_bert": Kin(_BERT, tiny_generic),
    "xlm": Kin(
        {"emb_dim": 32, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 64, "vocab_size": len(PIECES)}
        | {"pad_index": 0, "unk_index": 1, "bos_index": 2, "eos_index": 3},
        tiny_generic,
    ),
    "xlnet": Kin(
        {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48, "vocab_size": len(PIECES), "pad_token_id": 0}
    ),
}
FAMILIES = {name: _UNLIKE_BERT.get(name, Kin(_BERT)) for name in ARCHITECTURES}


def tiny(folder: Path, family: str, ending: str, *, seed: int = 0, **config: Any) -> Any:
    """Write a folder with a tokeniser, and with a model as transformers saves it.

    Args:
        folder: made if absent.
        family: a key of `FAMILIES`.
        ending: the end of the class name, such as ``"ForMaskedLM"``.
        seed: of the weights.
        config: changes to the configuration.

    Returns:
        transformers' model, in evaluation mode.
    """
    import transformers

    kin, prefix = FAMILIES[family], ARCHITECTURES[family].saved_as.removesuffix("Model")
    kin.tokenizer(folder)
    numbers = getattr(transformers, f"{prefix}Config")(attn_implementation="eager", **(kin.shape | config))
    model = seeded(getattr(transformers, prefix + ending)(numbers), seed)
    model.save_pretrained(folder)
    return model
