"""How many commits were acknowledged, kept beside the database: a number in, the same or None out.

A write-ahead log that was cut or replaced looks to SQLite as if its last commits had never been. This number is written
after each commit and never synced: it can lag behind after a power cut, but never be ahead of a database that is whole.
"""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

MARK = "acknowledged"
_NUMBER = struct.Struct("<QI")


def acknowledge(folder: Path, commits: int) -> None:
    """Remember that so many commits were acknowledged; where that cannot be written, they are as safe."""
    number = commits.to_bytes(8, "little")
    with suppress(OSError):
        file = os.open(folder / MARK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.pwrite(file, _NUMBER.pack(commits, zlib.crc32(number)), 0)
        finally:
            os.close(file)


def acknowledged(folder: Path) -> int:
    """Return how many commits were acknowledged, as far as is known; 0 where it is not."""
    try:
        commits, check = _NUMBER.unpack((folder / MARK).read_bytes()[: _NUMBER.size])
    except (OSError, struct.error):
        return 0
    return int(commits) if zlib.crc32(int(commits).to_bytes(8, "little")) == check else 0
