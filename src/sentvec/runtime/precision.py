"""Which number format is fast here: a device in, a precision and the reason for it out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import torch

from sentvec.errors import InvalidInput
from sentvec.nn.compiled import compiled
from sentvec.runtime.engine import Array

_log = logging.getLogger("sentvec")

LEAST_COSINE = 0.999
"""Vectors of another number format must be at least so near to those of float32, or `auto` stays with float32."""

# texts of several lengths, kinds and languages, on which `auto` compares the two
SAMPLE = (
    "",
    "cat",
    "How do I reset my password?",
    "The treaty was signed in 1848, after two years of negotiations that neither side had wanted to begin.",
    "def mean(values): return sum(values) / len(values)  # raises ZeroDivisionError if there are none",
    "今天天气很好，我们去公园散步吧。",
    "3.14159 26535 89793 | -40 °C | https://example.org/a?b=c | 100 % | №7",
    "It was a bright cold day in spring, and everyone who had a garden was in it. " * 12,
)


# instructions of processors -> the number format that they are for and their name, fastest first
_INSTRUCTIONS = (
    ("amx_int8", "int8", "AMX"),
    ("avx512_vnni", "int8", "AVX512-VNNI"),
    ("avx_vnni", "int8", "AVX-VNNI"),
    ("amx_bf16", "bfloat16", "AMX"),
    ("avx512_bf16", "bfloat16", "AVX512-BF16"),
)


def fastest(device: torch.device, features: Mapping[str, object] | None = None) -> tuple[dict[str, str], str]:
    """Find the number formats that the device has instructions for.

    A processor without them computes bfloat16 by way of float32, which is slower than float32 itself. Without
    compiled steps (see `sentvec.nn.compiled`), turning numbers into int8 and back costs what int8 gains.

    Args:
        device: where the encoder runs.
        features: the processor's instructions, name -> whether it has them; asked of torch where not given.

    Returns:
        Names of precisions faster than float32, fastest first, each with the reason; and the reason to stay with
        float32 when none of them will do.
    """
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return {"bfloat16": "the GPU multiplies bfloat16 matrices"}, "nothing faster is near enough"
        return {}, "the GPU has no bfloat16 matrix units"
    if device.type != "cpu":
        return {}, f"nothing is known about bfloat16 on {device.type}"
    if features is None:
        features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    found: dict[str, str] = {}
    for feature, precision, told in _INSTRUCTIONS:
        if features.get(feature) and not (precision == "int8" and compiled() is None):
            found.setdefault(precision, f"the processor has {told}")
    if found:
        return found, "nothing faster is near enough"
    return {}, "the processor has no AMX, AVX512-VNNI or AVX512-BF16, and other number formats would be slower"


class Encoding(Protocol):
    """What `faster` needs of a model; `Embedder` is one."""

    device: torch.device

    def encode(self, texts: Sequence[str], *, normalize: bool, progress: bool) -> Array:
        """Return vectors, float32 (n, dim)."""


M = TypeVar("M", bound=Encoding)


def faster(model: M, make: Callable[[str], M], features: Mapping[str, object] | None = None) -> M:
    """Return a float32 model, or the same one in the fastest number format whose vectors are near enough.

    Args:
        model: the model in float32.
        make: makes it in the precision of that name, or raises `InvalidInput` where the model does not offer it.
        features: see `fastest`.
    """
    candidates, otherwise = fastest(model.device, features)
    if not candidates:
        _log.info("precision auto: float32, because %s", otherwise)
        return model
    expected = model.encode(SAMPLE, normalize=True, progress=False)
    for wanted, reason in candidates.items():
        try:
            other = make(wanted)
        except InvalidInput as error:
            _log.info("precision auto: not %s: %s", wanted, error)
            continue
        found = other.encode(SAMPLE, normalize=True, progress=False)
        cosine = float((expected * found).sum(axis=1).min())
        near = cosine >= LEAST_COSINE
        _log.info(
            "precision auto: %s%s, because %s; its worst cosine to float32 is %.5f, where %.3f is needed",
            "" if near else "not ", wanted, reason if near else "it strays", cosine, LEAST_COSINE,
        )  # fmt: skip
        if near:
            return other
    _log.info("precision auto: float32, because %s", otherwise)
    return model
