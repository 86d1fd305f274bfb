"""Read weight files: a folder in, tensors under the file's own names out. No code in a file is ever run."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sentvec.checkpoint.files import present, read_json
from sentvec.checkpoint.hdf5 import read_hdf5
from sentvec.checkpoint.tensor_bundle import read_bundle
from sentvec.checkpoint.tf_names import from_google, from_keras, from_training
from sentvec.errors import ConfigError, WeightsError

SAFE = "model.safetensors"
SAFE_INDEX = "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"
HDF5 = "tf_model.h5"
BUNDLE = "*.ckpt*.index"  # Google's are called bert_model.ckpt.index, those of a training run model.ckpt-1000.index
NAMES = (SAFE, SAFE_INDEX, PICKLE, PICKLE_INDEX, HDF5)


def read_weights(folder: Path) -> tuple[dict[str, Tensor], str]:
    """Read the first of the known weight files that the folder has.

    Returns:
        The tensors by the names in the file, and the file's name.

    Raises:
        MissingExtra: the file is an HDF5 file, and h5py is not installed.
        WeightsError: there is no weight file, or it is corrupt, unsafe or incomplete.
    """
    for name in NAMES:
        path = folder / name
        if not _there(path):
            continue
        if path.suffix == ".json":
            return _read_shards(path), name
        return _read_one(path), name
    bundles = sorted(folder.glob(BUNDLE))
    if len(bundles) > 1:
        raise WeightsError(
            f"{folder} holds several TensorFlow checkpoints: {', '.join(path.name for path in bundles[:12])}. "
            "Leave one of them there."
        )
    if bundles and _there(bundles[0]):
        return _read_one(bundles[0]), bundles[0].name
    raise WeightsError(
        f"{folder} holds no weights. Looked for: {', '.join(NAMES)}, {BUNDLE}. "
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
    tensors = _READERS.get(path.suffix, _read_pickle)(path)
    for name, tensor in tensors.items():
        if fault := _fault(tensor):
            raise WeightsError(f"{path} cannot be used: {name} {fault}.")
    return tensors


def _read_tensorflow(path: Path) -> dict[str, Tensor]:
    _refuse_pointer(path)
    keras = path.suffix == ".h5"
    tensors: dict[str, Tensor] = {}
    for name, tensor in (read_hdf5(path) if keras else read_bundle(path, skip=from_training)).items():
        theirs, turned = (from_keras if keras else from_google)(name)
        if theirs in tensors:
            raise WeightsError(f"{path} cannot be used: two variables in it are both {theirs!r}.")
        tensors[theirs] = tensor.t().contiguous() if turned and tensor.ndim == 2 else tensor
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
    _refuse_packed(path)
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


def _refuse_packed(path: Path) -> None:
    """Refuse a zip file whose parts are larger than it: torch packs nothing, and a small bomb could fill the memory."""
    if not _start(path).startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(path) as file:
            size = sum(part.file_size for part in file.infolist())
    except Exception as error:  # bytes that are damaged in the right place make it fail in any way
        raise WeightsError(f"{path} is not a readable PyTorch file ({error}). Fetch it again.") from None
    if size > path.stat().st_size:
        raise WeightsError(
            f"{path} has {path.stat().st_size} bytes, but says that {size} are in it. PyTorch writes no such file; "
            "it is not safe to read."
        )


_READERS = {".safetensors": _read_safetensors, ".h5": _read_tensorflow, ".index": _read_tensorflow}


def _refuse_pointer(path: Path) -> None:
    if _start(path) == b"version http":
        raise WeightsError(f"{path} is a git-lfs pointer, not the weights. Run `git lfs pull` in its folder.")


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(12)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}).") from None
