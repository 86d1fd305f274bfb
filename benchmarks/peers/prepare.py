"""Models for the benchmarks: a name in, a folder that every contender can read out.

The folder is in sentence-transformers' layout, with `onnx/` (float32, and dynamic int8) and `ct2/` inside.

    cd benchmarks && python -m peers.prepare minilm|base FOLDER DATA
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from peers.setting import LENGTH

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json")


def minilm(folder: Path, _data: Path) -> None:
    """Copy the real model from wherever it is installed."""
    from sentvec.checkpoint.hub import resolve

    shutil.copytree(resolve(MINILM), folder, dirs_exist_ok=True)
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["model_max_length"] = LENGTH  # where fastembed looks; the file says 512
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))


def base(folder: Path, data: Path) -> None:
    """Write a model of m3e-base's shape with seeded random weights: 12 layers, 768 wide, BERT's Chinese vocabulary."""
    import torch
    import transformers

    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(vocab_size=21128)).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["position_embedding_type"] = "absolute"  # CTranslate2 asks for it; transformers 5 no longer writes it
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_bytes((data / "tokenizers/bert-base-chinese/vocab.txt").read_bytes())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": LENGTH})
    )
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    kinds = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": LENGTH, "do_lower_case": False}))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": 768, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "2_Normalize").mkdir(exist_ok=True)


def onnx(folder: Path) -> None:
    """Export to ONNX, and quantise: weights in int8 by channel, activations as they come."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import BertModel

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # ONNX Runtime knows the written-out form of attention, and fuses it
            self.bert = BertModel.from_pretrained(folder, attn_implementation="eager", add_pooling_layer=False)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
            return self.bert(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state

    out = folder / "onnx"
    out.mkdir(exist_ok=True)
    ids = torch.randint(5, 1000, (2, 16))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch", 1: "tokens"} for name in [*names, "last_hidden_state"]}
    # The older exporter: its graphs run an eighth faster here than the newer one's, as measured with the same runtime.
    torch.onnx.export(
        States().eval(), (ids, torch.ones_like(ids), torch.zeros_like(ids)), str(out / "model.onnx"),
        input_names=names, output_names=["last_hidden_state"], dynamic_axes=axes, opset_version=17, dynamo=False,
    )  # fmt: skip
    quantize_dynamic(out / "model.onnx", out / "model-int8.onnx", weight_type=QuantType.QInt8, per_channel=True)
    for file in TOKENIZER_FILES:  # fastembed wants all in one folder
        if (folder / file).exists():
            shutil.copy(folder / file, out / file)


def ct2(folder: Path) -> None:
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(folder)).convert(str(folder / "ct2"), force=True)


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    name, folder, data = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    steps: dict[str, Callable[[], None]] = {
        name: lambda: {"minilm": minilm, "base": base}[name](folder, data),
        "onnx": lambda: onnx(folder),
        "ct2": lambda: ct2(folder),
    }
    for step, work in steps.items():
        done = folder / f".done-{step}"
        if done.exists():
            continue
        try:
            work()
        except Exception as error:  # those who need this step will say that they could not run
            if step == name:
                raise
            print(f"  {step}: {type(error).__name__}: {str(error)[:200]}")
        else:
            done.touch()


if __name__ == "__main__":
    main()
