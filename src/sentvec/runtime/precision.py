"""Which number format is fast here: a device in, a precision and the reason for it out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import torch

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


def fastest(device: torch.device, features: Mapping[str, object] | None = None) -> tuple[str, str]:
    """Choose between bfloat16 and float32 by what the device has instructions for.

    A processor without them computes bfloat16 by way of float32, which is slower than float32 itself.

    Args:
        device: where the encoder runs.
        features: the processor's instructions, name -> whether it has them; asked of torch where not given.

    Returns:
        The precision's name, and the reason, for the log.
    """
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "the GPU multiplies bfloat16 matrices"
        return "float32", "the GPU has no bfloat16 matrix units"
    if device.type != "cpu":
        return "float32", f"nothing is known about bfloat16 on {device.type}"
    if features is None:
        features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    for feature, told in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16")):
        if features.get(feature):
            return "bfloat16", f"the processor has {told}"
    return "float32", "the processor has neither AMX nor AVX512-BF16, and bfloat16 would be slower"


class Encoding(Protocol):
    """What `faster` needs of a model; `Embedder` is one."""

    device: torch.device

    def encode(self, texts: Sequence[str], *, normalize: bool, progress: bool) -> Array:
        """Return vectors, float32 (n, dim)."""


M = TypeVar("M", bound=Encoding)


def faster(model: M, make: Callable[[str], M], features: Mapping[str, object] | None = None) -> M:
    """Return a float32 model, or the same one in the number format that is fast here, if its vectors are near enough.

    Args:
        model: the model in float32.
        make: makes it in the precision of that name.
        features: see `fastest`.
    """
    wanted, reason = fastest(model.device, features)
    if wanted == "float32":
        _log.info("precision auto: float32, because %s", reason)
        return model
    other = make(wanted)
    expected, found = (one.encode(SAMPLE, normalize=True, progress=False) for one in (model, other))
    cosine = float((expected * found).sum(axis=1).min())
    near = cosine >= LEAST_COSINE
    _log.info(
        "precision auto: %s, because %s; the worst cosine of %s to float32 is %.5f, where %.3f is needed",
        wanted if near else "float32", reason, wanted, cosine, LEAST_COSINE,
    )  # fmt: skip
    return other if near else model
