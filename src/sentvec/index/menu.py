"""The name of a kind of index, or a faiss factory string, and the size of the data in; a checked factory string out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from math import isqrt
from pathlib import Path
from typing import Literal

from sentvec.errors import InvalidInput

Metric = Literal["cosine", "inner_product", "l2"]
METRICS: tuple[Metric, ...] = ("cosine", "inner_product", "l2")

FLAT = "Flat"
_EXACT_BELOW = 100_000  # vectors that `auto` compares one by one: some milliseconds a query
_PER_LIST = 39  # vectors that faiss wants to learn a list's centre from
_TURN = 256 * _PER_LIST  # vectors that a rotation (OPQ) is learnt from


def _lists(count: int) -> int:
    """4 times the root of the number of vectors, as faiss advises below a million; beyond, so that training ends."""
    return max(1, min(4 * isqrt(count), count // _PER_LIST, 65_536))


def _bytes_of_code(dim: int) -> int:
    """Return into how many parts PQ cuts a vector: about one for 8 numbers, and a divisor of their number."""
    return max(parts for parts in range(1, max(dim // 8, 1) + 1) if dim % parts == 0)


# What a name stands for at so many numbers a vector (d) and so many vectors (n).
KINDS: dict[str, Callable[[int, int], str]] = {
    "flat": lambda d, n: FLAT,
    "hnsw": lambda d, n: "HNSW32",
    "hnsw-sq8": lambda d, n: "HNSW32_SQ8",
    "lsh": lambda d, n: f"LSH{2 * d}r",
    "sq8": lambda d, n: "SQ8",
    "pq": lambda d, n: f"PQ{_bytes_of_code(d)}",
    "ivf-flat": lambda d, n: f"IVF{_lists(n)},Flat",
    "ivf-sq8": lambda d, n: f"IVF{_lists(n)},SQ8",
    "ivf-pq": lambda d, n: f"IVF{_lists(n)},PQ{_bytes_of_code(d)}",
    "ivf-pq-refine": lambda d, n: f"IVF{_lists(n)},PQ{_bytes_of_code(d)},Refine(SQ8)",
}

_PARTS = re.compile(
    r"""(?P<turn> (?: (?: OPQ\d+(?:_\d+)? | PCAR?\d+ | RR\d+ ),)? )
        (?: IVF(?P<lists>\d+) (?: _HNSW(?P<coarse>\d+) )?, )?
        (?: (?P<flat> Flat)
          | SQ(?P<scalar> 4 | 6 | 8 | fp16 | bf16)
          | PQ(?P<parts>\d+) (?: x(?P<bits>\d+) )? (?P<fast> (?:fsr?)? )
          | HNSW(?P<links>\d+) (?: _(?P<stored> Flat | SQ8) )?
          | LSH(?P<signs>\d*) r?t?
          | (?P<rabit> RaBitQ) )
        (?P<refine> (?: ,(?: RFlat | Refine\((?: Flat | SQ8 | SQfp16 )\) ) )? )""",
    re.VERBOSE,
)


def factory_of(kind: str, dim: int, count: int, metric: Metric = "cosine", memory: int | None = None) -> str:
    """Return the faiss factory string of an index.

    Where there are fewer vectors than an index must learn from, that is "Flat", which is exact and needs no learning.

    Args:
        kind: a name of `KINDS`, "auto" (by size and memory), or a factory string such as "OPQ48,IVF1024,PQ48".
        dim: numbers of a vector.
        count: vectors that it will hold.
        metric: "cosine", "inner_product" or "l2".
        memory: bytes that "auto" may fill; half of what the machine has, if None.

    Raises:
        InvalidInput: a kind that is not known, or that cannot be had for such vectors.

    >>> factory_of("ivf-pq", 384, 90_000), factory_of("ivf-pq", 384, 200), factory_of("auto", 384, 90_000)
    ('IVF1200,PQ48', 'Flat', 'Flat')
    """
    if metric not in METRICS:
        raise InvalidInput(f"metric is {metric!r}; accepted: {', '.join(map(repr, METRICS))}.")
    if kind == "auto":
        kind = chosen(dim, count, half_of_memory() if memory is None else memory)
    factory = KINDS[kind](dim, count) if kind in KINDS else kind
    match = _PARTS.fullmatch(factory) if isinstance(factory, str) else None
    if match is None:
        raise InvalidInput(
            f"The kind of index {kind!r} is not known; accepted: 'auto', {', '.join(map(repr, KINDS))}, or a faiss "
            "factory string of these parts: 'OPQ48_192,' or 'PCA64,'; 'IVF1024,'; Flat, SQ8, PQ48, PQ96x4fs, HNSW32, "
            "HNSW32_SQ8, LSH768r or RaBitQ; ',RFlat' or ',Refine(SQ8)'. Leave out IDMap: rows have their own numbers."
        )
    _check(factory, match, dim, metric)
    return factory if count >= needed(factory) else FLAT


def chosen(dim: int, count: int, memory: int) -> str:
    """Return the kind that is best for so many vectors and bytes of memory.

    Below 100,000 vectors every one is compared. A graph (HNSW) is the fastest beyond that, if it fits; then one over
    bytes in place of floats, then lists of bytes.
    """
    if count < _EXACT_BELOW:
        return "flat"
    kinds = ("hnsw", "hnsw-sq8", "ivf-sq8") if count <= 1_000_000 else ("hnsw-sq8", "ivf-sq8")
    return next((k for k in kinds if bytes_of(KINDS[k](dim, count), dim, count) <= memory), "ivf-pq-refine")


def bytes_of(factory: str, dim: int, count: int) -> int:
    """Estimate the memory that an index takes, codes, links and the numbers of rows together."""
    match = _PARTS.fullmatch(factory)
    if match is None:
        raise InvalidInput(f"{factory!r} is not a factory string of this menu.")
    size = 4 * dim
    turned = re.search(r"(\d+),$", match["turn"])
    if turned and not re.fullmatch(r"OPQ\d+,", match["turn"]):
        size = 4 * int(turned[1])
    code = size
    if match["scalar"] or match["stored"] == "SQ8":
        code = size * {"4": 4, "6": 6, "8": 8, "fp16": 16, "bf16": 16}[match["scalar"] or "8"] // 32
    elif match["parts"]:
        code = int(match["parts"]) * int(match["bits"] or 8) // 8
    elif match["signs"] is not None:
        code = int(match["signs"] or dim) // 8
    elif match["rabit"]:
        code = size // 32 + 8
    if match["links"]:
        code += 8 * int(match["links"]) + 16
    if match["lists"]:
        code += 8
    if match["refine"]:
        code += {",RFlat": 4, ",Refine(Flat)": 4, ",Refine(SQ8)": 1, ",Refine(SQfp16)": 2}[match["refine"]] * dim
    return count * code + int(match["lists"] or 0) * 4 * dim


def needed(factory: str) -> int:
    """Return how many vectors an index must have to learn from."""
    match = _PARTS.fullmatch(factory)
    if match is None:
        raise InvalidInput(f"{factory!r} is not a factory string of this menu.")
    codebook = 1 << int(match["bits"] or (4 if match["fast"] else 8)) if match["parts"] else 1
    turned = _TURN if match["turn"].startswith("OPQ") else 256 if match["turn"] else 1
    return max(int(match["lists"] or 1), codebook, turned)


def half_of_memory() -> int:
    """Return half of the memory that this process may fill, in bytes."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container
    try:
        whole = min(whole, int(limit.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        return whole // 2
    return whole // 2


def _check(factory: str, match: re.Match[str], dim: int, metric: Metric) -> None:
    """Refuse numbers on which faiss would fail without a word, divide by zero, or take hours."""
    inner = dim
    if match["turn"]:
        numbers = [int(number) for number in re.findall(r"\d+", match["turn"])]
        inner = dim if match["turn"].startswith("OPQ") and len(numbers) == 1 else numbers[-1]
        if not 1 <= inner <= dim:
            raise InvalidInput(f"{factory!r} turns vectors to {inner} numbers; accepted: 1 to {dim}, as they have.")
        if match["turn"].startswith("OPQ") and (numbers[0] < 1 or inner % numbers[0]):
            raise InvalidInput(f"{factory!r} cuts {inner} numbers into {numbers[0]} parts; give a divisor.")
    for name, told, least, most in (
        ("lists", "lists", 1, 1 << 20),
        ("coarse", "links", 2, 512),
        ("links", "links", 2, 512),
        ("bits", "bits for each part", 4, 12),
        ("signs", "bits", 8, 1 << 16),
    ):
        if match[name] and not least <= int(match[name]) <= most:
            raise InvalidInput(f"{factory!r} asks for {match[name]} {told}; accepted: {least} to {most}.")
    if match["parts"] and (int(match["parts"]) < 1 or inner % int(match["parts"])):
        raise InvalidInput(f"{factory!r} cuts {inner} numbers into {match['parts']} parts; give a divisor.")
    if match["fast"] and (match["bits"] or "4") != "4":
        raise InvalidInput(f"{factory!r}: fast scan has 4 bits for each part; write PQ{match['parts']}x4fs.")
    if match["lists"] and (match["links"] or match["signs"] is not None):
        raise InvalidInput(f"{factory!r} puts a graph or signs into lists; accepted there: Flat, SQ8, PQ48, RaBitQ.")
    if match["signs"] is not None and metric != "cosine":
        raise InvalidInput(f"{factory!r} keeps directions alone, so it can only rank by cosine, not by {metric}.")
