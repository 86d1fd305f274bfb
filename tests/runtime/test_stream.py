"""Encoding into files: complete, unique and in order, whatever happens on the way."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.builders import add_modules, tiny_bert
from tests.runtime.writer import texts

from sentvec import Embedder
from sentvec.errors import InvalidInput, MissingExtra, OutputError
from sentvec.runtime import engine
from sentvec.runtime.shards import MANIFEST, read_manifest, read_vectors

ROOT = Path(__file__).resolve().parents[2]
SEED, KILLS = 20, 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return add_modules(tiny_bert(tmp_path_factory.mktemp("model")), "Pooling", "Normalize")


@pytest.fixture(scope="module")
def tiny(folder):
    return Embedder.from_pretrained(folder, device="cpu")


def everything(out) -> tuple[list, np.ndarray]:
    parts = list(read_vectors(out))
    return [name for ids, _ in parts for name in ids], np.concatenate([vectors for _, vectors in parts])


@pytest.mark.parametrize("kind", ["parquet", "npy"])
def test_rows_come_back_in_order_with_their_ids(tiny, tmp_path, kind):
    names = [f"id-{i}" for i in range(100)]
    report = tiny.encode_to(tmp_path / "out", texts(100), ids=iter(names), shard_rows=32, file_format=kind)
    assert (report.rows, report.encoded, report.resumed, report.shards) == (100, 100, 0, 4)
    ids, vectors = everything(tmp_path / "out")
    assert ids == names
    np.testing.assert_array_equal(vectors, tiny.encode(texts(100)))
    assert read_manifest(tmp_path / "out")[0]["complete"] is True
    assert not list((tmp_path / "out").glob(".part*"))


def test_without_ids_rows_are_numbered(tiny, tmp_path):
    tiny.encode_to(tmp_path / "out", texts(5))
    assert everything(tmp_path / "out")[0] == [0, 1, 2, 3, 4]


def test_options_reach_the_vectors_and_the_key(tiny, tmp_path):
    tiny.encode_to(tmp_path / "out", texts(9), dim=8, prompt="query: ")
    np.testing.assert_array_equal(everything(tmp_path / "out")[1], tiny.encode(texts(9), dim=8, prompt="query: "))
    key = read_manifest(tmp_path / "out")[0]["key"]
    assert (key["dim"], key["prompt"], key["fingerprint"]) == (8, "query: ", tiny.fingerprint)


def broken_after(rows: int):
    for i, text in enumerate(texts(1000)):
        if i == rows:
            raise RuntimeError("the source broke")
        yield text


def test_resume_encodes_only_what_is_missing(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "WINDOW", 16)
    out = tmp_path / "out"
    with pytest.raises(RuntimeError, match="the source broke"):
        tiny.encode_to(out, broken_after(70), shard_rows=8)
    done = read_manifest(out)[0]
    assert done["rows"] >= 32  # finished parts stay when the source breaks
    report = tiny.encode_to(out, texts(100), shard_rows=8, resume=True)
    assert report.resumed == done["rows"]
    assert report.resumed + report.encoded == 100
    ids, vectors = everything(out)
    assert ids == list(range(100))
    np.testing.assert_allclose(vectors, tiny.encode(texts(100)), atol=1e-6)
    again = tiny.encode_to(out, texts(100), shard_rows=8, resume=True)
    assert (again.encoded, again.resumed) == (0, 100)


def test_an_input_that_grew_goes_on(tiny, tmp_path):
    tiny.encode_to(tmp_path / "out", texts(20), shard_rows=8)
    report = tiny.encode_to(tmp_path / "out", texts(50), shard_rows=8, resume=True)
    assert (report.rows, report.encoded) == (50, 30)
    np.testing.assert_allclose(everything(tmp_path / "out")[1], tiny.encode(texts(50)), atol=1e-6)


def test_a_folder_with_parts_needs_resume(tiny, tmp_path):
    tiny.encode_to(tmp_path / "out", texts(5))
    with pytest.raises(OutputError, match="holds 5 finished rows. Go on with them with resume"):
        tiny.encode_to(tmp_path / "out", texts(5))
    assert everything(tmp_path / "out")[0] == [0, 1, 2, 3, 4]


def test_another_input_is_refused(tiny, tmp_path):
    tiny.encode_to(tmp_path / "out", texts(20), shard_rows=8)
    other = [*texts(10), "changed", *list(texts(20))[11:]]
    with pytest.raises(OutputError, match="rows 8 to 15 differ from those that part-00001"):
        tiny.encode_to(tmp_path / "out", other, shard_rows=8, resume=True)
    with pytest.raises(OutputError, match="rows 16 to 19 differ"):
        tiny.encode_to(tmp_path / "out", texts(18), shard_rows=8, resume=True)
    with pytest.raises(OutputError, match="rows 0 to 7 differ"):
        tiny.encode_to(tmp_path / "out", texts(20), ids=map(str, range(20)), shard_rows=8, resume=True)


def test_other_settings_are_refused(tiny, tmp_path):
    tiny.encode_to(tmp_path / "out", texts(5))
    for options, told in (
        ({"dim": 8}, "dim was 32 and is 8"),
        ({"prompt": "a "}, "prompt was '' and is 'a '"),
        ({"file_format": "npy"}, "format was 'parquet' and is 'npy'"),
    ):
        with pytest.raises(OutputError, match=told):
            tiny.encode_to(tmp_path / "out", texts(5), resume=True, **options)


def test_folders_that_cannot_be_used(tiny, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds other files \(thesis.txt\)"):
        tiny.encode_to(tmp_path / "mine", texts(5))
    with pytest.raises(OutputError, match=r"holds other files \(thesis.txt\)"):
        tiny.encode_to(tmp_path / "mine", texts(5), resume=True)
    with pytest.raises(OutputError, match="cannot be written to"):
        tiny.encode_to(tmp_path / "mine" / "thesis.txt", texts(5))
    with pytest.raises(OutputError, match="is absent or damaged|cannot be used"):
        next(read_vectors(tmp_path / "mine"))


@pytest.mark.parametrize("damage", ["part", "gone", "manifest", "escape", "version", "rows"])
def test_damage_is_told(tiny, tmp_path, damage):
    out = tmp_path / "out"
    tiny.encode_to(out, texts(20), shard_rows=8)
    manifest = json.loads((out / MANIFEST).read_text())
    if damage == "part":
        (out / "part-00001.parquet").write_bytes(b"PAR1")
    elif damage == "gone":
        (out / "part-00001.parquet").unlink()
    elif damage == "manifest":
        (out / MANIFEST).write_text("{")
    elif damage == "escape":
        manifest["shards"][0]["file"] = "../elsewhere.parquet"
        (out / MANIFEST).write_text(json.dumps(manifest))
    elif damage == "rows":
        manifest["shards"][0]["rows"] = -8
        (out / MANIFEST).write_text(json.dumps(manifest))
    else:
        (out / MANIFEST).write_text(json.dumps(manifest | {"version": 99}))
    with pytest.raises(OutputError, match=r"damaged|cannot be used|outside|version 99|without rows"):
        tiny.encode_to(out, texts(20), shard_rows=8, resume=True)


def test_two_runs_do_not_share_a_folder(tiny, tmp_path):
    def meddling():
        yield "first"
        with pytest.raises(OutputError, match="another run is writing"):
            tiny.encode_to(tmp_path / "out", ["x"], resume=True)
        yield "second"

    assert tiny.encode_to(tmp_path / "out", meddling()).rows == 2


def test_values_that_are_not_possible(tiny, tmp_path):
    for options in ({"file_format": "csv"}, {"shard_rows": 0}, {"shard_rows": True}, {"dim": 0}, {"ids": ["one"]}):
        with pytest.raises(InvalidInput):
            tiny.encode_to(tmp_path / str(options), texts(5), **options)
    with pytest.raises(InvalidInput, match="texts is one str"):
        tiny.encode_to(tmp_path / "out", "one text")


@pytest.mark.parametrize("kind", ["parquet", "npy"])
def test_ids_that_are_not_possible(tiny, tmp_path, kind):
    def encode(ids, **options):
        return tiny.encode_to(tmp_path / "out", texts(4), ids=ids, file_format=kind, **options)

    with pytest.raises(InvalidInput, match="ids are of several kinds: id 2 is 'x', and those before it are int"):
        encode([1, 2, "x", "y"], shard_rows=2)  # though each part has one kind only
    for bad in (True, None, 1.5, b"a", 1 << 63, ("a", 1), "\ud800"):
        with pytest.raises(InvalidInput, match="id 0 is"):
            encode([bad] * 4, resume=True)
    for bad in ("abcd", 7, b"abcd", {"a": 1}):
        with pytest.raises(InvalidInput, match="give an id for each text"):
            encode(bad)
    with pytest.raises(InvalidInput, match="no text for id 4"):
        encode(range(5), resume=True)
    with pytest.raises(InvalidInput, match="more texts than ids"):
        encode(range(3), resume=True)


def test_an_error_of_the_source_is_not_taken_for_a_lack_of_ids(tiny, tmp_path):
    def broken():
        yield "fine"
        raise ValueError("the source broke")

    with pytest.raises(ValueError, match="^the source broke"):
        tiny.encode_to(tmp_path / "out", broken(), ids=[1, 2])


@pytest.mark.parametrize("kind", ["parquet", "npy"])
def test_ids_of_numpy(tiny, tmp_path, kind):
    for ids in (np.arange(4), np.array(["a", "b", "c", "d"])):
        out = tmp_path / ids.dtype.kind
        tiny.encode_to(out, texts(4), ids=ids, file_format=kind)
        assert everything(out)[0] == ids.tolist()
        assert tiny.encode_to(out, texts(4), ids=ids.tolist(), file_format=kind, resume=True).resumed == 4


def test_parquet_without_its_package_is_told_before_the_first_text(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match="bulk"):
        tiny.encode_to(tmp_path / "out", (pytest.fail("read") for _ in range(3)))
    assert not (tmp_path / "out").exists()


def test_a_lock_that_is_a_link_is_not_followed_to_the_end_of_a_file(tiny, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").symlink_to(tmp_path / "thesis.txt")
    tiny.encode_to(tmp_path / "out", texts(3))
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full, which Linux has")
def test_a_full_disk_keeps_finished_parts(tiny, tmp_path, monkeypatch):
    from sentvec.runtime import shards

    write = shards._write_parquet
    calls = []

    def full(path, ids, vectors):
        calls.append(path)
        if len(calls) == 3:
            path.symlink_to("/dev/full")  # the real error of a real full device, half-way through a part
        write(path, ids, vectors)

    monkeypatch.setattr(shards, "_write_parquet", full)
    with pytest.raises(OutputError, match="No space left on device.*16 finished rows stay"):
        tiny.encode_to(tmp_path / "out", texts(40), shard_rows=8)
    assert tiny.encode_to(tmp_path / "out", texts(40), shard_rows=8, resume=True).resumed == 16
    assert everything(tmp_path / "out")[0] == list(range(40))


@pytest.mark.parametrize("complete", [False, True])
def test_a_manifest_that_cannot_be_written_is_told_and_named_rows_stay(tiny, tmp_path, monkeypatch, complete):
    from sentvec.runtime import shards

    write, parts = shards.write_json, []

    def full(path, content):
        if path.name == MANIFEST and content["complete"] == complete:
            parts.append(path)
            if complete or len(parts) == 3:
                raise OSError(28, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(shards, "write_json", full)
    named = 24 if complete else 16
    with pytest.raises(OutputError, match=f"No space left on device.*{named} finished rows stay"):
        tiny.encode_to(tmp_path / "out", texts(24), shard_rows=8)
    assert read_manifest(tmp_path / "out")[0]["rows"] == named
    monkeypatch.undo()
    assert tiny.encode_to(tmp_path / "out", texts(24), shard_rows=8, resume=True).resumed == named
    assert everything(tmp_path / "out")[0] == list(range(24))


@pytest.mark.parametrize(
    ("kind", "name"), [("npy", "part-00000.ids.json"), ("npy", "part-00000.npy"), ("parquet", "part-00000.parquet")]
)
def test_reading_damaged_parts_is_told(tiny, tmp_path, kind, name):
    for damage in ("broken", "gone"):
        out = tmp_path / damage
        tiny.encode_to(out, texts(5), file_format=kind)
        (out / name).write_bytes(b"{") if damage == "broken" else (out / name).unlink()
        with pytest.raises(OutputError, match="is absent or damaged"):
            list(read_vectors(out))


def test_a_part_in_place_of_another_is_told(tiny, tmp_path):
    tiny.encode_to(tmp_path / "out", texts(5), shard_rows=3, file_format="npy")
    for damaged in (tmp_path / "out").glob("part-00001.*"):
        damaged.replace(damaged.with_name(damaged.name.replace("00001", "00000")))
    with pytest.raises(OutputError, match="2 ids and 2 vectors, where 3 should be"):
        list(read_vectors(tmp_path / "out"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, which Windows does not have")
def test_kill_at_random_moments_loses_and_doubles_nothing(folder, tiny, tmp_path):
    """Kill -9 a real process at 20 random moments; the rows equal those of a run that nobody disturbed."""
    rows, out = 30_000, tmp_path / "out"
    command = [sys.executable, "-m", "tests.runtime.writer", str(folder), str(out), str(rows), "200"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    moments = random.Random(SEED)
    seen: list[int] = []
    reach = 0.3
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:

        def begin() -> int:
            parent.stdin.write("go\n")
            parent.stdin.flush()
            return int(parent.stdout.readline())

        assert parent.stdout.readline().startswith("ready")
        while len(seen) < KILLS:
            child = begin()
            time.sleep(moments.uniform(0.0, reach))
            os.kill(child, signal.SIGKILL)
            assert int(parent.stdout.readline()) == -signal.SIGKILL, "it ended before it was killed"
            seen.append(read_manifest(out)[0]["rows"] if (out / MANIFEST).exists() else 0)
            if seen[-1] == (0, *seen)[-2]:  # on a busy machine nothing may be done so soon
                reach = min(reach * 1.3, 2.0)
        assert seen == sorted(seen), "finished rows disappeared"
        assert 0 < seen[-1] < rows, "kills must fall into the middle of the work"
        begin()
        assert parent.stdout.readline().strip() == "0"
        parent.stdin.close()
    ids, vectors = everything(out)
    assert ids == list(range(rows))
    np.testing.assert_allclose(vectors, tiny.encode(texts(rows)), atol=1e-6)
    assert not list(out.glob(".part*"))
