"""What reaches the disk before a write is acknowledged, and what becomes of it when the disk fails: by strace."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_model import FakeModel

from sentvec.search.collection import Collection

CHILD = Path(__file__).with_name("strace_child.py")


def traced(*options):
    """Return whether strace works here: a container may forbid it."""
    strace = shutil.which("strace")
    if strace is None:
        return False
    return subprocess.run([strace, "-o", "/dev/null", *options, "true"], check=False).returncode == 0


pytestmark = pytest.mark.skipif(
    not traced(), reason="strace is not installed, or not allowed here; on Debian: apt install strace"
)


def run(tmp_path, what, *options):
    """Run the child under strace; returns its exit code and what it noted."""
    notes = tmp_path / "notes"
    shutil.rmtree(notes, ignore_errors=True)
    notes.mkdir()
    command = ["strace", "-f", "-y", "-qq", "-o", tmp_path / "trace", *options]
    command += [sys.executable, "-B", CHILD, tmp_path / "c", notes, what]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, {path.name for path in notes.iterdir()}


def test_what_is_acknowledged_was_synced_before(tmp_path):
    """Every acknowledgement has its sync, and a rename comes after the syncs of what it names, before that of where."""
    calls = "trace=fsync,fdatasync,rename,renameat,renameat2,link,linkat,mkdir,mkdirat"
    code, notes = run(tmp_path, "flat", "-e", calls)
    assert code == 0
    assert {"begin", "add 3", "delete", "compact", "after"} <= notes
    log = "db.sqlite-wal"
    synced, renames = [], 0
    for line in (tmp_path / "trace").read_text().splitlines():
        call = re.match(r"\d+ +(\w+)\((.*)\) += +(-?\d+)", line)
        if call is None or call[3].startswith("-"):
            continue
        name, arguments = call[1], call[2]
        if name in ("fsync", "fdatasync"):
            synced.append(re.search(r"<(.*)>", arguments)[1])
        elif name.startswith("mkdir") and "/notes/" in arguments:
            if "begin" in arguments:
                assert str(tmp_path / "c") in synced  # the database got its name before
            else:
                assert any(path.endswith(log) for path in synced), f"{arguments} was acknowledged without a sync"
            if '/notes/compact"' in arguments:
                assert synced.index(str(tmp_path / "c")) < max(n for n, path in enumerate(synced) if path.endswith(log))
            synced = []
        elif name.startswith("rename") and "/gen-" in arguments:
            renames += 1
            building = re.search(r'"([^"]*/\.tmp-gen-[^"]*)"', arguments)[1]
            assert {f"{building}/{file}" for file in ("vectors.f32", "rows.i64", "checks.u32", "MANIFEST.json")} < set(
                synced
            )
            assert synced[-1] == building  # the last thing: the list of its files
            synced = []
    assert renames == 1


def check(tmp_path, notes):
    """All that was acknowledged is there, nothing by half, and the collection is whole."""
    with Collection.open(tmp_path / "c", FakeModel(), mend=False) as collection:
        there = {entry.id for entry in collection.get([f"{n}-{m}" for n in range(4) for m in range(30)])}
        for n in range(4):
            mine = {id_ for id_ in there if id_.startswith(f"{n}-")}
            missing = {f"{n}-{m}" for m in range(30)} - mine
            if f"add {n}" in notes:
                assert missing in (set(), {"0-0", "0-1"})
            else:
                assert len(mine) in (0, 30)
        if "delete" in notes:
            assert not {"0-0", "0-1"} & there
        assert {hit.id for hit in collection.search("text", k=999)} - {"after"} == there
        assert collection.verify().clean
        collection.add(["later"], ids=["later"])
        collection.compact("flat")
        assert collection.verify().clean


FAULTS = [
    *(("fdatasync", "EIO", n) for n in (1, 2, 3, 4, 5, 6)),
    *(("fsync", "EIO", n) for n in (1, 2, 4, 6, 7, 8, 9)),
    *(("pwrite64", "ENOSPC", n) for n in (5, 30, 60, 90)),
    *(("pwrite64", "EIO", n) for n in (40, 80)),
    *(("ftruncate", "ENOSPC", n) for n in (1,)),
    *(("rename", "EIO", n) for n in (1, 2)),
    *(("write", "ENOSPC", n) for n in (1, 2, 3, 4)),  # files of a generation, the last by faiss: SQLite uses pwrite64
]


@pytest.mark.skipif(not traced("-e", "inject=fsync:error=EIO:when=1"), reason="this strace cannot inject faults")
@pytest.mark.parametrize(("call", "error", "when"), FAULTS)
def test_a_disk_that_fails(tmp_path, call, error, when):
    """One call fails, once, anywhere: an error that says so, or nothing at all where SQLite copes; nothing is lost."""
    Collection.open(tmp_path / "c", FakeModel()).close()
    kind = "hnsw" if call == "write" else "flat"
    code, notes = run(tmp_path, kind, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}")
    assert code in (0, 3)
    if code == 3:
        told = (tmp_path / "notes" / "error").read_text()
        assert re.search(r"committed before is safe|Nothing was changed|has failed before", told), told
    if call == "write":
        assert code == 3
        assert "compact" not in notes
    check(tmp_path, notes)
