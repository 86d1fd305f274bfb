"""What is kept comes back as it was; what is damaged, half written or of another model never does."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tests.cli.running import environment

from sentvec.errors import OutputError
from sentvec.evaluate.cache import Cache, default_folder, keys_of

TEXTS = ["one", "two", "", "你好", "half of a pair: \ud800"]
KEYS = keys_of(TEXTS)
VECTORS = np.random.default_rng(0).normal(size=(len(TEXTS), 8)).astype(np.float32)
SETTING = {"fingerprint": "abc", "prompt": ""}


@pytest.fixture
def open_cache(tmp_path):
    return lambda setting=SETTING, dim=8: Cache(tmp_path, setting, dim)


@pytest.fixture
def filled(open_cache):
    cache = open_cache()
    cache.put(KEYS[:3], VECTORS[:3])
    cache.put(KEYS[3:], VECTORS[3:])
    return cache


def fetched(cache, keys=KEYS, dim=8):
    out = np.zeros((len(keys), dim), np.float32)
    return cache.get(keys, out), out


def parts(cache):
    return sorted(cache.folder.glob("*.part"), key=lambda path: path.stat().st_size)


def test_what_is_kept_comes_back(filled, open_cache):
    for cache in (filled, open_cache()):
        found, out = fetched(cache)
        assert found.all()
        np.testing.assert_array_equal(out, VECTORS)


def test_what_was_not_kept_is_left_alone(filled):
    found, out = fetched(filled, keys_of(["new", "two", "One"]))
    assert found.tolist() == [False, True, False]
    np.testing.assert_array_equal(out, [np.zeros(8), VECTORS[1], np.zeros(8)])


def test_another_setting_has_other_vectors(filled, open_cache):
    assert not fetched(open_cache(SETTING | {"prompt": "query: "}))[0].any()
    assert "query: " in (open_cache(SETTING | {"prompt": "query: "}).folder / "about.json").read_text()


def test_no_text_is_no_part(open_cache):
    cache = open_cache()
    cache.put(KEYS[:0], VECTORS[:0])
    assert parts(cache) == []


def truncated(content):
    return content[:-5]


def flipped(content):
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


def emptied(content):
    return b""


def zeroed(content):
    return content[:-64] + bytes(64)


def another_format(content):
    return b"PK\x03\x04" + content


@pytest.mark.parametrize("harm", [truncated, flipped, emptied, zeroed, another_format])
def test_a_damaged_part_is_said_taken_away_and_made_again(filled, open_cache, caplog, harm):
    small, large = parts(filled)
    small.write_bytes(harm(small.read_bytes()))
    cache = open_cache()
    found, out = fetched(cache)
    assert found.tolist() == [True, True, True, False, False]  # the other part still serves
    np.testing.assert_array_equal(out, [*VECTORS[:3], np.zeros(8), np.zeros(8)])
    assert f"{small} is damaged" in caplog.text and not small.exists() and large.exists()
    cache.put(KEYS[~found], VECTORS[~found])
    caplog.clear()
    assert fetched(open_cache())[0].all() and caplog.text == ""


def test_no_flipped_byte_gives_another_vector_or_stops_the_run(filled, open_cache):
    small, large = parts(filled)
    large.unlink()
    content = small.read_bytes()
    for place in range(len(content)):
        for flip in (1, 0x10, 0x80):
            small.write_bytes(content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :])
            found, out = fetched(open_cache())
            assert not found[:3].any()
            np.testing.assert_array_equal(out[found], VECTORS[found])


@pytest.mark.parametrize("count", [b"(999999999999,), }", b"(-1,), }", b"(), }", b"(1" + b"(" * 60, b"{'a': 1, 2}"])
def test_an_absurd_header_takes_no_memory(filled, open_cache, caplog, count):
    small, _ = parts(filled)
    content = small.read_bytes()
    begin = content.index(b"(2,), }")
    small.write_bytes(content[:begin] + count + content[begin + len(count) :])
    assert fetched(open_cache())[0].tolist() == [True, True, True, False, False]
    assert f"{small} is damaged" in caplog.text


def test_vectors_of_another_width_are_damage(filled, open_cache, caplog):
    assert not fetched(open_cache(dim=4), dim=4)[0].any()
    assert "is damaged (it holds (3, 8) float32 for 3 texts)" in caplog.text


def test_a_full_disk_costs_the_cache_and_not_the_run(open_cache, caplog):
    cache = open_cache(dim=384)
    keys = keys_of([str(i) for i in range(3000)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        cache.put(keys, np.ones((3000, 384), np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "vectors are not kept" in caplog.text and "File too large" in caplog.text
    assert [path.name for path in cache.folder.iterdir()] == ["about.json"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"the cache .*file cannot be written .* Name another folder"):
        Cache(tmp_path / "file", SETTING, 8)


def test_the_default_folder_is_where_the_system_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "sentvec" / "vectors"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "sentvec" / "vectors"


WRITER = """
import sys
import numpy as np
from pathlib import Path
from sentvec.evaluate.cache import Cache, keys_of
cache = Cache(Path(sys.argv[1]), {"fingerprint": "abc", "prompt": ""}, 64)
for number in range(int(sys.argv[3])):
    if number < 3:
        keys = keys_of([f"{sys.argv[2]} {number} {row}" for row in range(9000)])
        vectors = np.full((9000, 64), number, np.float32)
    cache.put(keys, vectors)
    print(number, flush=True)
"""


def writer(folder, name, count):
    command = [sys.executable, "-c", WRITER, str(folder), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment())


def has_all(cache, name):
    for number in range(3):
        found, out = fetched(cache, keys_of([f"{name} {number} {row}" for row in range(9000)]), dim=64)
        assert found.all() and (out == number).all()


def test_two_runs_at_once(tmp_path, open_cache, caplog):
    with writer(tmp_path, "a", 3) as one, writer(tmp_path, "b", 3) as other:
        assert [len(run.stdout.read().split()) for run in (one, other)] == [3, 3]
    for name in ("a", "b"):
        has_all(open_cache(dim=64), name)
    assert caplog.text == ""


def test_a_killed_run_leaves_nothing_half_written(tmp_path, open_cache, caplog):
    with writer(tmp_path, "a", 10_000) as run:  # which does little else than write
        for _ in range(20):
            run.stdout.readline()
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    has_all(open_cache(dim=64), "a")
    assert caplog.text == ""


def test_what_a_killed_run_left_is_taken_away_after_a_day(filled, open_cache):
    old, young = filled.folder / "old.partial", filled.folder / "young.partial"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    open_cache()
    assert (old.exists(), young.exists()) == (False, True)
