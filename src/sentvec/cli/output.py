"""A name in; a file or folder to write to, which has that name once it is whole, out."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sentvec.errors import InvalidInput, OutputError


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
    partial = path.with_name(_hidden(path))
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


def check_folder(path: Path, what: str) -> None:
    """Refuse, before hours of work, a folder in which nothing could be written after them.

    Raises:
        InvalidInput: it, or what is above it, is a file or may not be written to; the message says for `what` it is.
    """
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise InvalidInput(f"{there} is a file; give a folder for {what}.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InvalidInput(f"{there} may not be written to; give another folder for {what}.")


def check_new_folder(path: Path, what: str) -> None:
    """Refuse, before hours of work, a folder that is no new or empty one.

    Raises:
        InvalidInput: as for `check_folder`, or something is in it.
    """
    check_folder(path, what)
    if path.exists() and next(path.iterdir(), None) is not None:
        raise InvalidInput(
            f"{path} is there, and not empty; give a new folder for {what}, or take that one away first."
        )


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a folder that takes the name `path` when the block ends well, and is gone when it does not.

    Raises:
        OutputError: it cannot be written, or something of that name came to be meanwhile.
    """
    partial = path.with_name(f"{_hidden(path)}.{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        yield partial
        if path.exists():
            path.rmdir()  # an empty one; Windows renames over none
        partial.rename(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error}).") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _hidden(path: Path) -> str:
    # of a fixed length, as the longest possible name leaves no room for more letters
    return f".sentvec-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.partial"


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
