"""Contenders and texts in, seconds of each out: every contender in a process of its own, running in turns.

While one runs the others are stopped by a signal, so that threads of theirs that wait by spinning disturb nobody.
"""

from __future__ import annotations

import ctypes
import math
import multiprocessing as mp
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers import BATCHES, CONTENDERS
from peers.setting import Encode, NotOffered, Setting

PATIENCE = 600
"""Seconds after which a contender that does not answer is given up."""


class Fault(Exception):
    """A contender cannot go on; the message says why."""


@dataclass
class Result:
    """What a contender did.

    Attributes:
        texts: how many texts it was given: fewer than the others if it is slow.
        bulk: seconds of each bulk round.
        single: for each kind of single text, milliseconds of each call.
        peak: most MiB that its process held, up to the end of the bulk rounds.
        vectors: of those texts, in order.
    """

    texts: int
    bulk: list[float] = field(default_factory=list)
    single: dict[str, list[float]] = field(default_factory=dict)
    peak: float = 0.0
    vectors: NDArray[np.float32] | None = None


class Runner:
    """The other end of a contender's process; it runs only while asked something."""

    def __init__(self, name: str, setting: Setting, log: Path) -> None:
        context = mp.get_context("spawn")
        self._pipe, child = context.Pipe()
        self._process = context.Process(target=_serve, args=(name, setting, log, child), daemon=True)
        self._process.start()
        child.close()  # so that its death is seen as the end of the pipe
        try:
            self._answer()
        except Fault:
            self.close()
            raise
        self._stop()

    def ask(self, what: str, *arguments: Any) -> Any:
        """Have the process do something, and wait.

        Raises:
            Fault: it could not, or it died, or it took too long.
        """
        os.kill(self._pid, signal.SIGCONT)
        try:
            self._pipe.send((what, arguments))
        except OSError as error:
            raise Fault("its process is gone") from error
        answer = self._answer()
        self._stop()
        return answer

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process.is_alive():
            os.kill(self._pid, signal.SIGCONT)
            with suppress(OSError):
                self._pipe.send(("quit", ()))
            self._process.join(5)
            self._process.kill()
        self._process.join()

    @property
    def _pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def _stop(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def _answer(self) -> Any:
        try:
            if not self._pipe.poll(PATIENCE):
                raise Fault(f"no answer within {PATIENCE} s")
            fine, value = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join(5)
            raise Fault(f"its process ended with code {self._process.exitcode}") from error
        if not fine:
            raise Fault(value)
        return value


@contextmanager
def closing(runners: dict[str, Runner]) -> Iterator[None]:
    try:
        yield
    finally:
        for runner in runners.values():
            runner.close()


def race(
    settings: dict[str, Setting],
    texts: list[str],
    lengths: Sequence[int],
    singles: dict[str, str],
    *,
    rounds: int,
    calls: int,
    limit: float,
    log: Path,
) -> tuple[dict[str, Result], dict[str, str], list[dict[str, float]]]:
    """Let contenders take turns.

    Args:
        settings: how each is set up, by name.
        texts: what all encode in bulk.
        lengths: their numbers of tokens.
        singles: texts to encode one at a time, by kind.
        rounds: turns that each gets.
        calls: single texts of each kind within a turn.
        limit: seconds that a bulk turn should not exceed: one that is slower gets the first texts only. It does
            not hold for the first contender.
        log: a folder for what they print.

    Returns:
        Results by contender; reasons by contender that did not run to the end; and the rate of matrix products in
        GFLOP/s by number format, for each round.
    """
    results: dict[str, Result] = {}
    faults: dict[str, str] = {}
    runners: dict[str, Runner] = {}
    rates: list[dict[str, float]] = []
    with closing(runners):
        for name, setting in settings.items():  # one after the other: loading must not disturb loading
            with _noting(name, faults, runners):
                say(f"  loading {name}")
                runners[name] = Runner(name, setting, log)
                # the first is what all others are stated against, so it gets all texts, however slow
                results[name] = Result(_affordable(runners[name], texts, lengths, limit if results else math.inf))
        gemm = next(iter(settings.values()))
        with _noting("matrix products", faults, runners):
            runners["matrix products"] = Runner("matrix products", gemm, log)
        for i in range(rounds):
            say(f"  round {i + 1} of {rounds}")
            for name in list(runners)[:: 1 if i % 2 == 0 else -1]:
                with _noting(name, faults, runners):
                    if name not in results:
                        rates.append(runners[name].ask("rate"))
                        continue
                    one = results[name]
                    one.bulk.append(runners[name].ask("bulk", texts[: one.texts]))
                    if i == rounds - 1:
                        one.peak, one.vectors = runners[name].ask("end")
        for i in range(rounds):
            say(f"  single texts, round {i + 1} of {rounds}")
            for name in [n for n in list(runners)[:: 1 if i % 2 == 0 else -1] if n in results]:
                with _noting(name, faults, runners):
                    for kind, text in singles.items():
                        results[name].single.setdefault(kind, []).extend(runners[name].ask("single", text, calls))
    say("")
    return {name: one for name, one in results.items() if name not in faults}, faults, rates


def tune(name: str, setting: Setting, texts: list[str], log: Path) -> tuple[Setting, float]:
    """Find the variant and the batch size with which a contender is fastest, by trying: (setting, seconds).

    Raises:
        Fault: it does not run.
    """

    runner = Runner(name, setting, log)
    with closing({name: runner}):
        return _tried(runner, name, setting, texts)


def _tried(runner: Runner, name: str, setting: Setting, texts: list[str]) -> tuple[Setting, float]:
    def seconds(tried: Setting) -> float:
        runner.ask("build", tried)
        # twice: some runtimes prepare for each shape when they first meet it
        return min(runner.ask("bulk", texts) for _ in range(2))

    variants = CONTENDERS[name].variants[: None if setting.threads > 1 else 1]  # they only differ in sharing threads
    tried = [replace(setting, variant=variant) for variant in variants]
    best = min((seconds(one), i) for i, one in enumerate(tried))
    took, chosen = best[0], tried[best[1]]
    for step in (1, -1):  # from 32 up for as long as that helps; if it never did, down
        start, at = chosen, BATCHES.index(chosen.batch)
        while 0 <= at + step < len(BATCHES) and BATCHES[at] < len(texts):
            at += step
            if (now := seconds(replace(chosen, batch=BATCHES[at]))) > 0.98 * took:  # less is noise
                break
            took, chosen = now, replace(chosen, batch=BATCHES[at])
        if chosen != start:
            break
    return chosen, took


def say(what: str) -> None:
    """Show progress on one line of a terminal, or as lines elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)
    elif what:
        print(what, file=sys.stderr, flush=True)


@contextmanager
def _noting(name: str, faults: dict[str, str], runners: dict[str, Runner]) -> Iterator[None]:
    try:
        yield
    except Fault as fault:
        faults[name] = str(fault)
        if name in runners:
            runners.pop(name).close()


def _affordable(runner: Runner, texts: list[str], lengths: Sequence[int], limit: float) -> int:
    """Warm up, and return how many of the texts a contender should be given."""
    runner.ask("bulk", texts[:16])
    sample = min(32, len(texts))
    per_token = runner.ask("bulk", texts[:sample]) / sum(lengths[:sample])
    within = int(np.searchsorted(np.cumsum(lengths), limit / per_token))
    return len(texts) if within >= len(texts) else max(within, sample)


def _serve(name: str, setting: Setting, log: Path, pipe: Any) -> None:
    """Be a contender: build, then do what the pipe says."""
    _end_with_parent()
    log.mkdir(parents=True, exist_ok=True)
    with (log / f"{name}.txt").open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    warnings.simplefilter("ignore")
    os.environ.setdefault("RAYON_NUM_THREADS", str(setting.threads))
    os.environ.setdefault("OMP_NUM_THREADS", str(setting.threads))
    try:
        encode = None if name == "matrix products" else CONTENDERS[name].build(setting)
        pipe.send((True, None))
        vectors = None
        while True:
            what, arguments = pipe.recv()
            if what == "quit":
                return
            if what == "build":
                encode = CONTENDERS[name].build(*arguments)
                pipe.send((True, None))
            elif what == "bulk":
                assert encode is not None
                begun = time.perf_counter()
                vectors = encode(*arguments)
                pipe.send((True, time.perf_counter() - begun))
            elif what == "end":
                pipe.send((True, (_peak(), np.asarray(vectors, np.float32))))
            elif what == "single":
                assert encode is not None
                pipe.send((True, _single(encode, *arguments)))
            elif what == "rate":
                pipe.send((True, _rates(setting)))
    except EOFError:
        return
    except NotOffered as reason:
        pipe.send((False, f"not offered: {_line(reason)}"))
    except Exception as error:  # a peer that cannot run is a line in the table, not the end of it
        pipe.send((False, f"did not run: {type(error).__name__}: {_line(error)}"))


def _end_with_parent() -> None:
    """Have the system kill this process when its parent dies, for a stopped process would stay for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:160]


def _peak() -> float:
    """Most MiB that this process held: VmHWM; ru_maxrss would begin with the parent's."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else float("nan")


def _single(encode: Encode, text: str, calls: int) -> list[float]:
    times = []
    for _ in range(calls + 3):
        begun = time.perf_counter()
        encode([text])
        times.append((time.perf_counter() - begun) * 1e3)
    return times[3:]  # the first ones after a turn of somebody else find cold caches


def _rates(setting: Setting) -> dict[str, float]:
    """GFLOP/s of the matrix product that takes most of an encoder's time: 4,096 tokens, hidden to 4 x hidden."""
    import json

    import torch

    torch.set_num_threads(setting.threads)
    hidden = json.loads((setting.model / "config.json").read_text())["hidden_size"]
    x, w = torch.randn(4096, hidden), torch.randn(4 * hidden, hidden)
    a, b = (torch.randint(-100, 100, shape, dtype=torch.int8) for shape in ((4096, hidden), (hidden, 4 * hidden)))
    products = {"int8": lambda: torch._int_mm(a, b)}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        pair = x.to(dtype), w.to(dtype)
        products[str(dtype).removeprefix("torch.")] = lambda pair=pair: torch.nn.functional.linear(*pair)
    rates = {}
    for name, product in products.items():
        times = []
        until = time.perf_counter() + 0.3
        while not times or time.perf_counter() < until:
            begun = time.perf_counter()
            product()
            times.append(time.perf_counter() - begun)
        rates[name] = 2 * 4096 * hidden * 4 * hidden / min(times) / 1e9
    return rates
