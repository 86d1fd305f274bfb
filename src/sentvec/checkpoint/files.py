"""Small files of a checkpoint: JSON in and out, with errors that name the file, and writes that are whole or absent."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from sentvec.errors import ConfigError, OutputError

LOCK = ".lock"
"""The file that `locked` makes in a folder."""


def present(path: Path) -> bool:
    """Whether a file is there, to be read.

    Raises:
        ConfigError: something of that name is there, but is no file that can be read: a folder, a pipe, a link that
            leads nowhere. Taken for absent, it would change what a model does without a word.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise ConfigError(f"{path} is a link to a file that is not there. Fetch the model again.") from None
        return False
    except (OSError, ValueError) as error:  # a link to itself, a name too long, a letter that is none
        why = getattr(error, "strerror", None) or "no possible name"
        raise ConfigError(f"{str(path)[:200]!r} cannot be read ({why}).") from None
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{path} is not a regular file, so it is not read. Fetch the model again.")
    return True


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ConfigError: the file is not readable, not JSON, or not an object.
    """
    content = read_json_value(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path} should hold a JSON object, but holds {type(content).__name__}.")
    return content


def read_json_value(path: Path) -> Any:
    """Read any JSON value.

    Raises:
        ConfigError: the file is not readable or not JSON.
    """
    try:
        if not present(path):  # nor is a pipe opened, which could be waited on for ever
            raise ConfigError(f"{path} cannot be read as JSON (there is no such file).")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError covers bad JSON and bad UTF-8
        raise ConfigError(f"{path} cannot be read as JSON ({error}).") from None


def read_json_or_empty(path: Path) -> dict[str, Any]:
    """Read a JSON object, or return an empty one where there is no such file."""
    return read_json(path) if present(path) else {}


def write_json(path: Path, content: Mapping[str, Any] | list[Any]) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of one."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under another name and rename it into place once it is on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        publish(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def publish(partial: Path, path: Path) -> None:
    """Give a finished file its name, once it is on the disk; the name is on the disk too when this returns."""
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    if os.name == "posix":  # elsewhere folders cannot be synced
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def locked(folder: Path) -> IO[bytes]:
    """Hold a folder for this process until the file is closed; the lock ends with the process, however that ends.

    Raises:
        OutputError: another run holds it.
    """
    path = folder / LOCK
    file = path.open("ab")  # which, should it be a link, takes nothing away from what it leads to
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows has no such locks
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise OutputError(f"another run is writing to {folder}. Wait for it, or give another folder.") from None
    except OSError:
        return file  # a file system without locks
    if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):  # its run has just ended
        file.close()
        return locked(folder)
    return file


def released(folder: Path) -> None:
    """Remove the file of a lock that this process holds, where the system removes open files."""
    with suppress(OSError):
        (folder / LOCK).unlink()
