"""A name in; a file to write to, which has that name once it is whole, out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sentvec.errors import OutputError


@dataclass(frozen=True)
class Output:
    """A file that bytes go to, and nothing else: numpy would write to a real one past Python, and lose the reason
    for which that failed."""

    file: BinaryIO

    def write(self, content: bytes) -> int:
        """Write bytes."""
        return self.file.write(content)


@contextmanager
def whole(path: Path) -> Iterator[Output]:
    """Yield a file that takes the name `path` when the block ends well, and is gone when it does not.

    Until then its name is hidden, and the same for every run, so that what a killed run leaves does not pile up.

    Raises:
        OutputError: it cannot be written, or another run is writing it.
    """
    # of a fixed length, as the longest possible name leaves no room for more letters
    partial = path.with_name(f".sentvec-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.partial")
    try:
        with partial.open("ab") as file:
            if not _alone(file, partial):
                raise OutputError(f"{path}: another run is writing it. Wait for it, or give another name.")
            try:
                file.truncate(0)
                yield Output(file)
                file.flush()
                os.fsync(file.fileno())
                partial.replace(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
    except OSError as error:
        if error.filename not in (None, str(partial)):
            raise
        raise OutputError(f"{path} cannot be written ({error.strerror or error}).") from None


def _alone(file: BinaryIO, partial: Path) -> bool:
    """Take the file for this process, until it is closed; False where another run has it, or has just finished it."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows, which refuses to open a file twice by itself
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), partial.stat())
    except OSError:
        return False
