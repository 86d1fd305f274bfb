"""Adapters: written and read again, merged to the digit, as peft has them, and refused where they do not fit."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.builders import TEXTS, tiny_bert

from sentvec import Embedder
from sentvec.checkpoint.adapters import (
    CONFIG,
    WEIGHTS,
    Adapter,
    LowRank,
    is_adapter,
    merge,
    read_adapter,
    write_adapter,
)
from sentvec.checkpoint.load import load
from sentvec.errors import ConfigError, WeightsError

QUERY = "encoder.layer.1.attention.self.query"
VALUE = "encoder.layer.1.attention.self.value"
DOWN = "encoder.layer.0.output.dense"

renamed = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft asks it


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("model"))


def low(outputs, inputs, seed, rank=4):
    draw = torch.Generator().manual_seed(seed)
    down, up = torch.randn(rank, inputs, generator=draw), torch.randn(outputs, rank, generator=draw)
    return LowRank(down, up, 8 / rank)


@pytest.fixture
def adapter(model):
    return Adapter(str(model), {QUERY: low(32, 32, 1), VALUE: low(32, 32, 2), DOWN: low(32, 48, 3)})


def test_written_and_read_again(tmp_path, adapter):
    write_adapter(tmp_path, adapter, rank=4, alpha=8)
    assert is_adapter(tmp_path)
    again = read_adapter(tmp_path)
    assert (again.base, again.changes.keys()) == (adapter.base, adapter.changes.keys())
    for name, change in adapter.changes.items():
        assert torch.equal(again.changes[name].down, change.down)
        assert torch.equal(again.changes[name].up, change.up)
        assert again.changes[name].scale == change.scale


def test_merged_by_the_equation(model, adapter):
    before, checkpoint = load(model).encoder.state_dict(), load(model)
    merge(checkpoint, adapter)
    after = checkpoint.encoder.state_dict()
    change = adapter.changes[QUERY]
    wanted = before["layers.1.attention.qkv.weight"].clone()
    wanted[:32] += 2 * change.up @ change.down
    wanted[64:] += 2 * adapter.changes[VALUE].up @ adapter.changes[VALUE].down
    torch.testing.assert_close(after["layers.1.attention.qkv.weight"], wanted)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"layers.1.attention.qkv.weight", "layers.0.feed_forward.down.weight"}


def test_a_folder_of_adapters_is_loaded_as_the_model_that_they_are_of(model, tmp_path, adapter):
    write_adapter(tmp_path, adapter, rank=4, alpha=8)
    found = Embedder.from_pretrained(tmp_path).encode(TEXTS)
    assert abs(found - Embedder.from_pretrained(model).encode(TEXTS)).max() > 0.01
    checkpoint = load(model)
    merge(checkpoint, adapter)
    assert abs(found - Embedder(checkpoint, name="x").encode(TEXTS)).max() < 1e-6
    write_adapter(tmp_path, Adapter("", adapter.changes), rank=4, alpha=8)
    with pytest.raises(ConfigError, match="does not say which model it is of"):
        Embedder.from_pretrained(tmp_path)


@renamed
def test_peft_reads_what_we_write(model, tmp_path, adapter):
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    write_adapter(tmp_path, adapter, rank=4, alpha=8)
    theirs = peft.PeftModel.from_pretrained(transformers.AutoModel.from_pretrained(model), tmp_path)
    merged = theirs.merge_and_unload().state_dict()
    checkpoint = load(model)
    merge(checkpoint, adapter)
    ours = checkpoint.encoder.state_dict()
    torch.testing.assert_close(merged[f"{QUERY}.weight"], ours["layers.1.attention.qkv.weight"][:32])
    torch.testing.assert_close(merged[f"{DOWN}.weight"], ours["layers.0.feed_forward.down.weight"])
    torch.testing.assert_close(
        merged["encoder.layer.1.output.dense.weight"], ours["layers.1.feed_forward.down.weight"], atol=0, rtol=0
    )


@renamed
@pytest.mark.parametrize("rslora", [False, True])
def test_what_peft_writes_is_read(model, tmp_path, rslora):
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    config = peft.LoraConfig(r=4, lora_alpha=6, target_modules=["query", "intermediate.dense"], use_rslora=rslora)
    theirs = peft.get_peft_model(transformers.AutoModel.from_pretrained(model), config)
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=draw)
    theirs.save_pretrained(tmp_path)
    adapter = read_adapter(tmp_path)
    assert len(adapter.changes) == 4
    checkpoint = load(model)
    merge(checkpoint, adapter)
    ours, merged = checkpoint.encoder.state_dict(), theirs.merge_and_unload().state_dict()
    for layer in (0, 1):
        qkv, up = ours[f"layers.{layer}.attention.qkv.weight"], ours[f"layers.{layer}.feed_forward.up.weight"]
        torch.testing.assert_close(merged[f"encoder.layer.{layer}.attention.self.query.weight"], qkv[:32])
        torch.testing.assert_close(merged[f"encoder.layer.{layer}.intermediate.dense.weight"], up)


def test_what_cannot_be_read_is_named(tmp_path, adapter):
    for key, value, message in (
        ("peft_type", "IA3", "is of kind 'IA3'; known: LORA"),
        ("use_dora", True, "sets use_dora to True"),
        ("bias", "all", "sets bias to 'all'"),
        ("modules_to_save", ["pooler"], "sets modules_to_save"),
        ("lora_alpha", None, "lora_alpha .* is None"),
    ):
        write_adapter(tmp_path, adapter, rank=4, alpha=8)
        content = json.loads((tmp_path / CONFIG).read_text()) | {key: value}
        (tmp_path / CONFIG).write_text(json.dumps(content))
        with pytest.raises(ConfigError, match=message):
            read_adapter(tmp_path)
    write_adapter(tmp_path, adapter, rank=4, alpha=8)
    tensors = load_file(tmp_path / WEIGHTS)
    name = f"base_model.model.{QUERY}.lora_B.weight"
    for changed, message in (
        ({key: value for key, value in tensors.items() if key != name}, "has no other half"),
        (tensors | {name: torch.zeros(32, 5)}, "has no other half"),
        (tensors | {"classifier.weight": torch.zeros(2)}, "'classifier.weight', which is no half"),
    ):
        save_file(changed, tmp_path / WEIGHTS)
        with pytest.raises(WeightsError, match=message):
            read_adapter(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_adapter(tmp_path)


def test_changes_of_another_model_are_refused(model):
    with pytest.raises(WeightsError, match="changes 'encoder.layer.7.output.dense', which the model does not have"):
        merge(load(model), Adapter("", {"encoder.layer.7.output.dense": low(32, 48, 1)}))
    with pytest.raises(WeightsError, match=r"is \(64, 32\), the model's map is \(32, 32\)"):
        merge(load(model), Adapter("", {QUERY: low(64, 32, 1)}))
