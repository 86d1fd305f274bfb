"""What lies beneath durability: locks that end with their process, folders that go whole, networks that are seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sentvec.errors import CollectionError
from sentvec.search import opening
from sentvec.search.collection import Collection
from sentvec.search.disk import held, lock, network, remove_unused

MOUNTS = """disk / ext4 rw 0 0
server:/home /mnt/home nfs4 rw,vers=4.2 0 0
//server/share /mnt/two\\040words cifs rw 0 0
tmpfs /mnt/home/fast tmpfs rw 0 0
broken line"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/data/c.sv", None),
        ("/mnt/home/c.sv", "nfs4"),
        ("/mnt/home", "nfs4"),
        ("/mnt/homely/c.sv", None),
        ("/mnt/two words/c.sv", "cifs"),
        ("/mnt/home/fast/c.sv", None),
    ],
)
def test_the_file_system_of_the_nearest_mount_counts(folder, kind):
    assert network(Path(folder), MOUNTS) == kind


def test_a_network_file_system_is_refused_before_anything_is_made(tmp_path, model, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/x {tmp_path} nfs rw 0 0\n")
    monkeypatch.setattr(opening, "_MOUNTS", mounts)
    with pytest.raises(CollectionError, match=r"c\.sv.*network file system \(nfs\).*a disk of this machine"):
        Collection.open(tmp_path / "c.sv", model)
    assert not (tmp_path / "c.sv").exists()


def test_a_lock_is_held_by_one_at_a_time(tmp_path):
    with held(tmp_path / "lock") as first, held(tmp_path / "lock") as second:
        assert (first, second) == (True, False)
    with held(tmp_path / "lock") as again:
        assert again


def test_a_folder_that_is_used_is_not_removed(tmp_path):
    (tmp_path / "gen").mkdir()
    (tmp_path / "gen" / "file").write_text("x")
    number = os.open(tmp_path / "gen", os.O_RDONLY)
    assert lock(number, shared=True)
    assert not remove_unused(tmp_path / "gen")
    assert (tmp_path / "gen" / "file").exists()
    os.close(number)
    assert remove_unused(tmp_path / "gen")
    assert remove_unused(tmp_path / "gen")  # and is gone already
    assert list(tmp_path.iterdir()) == []
