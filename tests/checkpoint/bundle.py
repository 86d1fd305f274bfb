"""Write what TensorFlow's Saver writes: arrays by name in, `NAME.index` and data files out, or a damaged one of them.

Written from the description of the format, apart from the reader; TensorFlow 2.21 reads it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

MAGIC = 0xDB4775248B80FB57
TYPES = {"float32": 1, "float64": 2, "int64": 9, "float16": 19}
TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = (_byte >> 1) ^ (0x82F63B78 if _byte & 1 else 0)
    TABLE.append(_byte)


def checksum(data: bytes) -> int:
    state = 0xFFFFFFFF
    for byte in data:
        state = TABLE[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    value = checksum(data)
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: int | bytes, kind: int | None = None) -> bytes:
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if kind == 5:
        return varint(number << 3 | 5) + struct.pack("<I", value)
    return varint(number << 3) + varint(value)


def header(shards: int = 1, endianness: int = 0) -> bytes:
    return field(1, shards) + (field(2, endianness) if endianness else b"") + field(3, field(1, 1))


def entry(array: np.ndarray, offset: int, *, shard: int = 0, crc: int | None = None, **changes: int) -> bytes:
    data = array.tobytes()
    shape = b"".join(field(2, field(1, size) if size else b"") for size in array.shape)
    return (
        field(1, changes.get("dtype", TYPES.get(array.dtype.name, 7)))
        + field(2, shape)
        + (field(3, shard) if shard else b"")
        + (field(4, offset) if offset else b"")
        + field(5, changes.get("size", len(data)))
        + field(6, masked(data) if crc is None else crc, 5)
    )


def block(rows: list[tuple[bytes, bytes]], every: int = 16) -> bytes:
    out, restarts, before = b"", [], b""
    for i, (key, value) in enumerate(rows):
        shared = 0
        if i % every == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    restarts = restarts or [0]
    return out + b"".join(struct.pack("<I", place) for place in [*restarts, len(restarts)])


def table(rows: list[tuple[bytes, bytes]], most: int = 40, *, compression: int = 0) -> bytes:
    """Lay sorted rows out as a LevelDB table, `most` rows a block."""
    parts = [rows[i : i + most] for i in range(0, len(rows), most)]
    return sealed([(part[-1][0], block(part)) for part in parts], compression=compression)


def sealed(blocks: list[tuple[bytes, bytes]], *, compression: int = 0) -> bytes:
    """Put blocks, each with a key between its own and those of the next, into a table with checksums that hold."""
    out = b""

    def placed(content: bytes) -> bytes:
        nonlocal out
        handle = varint(len(out)) + varint(len(content))
        body = content + bytes([compression])
        out += body + struct.pack("<I", masked(body))
        return handle

    index = [(key, placed(content)) for key, content in blocks]
    footer = placed(block([]))
    footer += placed(block(index, every=1))
    return out + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def write_bundle(
    folder: Path,
    arrays: Mapping[str, np.ndarray],
    name: str = "bert_model.ckpt",
    *,
    shards: int = 1,
    change: Callable[[dict[bytes, bytes]], object] = lambda rows: None,
    **options: int,
) -> Path:
    """Write a checkpoint and return its index.

    Args:
        arrays: variables by name; they go to the shards in turns.
        change: what to do to the index's rows before they are laid out.
        options: of `table`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = [b""] * shards
    rows = {b"": header(shards)}
    for i, (key, array) in enumerate(sorted(arrays.items())):
        rows[key.encode()] = entry(array, len(data[i % shards]), shard=i % shards)
        data[i % shards] += array.tobytes()
    change(rows)
    for i, content in enumerate(data):
        (folder / f"{name}.data-{i:05}-of-{shards:05}").write_bytes(content)
    path = folder / f"{name}.index"
    path.write_bytes(table(sorted(rows.items()), **options))
    return path
