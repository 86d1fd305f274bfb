"""`precision="auto"`: fast where the hardware is, and never at the price of the vectors."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from sentvec import Embedder
from sentvec.runtime.precision import SAMPLE, faster, fastest

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("features", "chosen", "told"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "bfloat16", "AMX"),
        ({"avx512_bf16": True}, "bfloat16", "AVX512-BF16"),
        ({"avx2": True, "amx_bf16": False}, "float32", "would be slower"),
        ({}, "float32", "would be slower"),
    ],
)
def test_the_processor_decides(features, chosen, told):
    precision, reason = fastest(CPU, features)
    assert precision == chosen
    assert told in reason


def test_devices_of_which_nothing_is_known_stay_in_float32():
    assert fastest(torch.device("mps"))[0] == "float32"


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
    assert "bfloat16, because the processor has AMX; the worst cosine of bfloat16 to float32 is 0.99980" in said[0]
    assert "float32, because the processor has AMX; the worst cosine of bfloat16 to float32 is 0.99500" in said[1]
    assert "would be slower" in said[2]


def test_auto_on_the_real_model(minilm, caplog):
    with caplog.at_level(logging.INFO, logger="sentvec"):
        model = Embedder.from_pretrained(minilm.folder, device="cpu", precision="auto")
    assert model.precision == fastest(CPU)[0]
    assert any("precision auto" in record.getMessage() for record in caplog.records)
    cosines = (model.encode(SAMPLE) * minilm.encode(SAMPLE)).sum(axis=1)
    assert cosines.min() >= 0.999
    assert model.fingerprint == minilm.fingerprint
