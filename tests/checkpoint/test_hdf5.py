"""tf_model.h5 gives the vectors of its PyTorch twin; without h5py, and for hostile files, there is one clear error."""

from __future__ import annotations

import shutil
import struct
import sys

import numpy as np
import pytest
import torch
from tests.builders import TEXTS, bert_config, bert_weights, tiny_bert

from sentvec import Embedder
from sentvec.checkpoint.weights import read_weights
from sentvec.errors import MissingExtra, WeightsError

h5py = pytest.importorskip("h5py", reason="the extra hdf5 is not installed: pip install 'sentvec[hdf5]'")


def write_keras(path, tensors, model="tf_bert_model"):
    """Write tensors as transformers' TensorFlow models have them: kernels the other way round, in a layer's group."""
    with h5py.File(path, "w") as file:
        for name, tensor in tensors.items():
            parts = name.replace("encoder.layer.", "encoder.layer_=_").split(".")
            last = parts.pop()
            array = tensor.numpy()
            if "LayerNorm" in parts:
                parts.append({"weight": "gamma", "bias": "beta"}[last])
            elif parts[-1] in ("position_embeddings", "token_type_embeddings"):
                parts.append("embeddings")
            elif parts[-1] != "word_embeddings" and last == "weight":
                parts, array = [*parts, "kernel"], array.T
            else:
                parts.append(last)
            file[f"bert/{model}/bert/{'/'.join(parts).replace('=', '.')}:0"] = array


def test_every_tensor_is_read(tmp_path):
    weights = bert_weights(bert_config())
    write_keras(tmp_path / "tf_model.h5", weights)
    read, origin = read_weights(tmp_path)
    assert origin == "tf_model.h5"
    assert read.keys() == {f"bert.{name}" for name in weights}
    assert all(torch.equal(read[f"bert.{name}"], weights[name]) for name in weights)


def test_a_folder_with_it_alone_gives_the_same_vectors(tmp_path):
    twin = tiny_bert(tmp_path / "a")
    shutil.copytree(twin, tmp_path / "b")
    (tmp_path / "b" / "model.safetensors").unlink()
    write_keras(tmp_path / "b" / "tf_model.h5", bert_weights(bert_config()), "tf_bert_model_1")
    models = [Embedder.from_pretrained(tmp_path / name, device="cpu", precision="float32") for name in "ab"]
    assert (models[0].encode(list(TEXTS)) == models[1].encode(list(TEXTS))).all()


@pytest.mark.data
def test_a_published_file_equals_its_twin(tmp_path, shared_data):
    source = shared_data / "weights" / "tiny-random-bert-caikit"
    shutil.copytree(source, tmp_path / "keras", ignore=shutil.ignore_patterns("*.bin"), copy_function=shutil.copyfile)
    assert not (tmp_path / "keras" / "pytorch_model.bin").exists()
    twin = Embedder.from_pretrained(source, device="cpu", precision="float32")
    model = Embedder.from_pretrained(tmp_path / "keras", device="cpu", precision="float32")
    assert model.fingerprint == twin.fingerprint
    assert (model.encode(list(TEXTS)) == twin.encode(list(TEXTS))).all()
    heads = [read_weights(folder)[0]["classifier.weight"] for folder in (source, tmp_path / "keras")]
    assert torch.equal(heads[0], heads[1])


def write_strange(path, kind):
    (path.parent / "secret.bin").write_bytes(bytes(64))
    with h5py.File(path.parent / "other.h5", "w") as other:
        other["a"] = np.zeros(3, "float32")
    with h5py.File(path, "w") as file:
        group = file.create_group("bert/tf_bert_model/bert")
        if kind == "external file":
            outside = [(str(path.parent / "secret.bin"), 0, 64)]
            group.create_dataset("a:0", (16,), "float32", external=outside)
        elif kind == "virtual":
            layout = h5py.VirtualLayout((3,), "float32")
            layout[:] = h5py.VirtualSource(str(path.parent / "other.h5"), "a", (3,))
            group.create_virtual_dataset("a:0", layout)
        elif kind == "bomb":
            group.create_dataset("a:0", (1 << 40,), "float32", chunks=(1 << 20,))
        elif kind == "compressed":
            group.create_dataset("a:0", data=np.zeros(1 << 20, "float32"), compression="gzip")
        elif kind == "text":
            group.create_dataset("a:0", data=[b"abc"])
        elif kind == "big-endian":
            group.create_dataset("a:0", data=np.zeros(3, ">f4"))
        elif kind == "twice":
            group["dense/kernel:0"] = np.zeros((2, 2), "float32")
            group["dense/weight:0"] = np.zeros((2, 2), "float32")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("external file", "bert/a:0 lies in another file"),
        ("virtual", "bert/a:0 lies in another file"),
        ("bomb", r"claims to be \(1099511627776,\), but the file holds 0 bytes"),
        ("compressed", "claims to be"),
        ("text", "not floating-point numbers"),
        ("big-endian", "not floating-point numbers"),
        ("twice", "two variables in it are both 'bert.dense.weight'"),
    ],
)
def test_what_a_weight_file_does_not_hold_is_refused(tmp_path, kind, said):
    write_strange(tmp_path / "tf_model.h5", kind)
    with pytest.raises(WeightsError, match=said):
        read_weights(tmp_path)


@pytest.mark.parametrize("value", [np.float32(1), h5py.Empty("float32")])
def test_what_is_no_array_is_refused(tmp_path, value):
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        file["bert/a:0"] = value
    with pytest.raises(WeightsError, match="bert/a:0 is a single number or none"):
        read_weights(tmp_path)


def test_names_that_differ_in_their_layer_alone_are_refused(tmp_path):
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        file["bert/dense/kernel:0"] = np.zeros((2, 2), "float32")
        file["cls/dense/kernel:0"] = np.ones((2, 2), "float32")
    with pytest.raises(WeightsError, match="two variables in it are both 'dense/kernel:0'"):
        read_weights(tmp_path)


def test_groups_in_groups_without_end_are_refused(tmp_path):
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        file.create_group("/".join("g" * 60))
    with pytest.raises(WeightsError, match="more than 32 deep"):
        read_weights(tmp_path)


def test_variables_at_one_place_are_refused(tmp_path):
    """A megabyte that is said to be eight variables: a hundred thousand of them would fill the memory."""
    path, size = tmp_path / "tf_model.h5", 1 << 20
    with h5py.File(path, "w") as file:
        place = file.create_dataset("bert/a0", data=np.zeros(size // 4, "float32")).id.get_offset()
        for i in range(1, 8):  # room that nothing was written to has no place yet
            file.create_dataset(f"bert/a{i}", (size // 4,), "float32")
    nowhere, there = (struct.pack("<qQ", at, size) for at in (-1, place))
    assert path.read_bytes().count(nowhere) == 7
    path.write_bytes(path.read_bytes().replace(nowhere, there))
    with pytest.raises(WeightsError, match="together larger than the file"):
        read_weights(tmp_path)


def test_links_are_not_followed(tmp_path):
    write_strange(tmp_path / "tf_model.h5", "none")
    with h5py.File(tmp_path / "tf_model.h5", "a") as file:
        file["bert/tf_bert_model/bert/a:0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "a")
        file["bert/again"] = file["bert"]  # a group that holds itself
        file["bert/tf_bert_model/bert/b:0"] = np.ones(2, "float32")
    assert list(read_weights(tmp_path)[0]) == ["bert.b"]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_files_cut_short(tmp_path, share):
    path = tmp_path / "tf_model.h5"
    write_keras(path, bert_weights(bert_config()))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match="tf_model.h5 is not a readable HDF5 file .*Fetch it again"):
        read_weights(tmp_path)


def test_without_h5py_the_command_is_told(tmp_path, monkeypatch):
    write_keras(tmp_path / "tf_model.h5", {})
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtra, match=r'pip install "sentvec\[hdf5\]"'):
        read_weights(tmp_path)
