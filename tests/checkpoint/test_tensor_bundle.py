"""TensorFlow's checkpoints are read without TensorFlow, and hostile or damaged ones end in one clear error."""

from __future__ import annotations

import base64
import json
import logging
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import TEXTS, bert_config, bert_weights, tiny_bert, write_vocab
from tests.checkpoint.bundle import (
    MAGIC,
    block,
    checksum,
    entry,
    field,
    header,
    masked,
    sealed,
    table,
    varint,
    write_bundle,
)

from sentvec import Embedder
from sentvec.checkpoint.crc32c import crc32c
from sentvec.checkpoint.tensor_bundle import read_bundle
from sentvec.checkpoint.weights import read_weights
from sentvec.errors import WeightsError

# bytes that TensorFlow 2.21's Saver wrote: three variables and a count of steps
INDEX = (
    "000IE0U81b0RR>cVr6o4FK};fY-MsUWMyu1WiMiBVRHxp5(E+g2m>e#HOWe<;SvTFYh`k7Wo!rm5(p9k2m%rU2m>GtC>S-s+dUTm3k_#%Z(?C=Uv"
    "qS2a0m$!03akN2sOLcpAi5A6=-2>W(X4!2oeGa0TKcT0U#_W0yWLX3#9-6000310000h_AAl=0000100000!1AH6009GO0FD6w00001000006*XS"
    "4lK}{z0S^EG0000000000000000000000000000000000000000SNnjABy~sI"
)
DATA = "004l$0000#0000$00000004kL0000$002Nh004kM005vs2LJ#70000006q"


def tensorflows(folder):
    (folder / "small.ckpt.index").write_bytes(base64.b85decode(INDEX))
    (folder / "small.ckpt.data-00000-of-00001").write_bytes(base64.b85decode(DATA))
    return folder / "small.ckpt.index"


def test_what_tensorflow_wrote(tmp_path):
    read = read_bundle(tensorflows(tmp_path), skip=lambda name: name == "global_step")
    assert {name: tensor.tolist() for name, tensor in read.items()} == {
        "bert/pooler/dense/kernel": [[0, 1, 2], [3, 4, 5]],
        "bert/pooler/dense/bias": [-1, 0.5, 2],
        "half": [[1.5]],
    }
    assert read["half"].dtype == torch.float16


def googles(config, seed=0):
    """All variables of a BERT as Google's code names them, and its heads; kernels are the other way round."""
    arrays = {}
    for name, tensor in bert_weights(config, seed=seed).items():
        parts = ("bert." + name).replace("layer.", "layer_").split(".")
        last = parts.pop()
        if "LayerNorm" in parts:
            parts.append({"weight": "gamma", "bias": "beta"}[last])
        elif not parts[-1].endswith("_embeddings"):
            parts.append({"weight": "kernel", "bias": "bias"}[last])
        turned = parts[-1] == "kernel"
        arrays["/".join(parts)] = np.ascontiguousarray(tensor.t().numpy() if turned else tensor.numpy())
    arrays["cls/predictions/transform/dense/kernel"] = np.ones((32, 32), "float32")
    arrays["cls/predictions/output_bias"] = np.ones(7, "float32")
    arrays["cls/seq_relationship/output_weights"] = np.ones((2, 32), "float32")
    return arrays


def as_google_published(folder, *, name="bert_model.ckpt", **options):
    config = bert_config()
    arrays = googles(config)
    trained = {f"{key}/adam_{which}": value * 0 for key, value in arrays.items() for which in "mv"}
    write_bundle(folder, arrays | trained | {"global_step": np.int64(9)[None]}, name, **options)
    for key in ("model_type", "architectures", "layer_norm_eps", "pad_token_id"):
        del config[key]
    (folder / "bert_config.json").write_text(json.dumps(config))
    write_vocab(folder)
    (folder / "tokenizer_config.json").unlink()
    return folder


@pytest.mark.parametrize("options", [{}, {"shards": 3}, {"most": 1}, {"name": "model.ckpt-1000"}])
def test_a_published_folder_gives_the_same_vectors_as_its_twin(tmp_path, options, caplog):
    twin = Embedder.from_pretrained(tiny_bert(tmp_path / "a"), device="cpu", precision="float32")
    with caplog.at_level(logging.INFO, logger="sentvec"):
        model = Embedder.from_pretrained(
            as_google_published(tmp_path / "b", **options), device="cpu", precision="float32"
        )
    assert model.fingerprint == twin.fingerprint
    assert (model.encode(list(TEXTS)) == twin.encode(list(TEXTS))).all()
    assert "cls/seq" not in caplog.text
    assert "left out on purpose: cls.predictions.bias, cls.predictions.transform.dense.weight" in caplog.text


@pytest.mark.data
def test_with_a_vocabulary_that_was_published(tmp_path, shared_data):
    vocabulary = shared_data / "tokenizers" / "bert-base-chinese" / "vocab.txt"
    models = []
    for name in ("twin", "google"):
        folder = tmp_path / name
        config = bert_config(vocab_size=21128)
        if name == "twin":
            tiny_bert(folder, vocab_size=21128)
        else:
            write_bundle(folder, googles(config))
            (folder / "bert_config.json").write_text(json.dumps(config))
        (folder / "vocab.txt").write_bytes(vocabulary.read_bytes())
        models.append(Embedder.from_pretrained(folder, device="cpu", precision="float32"))
    texts = ["今天天气很好，我们去公园散步。", "BERT 读中文和 English", ""]
    assert (models[0].encode(texts) == models[1].encode(texts)).all()


def test_a_variable_that_is_missing_is_named(tmp_path):
    folder = as_google_published(tmp_path, change=lambda rows: rows.pop(b"bert/encoder/layer_1/output/dense/kernel"))
    with pytest.raises(WeightsError, match=r"Missing \(1\): encoder\.layer\.1\.output\.dense\.weight"):
        Embedder.from_pretrained(folder, device="cpu")


def test_several_checkpoints_in_a_folder(tmp_path):
    for steps in (1000, 2000):
        write_bundle(tmp_path, {"a": np.ones(1, "float32")}, f"model.ckpt-{steps}")
    with pytest.raises(WeightsError, match="several TensorFlow checkpoints: model.ckpt-1000.index, model.ckpt-2000"):
        read_weights(tmp_path)


ONE = {"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.ones(2, "float64")}


@given(st.dictionaries(st.text(min_size=1, max_size=9), st.lists(st.integers(0, 4), max_size=3), max_size=60))
@settings(max_examples=25, deadline=None)
def test_any_names_and_shapes(tmp_path_factory, shapes):
    arrays = {name: np.random.default_rng(0).standard_normal(shape) for name, shape in shapes.items()}
    read = read_bundle(write_bundle(tmp_path_factory.mktemp("bundle"), arrays, most=7, shards=2))
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert tuple(read[name].shape) == array.shape
        assert (read[name].numpy() == array).all()


def replaced(key, value):
    return lambda rows: rows.update({key: value})


A = ONE["a"]
EMPTY = struct.pack("<II", 0, 1)  # the list of restarts of a block


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.pop(b""), "it has no header"),
        (replaced(b"", header(endianness=1)), "big-endian"),
        (replaced(b"", header(shards=0)), "it names 0 data files"),
        (replaced(b"", header(shards=1 << 40)), "it names 1099511627776 data files"),
        (replaced(b"", header(shards=3)), "data-00000-of-00003 is not there, but its index names it"),
        (replaced(b"a", entry(A, 0, shard=1)), "a is in data file 1, but there are 1"),
        (replaced(b"a", entry(A, 0, dtype=7)), "a is of type 7; those of floating-point numbers are 1"),
        (replaced(b"a", entry(A, 0, size=20)), r"a is \(2, 3\), which is not 20 bytes"),
        (replaced(b"a", entry(A, 1 << 62)), "should end at"),
        (replaced(b"a", entry(A, 18)), "has 40 bytes, but a should end at 42"),
        (replaced(b"a", entry(A, 0, crc=1)), "the checksum of a is another one"),
        (replaced(b"b", entry(np.ones(4, "float64"), 0)), "too short for what its index says"),
        (replaced(b"a", entry(A, 0) + field(7, b"")), "a is stored in slices"),
        (replaced(b"a", field(1, 1) + field(2, field(3, 1)) + field(5, 0)), "a has no known shape"),
        (replaced(b"a", field(1, 1) + field(2, field(2, field(1, (1 << 64) - 1)))), "a has no shape that can be"),
        (replaced(b"a", field(1, 1) + field(2, field(2, field(1, 1)) * 9)), "a has no shape that can be"),
        (replaced(b"a", field(1, 1) + field(2, field(2, b"") + field(2, field(1, 1 << 39)) * 3)), "a has no shape"),
        (replaced(b"a", b"\x08"), "it ends within a number"),
        (replaced(b"a", b"\x08" + b"\xff" * 11), "a number has no end"),
        (replaced(b"a", b"\x12\x7f"), "a field lies beyond its entry"),
        (replaced(b"a", b"\x0b"), "a field is of kind 3"),
        (replaced(b"a\xff", entry(A, 0)), "codec can't decode"),
        (replaced(b"a" * 2000, entry(A, 0)), "a name is too long"),
    ],
)
def test_entries_that_cannot_be(tmp_path, change, said):
    with pytest.raises(WeightsError, match=said):
        read_bundle(write_bundle(tmp_path, ONE, change=change))


def named_again(times):
    """Return a table that names one large block without entries again and again: hours of checksums."""
    empty = struct.pack("<I", 0) * 4095 + struct.pack("<I", 4095)
    index = block([(b"%08d" % i, varint(0) + varint(len(empty))) for i in range(times)])
    out, handles = b"", b""
    for part in (empty, block([]), index):
        handles += b"" if part is empty else varint(len(out)) + varint(len(part))
        out += part + b"\0" + struct.pack("<I", masked(part + b"\0"))
    return out + handles.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def test_tables_that_cannot_be(tmp_path):
    path = write_bundle(tmp_path, ONE)
    rows = [(b"", header()), (b"a", entry(A, 0))]
    for content, said in (
        (b"", "does not end as a table does"),
        (table(rows)[:-1] + b"\0", "does not end as a table does"),
        (table(rows, compression=1), "a block is compressed"),
        (table([rows[1], rows[0]]), "its keys are not in order"),
        (table([rows[0], rows[0]]), "its keys are not in order"),
        (table([(b"", header()), *((b"%07d" % i, b"") for i in range(100_001))], most=10_000), "too many keys"),
        (named_again(1 << 15), "its blocks are not in order"),
        (b"\xff" * 40 + table(rows)[-8:], "a number has no end"),
        (b"\5\5\x80\x80\x80\x80\1\5".ljust(40, b"\0") + table(rows)[-8:], "a block lies beyond its end"),
        (sealed([(b"~", b"\0\0")]), "a block is too short"),
        (sealed([(b"~", struct.pack("<I", 9))]), "a block is too short"),
        (sealed([(b"~", b"\3\1\0x" + EMPTY)]), "an entry lies beyond its block"),
        (sealed([(b"~", b"\0\7\0x" + EMPTY)]), "an entry lies beyond its block"),
        (sealed([(b"~", b"\0\1\7x" + EMPTY)]), "an entry lies beyond its block"),
        (b"version https://git-lfs.github.com/spec/v1\n", "does not end as a table does"),
    ):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=f"not a readable TensorFlow checkpoint index .*{said}"):
            read_bundle(path)
    with pytest.raises(WeightsError, match="git-lfs pointer"):
        read_weights(tmp_path)


def test_a_flipped_bit_anywhere_is_seen(tmp_path):
    """Whatever byte of either file changes, the answer is an error, or the same numbers (a byte that says nothing)."""
    index = write_bundle(tmp_path, ONE)
    for path in sorted(tmp_path.iterdir()):
        content = path.read_bytes()
        for place in range(len(content)):
            for bit in (1, 128):
                path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
                try:
                    read = read_bundle(index)
                except WeightsError:
                    continue
                assert path == index
                assert read.keys() == ONE.keys()
                assert all((read[name].numpy() == array).all() for name, array in ONE.items())
        path.write_bytes(content)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_rows_of_any_bytes_are_an_error_or_are_read(tmp_path_factory, data):
    """With checksums that hold, so that what is behind them is reached."""
    rows = {b"": header(), b"a": entry(A, 0)}
    key = data.draw(st.sampled_from([b"", b"a"]))
    value = bytearray(rows[key])
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    index = write_bundle(tmp_path_factory.mktemp("rows"), {"a": A}, change=replaced(key, bytes(value)))
    try:
        read_bundle(index)
    except WeightsError:
        return


def test_an_absent_or_short_data_file(tmp_path):
    index = write_bundle(tmp_path, ONE)
    data = tmp_path / "bert_model.ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="too short for what its index says"):
        read_bundle(index)
    data.unlink()
    with pytest.raises(WeightsError, match="is not there, but its index names it"):
        read_bundle(index)


@given(st.binary(max_size=5000))
@settings(max_examples=40, deadline=None)
def test_checksums_are_those_of_one_byte_after_another(data):
    assert crc32c(data) == checksum(data)


def test_checksums_of_known_bytes():
    """The vectors of RFC 3720, and one over pieces of all sizes."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    data = bytes(range(251)) * 5000
    assert crc32c(data) == checksum(data)
