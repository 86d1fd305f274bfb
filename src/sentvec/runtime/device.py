"""Where to run and in which number format: names in, torch's objects out."""

from __future__ import annotations

import torch

from sentvec.errors import InvalidInput

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.float32,  # products in int8, everything between them in float32
}


def device_of(name: str) -> torch.device:
    """Return the device called `name`; "auto" is a CUDA device where there is one, else Apple's, else the CPU.

    Raises:
        InvalidInput: the name is not a device's, or the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name or "none")
        torch.zeros(1, device=device).cpu()  # there and back: the "meta" device holds no numbers
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        raise InvalidInput(f"device {name!r} cannot be used ({reason}). Try: auto, cpu, cuda, cuda:0, mps.") from None
    return device


def precision_of(name: str) -> torch.dtype:
    """Return the number format called `name`.

    Raises:
        InvalidInput: the name is not known.
    """
    if not isinstance(name, str) or name not in PRECISIONS:
        raise InvalidInput(f"precision {name!r} is not known. Known: {', '.join(PRECISIONS)}.")
    return PRECISIONS[name]
