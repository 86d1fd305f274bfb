"""Read tf_model.h5, the weights of transformers' TensorFlow models: a path in, tensors by their names there out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sentvec.errors import WeightsError
from sentvec.extras import require

_DEEPEST = 32
"""Groups in groups; every step down takes longer than the one before it, and a weight file has about ten."""


def read_hdf5(path: Path) -> dict[str, Tensor]:
    """Read all variables of a Keras weight file.

    Links within the file are not followed and neither are data that lie in other files: a weight file has none.

    Raises:
        MissingExtra: h5py is not installed.
        WeightsError: the file is damaged, or holds what a weight file does not.
    """
    h5py = require("h5py", extra="hdf5")
    tensors: dict[str, Tensor] = {}

    left = path.stat().st_size

    def take(name: str, found: Any) -> None:
        nonlocal left
        if name.count("/") > _DEEPEST:
            raise WeightsError(f"{path} cannot be used: it has groups in groups, more than {_DEEPEST} deep.")
        if not isinstance(found, h5py.Dataset):
            return
        inside = name.partition("/")[2]  # what comes first is the layer's group
        if fault := _fault(found):
            raise WeightsError(f"{path} cannot be used: {name} {fault}.")
        if inside in tensors:
            raise WeightsError(f"{path} cannot be used: two variables in it are both {inside!r}.")
        left -= found.nbytes
        if left < 0:
            raise WeightsError(f"{path} cannot be used: its variables are together larger than the file.")
        tensors[inside] = torch.from_numpy(found[()])

    try:
        with h5py.File(path, "r") as file:
            file.visititems(take)
    except WeightsError:
        raise
    except Exception as error:  # bytes that are damaged in the right place make the library fail in any way
        why = str(error) or type(error).__name__
        raise WeightsError(f"{path} is not a readable HDF5 file ({why}). Fetch it again.") from None
    return tensors


def _fault(found: Any) -> str | None:
    """Say why a data set is none to read, before memory is taken for what it claims to be."""
    if not found.shape:
        return "is a single number or none, not an array"
    if found.external or found.is_virtual:
        return "lies in another file, which is not safe to read"
    if found.dtype.kind != "f" or found.dtype.itemsize not in (2, 4, 8) or not found.dtype.isnative:
        return f"holds {found.dtype}, not floating-point numbers that sentvec reads"
    if found.compression is not None or found.id.get_storage_size() != found.nbytes:
        return f"claims to be {found.shape}, but the file holds {found.id.get_storage_size()} bytes for it"
    return None
