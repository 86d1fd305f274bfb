"""Attention over packed texts: queries, keys and values (tokens, heads, head_dim) in, the same shape out.

Every kernel has the one signature of `Kernel`; `reference` is the one that the others are tested against.
Padding, where a kernel needs it, exists in here only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import accumulate, groupby

import torch
from torch import Tensor
from torch.nn import functional

from sentvec.errors import InvalidInput

SHORT_FLOAT32, SHORT_HALF = 64, 128
"""Longest texts that `runs` gives to two batched products instead of torch's own kernel, on processors: measured on
two cores with AVX-512, 12 heads of 32, 4,096 tokens, where torch's kernel took 1.2 to 4 times as long below these
lengths and 0.7 times as long above."""

LOCAL_BLOCK = 256
"""Fewest queries that meet their keys in one call where a window limits what they see."""

Kernel = Callable[[Tensor, Tensor, Tensor, Sequence[int], float, int | None, Tensor | None], Tensor]


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Sequence[int],
    *,
    dropout: float = 0.0,
    window: int | None = None,
    relative: Tensor | None = None,
    kernel: str = "auto",
) -> Tensor:
    """Scaled dot-product attention of each text over itself (Vaswani et al. 2017, equation 1).

    Args:
        q: queries, (tokens, heads, head_dim).
        k: keys, of the same shape.
        v: values, of the same shape.
        lengths: tokens of each text, in the order in which they are packed.
        dropout: share of attention probabilities set to zero; training only.
        window: how many tokens each token sees to either side (Beltagy et al. 2020), or None for all of its text.
        relative: what a distance adds to a score (Shaw et al. 2018; Raffel et al. 2019), (heads, 2 * reach - 1) for
            texts of at most `reach` tokens: column reach - 1 + i - j is for query i and key j. Not with a window.
        kernel: "auto", or a name in `KERNELS`.

    Returns:
        (tokens, heads, head_dim)
    """
    if kernel == "auto":
        kernel = (
            "runs" if q.device.type == "cpu" else "varlen" if _has_varlen(q, dropout) and relative is None else "padded"
        )
    known = KERNELS | CUDA_KERNELS
    if kernel not in known:
        raise InvalidInput(f"kernel {kernel!r} is not known. Known: auto, {', '.join(known)}.")
    assert window is None or relative is None, "no architecture has both"
    return known[kernel](q, k, v, lengths, dropout, window, relative)


def probabilities(
    q: Tensor, k: Tensor, lengths: Sequence[int], window: int | None = None, relative: Tensor | None = None
) -> list[Tensor]:
    """Attention probabilities of each text: (heads, length, length) for every one, rows summing to one."""
    result = []
    for queries, keys in zip(torch.split(q, list(lengths)), torch.split(k, list(lengths)), strict=True):
        scores = queries.transpose(0, 1) @ keys.permute(1, 2, 0) / math.sqrt(q.shape[-1])  # (heads, length, length)
        if window is not None:
            places = torch.arange(len(queries), device=q.device)
            scores = scores.masked_fill(~_near(places, places, window), -math.inf)
        if relative is not None:
            scores = scores + by_distance(relative, len(queries))
        result.append(torch.softmax(scores, dim=-1))
    return result


def reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Sequence[int],
    dropout: float = 0.0,
    window: int | None = None,
    relative: Tensor | None = None,
) -> Tensor:
    """Attention as the equation has it, one text at a time."""
    weights = [
        functional.dropout(p, dropout, training=dropout > 0) for p in probabilities(q, k, lengths, window, relative)
    ]
    values = torch.split(v, list(lengths))
    return torch.cat([(w @ x.transpose(0, 1)).transpose(0, 1) for w, x in zip(weights, values, strict=True)])


def runs(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Sequence[int],
    dropout: float = 0.0,
    window: int | None = None,
    relative: Tensor | None = None,
) -> Tensor:
    """Neighbours of equal length go through one call as a rectangle: nothing is padded, nothing masked.

    Batches come sorted by length, so a batch of many short texts has few runs.
    """
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    scores = None if relative is None else by_distance(relative, max(lengths))
    short = SHORT_FLOAT32 if q.dtype == torch.float32 else SHORT_HALF
    for start, count, length in equal_runs(lengths):
        span = slice(start, start + count * length)
        rectangle = (count, length, *q.shape[1:])
        rows = [x[span].view(rectangle).transpose(1, 2) for x in (q, k, v)]  # (seqs, heads, length, head_dim)
        if window is not None and length > window + 1:
            mixed = _local(rows[0], rows[1], rows[2], window=window, dropout_p=dropout)
        else:
            mix = _short if length <= short else functional.scaled_dot_product_attention
            mask = None if scores is None else scores[None, :, :length, :length]
            mixed = mix(rows[0], rows[1], rows[2], attn_mask=mask, dropout_p=dropout)
        out[span].view(rectangle).copy_(mixed.transpose(1, 2))
    return out


def _short(q: Tensor, k: Tensor, v: Tensor, *, attn_mask: Tensor | None, dropout_p: float) -> Tensor:
    """Attention over (seqs, heads, length, head_dim) as two batched products with all scores in between.

    `attn_mask` is added to the scores, (1, heads, length, length).

    The blocks of torch's own kernel are made for long texts; for short ones they are mostly empty.
    """
    rectangle = q.shape
    flat = (-1, *rectangle[2:])
    q, k, v = (x.reshape(flat) for x in (q, k, v))  # (seqs * heads, length, head_dim)
    scores = torch.baddbmm(q.new_empty(1), q, k.transpose(1, 2), beta=0, alpha=1 / math.sqrt(rectangle[-1]))
    if attn_mask is not None:
        scores = scores.view(*rectangle[:3], -1).add_(attn_mask).view_as(scores)
    weights = functional.dropout(torch.softmax(scores, dim=-1), dropout_p, training=dropout_p > 0)
    return torch.bmm(weights, v).view(rectangle)


def _local(q: Tensor, k: Tensor, v: Tensor, *, window: int, dropout_p: float, mask: Tensor | None = None) -> Tensor:
    """Attention over (seqs, heads, length, head_dim) within a window, block by block of queries.

    A block meets the keys that its queries see and no others, so the cost grows with the length, not its square.

    Args:
        mask: which places are tokens, (seqs, length); None where all are.
    """
    length, block = q.shape[2], max(2 * window, LOCAL_BLOCK)
    places = torch.arange(length, device=q.device)
    parts = []
    for start in range(0, length, block):
        rows = slice(start, start + block)
        columns = slice(max(start - window, 0), start + block + window)
        seen = _near(places[rows], places[columns], window)
        if mask is not None:  # what pads a text sees anything, for a row that sees nothing has no softmax
            seen = seen & (mask[:, None, None, columns] | ~mask[:, None, rows, None])
        parts.append(
            functional.scaled_dot_product_attention(
                q[:, :, rows], k[:, :, columns], v[:, :, columns], attn_mask=seen, dropout_p=dropout_p
            )
        )
    return torch.cat(parts, dim=2)


def by_distance(relative: Tensor, length: int) -> Tensor:
    """Lay out what distances add to scores: (heads, 2 * reach - 1) -> (heads, length, length), rows being queries.

    >>> by_distance(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]]), 2).tolist()
    [[[3.0, 2.0], [4.0, 3.0]]]
    """
    reach = (relative.shape[-1] + 1) // 2
    # a window that slides over what lies between the furthest two, from the key's side: rows are in order, columns not
    return relative[:, reach - length : reach + length - 1].unfold(1, length, 1).flip(2)


def _near(rows: Tensor, columns: Tensor, window: int) -> Tensor:
    """Say which places are at most `window` apart: (rows,) and (columns,) -> (rows, columns)."""
    return (rows[:, None] - columns).abs() <= window


def padded(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Sequence[int],
    dropout: float = 0.0,
    window: int | None = None,
    relative: Tensor | None = None,
) -> Tensor:
    """All texts in one call, padded to the longest inside, with a mask over the padding."""
    sizes = torch.tensor(lengths, device=q.device)
    mask = torch.arange(max(lengths), device=q.device) < sizes[:, None]  # (seqs, longest)
    rectangles = []
    for x in (q, k, v):
        rectangle = x.new_zeros(*mask.shape, *x.shape[1:])
        rectangle[mask] = x
        rectangles.append(rectangle.transpose(1, 2))  # (seqs, heads, longest, head_dim)
    queries, keys, values = rectangles
    if window is not None and max(lengths) > window + 1:
        out = _local(queries, keys, values, window=window, dropout_p=dropout, mask=mask)
    else:
        seen = mask[:, None, None, :]
        if relative is not None:
            seen = by_distance(relative, max(lengths)).masked_fill(~seen, -math.inf)  # (seqs, heads, longest, longest)
        out = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=seen, dropout_p=dropout)
    return out.transpose(1, 2)[mask]  # (tokens, heads, head_dim)


def varlen(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Sequence[int],
    dropout: float = 0.0,
    window: int | None = None,
    relative: Tensor | None = None,
) -> Tensor:
    """All texts in one call without padding, by torch's FlashAttention: CUDA, half precision, no dropout.

    Nothing here waits for the device: offsets are made on the host, once a batch.
    """
    from torch.nn.attention.varlen import varlen_attn

    if relative is not None:
        raise InvalidInput("kernel 'varlen' adds nothing to scores, which this architecture needs. Take 'auto'.")
    offsets = _offsets(tuple(lengths), q.device)
    longest = max(lengths)
    sides = (-1, -1) if window is None else (window, window)
    out = varlen_attn(q, k, v, offsets, offsets, longest, longest, window_size=sides)
    assert isinstance(out, Tensor), "more comes back only when it is asked for"
    return out


@lru_cache(maxsize=8)
def _offsets(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """Return where each text begins, (seqs + 1,) int32: the same for all layers of a batch."""
    with torch.inference_mode(False):  # it may be kept for a backward pass
        return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32).to(device, non_blocking=True)


def _has_varlen(q: Tensor, dropout: float) -> bool:
    return (
        q.device.type == "cuda"
        and q.dtype in (torch.float16, torch.bfloat16)
        and dropout == 0
        and q.shape[-1] % 8 == 0
        and q.shape[-1] <= 256
        and torch.cuda.get_device_capability(q.device) >= (8, 0)
        and find_spec("torch.nn.attention.varlen") is not None
    )


KERNELS: dict[str, Kernel] = {"reference": reference, "runs": runs, "padded": padded}
"""Kernels for every device and number format."""

CUDA_KERNELS: dict[str, Kernel] = {"varlen": varlen}
"""Kernels for some GPUs and half precision."""


def equal_runs(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield (first token, number of texts, their length) for each run of equal lengths.

    >>> list(equal_runs([3, 3, 2, 3]))
    [(0, 2, 3), (6, 1, 2), (8, 1, 3)]
    """
    start = 0
    for length, group in groupby(lengths):
        count = sum(1 for _ in group)
        yield start, count, length
        start += count * length
