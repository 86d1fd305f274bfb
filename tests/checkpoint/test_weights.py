"""Weight files of every kind are read; broken and hostile ones are refused, and no code in them runs."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.builders import TEXTS, add_modules, bert_config, bert_weights, tiny_bert, write_json

from sentvec import Embedder
from sentvec.checkpoint.load import load
from sentvec.checkpoint.weights import read_weights
from sentvec.errors import ConfigError, NonFiniteOutput, WeightsError

WEIGHTS = bert_weights(bert_config())
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 90868376\n"


def shards(folder, suffix="safetensors"):
    """Write the weights in three files and the index that names them."""
    stem, placed = ("model" if suffix == "safetensors" else "pytorch_model"), {}
    names = sorted(WEIGHTS)
    for i in range(3):
        part = {name: WEIGHTS[name] for name in names[i::3]}
        shard = f"{stem}-{i + 1:05}-of-00003.{suffix}"
        if suffix == "safetensors":
            save_file(part, folder / shard)
        else:
            torch.save(part, folder / shard)
        placed |= dict.fromkeys(part, shard)
    write_json(folder / f"{stem}.{suffix}.index.json", {"metadata": {"total_size": 1}, "weight_map": placed})
    return folder


def one_file(folder, content=WEIGHTS, **options):
    torch.save(content, folder / "pytorch_model.bin", **options)
    return folder


WRITERS = {
    "safetensors": lambda folder: save_file(WEIGHTS, folder / "model.safetensors"),
    "sharded safetensors": shards,
    "pickle": one_file,
    "old pickle": lambda folder: one_file(folder, _use_new_zipfile_serialization=False),
    "pickle with state_dict": lambda folder: one_file(folder, {"state_dict": WEIGHTS}),
    "sharded pickle": lambda folder: shards(folder, "bin"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_layout_gives_the_same_tensors(tmp_path, kind):
    WRITERS[kind](tmp_path)
    tensors, _ = read_weights(tmp_path)
    assert tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(tensors[name], WEIGHTS[name]) for name in WEIGHTS)


def test_safetensors_are_preferred(tmp_path):
    one_file(tmp_path, {"other": torch.zeros(1)})
    WRITERS["safetensors"](tmp_path)
    assert read_weights(tmp_path)[1] == "model.safetensors"


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["whole", "value", "shard"])
def test_code_in_a_pickle_does_not_run(tmp_path, zipped, place):
    mark = tmp_path / "ran"
    evil = Evil(mark)
    if place == "shard":
        shards(tmp_path, "bin")
        torch.save(
            {"a": evil},
            tmp_path / "pytorch_model-00002-of-00003.bin",
            _use_new_zipfile_serialization=zipped,
        )
    else:
        one_file(tmp_path, evil if place == "whole" else WEIGHTS | {"a": evil}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="holds more than tensors, so reading it could run code; it was not read"):
        read_weights(tmp_path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(evil))
    assert mark.exists()  # it would have run


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Fetch it again"),
        (b"\x00" * 8, "Fetch it again"),
        (struct.pack("<Q", 1 << 60) + b"{}", "Fetch it again"),
        (struct.pack("<Q", 99_999_999) + b"{}", "Fetch it again"),
        (b"<!DOCTYPE html><html>", "Fetch it again"),
        (POINTER, "git-lfs pointer, not the weights. Run `git lfs pull`"),
        (b"PK\x03\x04 not really", "Fetch it again"),
    ],
)
def test_broken_files_are_one_clear_error(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"{name} .*{said}"):
        read_weights(tmp_path)


@pytest.mark.parametrize("kind", ["safetensors", "pickle", "old pickle"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_files_cut_short(tmp_path, kind, share):
    WRITERS[kind](tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match="Fetch it again"):
        read_weights(tmp_path)


def test_no_weights_lists_what_was_looked_for(tmp_path):
    with pytest.raises(WeightsError, match=r"holds no weights. Looked for: model.safetensors, .*git lfs pull"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.zeros(1)], "should hold tensors by name, but holds list"),
        ({"a": 1}, "under 'a' it does not"),
        ({1: torch.zeros(1)}, "under 1 it does not"),
        ({"a": {"b": torch.zeros(1)}}, "under 'a' it does not"),
    ],
)
def test_pickles_of_something_else(tmp_path, content, said):
    with pytest.raises(WeightsError, match=said):
        read_weights(one_file(tmp_path, content))


@pytest.mark.parametrize(
    "stream",
    [
        *(
            b".",
            b"0.",
            b"K\x01q\x00R.",
            b"]r\xff.",
            b"(t.",
            b"}K\x01a.",
            b"J\xff.",
            b"\x8a\xff.",
            b"X\xff\xff\xff\x7f.",
        ),
        *(b"(K\x01u.", b"}b.", b"h\x09.", b"K\x01Q.", b"ctorch._utils\n_rebuild_tensor_v2\n)R.", b"]]s.", b"\x93."),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_that_are_damaged_in_their_middle(tmp_path, stream, zipped):
    path = one_file(tmp_path, _use_new_zipfile_serialization=zipped) / "pytorch_model.bin"
    if zipped:
        with zipfile.ZipFile(path) as old:
            parts = {name: old.read(name) for name in old.namelist()}
        with zipfile.ZipFile(path, "w") as new:
            for name, content in parts.items():
                new.writestr(name, b"\x80\x02" + stream if name.endswith("data.pkl") else content)
    else:
        path.write_bytes(b"\x80\x02" + stream)
    with pytest.raises(WeightsError):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.zeros(2, 2).to_sparse(), "a is sparse, nested or quantised"),
        (torch.zeros(2, 2, device="meta"), "a has a shape but no numbers"),
        (torch.zeros(1).expand(1 << 40), r"a claims to be \(1099511627776,\)"),
        (torch.zeros(2).to(torch.float8_e4m3fn), "a holds float8_e4m3fn"),
    ],
)
def test_tensors_that_are_none_to_compute_with(tmp_path, tensor, said):
    with pytest.raises(WeightsError, match=said):
        read_weights(one_file(tmp_path, {"a": tensor}))


def test_a_zip_file_that_is_larger_inside_is_not_unpacked(tmp_path):
    path = one_file(tmp_path, {"a": torch.zeros(1 << 20)}) / "pytorch_model.bin"
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in parts.items():
            new.writestr(name, content)
    assert path.stat().st_size < 10_000
    with pytest.raises(WeightsError, match=r"bytes, but says that 419\d+ are in it"):
        read_weights(tmp_path)


def test_views_of_one_tensor_are_tensors(tmp_path):
    whole = torch.arange(6.0).reshape(2, 3)
    read, _ = read_weights(one_file(tmp_path, {"a": whole.t(), "b": whole[1:]}))
    assert read["a"].tolist() == whole.t().tolist()
    assert read["b"].tolist() == [[3, 4, 5]]


@pytest.mark.parametrize("where", ["../../outside.safetensors", "/etc/passwd", "sub/x.safetensors", ".."])
def test_an_index_does_not_lead_outside(tmp_path, where):
    folder = tmp_path / "a" / "b"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path, folder / "sub"):
        save_file({"a": torch.zeros(1)}, place / ("x" if place != tmp_path else "outside.safetensors"))
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"a": where}})
    with pytest.raises(WeightsError, match="points outside its folder|names files that are not there"):
        read_weights(folder)


def test_an_index_that_names_absent_files(tmp_path):
    shards(tmp_path)
    (tmp_path / "model-00001-of-00003.safetensors").unlink()
    (tmp_path / "model-00003-of-00003.safetensors").unlink()
    with pytest.raises(WeightsError, match="not there: model-00001-of-00003.safetensors, model-00003"):
        read_weights(tmp_path)


@pytest.mark.parametrize("name", ["a" * 5000, "\ud800", "\0"])
def test_an_index_of_names_that_cannot_be(tmp_path, name):
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": {"a": name}})
    with pytest.raises(WeightsError, match="cannot be read"):
        read_weights(tmp_path)


def test_an_index_that_promises_too_much(tmp_path):
    shards(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["ghost.weight"] = "model-00001-of-00003.safetensors"
    write_json(index, content)
    with pytest.raises(WeightsError, match=r"promises tensors that no shard holds: ghost\.weight"):
        read_weights(tmp_path)


@pytest.mark.parametrize("content", [{}, {"weight_map": []}, {"weight_map": {"a": 1}}, {"weight_map": None}])
def test_an_index_without_a_map(tmp_path, content):
    write_json(tmp_path / "model.safetensors.index.json", content)
    with pytest.raises(WeightsError, match="no usable weight_map"):
        read_weights(tmp_path)


def test_an_index_that_is_no_json(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_bytes(POINTER)
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        read_weights(tmp_path)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float16, 0.02), (torch.bfloat16, 0.2)])
def test_half_precision_checkpoints_are_read_in_float32(tmp_path, dtype, near):
    whole = Embedder.from_pretrained(tiny_bert(tmp_path / "whole"), device="cpu")
    half = {name: tensor.to(dtype) for name, tensor in WEIGHTS.items()}
    ours = Embedder.from_pretrained(tiny_bert(tmp_path / "half", tensors=half), device="cpu")
    assert {p.dtype for p in ours.encoder.parameters()} == {torch.float32}
    assert 0 < np.abs(ours.encode(TEXTS) - whole.encode(TEXTS)).max() < near


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_weights_are_found_at_the_text_they_spoil(tmp_path, value):
    tensors = {name: tensor.clone() for name, tensor in WEIGHTS.items()}
    dog = load(tiny_bert(tmp_path)).tokenizer.vocab()["dog"]
    tensors["embeddings.word_embeddings.weight"][dog] = value
    model = Embedder.from_pretrained(tiny_bert(tmp_path, tensors=tensors), device="cpu")
    assert np.isfinite(model.encode(["the cat", "a mat"])).all()
    with pytest.raises(NonFiniteOutput, match="text 2 holds NaN or infinity"):
        model.encode(["the cat", "a much longer text about a cat and a mat", "the dog", "a mat"])
    with pytest.raises(NonFiniteOutput, match="text 1 holds"):
        model.encode_tokens(["the cat", "dog", "a mat"])


@pytest.mark.data
def test_a_published_pickle(shared_data):
    checkpoint = load(shared_data / "weights" / "tiny-random-bert-caikit")
    assert checkpoint.encoder.config.types == 16
    assert checkpoint.ignored == ("bert.embeddings.position_ids", "classifier.bias", "classifier.weight")


@pytest.mark.data
@pytest.mark.oracle
def test_a_published_pickle_gives_the_references_vectors(shared_data):
    st = pytest.importorskip("sentence_transformers")
    folder = shared_data / "weights" / "tiny-random-bert-caikit"
    reference = st.SentenceTransformer(str(folder), device="cpu")
    ours = Embedder.from_pretrained(folder, device="cpu")
    assert np.abs(ours.encode(TEXTS) - reference.encode(list(TEXTS))).max() < 2e-6


def test_integers_in_a_projection_are_refused(tmp_path):
    folder = add_modules(tiny_bert(tmp_path), "Pooling", "Dense", dense={"bias": False})
    save_file({"linear.weight": torch.ones(16, 32, dtype=torch.int8)}, folder / "2_Dense" / "model.safetensors")
    with pytest.raises(WeightsError, match=r"2_Dense/model.safetensors .*linear\.weight holds int8"):
        load(folder)
