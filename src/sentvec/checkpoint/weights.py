"""Read weight files: a folder in, tensors under the file's own names out. No code in a file is ever run."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sentvec.checkpoint.files import present, read_json
from sentvec.errors import ConfigError, WeightsError

SAFE = "model.safetensors"
SAFE_INDEX = "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"
NAMES = (SAFE, SAFE_INDEX, PICKLE, PICKLE_INDEX)


def read_weights(folder: Path) -> tuple[dict[str, Tensor], str]:
    """Read the first of the known weight files that the folder has.

    Returns:
        The tensors by the names in the file, and the file's name.

    Raises:
        WeightsError: there is no weight file, or it is corrupt, unsafe or incomplete.
    """
    for name in NAMES:
        path = folder / name
        if not _there(path):
            continue
        if path.suffix == ".json":
            return _read_shards(path), name
        return _read_one(path), name
    raise WeightsError(
        f"{folder} holds no weights. Looked for: {', '.join(NAMES)}. "
        "If the folder comes from git, large files may need `git lfs pull`."
    )


def _read_shards(index: Path) -> dict[str, Tensor]:
    placed = read_json(index).get("weight_map")
    if not isinstance(placed, dict) or not all(isinstance(shard, str) for shard in placed.values()):
        raise WeightsError(f"{index} has no usable weight_map: it should map tensor names to file names.")
    shards = sorted(set(placed.values()))
    if outside := [shard for shard in shards if Path(shard).name != shard or shard == ".."]:
        raise WeightsError(f"{index} points outside its folder, at {outside[0]!r}; it is not safe to read.")
    if absent := [shard for shard in shards if not _there(index.parent / shard)]:
        raise WeightsError(f"{index.name} names files that are not there: {', '.join(absent)}.")
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        tensors |= _read_one(index.parent / shard)
    if lost := sorted(placed.keys() - tensors.keys()):
        raise WeightsError(f"{index.name} promises tensors that no shard holds: {', '.join(lost[:12])}.")
    return tensors


def _there(path: Path) -> bool:
    try:
        return present(path)
    except ConfigError as error:
        raise WeightsError(str(error)) from None


def _read_one(path: Path) -> dict[str, Tensor]:
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    for name, tensor in tensors.items():
        if fault := _fault(tensor):
            raise WeightsError(f"{path} cannot be used: {name} {fault}.")
    return tensors


def _fault(tensor: Tensor) -> str | None:
    """Say why a tensor is none to compute with, whatever its name and shape."""
    if tensor.is_nested or tensor.layout is not torch.strided or tensor.is_quantized:
        return "is sparse, nested or quantised, not a plain tensor"
    if tensor.is_meta:
        return "has a shape but no numbers"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"claims to be {tuple(tensor.shape)}, but the file holds fewer numbers"  # a stride of 0: a small bomb
    if tensor.is_floating_point() and tensor.element_size() < 2:  # means nothing without its scales
        return f"holds {str(tensor.dtype).removeprefix('torch.')}, which sentvec does not read"
    return None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        _refuse_pointer(path)
        raise WeightsError(f"{path} is not a readable safetensors file ({error}). Fetch it again.") from None


def _read_pickle(path: Path) -> dict[str, Tensor]:
    if not _start(path).startswith((b"PK", b"\x80")):  # a zip file; a bare pickle, as torch wrote before 1.6
        _refuse_pointer(path)
        raise WeightsError(f"{path} is not a PyTorch file. Fetch it again.")
    try:
        # weights_only: a pickle can hold any code, and this refuses everything but tensors
        with (
            warnings.catch_warnings()
        ):  # of torch's, about other programs' versions of the format: not our user's affair
            warnings.simplefilter("ignore", UserWarning)
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path} is a pickle that holds more than tensors, so reading it could run code; it was not read. "
            f"If you trust it, convert it to {SAFE} with the library that wrote it."
        ) from None
    except Exception as error:  # bytes that are damaged in the right place make a pickle fail in any way
        why = str(error) or type(error).__name__
        raise WeightsError(f"{path} is not a readable PyTorch file ({why}). Fetch it again.") from None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} should hold tensors by name, but holds {type(content).__name__}.")
    if odd := [key for key, value in content.items() if not isinstance(key, str) or not isinstance(value, Tensor)]:
        raise WeightsError(f"{path} should hold tensors by name, but under {odd[0]!r} it does not.")
    return dict(content)


def _refuse_pointer(path: Path) -> None:
    if _start(path) == b"version http":
        raise WeightsError(f"{path} is a git-lfs pointer, not the weights. Run `git lfs pull` in its folder.")


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(12)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}).") from None
