"""Read TensorFlow checkpoints (version 2, "tensor bundles") without TensorFlow: a path in, arrays by name out.

Two kinds of files. `NAME.index` is a table in LevelDB's format (doc/table_format.md there): blocks of sorted keys, each
with a checksum. Its values are protocol buffers: under the empty key a header, under a variable's name its type, its
shape, and where it lies in `NAME.data-00000-of-00001` (tensorflow/core/protobuf/tensor_bundle.proto).

Nothing in a file is believed before it is checked: every length is held against what is there.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sentvec.checkpoint.crc32c import crc32c, unmasked
from sentvec.errors import WeightsError

_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER, _TRAILER = 48, 5  # a footer's bytes; behind each block, one byte for its compression and four of checksum
# far more than any BERT's index has; all of it is held in memory
_LARGEST_INDEX, _MOST_KEYS, _LONGEST_KEY = 1 << 24, 100_000, 1024
_TYPES = {1: torch.float32, 2: torch.float64, 14: torch.bfloat16, 19: torch.float16}


class _Damaged(Exception):
    """Something in a file is not as the format has it."""


@dataclass(frozen=True)
class _Entry:
    """Where a variable lies: `size` bytes from `offset` of a data file, with a checksum."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


def read_bundle(index: Path, skip: Callable[[str], bool] = lambda _: False) -> dict[str, Tensor]:
    """Read a checkpoint's variables.

    Args:
        index: the file that ends in `.index`; data files lie beside it.
        skip: says of a variable's name that it is not wanted. It is neither read nor checked then.

    Raises:
        WeightsError: a file is absent, damaged, or of a kind that is not read.
    """
    entries: dict[str, _Entry] = {}
    shards = 1
    try:
        table = dict(_table(_content(index)))
        if b"" not in table:
            raise _Damaged("it has no header")
        shards = _header(table.pop(b""))
        for key, value in table.items():
            name = key.decode()
            if not skip(name):
                entries[name] = _entry(name, value, shards)
    except (_Damaged, UnicodeDecodeError) as error:
        raise WeightsError(
            f"{index} is not a readable TensorFlow checkpoint index ({error}). Fetch it again."
        ) from None
    base = index.name.removesuffix(".index")
    tensors: dict[str, Tensor] = {}
    for shard in sorted({entry.shard for entry in entries.values()}):
        path = index.with_name(f"{base}.data-{shard:05}-of-{shards:05}")
        mine = {name: entry for name, entry in entries.items() if entry.shard == shard}
        tensors |= _read_shard(path, mine)
    return tensors


def _content(index: Path) -> bytes:
    try:
        if index.stat().st_size > _LARGEST_INDEX:
            raise _Damaged(f"it is larger than {_LARGEST_INDEX >> 20} MiB")
        return index.read_bytes()
    except OSError as error:
        raise _Damaged(error.strerror or "it cannot be read") from None


def _read_shard(path: Path, entries: dict[str, _Entry]) -> dict[str, Tensor]:
    tensors = {}
    try:
        if not path.is_file():
            raise WeightsError(f"{path} is not there, but its index names it. Fetch the checkpoint again.")
        there = path.stat().st_size
        if sum(entry.size for entry in entries.values()) > there:
            raise WeightsError(f"{path} is too short for what its index says is in it. Fetch it again.")
        with path.open("rb") as file:
            for name, entry in entries.items():
                if entry.offset + entry.size > there:
                    raise WeightsError(
                        f"{path} has {there} bytes, but {name} should end at {entry.offset + entry.size}. It was cut "
                        "off, or is of another checkpoint. Fetch it again."
                    )
                file.seek(entry.offset)
                data = bytearray(file.read(entry.size))
                if len(data) != entry.size or crc32c(data) != entry.checksum:
                    raise WeightsError(f"{path} is damaged: the checksum of {name} is another one. Fetch it again.")
                tensors[name] = (
                    torch.frombuffer(data, dtype=entry.dtype).reshape(entry.shape)
                    if data
                    else torch.empty(entry.shape, dtype=entry.dtype)
                )
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}).") from None
    return tensors


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a LevelDB table, in order."""
    if len(data) < _FOOTER or data[-8:] != _MAGIC:
        raise _Damaged("it does not end as a table does")
    footer = data[-_FOOTER:-8]
    _, place = _handle(footer, 0)  # of the block that tells of filters: a bundle has none
    (offset, size), _ = _handle(footer, place)
    last: bytes | None = None
    end = count = 0
    for _, value in _block(data, offset, size):
        (offset, size), _ = _handle(value, 0)
        if offset < end:  # one block named a million times would be read as often
            raise _Damaged("its blocks are not in order")
        end = offset + size
        for key, found in _block(data, offset, size):
            if last is not None and key <= last:
                raise _Damaged("its keys are not in order")
            last, count = key, count + 1
            if count > _MOST_KEYS:
                raise _Damaged("it has too many keys")
            yield key, found


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of one block: each key is told by how much of the one before it begins with."""
    if offset + size + _TRAILER > len(data):
        raise _Damaged("a block lies beyond its end")
    if data[offset + size]:
        raise _Damaged("a block is compressed, which TensorFlow does not do")
    (checksum,) = struct.unpack_from("<I", data, offset + size + 1)
    if crc32c(data[offset : offset + size + 1]) != unmasked(checksum):
        raise _Damaged("the checksum of a block is another one")
    block = data[offset : offset + size]
    if size < 4:
        raise _Damaged("a block is too short")
    (restarts,) = struct.unpack_from("<I", block, size - 4)
    end = size - 4 - 4 * restarts  # behind the entries is a list of places where a key stands in full
    if end < 0:
        raise _Damaged("a block is too short")
    entries, place, key = block[:end], 0, b""
    while place < end:
        shared, place = _varint(entries, place)
        more, place = _varint(entries, place)
        length, place = _varint(entries, place)
        if shared > len(key) or place + more + length > end:
            raise _Damaged("an entry lies beyond its block")
        if shared + more > _LONGEST_KEY:
            raise _Damaged("a name is too long")
        key = key[:shared] + entries[place : place + more]
        yield key, entries[place + more : place + more + length]
        place += more + length


def _handle(data: bytes, place: int) -> tuple[tuple[int, int], int]:
    offset, place = _varint(data, place)
    size, place = _varint(data, place)
    return (offset, size), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, low ones first; return it and the place behind it."""
    value = 0
    for shift in range(0, 64, 7):
        if place >= len(data):
            raise _Damaged("it ends within a number")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place
    raise _Damaged("a number has no end")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protocol buffer: their numbers, and what they hold: a number, or bytes."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        kind = tag & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, place = _varint(data, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise _Damaged(f"a field is of kind {kind}")
        if place + size > len(data):
            raise _Damaged("a field lies beyond its entry")
        part = data[place : place + size]
        yield tag >> 3, part if kind == 2 else int.from_bytes(part, "little")
        place += size


def _header(data: bytes) -> int:
    """Read BundleHeaderProto: return how many data files there are."""
    fields = dict(_fields(data))
    if fields.get(2, 0) != 0:
        raise _Damaged("its numbers are big-endian, which is not read here")
    shards = fields.get(1, 0)
    if not isinstance(shards, int) or not 1 <= shards < 100_000:
        raise _Damaged(f"it names {shards!r} data files")
    return shards


def _entry(name: str, data: bytes, shards: int) -> _Entry:
    """Read BundleEntryProto."""
    found: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    for number, value in _fields(data):
        if number == 7:
            raise _Damaged(f"{name} is stored in slices, which are not read here")
        if number == 2 and isinstance(value, bytes):
            shape = _shape(name, value)
        elif isinstance(value, int):
            found[number] = value
    kind = found.get(1, 0)
    if kind not in _TYPES:
        raise _Damaged(f"{name} is of type {kind}; those of floating-point numbers are {', '.join(map(str, _TYPES))}")
    dtype, shard, size = _TYPES[kind], found.get(3, 0), found.get(5, 0)
    if shard >= shards:
        raise _Damaged(f"{name} is in data file {shard}, but there are {shards}")
    if size != math.prod(shape) * dtype.itemsize:
        raise _Damaged(f"{name} is {shape}, which is not {size} bytes")
    return _Entry(dtype, shape, shard, found.get(4, 0), size, unmasked(found.get(6, 0)))


def _shape(name: str, data: bytes) -> tuple[int, ...]:
    """Read TensorShapeProto."""
    sizes: list[int] = []
    for number, value in _fields(data):
        if number == 2 and isinstance(value, bytes):
            size = dict(_fields(value)).get(1, 0)
            if not isinstance(size, int) or size >= 1 << 40 or len(sizes) == 8:  # a negative one is 2 ** 64 less
                raise _Damaged(f"{name} has no shape that can be")
            sizes.append(size)
            if math.prod(max(size, 1) for size in sizes) >= 1 << 40:  # what is empty may be too long to count, too
                raise _Damaged(f"{name} has no shape that can be")
        elif number == 3 and value:
            raise _Damaged(f"{name} has no known shape")
    return tuple(sizes)
