"""`precision="auto"`: fast where the hardware is, and never at the price of the vectors."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from tests.builders import tiny_bert

from sentvec import Embedder
from sentvec.errors import InvalidInput
from sentvec.runtime import precision
from sentvec.runtime.precision import SAMPLE, faster, fastest

CPU = torch.device("cpu")


@pytest.fixture
def can_compile(monkeypatch):
    monkeypatch.setattr(precision, "compiled", object)


@pytest.mark.parametrize(
    ("features", "chosen", "told"),
    [
        ({"amx_int8": True, "amx_bf16": True, "avx512_bf16": True}, ["int8", "bfloat16"], "AMX"),
        ({"avx512_vnni": True, "avx512_bf16": True}, ["int8", "bfloat16"], "AVX512-VNNI"),
        ({"avx512_vnni": True}, ["int8"], "AVX512-VNNI"),
        ({"avx512_bf16": True}, ["bfloat16"], "AVX512-BF16"),
    ],
)
def test_the_processor_decides(can_compile, features, chosen, told):
    found, _ = fastest(CPU, features)
    assert list(found) == chosen
    assert told in found[chosen[0]]


@pytest.mark.parametrize("features", [{"avx2": True, "amx_bf16": False}, {}])
def test_a_processor_without_instructions_stays_in_float32(features):
    assert fastest(CPU, features)[0] == {}
    assert "would be slower" in fastest(CPU, features)[1]


def test_int8_is_no_gain_without_compiled_steps(monkeypatch):
    monkeypatch.setattr(precision, "compiled", lambda: None)
    assert list(fastest(CPU, {"avx512_vnni": True, "avx512_bf16": True})[0]) == ["bfloat16"]


def test_devices_of_which_nothing_is_known_stay_in_float32():
    assert fastest(torch.device("mps"))[0] == {}


class Stub:
    device = CPU

    def __init__(self, tilt):
        self.tilt = tilt

    def encode(self, texts, *, normalize, progress):
        assert normalize
        vectors = np.tile(np.float32([1, 0]), (len(texts), 1))
        vectors[-1] = [np.cos(self.tilt), np.sin(self.tilt)]
        return vectors


def test_one_text_that_strays_is_enough_to_stay(caplog):
    plain, near, far = Stub(0.0), Stub(0.02), Stub(0.1)
    with caplog.at_level(logging.INFO, logger="sentvec"):
        assert faster(plain, {"bfloat16": near}.__getitem__, {"amx_bf16": True}) is near
        assert faster(plain, {"bfloat16": far}.__getitem__, {"amx_bf16": True}) is plain
        assert faster(plain, {}.__getitem__, {}) is plain
    said = [record.getMessage() for record in caplog.records]
    assert "bfloat16, because the processor has AMX; its worst cosine to float32 is 0.99980" in said[0]
    assert "not bfloat16, because it strays; its worst cosine to float32 is 0.99500" in said[1]
    assert "float32, because nothing faster is near enough" in said[2]
    assert "would be slower" in said[3]


def test_the_next_format_is_tried_when_one_strays_or_is_not_offered(can_compile):
    plain, near, far = Stub(0.0), Stub(0.02), Stub(0.1)
    both = {"avx512_vnni": True, "avx512_bf16": True}
    assert faster(plain, {"int8": far, "bfloat16": near}.__getitem__, both) is near
    assert faster(plain, {"int8": near, "bfloat16": far}.__getitem__, both) is near

    def offered(name):
        if name == "int8":
            raise InvalidInput("precision 'int8' is not offered for this architecture")
        return near

    assert faster(plain, offered, both) is near


def test_auto_on_the_real_model(minilm, caplog):
    with caplog.at_level(logging.INFO, logger="sentvec"):
        model = Embedder.from_pretrained(minilm.folder, device="cpu", precision="auto")
    candidates = fastest(CPU)[0]
    assert model.precision in [*candidates, "float32"]
    said = [text for record in caplog.records if (text := record.getMessage()).startswith("precision auto: ")]
    passed_over = list(candidates).index(model.precision) if candidates else 0
    assert [text.startswith("precision auto: not ") for text in said] == [True] * passed_over + [False]
    cosines = (model.encode(SAMPLE) * minilm.encode(SAMPLE)).sum(axis=1)
    assert cosines.min() >= 0.999
    assert model.fingerprint == minilm.fingerprint


@pytest.mark.parametrize(("changes", "told"), [({"hidden_size": 40, "num_attention_heads": 4}, "its widths"),
                                               ({"hidden_act": "silu"}, "its widths")])  # fmt: skip
def test_int8_is_refused_by_name_where_it_is_not_offered(tmp_path, changes, told):
    folder = tiny_bert(tmp_path / "model", **changes)
    with pytest.raises(InvalidInput, match="precision 'int8' is not offered") as refused:
        Embedder.from_pretrained(folder, device="cpu", precision="int8")
    assert told in str(refused.value)


def test_int8_vectors_are_near_and_do_not_depend_on_the_batch(minilm):
    model = Embedder.from_pretrained(minilm.folder, device="cpu", precision="int8")
    texts = [text for text in SAMPLE if text]
    together = model.encode(texts)
    assert (together * minilm.encode(texts)).sum(axis=1).min() >= 0.999
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(model.encode(text), vector, atol=2e-6)
