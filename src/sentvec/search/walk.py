"""Find the files to index: paths given by the user in, files to read and what cannot be read out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sentvec.errors import InvalidInput
from sentvec.search.readers import READERS
from sentvec.search.schema import FILE

SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "site-packages"})
SKIPPED_SUFFIXES = (".egg-info", ".dist-info")
# What a build leaves behind, where the folder is that of a project: elsewhere these may be names like others.
_BUILT = frozenset({"build", "dist", "target"})
_PROJECTS = ("pyproject.toml", "setup.py", "package.json", "Cargo.toml", "pom.xml", "CMakeLists.txt")


@dataclass(frozen=True, slots=True)
class Found:
    """What the given paths hold; all paths absolute.

    Attributes:
        files: files to read, each once, in order.
        ignored: files in folders whose type is not read.
        unreadable: (path, reason) of folders that could not be listed.
        folders: the folders that were given, and given paths that are gone and to be pruned.

    What `ignored` and `unreadable` name is there to be shown: see `shown`.
    """

    files: tuple[str, ...]
    ignored: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    folders: tuple[str, ...]


def find(
    paths: Sequence[str | os.PathLike[str]], leave_out: Path, held: Sequence[str] = (), *, prune: bool = False
) -> Found:
    """List the files of all paths. A file that is given by name is read whatever its type.

    Hidden files and folders, what installing and building leave behind (`node_modules`, `__pycache__`,
    `site-packages`, `*.egg-info`, and `build`, `dist` and `target` of a project), virtual environments and
    collections are passed over, and links to folders are not followed, so that no loop can arise.

    Args:
        paths: files and folders.
        leave_out: the folder of the collection itself.
        held: absolute paths of the files that the collection holds.
        prune: accept a path that is gone, if the collection holds something of it.

    Raises:
        InvalidInput: no path, or one that does not exist.
    """
    if not paths:
        raise InvalidInput("No path to index was given; name at least one file or folder.")
    if wrong := [path for path in paths if not isinstance(path, str | bytes | os.PathLike)]:
        raise InvalidInput(f"{wrong[0]!r} is no path; accepted: str or Path.")
    given = [os.path.abspath(os.fsdecode(path)) for path in paths]  # noqa: PTH100, resolve() would follow links
    # Not Path.exists(), which raises where a folder on the way is closed to us.
    missing = [path for path in given if not os.path.exists(path)]  # noqa: PTH110, see above
    gone = [path for path in missing if any(belongs(file, path) for file in held)]
    if missing and not (prune and gone == missing):
        how = "check the path"
        if gone == missing:
            how = "the collection still holds what was there: remove it with --prune (prune=True)"
        raise InvalidInput(f"No such file or folder: {', '.join(map(repr, missing))}. Nothing was indexed; {how}.")
    files: dict[str, None] = {}
    ignored: dict[str, None] = {}
    unreadable: list[tuple[str, str]] = []
    folders = gone
    for path in given:
        if path in gone:
            continue
        if not os.path.isdir(path):  # noqa: PTH112, as above
            files[path] = None
            continue
        folders.append(path)
        for file, known in _walk(path, leave_out, unreadable):
            (files if known else ignored)[file] = None
    others = tuple(shown(name) for name in ignored if name not in files)
    return Found(tuple(files), others, tuple(unreadable), tuple(folders))


def belongs(path: str, place: str) -> bool:
    """Tell whether a path is that of a place or lies below it.

    >>> belongs("/a/b", "/a"), belongs("/a", "/a"), belongs("/ab", "/a"), belongs("/a", "/")
    (True, True, False, True)
    """
    return path == place or path.startswith(place.rstrip(os.sep) + os.sep)


def shown(path: str) -> str:
    r"""Return a path as it can be printed and stored: bytes of a name that are not UTF-8 become escapes.

    >>> print(shown("caf\udce9.txt"))
    caf\xe9.txt
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _walk(top: str, leave_out: Path, unreadable: list[tuple[str, str]]) -> list[tuple[str, bool]]:
    found = []

    def failed(error: OSError) -> None:
        unreadable.append((shown(str(error.filename)), f"cannot be listed: {error.strerror}"))

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
    if folder.name.endswith(SKIPPED_SUFFIXES):
        return False
    if folder.name in _BUILT and any(os.path.exists(folder.parent / mark) for mark in _PROJECTS):  # noqa: PTH110, see find
        return False
    # One that is closed to us is entered: the walk then names it.
    return not any(os.path.exists(folder / mark) for mark in ("pyvenv.cfg", FILE))  # noqa: PTH110, see find
