"""Find the files to index: paths given by the user in, files to read and what cannot be read out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sentvec.errors import InvalidInput
from sentvec.search.readers import READERS
from sentvec.search.schema import FILE

SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__"})


@dataclass(frozen=True, slots=True)
class Found:
    """What the given paths hold; all paths absolute.

    Attributes:
        files: files to read, each once, in order.
        ignored: files in folders whose type is not read.
        unreadable: (path, reason) of folders that could not be listed.
        folders: the folders that were given.
    """

    files: tuple[str, ...]
    ignored: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    folders: tuple[str, ...]


def find(paths: Sequence[str | os.PathLike[str]], leave_out: Path) -> Found:
    """List the files of all paths. A file that is given by name is read whatever its type.

    Hidden files and folders, `node_modules`, `__pycache__`, virtual environments and collections are passed
    over, and links to folders are not followed, so that no loop can arise.

    Args:
        paths: files and folders.
        leave_out: the folder of the collection itself.

    Raises:
        InvalidInput: no path, or one that does not exist.
    """
    if not paths:
        raise InvalidInput("No path to index was given; name at least one file or folder.")
    given = [os.path.abspath(os.fspath(path)) for path in paths]  # noqa: PTH100, resolve() would follow links
    missing = [path for path in given if not Path(path).exists()]
    if missing:
        raise InvalidInput(
            f"No such file or folder: {', '.join(map(repr, missing))}. Nothing was indexed; check the path."
        )
    files: dict[str, None] = {}
    ignored: dict[str, None] = {}
    unreadable: list[tuple[str, str]] = []
    folders = []
    for path in given:
        if not Path(path).is_dir():
            files[path] = None
            continue
        folders.append(path)
        for file, known in _walk(path, leave_out, unreadable):
            (files if known else ignored)[file] = None
    return Found(tuple(files), tuple(name for name in ignored if name not in files), tuple(unreadable), tuple(folders))


def _walk(top: str, leave_out: Path, unreadable: list[tuple[str, str]]) -> list[tuple[str, bool]]:
    found = []

    def failed(error: OSError) -> None:
        unreadable.append((str(error.filename), f"cannot be listed: {error.strerror}"))

    for folder, inner, names in os.walk(top, onerror=failed):
        inner[:] = sorted(name for name in inner if _entered(Path(folder, name), leave_out))
        found += [
            (str(Path(folder, name)), Path(name).suffix.lower() in READERS)
            for name in sorted(names)
            if not name.startswith(".")
        ]
    return found


def _entered(folder: Path, leave_out: Path) -> bool:
    if folder.name.startswith(".") or folder.name in SKIPPED_FOLDERS or folder == leave_out:
        return False
    return not any((folder / mark).exists() for mark in ("pyvenv.cfg", FILE))
