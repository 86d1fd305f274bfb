"""Compiling is optional: once where there is a compiler, a word in the log where there is none."""

from __future__ import annotations

import logging
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sentvec.nn import compiled as steps
from sentvec.nn import library as room


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Return an empty cache, and a `compiled` that remembers nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(room.SWITCH, raising=False)
    steps.compiled.cache_clear()
    yield tmp_path / "sentvec"
    steps.compiled.cache_clear()


needs_compiler = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler")


@needs_compiler
def test_compiled_once_and_found_again(fresh, caplog):
    caplog.set_level(logging.INFO, "sentvec")
    assert steps.compiled() is not None
    assert "compiling" in caplog.text
    (library,) = fresh.iterdir()
    made = library.stat().st_mtime_ns
    assert stat.S_IMODE(fresh.stat().st_mode) & 0o022 == 0
    caplog.clear()
    steps.compiled.cache_clear()
    assert steps.compiled() is not None
    assert caplog.text == ""
    assert library.stat().st_mtime_ns == made


def test_no_compiler_is_no_failure(fresh, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "sentvec")
    monkeypatch.setenv("PATH", str(fresh))
    monkeypatch.delenv("CXX", raising=False)
    assert steps.compiled() is None
    assert "no C++ compiler. Install g++" in caplog.text


def test_a_compiler_that_fails_is_no_failure(fresh, monkeypatch, caplog, tmp_path):
    caplog.set_level(logging.INFO, "sentvec")
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'steps.cpp:1: error: out of cheese' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert steps.compiled() is None
    assert "out of cheese" in caplog.text
    (failed,) = fresh.iterdir()
    # the next process does not wait for it again, and is told how to
    monkeypatch.setattr(room, "_run", lambda command: pytest.fail("compiled again"))
    caplog.clear()
    steps.compiled.cache_clear()
    assert steps.compiled() is None
    assert "out of cheese" in caplog.text
    assert f"delete {failed} to try again" in caplog.text


@needs_compiler
def test_wrong_numbers_are_not_believed(fresh, monkeypatch, caplog, tmp_path):
    caplog.set_level(logging.INFO, "sentvec")
    source = tmp_path / "native"
    shutil.copytree(room.SOURCE, source)
    code = (source / "lanes.h").read_text().replace("0.252519187f", "0.262519187f")  # a digit of the error function
    (source / "lanes.h").write_text(code)
    monkeypatch.setattr(room, "SOURCE", source)
    assert steps.compiled() is None
    assert "wrong numbers" in caplog.text


@needs_compiler
def test_a_broken_library_in_the_cache_is_made_again(fresh):
    assert steps.compiled() is not None
    (library,) = fresh.iterdir()
    library.unlink()
    library.write_bytes(b"not a library")
    script = "from sentvec.nn.compiled import compiled; assert compiled() is not None"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert library.read_bytes()[:4] == b"\x7fELF"


@needs_compiler
def test_a_library_that_was_cut_off_or_changed_is_made_again(fresh):
    assert steps.compiled() is not None
    (library,) = fresh.iterdir()
    whole = library.read_bytes()
    script = "from sentvec.nn.compiled import compiled; assert compiled() is not None"
    for damaged in (whole[:8192], whole[:20_000] + bytes(4096) + whole[24_096:]):  # the first one ended the process
        library.unlink()  # this process goes on with what it has loaded
        library.write_bytes(damaged)
        subprocess.run([sys.executable, "-c", script], check=True)
        assert room._sealed(library)


@needs_compiler
def test_nothing_is_kept_that_was_not_checked(fresh, monkeypatch):
    def killed(made):
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "_right", killed)
    with pytest.raises(KeyboardInterrupt):
        steps.compiled()
    assert list(fresh.iterdir()) == []


def test_nobodys_home_is_no_failure(fresh, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "sentvec")
    monkeypatch.setenv("XDG_CACHE_HOME", "~nobody-of-that-name/cache")
    assert steps.compiled() is None
    assert "steps are not compiled" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="steps are compiled on Linux only")
def test_torchs_own_threads_are_used_where_others_are_loaded_too():
    pytest.importorskip("faiss")
    script = "import torch, faiss; from sentvec.nn import library; print(library._thread_library())"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "faiss" not in done.stdout


def test_a_cache_that_others_may_write_to_is_not_used(fresh, caplog):
    caplog.set_level(logging.INFO, "sentvec")
    fresh.mkdir()
    fresh.chmod(0o777)
    assert steps.compiled() is None
    assert "others may write" in caplog.text


def test_it_can_be_switched_off(fresh, monkeypatch):
    monkeypatch.setenv(room.SWITCH, "0")
    assert steps.compiled() is None
    assert not fresh.exists()


def test_the_source_is_part_of_the_package():
    assert {path.name for path in room.SOURCE.iterdir()} >= {"steps.cpp", "training.cpp", "products.cpp", "lanes.h"}
    assert Path(room.SOURCE).is_relative_to(Path(room.__file__).parent)
