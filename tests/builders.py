"""Small seeded models made in code: a folder's path in, a checkpoint in that folder out, in any of the known layouts.

Weights are drawn wide enough that no part of the model is close to doing nothing, so that a part that is read
wrongly shows in the vectors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor

PIECES = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *"abcdefghijklmnopqrstuvwxyz0123456789.,:!?-",
    *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"),
    *("the", "cat", "sat", "on", "mat", "##s", "##ing", "##ed", "un", "##aff", "##able", "dog", "query", "passage"),
    *"你好世界中文猫狗",
)
PIECES = tuple(dict.fromkeys(PIECES))  # "##s" stands in both lines
TEXTS = (
    "The cat sat on the mat",
    "",
    "dogs",
    "unaffable, 你好世界!",
    "a rather longer text that has some more words in it, so that lengths differ",
    "query: what is a cat?",
)


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def bert_config(**changes: Any) -> dict[str, Any]:
    """Return a config.json; a change to None takes the key away."""
    config = {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 32,
        "intermediate_size": 48,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 64,
        "model_type": "bert",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pad_token_id": 0,
        "type_vocab_size": 2,
        "vocab_size": len(PIECES),
    } | changes
    return {key: value for key, value in config.items() if value is not None}


def bert_weights(config: Mapping[str, Any], *, seed: int = 0, pooler: bool = True) -> dict[str, Tensor]:
    """Draw all tensors of an encoder, under Hugging Face's names."""
    generator = torch.Generator().manual_seed(seed)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    tensors: dict[str, Tensor] = {}

    def table(name: str, rows: int) -> None:
        tensors[f"{name}.weight"] = torch.randn(rows, hidden, generator=generator)

    def linear(name: str, out: int, into: int) -> None:
        tensors[f"{name}.weight"] = torch.randn(out, into, generator=generator) * 1.5 / into**0.5
        tensors[f"{name}.bias"] = torch.randn(out, generator=generator) * 0.1

    def norm(name: str) -> None:
        tensors[f"{name}.weight"] = 1 + 0.1 * torch.randn(hidden, generator=generator)
        tensors[f"{name}.bias"] = 0.1 * torch.randn(hidden, generator=generator)

    table("embeddings.word_embeddings", config["vocab_size"])
    table("embeddings.position_embeddings", config["max_position_embeddings"])
    table("embeddings.token_type_embeddings", config["type_vocab_size"])
    norm("embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        for part in ("query", "key", "value"):
            linear(f"encoder.layer.{i}.attention.self.{part}", hidden, hidden)
        linear(f"encoder.layer.{i}.attention.output.dense", hidden, hidden)
        norm(f"encoder.layer.{i}.attention.output.LayerNorm")
        linear(f"encoder.layer.{i}.intermediate.dense", inner, hidden)
        linear(f"encoder.layer.{i}.output.dense", hidden, inner)
        norm(f"encoder.layer.{i}.output.LayerNorm")
    if pooler:
        linear("pooler.dense", hidden, hidden)
    return tensors


def write_weights(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})


def write_vocab(folder: Path, pieces: Sequence[str] = PIECES, **options: Any) -> None:
    (folder / "vocab.txt").write_bytes("".join(f"{piece}\n" for piece in pieces).encode())
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True} | options)


def tiny_bert(
    folder: Path, *, seed: int = 0, pooler: bool = True, tensors: Mapping[str, Tensor] | None = None, **config: Any
) -> Path:
    """Write a BERT folder as Hugging Face lays it out: config.json, model.safetensors, vocab.txt.

    Args:
        folder: made if absent.
        seed: of the weights.
        pooler: whether the checkpoint has one.
        tensors: write these instead of drawing some.
        config: changes to config.json, see `bert_config`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = bert_config(**config)
    write_json(folder / "config.json", numbers)
    write_weights(folder, bert_weights(numbers, seed=seed, pooler=pooler) if tensors is None else tensors)
    write_vocab(folder)
    return folder


def byte_vocab() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return a byte-level vocabulary and merges, with RoBERTa's special tokens at RoBERTa's places."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("c", "a"), ("ca", "t"), ("Ġ", "cat"), ("i", "n"), ("in", "g")]
    pieces += [a + b for a, b in merges] + ["<mask>"]
    return {piece: i for i, piece in enumerate(pieces)}, merges


def tiny_roberta(folder: Path, *, seed: int = 0, model_type: str = "roberta", **config: Any) -> Path:
    """Write a RoBERTa folder: config.json, model.safetensors, vocab.json, merges.txt; 64 tokens at most."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab, merges = byte_vocab()
    roberta = {"model_type": model_type, "architectures": None, "vocab_size": len(vocab), "layer_norm_eps": 1e-5}
    places = {"max_position_embeddings": 66, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    numbers = bert_config(**(roberta | places | {"type_vocab_size": 1} | config))
    write_json(folder / "config.json", numbers)
    write_weights(folder, bert_weights(numbers, seed=seed))
    write_json(folder / "vocab.json", vocab)
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer", "model_max_length": 64})
    return folder


def tiny_xlm_roberta(folder: Path, *, seed: int = 0, **config: Any) -> Path:
    """Write an XLM-RoBERTa folder, whose tokenizer.json holds a Unigram model with `▁` for spaces."""
    tiny_roberta(folder, seed=seed, model_type="xlm-roberta", **config)
    letters = "abcdefghijklmnopqrstuvwxyz,.!?你好"
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁the", "▁cat", "ing", *letters]
    unigram = models.Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], unk_id=3, byte_fallback=False)
    backend = Tokenizer(unigram)
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    backend.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    backend.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "cls_token": "<s>", "sep_token": "</s>", "eos_token": "</s>"}
    names |= {"pad_token": "<pad>", "unk_token": "<unk>", "tokenizer_class": "XLMRobertaTokenizer"}
    write_json(folder / "tokenizer_config.json", names | {"model_max_length": 64})
    return folder


OLD = "sentence_transformers.models."
OLD_POOLING = {
    "first": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt": "pooling_mode_mean_sqrt_len_tokens",
    "weighted_mean": "pooling_mode_weightedmean_tokens",
    "last": "pooling_mode_lasttoken",
}


def pooling_config(*modes: str, hidden: int = 32, **more: Any) -> dict[str, Any]:
    """Return a Pooling's config.json with the old keys."""
    flags = {key: ours in modes for ours, key in OLD_POOLING.items()}
    return {"word_embedding_dimension": hidden, **flags, **more}


def add_modules(
    folder: Path,
    *kinds: str,
    pooling: Mapping[str, Any] | None = None,
    dense: Mapping[str, Any] | None = None,
    types: Mapping[str, str] | None = None,
    transformer: str = "",
) -> Path:
    """Turn a Hugging Face folder into a sentence-transformers one.

    Args:
        folder: the folder.
        kinds: modules after the Transformer, such as ``"Pooling", "Dense", "Normalize"``.
        pooling: the Pooling's config.json; None is mean pooling with the old keys.
        dense: the Dense's config.json; weights are drawn to fit it.
        types: kind -> class path; others get the old one.
        transformer: sub-folder of the encoder.
    """
    paths = {"Transformer": OLD + "Transformer"} | {kind: OLD + kind for kind in kinds} | dict(types or {})
    rows = [{"idx": 0, "name": "0", "path": transformer, "type": paths["Transformer"]}]
    for i, kind in enumerate(kinds, start=1):
        place = folder / f"{i}_{kind}"
        rows.append({"idx": i, "name": str(i), "path": place.name, "type": paths[kind]})
        if kind == "Pooling":
            write_json(place / "config.json", pooling_config("mean") if pooling is None else pooling)
        elif kind == "Dense":
            content = {"in_features": 32, "out_features": 16, "bias": True} | dict(dense or {})
            write_json(place / "config.json", content)
            write_weights(place, dense_weights(content))
    write_json(folder / "modules.json", rows)
    return folder


def dense_weights(config: Mapping[str, Any], seed: int = 7) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows, columns = config["out_features"], config["in_features"]
    tensors = {"linear.weight": torch.randn(rows, columns, generator=generator) / columns**0.5}
    if config.get("bias", True):
        tensors["linear.bias"] = torch.randn(rows, generator=generator) * 0.2
    if config.get("use_residual") and rows != columns:
        tensors["residual.weight"] = torch.randn(rows, columns, generator=generator) / columns**0.5
    return tensors
