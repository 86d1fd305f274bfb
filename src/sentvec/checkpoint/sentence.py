"""A sentence-transformers folder, old or new, in; the `Recipe` that it describes out.

Formats: modules.json names a chain of modules, each with a folder of its own. Class paths changed with
version 5.4, so only their last part counts; so did the keys of Pooling's config.json, and both are read.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from sentvec.checkpoint.files import present, read_json, read_json_or_empty, read_json_value
from sentvec.checkpoint.fitted import read_fitted
from sentvec.checkpoint.recipe import Normalize, Recipe, Step
from sentvec.checkpoint.weights import read_weights
from sentvec.errors import ConfigError, InvalidInput, WeightsError
from sentvec.models.heads import Projection
from sentvec.nn.flow import Flow
from sentvec.ops.pooling import check_pooling
from sentvec.ops.similarity import similarity

_log = logging.getLogger("sentvec")

# sentence-transformers' names, old key and new value, in the order in which several are joined
POOLING_KEYS: tuple[tuple[str, str, str], ...] = (
    ("pooling_mode_cls_token", "cls", "first"),
    ("pooling_mode_max_tokens", "max", "max"),
    ("pooling_mode_mean_tokens", "mean", "mean"),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", "mean_sqrt"),
    ("pooling_mode_weightedmean_tokens", "weightedmean", "weighted_mean"),
    ("pooling_mode_lasttoken", "lasttoken", "last"),
)
_NEW_TO_OURS = {new: ours for _, new, ours in POOLING_KEYS}
_SENTENCE_CONFIGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_UNSET_LENGTH = 1_000_000  # tokenizer_config.json writes 1e30 for "no limit"


@dataclass(frozen=True)
class Module:
    """One row of modules.json: the last part of its class path, and its folder."""

    kind: str
    folder: Path


def read_modules(root: Path) -> list[Module]:
    """Read modules.json; an empty list where there is none.

    Raises:
        ConfigError: it is malformed, does not begin with a Transformer, or points outside its folder.
    """
    path = root / "modules.json"
    if not present(path):
        return []
    rows = read_json_value(path)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{path} should hold a list of modules.")
    modules = []
    for row in rows:
        kind, place = row.get("type"), row.get("path", "")
        if not isinstance(kind, str) or not isinstance(place, str):
            raise ConfigError(f"{path}: a module needs a type and a path, but one is {row!r}.")
        folder = root / place
        try:
            inside = folder.resolve().is_relative_to(root.resolve())
            folder.is_dir()  # a name that is too long is noticed only here
        except (OSError, RuntimeError, ValueError):  # or a link to itself, or letters that are none
            raise ConfigError(f"{path} names a folder that cannot be: {place[:80]!r}.") from None
        if not inside:
            raise ConfigError(f"{path} points outside its folder, at {place!r}; it is not safe to read.")
        modules.append(Module(kind.rsplit(".", 1)[-1], folder))
    if modules[0].kind != "Transformer":
        raise ConfigError(f"{path} begins with {modules[0].kind!r}; sentvec reads chains that begin with Transformer.")
    return modules


def read_recipe(root: Path, modules: list[Module], *, hidden: int, max_tokens: int) -> Recipe:
    """Read what happens around the encoder.

    Args:
        root: the model's folder.
        modules: the rows of modules.json.
        hidden: width of the encoder's states.
        max_tokens: longest text the encoder has positions for.

    Raises:
        ConfigError: a module is not known or does not fit; UnknownPooling: a pooling is not known.
    """
    transformer = modules[0].folder if modules else root
    length, lower = _length_and_case(transformer, max_tokens)
    pooling, include_prompt, steps = (("mean",), True, ()) if not modules else _chain(modules[1:], hidden)
    if not modules:
        found = "; 1_Pooling/config.json is there, but nothing refers to it" * (root / "1_Pooling").is_dir()
        _log.warning(
            "%s has no modules.json%s: using mean pooling and no normalisation. "
            "Pass pooling= to choose another.", root, found,
        )  # fmt: skip
    path = root / "config_sentence_transformers.json"
    config = read_json_or_empty(path)
    prompts, default = _prompts(config, path)
    fitted, calibration = read_fitted(root)
    width = next((step.out_dim for step in reversed(steps) if not isinstance(step, Normalize)), None)
    return Recipe(
        pooling=pooling,
        include_prompt=include_prompt,
        steps=steps,
        max_seq_length=length,
        lower_case=lower,
        prompts=prompts,
        default_prompt=default,
        similarity=_similarity(config.get("similarity_fn_name"), path),
        dim=_dim(config.get("truncate_dim"), width or hidden * len(pooling), path),
        fitted=fitted,
        calibration=calibration,
    )


def read_reading(root: Path, modules: list[Module], *, max_tokens: int) -> Recipe:
    """Read how a model with a task head reads texts: lengths, letter case and prompts; nothing is pooled.

    Raises:
        ConfigError: modules.json holds more than the model, or one of these cannot be.
    """
    if others := [module.kind for module in modules[1:] if module.kind != "Dropout"]:
        raise ConfigError(
            f"modules.json in {root} holds {', '.join(others)} behind the model, so it has no task head of its own "
            "that sentvec knows. Use it as an Embedder, or give the folder of a model with a head."
        )
    length, lower = _length_and_case(modules[0].folder if modules else root, max_tokens)
    path = root / "config_sentence_transformers.json"
    prompts, default = _prompts(read_json_or_empty(path), path)
    return Recipe(max_seq_length=length, lower_case=lower, prompts=prompts, default_prompt=default)


def _length_and_case(folder: Path, max_tokens: int) -> tuple[int, bool]:
    config: dict[str, Any] = {}
    for name in _SENTENCE_CONFIGS:
        if present(folder / name):
            config = read_json(folder / name)
            break
    length = config.get("max_seq_length")
    if length is None:
        length = read_json_or_empty(folder / "tokenizer_config.json").get("model_max_length")
    if length is None or (isinstance(length, int | float) and length > _UNSET_LENGTH):
        length = max_tokens
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise ConfigError(f"max_seq_length in {folder} is {length!r}, which should be a whole number of tokens.")
    if length > max_tokens:
        _log.info("max_seq_length %d is cut to the model's %d positions", length, max_tokens)
    return min(length, max_tokens), bool(config.get("do_lower_case", False))


def _chain(modules: list[Module], hidden: int) -> tuple[tuple[str, ...], bool, tuple[Step, ...]]:
    pooling: tuple[str, ...] | None = None
    include_prompt = True
    steps: list[Step] = []
    width = hidden
    for module in modules:
        if module.kind == "Pooling" and pooling is None:
            pooling, include_prompt = _pooling(module.folder / "config.json", hidden)
            width = hidden * len(pooling)
        elif module.kind == "Normalize" and pooling is not None:
            steps.append(Normalize())  # its folder is empty, and git drops empty folders
        elif module.kind == "Dense" and pooling is not None:
            projection = _dense(module.folder, width)
            steps.append(projection)
            width = projection.out_dim
        elif module.kind == "Flow" and pooling is not None:
            steps.append(_flow(module.folder, width))
        elif module.kind != "Dropout":  # which does nothing outside training
            raise ConfigError(
                f"modules.json holds {module.kind!r} where sentvec does not know what to do with it. "
                "Known chains: Transformer, Pooling, then any of Dense, Normalize, Dropout, and sentvec's Flow."
            )
    if pooling is None:
        raise ConfigError("modules.json has no Pooling module, so there is no one vector for a text.")
    return pooling, include_prompt, tuple(steps)


def _pooling(path: Path, hidden: int) -> tuple[tuple[str, ...], bool]:
    config = read_json(path)
    width = config.get("embedding_dimension", config.get("word_embedding_dimension", hidden))
    if width != hidden:
        raise ConfigError(f"{path} is for hidden size {width}, but the encoder's is {hidden}.")
    modes = config.get("pooling_mode")
    if modes is None:
        names = [ours for key, _, ours in POOLING_KEYS if config.get(key)] or ["mean"]
    else:
        given: Any = [modes] if isinstance(modes, str) else modes
        if not isinstance(given, list) or not given or not all(isinstance(mode, str) for mode in given):
            raise ConfigError(f"{path}: pooling_mode is {modes!r}, which should be a name or a list of names.")
        names = [_NEW_TO_OURS.get(str(mode), str(mode)) for mode in given]
    return tuple(check_pooling(name, str(path)) for name in names), bool(config.get("include_prompt", True))


def _dense(folder: Path, width: int) -> Projection:
    config = read_json(folder / "config.json")
    sizes = config.get("in_features"), config.get("out_features")
    if sizes[0] != width or not isinstance(sizes[1], int) or sizes[1] < 1:
        raise ConfigError(f"{folder / 'config.json'} maps {sizes[0]} to {sizes[1]} features, but {width} come in.")
    if config.get("module_input_name", "sentence_embedding") not in (None, "sentence_embedding"):
        raise ConfigError(f"{folder / 'config.json'} works on {config['module_input_name']!r}, not on pooled vectors.")
    tensors, name = read_weights(folder)
    shape = tensors["linear.weight"].shape if "linear.weight" in tensors else None
    if shape != torch.Size((sizes[1], width)):  # before memory is taken for what a config makes up
        raise WeightsError(
            f"{folder / name} does not fit its config.json: linear.weight is {shape and tuple(shape)}, "
            f"config.json asks for {(sizes[1], width)}."
        )
    if odd := [key for key, value in tensors.items() if not value.is_floating_point()]:
        kind = str(tensors[odd[0]].dtype).removeprefix("torch.")
        raise WeightsError(f"{folder / name} cannot be used: {odd[0]} holds {kind}, not floating-point numbers.")
    act = str(config.get("activation_function", "torch.nn.Tanh") or "torch.nn.Identity")
    if "." in act and not act.startswith("torch."):  # code of the folder's author, which nobody here has read
        raise ConfigError(f"{folder / 'config.json'}: activation_function {act!r} is not one of torch's.")
    projection = Projection(
        in_dim=width,
        out_dim=sizes[1],
        bias=bool(config.get("bias", True)),
        act=act,
        residual=bool(config.get("use_residual", False)),
    )
    try:
        projection.load_state_dict({key: value.to(torch.float32) for key, value in tensors.items()})
    except RuntimeError as error:
        raise WeightsError(f"{folder / name} does not fit its config.json: {_line(error)}") from None
    return projection


def _line(error: RuntimeError) -> str:
    """Return what torch says of a state that does not fit, which spans lines, as one line."""
    return " ".join(str(error).split())


def _flow(folder: Path, width: int) -> Flow:
    path = folder / "config.json"
    config = read_json(path)
    if config.get("features") != width:
        raise ConfigError(f"{path} is for {config.get('features')!r} features, but {width} come in.")
    tensors, name = read_weights(folder)
    sizes = [config.get(key) for key in ("depth", "width")]
    # before memory is taken for what a config makes up: the weights have to be of these sizes
    read = [tuple(value.shape) for key, value in tensors.items() if key.endswith(".read.weight")]
    if not read or len(read) != sizes[0] or any(shape != (sizes[1], width // 2) for shape in read):
        raise WeightsError(
            f"{folder / name} has couplings of the shapes {read}, config.json says depth, width {sizes}."
        )
    flow = Flow(dim=width, depth=len(read), width=read[0][0])
    try:
        flow.load_state_dict({key: value.to(torch.float32) for key, value in tensors.items()})
    except RuntimeError as error:
        raise WeightsError(f"{folder / name} does not fit its config.json: {_line(error)}") from None
    return flow


def _prompts(config: Mapping[str, Any], path: Path) -> tuple[Mapping[str, str], str | None]:
    given = config.get("prompts") or {}
    if not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values() if text is not None):
        raise ConfigError(f"{path}: prompts should map names to texts.")
    prompts = {name: text for name, text in given.items() if text is not None}
    try:
        "".join(text for pair in prompts.items() for text in pair).encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{path}: a prompt or its name holds half of a surrogate pair, which is no letter.") from None
    default = config.get("default_prompt_name")
    if default is not None and (not isinstance(default, str) or default not in prompts):
        raise ConfigError(
            f"{path}: default_prompt_name {default!r} is not among the prompts: "
            f"{', '.join(prompts) or 'there are none'}."
        )
    return MappingProxyType(prompts), default


def _similarity(name: object, path: Path) -> str:
    given = str(name or "cosine").rsplit(".", 1)[-1]
    known = {"cos_sim": "cosine", "dot_score": "dot", "dot_product": "dot"}.get(given, given)
    try:
        similarity(known)
    except InvalidInput as error:
        raise ConfigError(f"{path}: similarity_fn_name: {error}") from None
    return known


def _dim(given: object, width: int, path: Path) -> int | None:
    if given is None:
        return None
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return given if given < width else None
    raise ConfigError(f"{path}: truncate_dim is {given!r}, which should be a whole number of features, or null.")
