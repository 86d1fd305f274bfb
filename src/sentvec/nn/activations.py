"""Activation functions by the names that config.json uses: a name in, a function on tensors out."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from sentvec.errors import ConfigError

Activation = Callable[[Tensor], Tensor]

_gelu_tanh: Activation = partial(functional.gelu, approximate="tanh")


def _gelu_fast(x: Tensor) -> Tensor:
    # sqrt(2/pi) with the digits of the original, so that old checkpoints give their old numbers
    return 0.5 * x * (1.0 + torch.tanh(x * 0.7978845608 * (1.0 + 0.044715 * x * x)))


def _gelu_new(x: Tensor) -> Tensor:
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Activation] = {
    "gelu": functional.gelu,  # exact, by the error function (Hendrycks & Gimpel 2016)
    "gelu_python": functional.gelu,
    "gelu_new": _gelu_new,
    "gelu_accurate": _gelu_new,
    "gelu_fast": _gelu_fast,
    "gelu_pytorch_tanh": _gelu_tanh,
    "gelu_python_tanh": _gelu_tanh,
    "quick_gelu": _quick_gelu,
    "relu": functional.relu,
    "relu2": lambda x: torch.square(functional.relu(x)),
    "relu6": functional.relu6,
    "leaky_relu": functional.leaky_relu,
    "silu": functional.silu,
    "swish": functional.silu,
    "mish": functional.mish,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "linear": lambda x: x,
}


def activation(name: str) -> Activation:
    """Return the activation called `name` in config.json.

    Raises:
        ConfigError: the name is not known.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(f"hidden_act {name!r} is not known. Known: {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]
