"""Live objects in, a folder out that sentence-transformers 2.3 to 6.x, transformers and sentvec can read.

Old keys and old class paths are written on purpose: newer readers understand both, older ones only these.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from sentvec.checkpoint.files import write_bytes, write_json
from sentvec.checkpoint.fitted import write_fitted
from sentvec.checkpoint.load import Checkpoint
from sentvec.checkpoint.names import expand, to_theirs
from sentvec.checkpoint.recipe import Normalize, Recipe
from sentvec.checkpoint.sentence import POOLING_KEYS
from sentvec.models.config import write_config
from sentvec.models.heads import Projection
from sentvec.models.registry import architecture
from sentvec.nn.flow import Flow
from sentvec.text.tokenizer import Tokenizer

_log = logging.getLogger("sentvec")
_BERT = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
_ROBERTA = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a model.

    Args:
        folder: made if it is not there; files of the same names are replaced one by one.
        checkpoint: the model; weights are written in float32, wherever and in whatever format they are held.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config_of(checkpoint, architecture(checkpoint.model_type).saved_as))
    write_tensors(folder, encoder_tensors(checkpoint))
    write_tokenizer(folder, checkpoint)
    _write_recipe(folder, checkpoint.recipe, checkpoint.encoder.config.hidden)


def config_of(checkpoint: Checkpoint, class_name: str) -> dict[str, Any]:
    """Return config.json for a model that is saved under a class name of transformers."""
    row = architecture(checkpoint.model_type)
    config = dict(checkpoint.config) | write_config(checkpoint.encoder.config, row.keys)
    config |= {"model_type": checkpoint.model_type, "architectures": [class_name], "dtype": "float32"}
    config.pop("torch_dtype", None)  # the old name of dtype
    # code that lies beside config.json is not saved with it; code in another repository ("name--file") stays there
    code = config.pop("auto_map", None)
    kept = {key: path for key, path in code.items() if "--" in str(path)} if isinstance(code, dict) else {}
    return config | ({"auto_map": kept} if kept else {})


def encoder_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return an encoder's tensors as they are written, under the checkpoint's names."""
    row = architecture(checkpoint.model_type)
    numbers = checkpoint.encoder.config
    learned = to_theirs(state_of(checkpoint.encoder), expand(row.names, row.places(numbers)))
    return learned | dict(row.constants(numbers))


def write_tensors(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Write a folder's weights."""
    write_bytes(folder / "model.safetensors", save(tensors, metadata={"format": "pt"}))


def write_tokenizer(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the tokeniser, and how long a text may be."""
    tokenizer = checkpoint.tokenizer
    content = json.loads(tokenizer.to_json())
    config: dict[str, Any] = {"model_max_length": checkpoint.recipe.max_seq_length}
    normalizer = content.get("normalizer") or {}
    if normalizer.get("type") == "BertNormalizer":
        config |= {
            "do_lower_case": normalizer["lowercase"],
            "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
            "strip_accents": normalizer["strip_accents"],
        }
    vocab = tokenizer.vocab()
    special = special_tokens(checkpoint)
    # the generic class takes tokenizer.json as it stands; a model's own class would build another from the vocabulary
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if architecture(checkpoint.model_type).pads_left:
        config["padding_side"] = "left"
    two_types = checkpoint.encoder.config.types > 1
    config["model_input_names"] = ["input_ids", *(["token_type_ids"] if two_types else []), "attention_mask"]
    write_json(folder / "tokenizer.json", content)
    write_json(folder / "tokenizer_config.json", config | special)
    write_json(folder / "special_tokens_map.json", special)
    if tokenizer.kind == "WordPiece":
        pieces = sorted(vocab, key=vocab.__getitem__)
        if [vocab[piece] for piece in pieces] == list(range(len(pieces))):
            write_bytes(folder / "vocab.txt", "".join(f"{piece}\n" for piece in pieces).encode())


def _usual_roles(tokenizer: Tokenizer, unknown: str | None) -> dict[str, str]:
    """Say what special tokens are for where the folder that was read does not: by what stands around a text."""
    vocab = tokenizer.vocab()
    around = tokenizer.layout[0]
    plain, other = (_ROBERTA, _BERT) if vocab.get("<s>") in around else (_BERT, _ROBERTA)
    # ALBERT has tokens of both kinds, and so has MPNet
    roles = {role: token for role, token in other.items() if role in _BERT and token in vocab}
    roles |= {role: token for role, token in plain.items() if token in vocab}
    if unknown is not None:
        roles["unk"] = unknown
    return {f"{role}_token": token for role, token in roles.items()}


def special_tokens(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the special tokens that are in the vocabulary, such as ``{"mask_token": "[MASK]"}``."""
    tokenizer = checkpoint.tokenizer
    vocab = tokenizer.vocab()
    named = _usual_roles(tokenizer, tokenizer.unknown) | dict(checkpoint.special)
    return {role: token for role, token in named.items() if token in vocab}


def _write_recipe(folder: Path, recipe: Recipe, hidden: int) -> None:
    modules = [("", "sentence_transformers.models.Transformer")]
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": recipe.max_seq_length, "do_lower_case": recipe.lower_case},
    )
    modules.append(("1_Pooling", _write_pooling(folder / "1_Pooling", recipe, hidden)))
    for number, step in enumerate(recipe.steps, start=2):
        if isinstance(step, Normalize):
            modules.append((f"{number}_Normalize", "sentence_transformers.models.Normalize"))
            (folder / f"{number}_Normalize").mkdir(exist_ok=True)
        elif isinstance(step, Flow):
            # a class path of our own, so that other readers stop instead of leaving the flow out
            _log.warning("a flow is not known to sentence-transformers, which will refuse the folder")
            modules.append((f"{number}_Flow", "sentvec.Flow"))
            _write_flow(folder / f"{number}_Flow", step)
        else:
            modules.append((f"{number}_Dense", "sentence_transformers.models.Dense"))
            _write_dense(folder / f"{number}_Dense", step)
    rows = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(modules)]
    write_json(folder / "modules.json", rows)
    write_fitted(folder, recipe.fitted, recipe.calibration)
    extra = {"truncate_dim": recipe.dim} if recipe.dim is not None else {}
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "SentenceTransformer",
            "__version__": {"sentence_transformers": "3.0.0", "transformers": "4.41.0", "pytorch": "2.3.0"},
            "prompts": dict(recipe.prompts),
            "default_prompt_name": recipe.default_prompt,
            "similarity_fn_name": recipe.similarity,
        }
        | extra,
    )


def _write_pooling(folder: Path, recipe: Recipe, hidden: int) -> str:
    """Write Pooling's config.json and return its class path."""
    order = [ours for _, _, ours in POOLING_KEYS]
    if list(recipe.pooling) == sorted(set(recipe.pooling) & set(order), key=order.index):
        keys = {key: ours in recipe.pooling for key, _, ours in POOLING_KEYS}
        content: dict[str, Any] = {"word_embedding_dimension": hidden, **keys, "include_prompt": recipe.include_prompt}
        kind = "sentence_transformers.models.Pooling"
    else:
        # a class path of our own, so that other readers stop instead of pooling in another way
        _log.warning("pooling %s is not known to sentence-transformers, which will refuse the folder", recipe.pooling)
        content = {"word_embedding_dimension": hidden, "pooling_mode": list(recipe.pooling)}
        content["include_prompt"] = recipe.include_prompt
        kind = "sentvec.Pooling"
    write_json(folder / "config.json", content)
    return kind


def _write_dense(folder: Path, projection: Projection) -> None:
    linear = projection.linear
    act: nn.Module = projection.act
    content: dict[str, Any] = {
        "in_features": linear.in_features,
        "out_features": linear.out_features,
        "bias": linear.bias is not None,
        "activation_function": f"{type(act).__module__}.{type(act).__name__}",
    }
    if projection.adds_input:  # a key that readers before 6.x do not know
        content["use_residual"] = True
    write_json(folder / "config.json", content)
    write_tensors(folder, state_of(projection))


def _write_flow(folder: Path, flow: Flow) -> None:
    write_json(folder / "config.json", {"features": flow.in_dim, "depth": flow.depth, "width": flow.width})
    write_tensors(folder, state_of(flow))


def state_of(module: object) -> dict[str, Tensor]:
    """Return a module's tensors as they are written: in float32, on the CPU."""
    assert isinstance(module, nn.Module)
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in module.state_dict().items()}
