"""A model in; what it is made of out: parameters by part, shapes, number formats, files, tokeniser, recipe."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from safetensors import safe_open
from torch import nn

from sentvec.checkpoint.files import present, read_json
from sentvec.checkpoint.sentence import read_modules
from sentvec.checkpoint.weights import NAMES
from sentvec.runtime.embedder import Embedder

_LAYER = re.compile(r"\.\d+\.")
_FORMATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # safetensors' names
_CONTINUED = {"WordPiece": "##"}
_BEGINNING = {"BPE": "Ġ", "Unigram": "▁"}


@dataclass(frozen=True)
class Weight:
    """One learned tensor, or the same one of several layers.

    Attributes:
        name: its name; ``*`` stands for the number of a layer.
        shape: its shape.
        count: how many layers have one of this shape.
    """

    name: str
    shape: tuple[int, ...]
    count: int


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """What a tokeniser's vocabulary holds.

    Attributes:
        kind: WordPiece, BPE, Unigram or WordLevel.
        size: how many token ids there are.
        special: special tokens and their ids.
        mark: what a piece inside a word begins with (``##``), or one at a word's beginning (``Ġ``, ``▁``).
        marked: how many pieces begin with it.
    """

    kind: str
    size: int
    special: Mapping[str, int]
    mark: str
    marked: int


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a model is made of.

    Attributes:
        parameters: numbers of learned parameters by part: embeddings, encoder, pooler, projections.
        weights: every learned tensor, those of like layers together.
        dtype: the number format in which the encoder runs.
        stored: number formats of the floating-point tensors in the files, for safetensors; empty for others.
        files: the files with weights in the model's folder that were read, and their bytes; empty where the model
            was not read from a folder, or from files of another kind.
        pieces: the tokeniser.
    """

    parameters: Mapping[str, int]
    weights: tuple[Weight, ...]
    dtype: str
    stored: tuple[str, ...]
    files: Mapping[str, int]
    pieces: Pieces

    @property
    def total(self) -> int:
        """All learned parameters."""
        return sum(self.parameters.values())

    def shares(self) -> dict[str, float]:
        """Return each part's share of all parameters, in percent.

        >>> numbers = {"embeddings": 1, "encoder": 3}
        >>> pieces = Pieces(kind="WordPiece", size=0, special={}, mark="##", marked=0)
        >>> Card(parameters=numbers, weights=(), dtype="float32", stored=(), files={}, pieces=pieces).shares()
        {'embeddings': 25.0, 'encoder': 75.0}
        """
        return {part: 100 * count / max(self.total, 1) for part, count in self.parameters.items()}


def card(model: Embedder) -> Card:
    """Describe a model."""
    assert isinstance(model.encoder, nn.Module)
    counts = parameters_of(model.encoder)
    projections = [step for step in model.recipe.steps if isinstance(step, nn.Module)]
    if projections:
        counts["projections"] = sum(p.numel() for step in projections for p in step.parameters())
    paths = [] if model.folder is None else files_of(model.folder)
    return Card(
        parameters=MappingProxyType(counts),
        weights=tuple(weights_of(model.encoder)),
        dtype=str(next(model.encoder.parameters()).dtype).removeprefix("torch."),
        stored=stored_formats(paths),
        files=MappingProxyType({path.name: path.stat().st_size for path in paths}),
        pieces=_pieces(model),
    )


def parameters_of(encoder: nn.Module) -> dict[str, int]:
    """Count an encoder's learned parameters by part; a tensor that layers share counts once.

    The stack of layers goes by the name "encoder", as most people call it. A part without parameters is left out.
    """
    counts = {"encoder" if name == "layers" else name: _count(part) for name, part in encoder.named_children()}
    return {name: count for name, count in counts.items() if count}


def weights_of(encoder: nn.Module) -> list[Weight]:
    """List an encoder's learned tensors in order, those of like layers together."""
    alike = Counter((_LAYER.sub(".*.", name), tuple(p.shape)) for name, p in encoder.named_parameters())
    return [Weight(name, shape, count) for (name, shape), count in alike.items()]


def files_of(root: Path) -> list[Path]:
    """Return the weight files that loading a folder reads; none where they are of a kind not known here."""
    modules = read_modules(root)
    folder = modules[0].folder if modules else root
    name = next((name for name in NAMES if present(folder / name)), None)
    if name is None:
        return []
    names = sorted(set(read_json(folder / name)["weight_map"].values())) if name.endswith(".json") else [name]
    return [folder / name for name in names]


def stored_formats(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the number formats of the floating-point tensors in safetensors files; other files are left out."""
    found = set()
    for path in paths:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                found |= {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    return tuple(sorted(_FORMATS[kind] for kind in found if kind in _FORMATS))


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _pieces(model: Embedder) -> Pieces:
    tokenizer = model.tokenizer
    vocab = tokenizer.vocab()
    mark = (_CONTINUED | _BEGINNING).get(tokenizer.kind, "")
    marked = sum(piece.startswith(mark) for piece in vocab) if mark else 0
    return Pieces(kind=tokenizer.kind, size=len(vocab), special=tokenizer.special(), mark=mark, marked=marked)
