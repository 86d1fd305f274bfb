"""What durability rests on: files and folders in; synced, locked and named for good out."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # Windows: without locks, one process must do the upkeep while no other is open
    fcntl = None  # type: ignore[assignment]

# WAL needs memory that processes share, and locks that hold: over a network neither can be had.
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs", "glusterfs", "fuse.sshfs", "fuse.glusterfs"}
)


def reached(point: str) -> None:
    """Do nothing: here a test kills the process, to see what a death at this point leaves."""


def sync(path: Path) -> None:
    """Put a file's content, or a folder's list of names, on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def lock(number: int, *, shared: bool = False) -> bool:
    """Lock an open file or folder until it is closed; False where another holds it. Nobody is waited for."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(number, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold a lock file, which is made; says whether it was free."""
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        yield lock(number)
    finally:
        os.close(number)


def remove_unused(folder: Path) -> bool:
    """Remove a folder that no process holds a lock on; False where one does.

    It loses its name first, so that what a kill leaves of it is never taken for a whole one.
    """
    try:
        number = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        if not lock(number):
            return False
        if not folder.name.startswith(".tmp-"):
            folder = folder.rename(folder.with_name(f".tmp-{folder.name}-{uuid.uuid4().hex}"))
        shutil.rmtree(folder)
    except OSError:  # the next upkeep tries again
        return False
    finally:
        os.close(number)
    return True


def network(folder: Path, mounts: str) -> str | None:
    """Return the type of the network file system that a folder lies on, or None where it lies on another.

    Args:
        folder: absolute.
        mounts: content of /proc/self/mounts.

    >>> network(Path("/mnt/a/c.sv"), "disk / ext4 rw 0 0\\nhost:/x /mnt nfs4 rw 0 0")
    'nfs4'
    """
    found = None
    longest = -1
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        place = fields[1].replace("\\040", " ")
        if (folder == Path(place) or Path(place) in folder.parents) and len(place) >= longest:
            found, longest = fields[2], len(place)
    return found if found in _NETWORK else None
