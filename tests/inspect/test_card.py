"""A card counts what is there: bert-base's parameters by part, shared layers once, files of any layout."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from tests.builders import add_modules, bert_config, bert_weights, tiny_bert, write_json
from torch import nn

from sentvec import Embedder
from sentvec.inspect.card import Card, Pieces, card, files_of, parameters_of, stored_formats, weights_of
from sentvec.models.architecture import build_empty
from sentvec.models.registry import architecture

BASE = bert_config(
    vocab_size=30522,
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
    max_position_embeddings=512,
)


def test_bert_base_has_109_million_parameters_in_known_shares():
    row = architecture("bert")
    counts = parameters_of(build_empty(row, row.read(BASE), pooler=True))
    assert counts == {"embeddings": 23_837_184, "encoder": 85_054_464, "pooler": 590_592}
    pieces = Pieces(kind="WordPiece", size=0, special={}, mark="##", marked=0)
    found = Card(parameters=counts, weights=(), dtype="float32", stored=(), files={}, pieces=pieces)
    assert found.total == 109_482_240
    assert {part: round(share, 1) for part, share in found.shares().items()} == {
        "embeddings": 21.8,
        "encoder": 77.7,
        "pooler": 0.5,
    }


def test_layers_that_share_parameters_count_once():
    layer = nn.Linear(3, 3)
    encoder = nn.Module()
    encoder.embeddings = nn.Embedding(5, 3)
    encoder.layers = nn.ModuleList([layer, layer])
    assert parameters_of(encoder) == {"embeddings": 15, "encoder": 12}


def test_layers_of_different_shapes_are_not_put_together():
    encoder = nn.Module()
    encoder.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 4)])
    listed = {(w.name, w.shape): w.count for w in weights_of(encoder)}
    assert listed[("layers.*.weight", (3, 3))] == 2
    assert listed[("layers.*.weight", (4, 3))] == 1


def test_files_of_shards_and_of_a_folder_within(tmp_path):
    folder = add_modules(tiny_bert(tmp_path / "m" / "0_Transformer").parent, "Pooling", transformer="0_Transformer")
    inner = folder / "0_Transformer"
    assert files_of(folder) == [inner / "model.safetensors"]
    tensors = bert_weights(bert_config())
    (inner / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[:9], "model-2.safetensors": names[9:]}
    for part, held in parts.items():
        save_file({name: tensors[name].to(torch.float16) for name in held}, inner / part)
    placed = {name: part for part, held in parts.items() for name in held}
    write_json(inner / "model.safetensors.index.json", {"weight_map": placed})
    model = Embedder.from_pretrained(folder)
    found = card(model)
    assert list(found.files) == list(parts)
    assert found.files["model-1.safetensors"] == (inner / "model-1.safetensors").stat().st_size
    assert (found.dtype, found.stored) == ("float32", ("float16",))


def test_a_pickle_says_nothing_of_its_formats(tmp_path):
    folder = tiny_bert(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    torch.save(bert_weights(json.loads((folder / "config.json").read_text())), folder / "pytorch_model.bin")
    assert [path.name for path in files_of(folder)] == ["pytorch_model.bin"]
    assert stored_formats(files_of(folder)) == ()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_format_that_it_runs_in(tmp_path, precision):
    assert card(Embedder.from_pretrained(tiny_bert(tmp_path / "m"), precision=precision)).dtype == precision
