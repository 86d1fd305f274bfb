"""The steps of a layer in C++: the source beside this file in, a library compiled for this very processor out.

The library is compiled once, at first use, with whatever C++ compiler the machine has, and kept in the user's cache.
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
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from sentvec.batch import PackedBatch, TokenIds, pack
from sentvec.nn.steps import LANES, EagerSteps, Norm, Operand, Product, Steps

_log = logging.getLogger("sentvec")

SOURCE = Path(__file__).parent / "native"
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math")
SWITCH = "SENTVEC_COMPILE"
"""Environment variable; 0 keeps sentvec from compiling and from loading what it compiled."""

_KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int32: 2}
_ACTS = {"gelu": 0, "gelu_tanh": 1, "relu": 2}

# RuntimeError: nobody's home folder; ValueError: a path that is no text
_FAILURES = (OSError, AttributeError, RuntimeError, ValueError, subprocess.SubprocessError)

_pointer, _count, _int, _float = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_float
_PRODUCT = [_int, _pointer, _pointer, _pointer, _pointer]
_FUNCTIONS = {
    "sentvec_attention": [
        *_PRODUCT, _count, _count, _pointer, _count, _float, _pointer, _count, _pointer,
    ],
    "sentvec_norm": [
        *_PRODUCT, _pointer, _pointer, _pointer, _float, _count, _count, _pointer, _pointer, _pointer,
    ],
    "sentvec_activate": [_int, *_PRODUCT, _count, _count, _pointer, _pointer],
    "sentvec_quantise": [_pointer, _count, _count, _pointer, _pointer],
}  # fmt: skip


class CompiledSteps:
    """The steps of a layer as single passes over memory; see `sentvec.nn.steps.Steps`.

    Features of a head, of the states and of the intermediate layer come in multiples of 16.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def attend(self, product: Product, batch: PackedBatch, heads: int, relative: Tensor | None = None) -> Tensor:
        """See `Steps`."""
        tokens, hidden = product.data.shape[0], product.data.shape[1] // 3
        out = torch.empty(tokens, hidden, dtype=_states_of(product))
        out[len(batch.ids) :] = 0
        offsets = batch.offsets.contiguous()
        # queries go in blocks, whose last lanes look beyond the text
        near = None if relative is None else functional.pad(relative.float(), (0, 2 * LANES)).contiguous()
        reach = 0 if relative is None else (relative.shape[-1] + 1) // 2
        assert near is None or (reach >= batch.longest and len(near) == heads)
        self._library.sentvec_attention(
            *_given(product), heads, hidden // heads, offsets.data_ptr(), len(batch),
            (hidden // heads) ** -0.5, _at(near), reach, out.data_ptr(),
        )  # fmt: skip
        return out

    def add_norm(self, product: Product, states: Tensor, norm: Norm) -> tuple[Tensor, Operand]:
        """See `Steps`."""
        out = torch.empty_like(states)
        operand = _room(out) if product.data.dtype == torch.int32 else Operand(out)
        int8 = operand.data.data_ptr() if operand.rows is not None else None
        self._library.sentvec_norm(
            *_given(product), states.data_ptr(), norm.weight.data_ptr(), norm.bias.data_ptr(), norm.eps,
            *states.shape, out.data_ptr(), int8, _at(operand.rows),
        )  # fmt: skip
        return out, operand

    def act(self, product: Product, name: str) -> Operand:
        """See `Steps`."""
        int8 = product.data.dtype == torch.int32
        operand = _room(product.data) if int8 else Operand(torch.empty_like(product.data))
        self._library.sentvec_activate(
            _ACTS[name], *_given(product), *product.data.shape, operand.data.data_ptr(), _at(operand.rows)
        )
        return operand

    def operand(self, states: Tensor, int8: bool) -> Operand:
        """See `Steps`."""
        if not int8:
            return Operand(states)
        operand = _room(states)
        self._library.sentvec_quantise(states.data_ptr(), *states.shape, operand.data.data_ptr(), _at(operand.rows))
        return operand


@cache
def compiled() -> CompiledSteps | None:
    """Return the compiled steps; None where they cannot be had, with the reason in the log."""
    if os.environ.get(SWITCH, "1") == "0":
        return None
    try:
        return _ready()
    except (*_FAILURES, _NotPossible) as error:
        _log.info("steps are not compiled: %s. Encoding works, more slowly.", error)
        return None


class _NotPossible(Exception):
    """There is no way to compile here."""


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    for name, arguments in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, None
    return library


def _ready() -> CompiledSteps:
    """Load the library, compiling it where the cache does not hold it."""
    compiler = _compiler()
    threads = _thread_library()
    path = _cache_folder() / f"steps-{_key(compiler, threads)}.so"
    failed = path.with_suffix(".failed")
    if failed.exists():  # else every process would wait for a compiler that fails
        raise _NotPossible(f"{failed.read_text(encoding='utf-8')} (delete {failed} to try again)")
    if path.exists():
        with contextlib.suppress(OSError, AttributeError):
            if _sealed(path):
                return CompiledSteps(_load(path))
        path.unlink(missing_ok=True)  # cut off, or not a library
    try:
        return _build(compiler, threads, path)
    except (*_FAILURES, _NotPossible) as error:
        failed.write_text(str(error), encoding="utf-8", errors="replace")
        raise


def _build(compiler: str, threads: str, path: Path) -> CompiledSteps:
    """Compile a library, and give it its name once it was seen to compute what it should."""
    _log.info("compiling sentvec's steps for this processor with %s, once", compiler)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        made = Path(work) / "steps"
        # linked in a second step, to the thread pool that torch has: a second pool would fight it for the cores
        _run([compiler, *FLAGS, "-c", str(SOURCE / "steps.cpp"), "-o", f"{made}.o"])
        _run([compiler, "-shared", f"{made}.o", "-o", f"{made}.so", threads])
        library = Path(f"{made}.so")
        _seal(library)
        steps = CompiledSteps(_load(library))
        _check(steps)
        library.replace(path)
    _log.info("compiled in %.1f s", time.perf_counter() - began)
    return steps


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


def _check(steps: Steps) -> None:
    """Compare one small layer's steps with torch's, before code from an unknown compiler is believed."""
    generator = torch.Generator().manual_seed(0)
    batch = pack([TokenIds([0] * n, [0] * n) for n in (1, 19, 40)])
    product = Product(torch.randn(60, 96, generator=generator))
    weight, bias = torch.randn(2, 96, generator=generator)
    norm = Norm(weight, bias, 1e-12)
    results = [
        (one.attend(product, batch, 2), one.add_norm(product, product.data, norm)[0], one.act(product, "gelu").data)
        for one in (steps, EagerSteps())
    ]
    for found, expected in zip(*results, strict=True):
        if not torch.allclose(found, expected, atol=1e-4):
            raise _NotPossible("what was compiled gives wrong numbers; another compiler (CXX) may do better")


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


def _key(compiler: str, threads: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(SOURCE.iterdir()):
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


def _given(product: Product) -> tuple[int, int, int | None, int | None, int | None]:
    data = product.data
    assert data.is_contiguous(), "products come out of one matrix multiplication"
    return _KINDS[data.dtype], data.data_ptr(), _at(product.rows), _at(product.columns), _at(product.bias)


def _room(like: Tensor) -> Operand:
    return Operand(torch.empty(like.shape, dtype=torch.int8), torch.empty(like.shape[0]))


def _at(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _states_of(product: Product) -> torch.dtype:
    return torch.bfloat16 if product.data.dtype == torch.bfloat16 else torch.float32
