"""Names at the border: a checkpoint's tensors in, ours out, and back, by one reversible table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sentvec.errors import WeightsError
from sentvec.models.architecture import Architecture, Names, Places

Shapes = Mapping[str, torch.Size]

_OLD_ENDINGS = {".gamma": ".weight", ".beta": ".bias"}  # layer normalisation as TensorFlow called it


@dataclass(frozen=True)
class Translated:
    """A checkpoint's tensors under our names.

    Attributes:
        tensors: our name -> tensor.
        ignored: names in the checkpoint that are left out on purpose: task heads and constant buffers.
        heads: the tensors of task heads among them, without wrappers' prefixes.
    """

    tensors: dict[str, Tensor]
    ignored: tuple[str, ...]
    heads: dict[str, Tensor]


def expand(names: Names, places: Places) -> dict[str, tuple[str, ...]]:
    """Write the table out for every layer: our name -> the checkpoint's names that make it up.

    >>> expand((("layers.{i}.w", ("layer.{i}.a", "layer.{i}.b")),), [{"i": 0}, {"i": 1}])["layers.1.w"]
    ('layer.1.a', 'layer.1.b')
    """
    table: dict[str, tuple[str, ...]] = {}
    for ours, theirs in names:
        for place in places if "{" in ours else ({},):
            table[ours.format_map(place)] = tuple(name.format_map(place) for name in theirs)
    return table


def to_ours(raw: Mapping[str, Tensor], row: Architecture, places: Places, shapes: Shapes, origin: str) -> Translated:
    """Translate a checkpoint, and say everything that is wrong with it at once.

    Args:
        raw: the checkpoint's tensors.
        row: the architecture, whose names they are under.
        places: the layers that it stores, see `Architecture.places`.
        shapes: the shape that each of our parameters must have.
        origin: file name for messages.

    Raises:
        WeightsError: names are missing or unexpected, or shapes or number formats are wrong.
    """
    table = expand(row.names, places)
    assert shapes.keys() <= table.keys(), f"no row in NAMES for {sorted(shapes.keys() - table.keys())}"
    wanted = {name: table[name] for name in shapes}
    theirs, ignored = _canonical(raw, row, wanted)
    known = {name for names in wanted.values() for name in names}
    missing = sorted(known - theirs.keys())
    unexpected = sorted(theirs.keys() - known)
    tensors: dict[str, Tensor] = {}
    wrong: list[str] = []
    for ours, names in wanted.items():
        if any(name not in theirs for name in names):
            continue
        parts = [theirs[name] for name in names]
        expected = torch.Size((shapes[ours][0] // len(names), *shapes[ours][1:]))
        faults = [fault for n, p in zip(names, parts, strict=True) if (fault := shape_fault(n, p, expected))]
        wrong += faults
        if not faults:
            tensors[ours] = (parts[0] if len(parts) == 1 else torch.cat(parts)).to(torch.float32)
    if missing or unexpected or wrong:
        raise WeightsError(complaint(origin, missing, unexpected, wrong))
    heads = {plain: raw[name] for name, plain in ignored.items() if plain not in row.buffers}
    return Translated(tensors, tuple(sorted(ignored)), heads)


def to_theirs(state: Mapping[str, Tensor], table: Mapping[str, tuple[str, ...]]) -> dict[str, Tensor]:
    """Translate our parameters back to the checkpoint's names."""
    raw: dict[str, Tensor] = {}
    for ours, tensor in state.items():
        names = table[ours]
        for name, part in zip(names, tensor.chunk(len(names)), strict=True):
            raw[name] = part.contiguous()
    return raw


def has_pooler(raw: Mapping[str, Tensor], row: Architecture) -> bool:
    """Whether a checkpoint holds the weights of its architecture's pooler."""
    table = expand(row.names, ())
    parts = table.get("pooler.dense.weight")
    return parts is not None and set(parts) <= _canonical(raw, row, table)[0].keys()


def _canonical(
    raw: Mapping[str, Tensor], row: Architecture, table: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Undo what writers add to names: wrappers' prefixes, TensorFlow's endings, heads, buffers."""
    given = {_renewed(_plain(name)) for name in raw}
    known = {name for names in table.values() for name in names}
    # a prefix counts where it stands before a name that we know
    found = [p for p in row.wrappers if any(p + name in given for name in known)]
    left_out = row.left_out
    kept: dict[str, Tensor] = {}
    ignored: dict[str, str] = {}
    for name, tensor in raw.items():
        plain = _plain(name)
        for prefix in found:
            plain = plain.removeprefix(prefix)
        plain = _renewed(plain)
        if plain.startswith(left_out) or (plain in row.buffers and plain not in known):
            ignored[name] = plain
        elif plain in kept:
            raise WeightsError(f"two tensors in the checkpoint are both {plain!r}; one of them is {name!r}.")
        else:
            kept[plain] = tensor
    return kept, ignored


def shape_fault(name: str, tensor: Tensor, expected: torch.Size) -> str | None:
    """Say what is wrong with a tensor that should have this shape, if anything is."""
    if tensor.shape != expected:
        return f"{name} is {tuple(tensor.shape)}, config.json asks for {tuple(expected)}"
    if not tensor.is_floating_point():  # quantised weights mean nothing without their scales
        return f"{name} holds {str(tensor.dtype).removeprefix('torch.')}, not floating-point numbers"
    return None


def _renewed(name: str) -> str:
    for old, new in _OLD_ENDINGS.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _plain(name: str) -> str:
    return name.removeprefix("module.").removeprefix("_orig_mod.")


def complaint(origin: str, missing: list[str], unexpected: list[str], wrong: list[str]) -> str:
    """Return one message about all that does not fit."""
    parts = [f"the weights in {origin} do not fit config.json."]
    for title, names in (("Wrong", wrong), ("Missing", missing), ("Unexpected", unexpected)):
        if names:
            parts.append(f"{title} ({len(names)}): {_listed(names)}.")
    parts.append("Is config.json of the same model?")
    return " ".join(parts)


def _listed(names: Iterable[str], most: int = 12) -> str:
    names = list(names)
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
