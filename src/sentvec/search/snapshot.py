"""A collection in use in, a copy of it as of one commit in another folder out."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path

from sentvec.errors import CollectionError
from sentvec.search.disk import reached, sync
from sentvec.search.schema import FILE, connect, translated
from sentvec.search.store import Store

# Not what an unfinished collection is called: where a copy was killed, nobody is to find an empty collection.
_BUILDING = ".copy-"


def snapshot(store: Store, target: Path) -> None:
    """Copy a collection; see `Collection.snapshot`.

    The copy gets its name last and has no generation: its index files are made again when it is compacted. What a copy
    that was killed has left is removed by the next one.
    """
    with translated(target):
        if target.exists() and (not target.is_dir() or any(not _left(file) for file in target.iterdir())):
            raise CollectionError(f"{str(target)!r} is there already. Give a new or an empty folder for the copy.")
        new = [part for part in (target, *target.parents) if not part.exists()]
        target.mkdir(parents=True, exist_ok=True)
        building = target / f"{_BUILDING}{uuid.uuid4().hex}"
        try:
            with translated(store.folder):
                store.change("VACUUM INTO ?", (str(building),))
            _without_generation(building)
            reached("copy written")
            sync(building)
            building.rename(target / FILE)
            reached("copy named")
            for rest in filter(_left, target.iterdir()):  # of a copy that was killed
                rest.unlink(missing_ok=True)
            sync(target)
            for folder in new:
                sync(folder.parent)
        except BaseException:
            with suppress(OSError):
                for rest in target.glob(f"{building.name}*"):
                    rest.unlink(missing_ok=True)
                for folder in new:
                    folder.rmdir()
            raise


def _left(file: Path) -> bool:
    return file.name.startswith(_BUILDING)


def _without_generation(building: Path) -> None:
    db = connect(building)
    try:
        db.execute("PRAGMA journal_mode=WAL").fetchall()
        db.execute("BEGIN; DELETE FROM generations; DELETE FROM removed").fetchall()
        db.execute("UPDATE meta SET value = 0 WHERE key = 'generation'; COMMIT").fetchall()
    finally:
        db.close()  # the last connection: folds the log into the file
