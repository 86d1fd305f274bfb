"""C++ in: source files beside this one in, a library compiled for this very processor out.

A library is compiled once, at first use, with whatever C++ compiler the machine has, and kept in the user's cache.
Where there is no compiler, or it fails, there is no library and no failure: torch's own operations do the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_log = logging.getLogger("sentvec")

SOURCE = Path(__file__).parent / "native"
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math")
SWITCH = "SENTVEC_COMPILE"
"""Environment variable; 0 keeps sentvec from compiling and from loading what it compiled."""

KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int32: 2}
ACTS = {"gelu": 0, "gelu_tanh": 1, "relu": 2}

# RuntimeError: nobody's home folder; ValueError: a path that is no text
_FAILURES = (OSError, AttributeError, RuntimeError, ValueError, subprocess.SubprocessError)

POINTER, COUNT, INT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
FLOAT, DOUBLE = ctypes.c_float, ctypes.c_double


@dataclass(frozen=True)
class Code:
    """What a library is made from.

    Attributes:
        name: what it is called, in the cache.
        sources: names of C++ files in `SOURCE`; they may include any header there.
        functions: its functions, each with the types of what it takes.
        right: says whether it computes what it should; asked once, before a library is kept.
        gives: types of what functions return; others return nothing.
        without: what the log says that is slower without it.
    """

    name: str
    sources: Sequence[str]
    functions: Mapping[str, Sequence[Any]]
    right: Callable[[ctypes.CDLL], bool]
    gives: Mapping[str, Any] = field(default_factory=dict)
    without: str = "Encoding"


def library(code: Code) -> ctypes.CDLL | None:
    """Return a library; None where it cannot be had, with the reason in the log."""
    if os.environ.get(SWITCH, "1") == "0":
        return None
    try:
        return _ready(code)
    except (*_FAILURES, _NotPossible) as error:
        _log.info("%s are not compiled: %s. %s works, more slowly.", code.name, error, code.without)
        return None


class _NotPossible(Exception):
    """There is no way to compile here."""


def _load(code: Code, path: Path) -> ctypes.CDLL:
    found = ctypes.CDLL(str(path))
    for name, arguments in code.functions.items():
        function = getattr(found, name)
        function.argtypes, function.restype = list(arguments), code.gives.get(name)
    return found


def _ready(code: Code) -> ctypes.CDLL:
    """Load the library, compiling it where the cache does not hold it."""
    compiler = _compiler()
    threads = _thread_library()
    path = _cache_folder() / f"{code.name}-{_key(code, compiler, threads)}.so"
    failed = path.with_suffix(".failed")
    if failed.exists():  # else every process would wait for a compiler that fails
        raise _NotPossible(f"{failed.read_text(encoding='utf-8')} (delete {failed} to try again)")
    if path.exists():
        with contextlib.suppress(OSError, AttributeError):
            if _sealed(path):
                return _load(code, path)
        path.unlink(missing_ok=True)  # cut off, or not a library
    try:
        return _build(code, compiler, threads, path)
    except (*_FAILURES, _NotPossible) as error:
        failed.write_text(str(error), encoding="utf-8", errors="replace")
        raise


def _build(code: Code, compiler: str, threads: str, path: Path) -> ctypes.CDLL:
    """Compile a library, and give it its name once it was seen to compute what it should."""
    _log.info("compiling sentvec's %s for this processor with %s, once", code.name, compiler)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        made = [f"{work}/{source}.o" for source in code.sources]
        with ThreadPoolExecutor() as pool:
            commands = [
                [compiler, *FLAGS, "-c", str(SOURCE / source), "-o", to]
                for source, to in zip(code.sources, made, strict=True)
            ]
            list(pool.map(_run, commands))
        # linked in a second step, to the thread pool that torch has: a second pool would fight it for the cores
        result = Path(work) / f"{code.name}.so"
        _run([compiler, "-shared", *made, "-o", str(result), threads])
        _seal(result)
        loaded = _load(code, result)
        if not code.right(loaded):
            raise _NotPossible("what was compiled gives wrong numbers; another compiler (CXX) may do better")
        result.replace(path)
    _log.info("compiled in %.1f s", time.perf_counter() - began)
    return loaded


def _seal(library: Path) -> None:
    """Write the file's digest behind its end, which loaders do not read, and see that it is on the disk."""
    digest = hashlib.sha256(library.read_bytes()).digest()
    with library.open("ab") as file:
        file.write(digest)
        file.flush()
        os.fsync(file.fileno())


def _sealed(library: Path) -> bool:
    """Say whether a file is as it was sealed: to load one that was cut off would end the process."""
    content = library.read_bytes()
    size = hashlib.sha256().digest_size
    return hashlib.sha256(content[:-size]).digest() == content[-size:]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)  # noqa: S603
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()[-1:]
        raise _NotPossible(f"{command[0]} failed ({lines[0] if lines else 'without a word'})")


def _compiler() -> str:
    # torch's own thread pool on Linux is GNU's, which clang's code cannot run on
    for name in (os.environ.get("CXX"), "g++", "c++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise _NotPossible("there is no C++ compiler. Install g++, or name one in CXX")


def _thread_library() -> str:
    """Return the path of the OpenMP library that torch has loaded."""
    if sys.platform != "linux":
        raise _NotPossible(f"not tried on {sys.platform}")
    lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    paths = [line.split(maxsplit=5)[-1] for line in lines]
    found = [path for path in paths if Path(path).name.startswith(("libgomp", "libiomp", "libomp"))]
    if not found:
        raise _NotPossible("torch has loaded no OpenMP library")
    # faiss and scikit-learn bring one of their own, which does not heed `torch.set_num_threads`
    home = str(Path(torch.__file__).parent)  # and beside it, where wheels for some systems keep their libraries
    return next((path for path in found if path.startswith((f"{home}/", f"{home}.libs/"))), found[0])


def _cache_folder() -> Path:
    """Return a folder that this user alone writes to: code is loaded from it."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "sentvec"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _NotPossible(f"others may write to {folder}. Take that right away (chmod go-w), and it will be used")
    return folder


def _key(code: Code, compiler: str, threads: str) -> str:
    digest = hashlib.sha256()
    for path in (*sorted(SOURCE.glob("*.h")), *(SOURCE / name for name in code.sources)):
        digest.update(path.read_bytes())
    file = Path(compiler).resolve()
    digest.update(repr((FLAGS, str(file), file.stat().st_mtime_ns, threads, platform.machine())).encode())
    digest.update(_processor())
    return digest.hexdigest()[:16]


def _processor() -> bytes:
    """Return what -march=native depends on: a cache may be shared by unlike machines."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_bytes().split(b"\n\n")[0].splitlines()
        return b"\n".join(x for x in lines if x.startswith((b"model", b"cpu family", b"flags", b"Features", b"CPU ")))
    return platform.processor().encode()


def at(tensor: Tensor | None) -> int | None:
    """Return where a tensor's numbers begin, as functions take it."""
    return None if tensor is None else tensor.data_ptr()
