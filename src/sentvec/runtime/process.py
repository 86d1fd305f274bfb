"""Blueprints of models in, processes that encode with them out: forked from one that holds the model, or started.

Forked ones share all memory that nobody writes to: weights, as they lie in the file or packed for the processor, the
tokeniser's vocabulary and the libraries. They begin in an instant, too. Where forking is not safe (CUDA, and systems
other than Linux) each process loads the model by itself, and shares what is mapped from the file.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

ENCODE = "sentvec.runtime.worker"
"""The module whose `main` and `nest` are the programs: what runs at the other end of the pipes."""


class Died(Exception):
    """A process has ended that should not have."""


class Refused(Exception):
    """A process cannot make the model; the argument is its error."""


class Process:
    """One process, and the two pipes to it.

    Args:
        pid: its id.
        tasks: where to write for it.
        answers: where it writes.
        wait: waits for its end, and returns how it ended: its code, or a signal's number, negative.
    """

    def __init__(self, pid: int, tasks: IO[bytes], answers: IO[bytes], wait: Callable[[], int]) -> None:
        self.pid = pid
        self._tasks, self._answers = tasks, answers
        self._wait = wait

    def ready(self) -> None:
        """Wait until it has the model."""
        error = self.receive()
        if error is not None:
            raise Refused(error)

    def send(self, content: object) -> None:
        """Write for it; `Died` if it is no longer there."""
        try:
            pickle.dump(content, self._tasks, protocol=pickle.HIGHEST_PROTOCOL)
            self._tasks.flush()
        except OSError:
            raise Died from None

    def receive(self) -> Any:
        """Wait for what it writes; `Died` if it ends before."""
        try:
            return pickle.load(self._answers)  # noqa: S301 - from our own child
        except (EOFError, OSError, pickle.UnpicklingError):
            raise Died from None

    def kill(self) -> None:
        """End it; its id is its own until `end`, so no other process is meant."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, getattr(signal, "SIGKILL", signal.SIGTERM))

    def end(self) -> str:
        """Make sure that it has ended, and say how it did."""
        self.kill()
        code = self._wait()
        for pipe in (self._tasks, self._answers):
            with suppress(OSError):  # what was left in its buffer has nowhere to go
                pipe.close()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def started(blueprint: object, device: str, threads: int, *, module: str = ENCODE) -> Process:
    """Start a process that loads the model by itself."""
    popen = _program(module, "main", threads, subprocess.PIPE, subprocess.PIPE, {})
    assert popen.stdin is not None
    assert popen.stdout is not None
    process = Process(popen.pid, popen.stdin, popen.stdout, popen.wait)
    with suppress(Died):  # told when it is waited for
        process.send((blueprint, device))
    return process


class Nest:
    """A process that loads a model for the CPU once and forks those that encode with it. Linux only.

    Args:
        module: where its program is.
        settings: environment variables of it, where the user has not set them.
    """

    def __init__(self, module: str = ENCODE, settings: Mapping[str, str] | None = None) -> None:
        self._module, self._settings = module, settings or {}
        self._guard = threading.Lock()
        self._popen: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._loading = self._stopped = False

    def fork(self, blueprint: object, threads: int) -> Process:
        """Return a new process that has the model.

        Raises:
            Died: the nest was killed, and the next one too.
            Refused: the model cannot be made.
        """
        with self._guard:
            try:
                return self._forked(blueprint, threads)
            except Died:
                self._bury()
                return self._forked(blueprint, threads)

    def _forked(self, blueprint: object, threads: int) -> Process:
        self._hatch(blueprint)
        parent = self._popen
        (read_task, write_task), (read_answer, write_answer) = os.pipe(), os.pipe()
        tasks, answers = os.fdopen(write_task, "wb"), os.fdopen(read_answer, "rb")
        try:
            pid = self._ask(("fork", threads), [read_task, write_answer])
        except Died:
            tasks.close()
            answers.close()
            raise
        finally:
            os.close(read_task)
            os.close(write_answer)
        return Process(pid, tasks, answers, lambda: self._wait(pid, parent))

    def stop(self) -> None:
        """Fork no more, and do not wait for a model that is being loaded."""
        self._stopped = True
        if self._loading and self._popen is not None:
            self._popen.kill()

    def close(self) -> None:
        """End it; processes that it forked go on until their own pipes are closed."""
        with self._guard:
            self._bury()

    def _bury(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
        self._popen = self._line = None

    def _hatch(self, blueprint: object) -> None:
        if self._stopped:
            raise Died
        if self._popen is not None:
            return
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._loading = True
        try:
            with theirs:
                # one thread until it forks: threads do not come along, and what waits for them would wait for ever
                self._popen = _program(self._module, "nest", 1, theirs, subprocess.DEVNULL, self._settings)
        except OSError:
            self._bury()
            raise
        if self._stopped:
            self._popen.kill()
        error = self._ask(blueprint)
        self._loading = False
        if error is not None:
            self._bury()
            raise Refused(error)

    def _ask(self, question: object, files: list[int] | None = None) -> Any:
        assert self._line is not None
        try:
            socket.send_fds(self._line, [pickle.dumps(question)], files or [])
            answer = self._line.recv(1 << 18)
        except OSError:
            answer = b""
        if not answer:
            raise Died
        return pickle.loads(answer)  # noqa: S301 - from our own child

    def _wait(self, pid: int, parent: subprocess.Popen[bytes] | None) -> int:
        with self._guard:
            if parent is self._popen:
                with suppress(Died):
                    return int(self._ask(("wait", pid)))
        return -int(signal.SIGKILL)  # its parent has ended, and nobody knows


def _program(
    module: str, entry: str, threads: int, stdin: Any, stdout: Any, settings: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    # -P and the path: the process finds the modules that this one has, and not what lies in the current folder
    path = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
    share = {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-P", "-c", f"from {module} import {entry}; {entry}()"],
        stdin=stdin,
        stdout=stdout,
        env={**settings, **os.environ} | share | {"PYTHONPATH": path},
        process_group=0 if os.name == "posix" else None,  # Ctrl-C is for this process, which ends the others
    )
