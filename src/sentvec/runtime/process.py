"""Blueprints of models in, processes that encode with them out: forked from one that holds the model, or started.

Forked ones share all memory that nobody writes to: weights, as they lie in the file or packed for the processor, the
tokeniser's vocabulary and the libraries. They begin in an instant, too. Where forking is not safe (CUDA, and systems
other than Linux) each process loads the model by itself, and shares what is mapped from the file.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class _Holder:
    """A process that holds the model: one that was started and loaded it, or a spare that was forked from that."""

    line: socket.socket
    pid: int
    popen: subprocess.Popen[bytes] | None = None

    def ask(self, question: object, files: list[int] | None = None) -> Any:
        try:
            socket.send_fds(self.line, [pickle.dumps(question)], files or [])
            answer = self.line.recv(1 << 18)
        except OSError:
            answer = b""
        if not answer:
            raise Died
        return pickle.loads(answer)  # noqa: S301 - from our own child

    def ended(self) -> bool:
        """Say whether it has: nobody asks it now, so that there is something to read only if it is the end."""
        look = select.poll()
        look.register(self.line, select.POLLIN)
        return bool(look.poll(0))

    def end(self) -> None:
        self.line.close()
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait()
        else:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            _reap(self.pid)


class Nest:
    """A process that loads a model for the CPU once and forks those that encode with it. Linux only.

    Args:
        module: where its program is.
        settings: environment variables of it, where the user has not set them.
        spare: whether it forks a second one of its kind, which shares its memory and takes its place if it is killed:
            else the model must be loaded anew. Only where this process adopts orphans (`adopting`).
    """

    def __init__(self, module: str = ENCODE, settings: Mapping[str, str] | None = None, *, spare: bool = False) -> None:
        self._module, self._settings, self._spared = module, settings or {}, spare
        self._guard = threading.Lock()
        self._holder: _Holder | None = None
        self._spare: _Holder | None = None
        self._loading: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def fork(self, blueprint: object, threads: int) -> Process:
        """Return a new process that has the model.

        Raises:
            Died: the nest was killed, and those in its place too.
            Refused: the model cannot be made.
        """
        with self._guard:
            for again in (True, True, False):
                try:
                    return self._forked(blueprint, threads)
                except Died:
                    self._succeed()
                    if not again:
                        raise
            raise Died

    def mend(self, blueprint: object) -> None:
        """Replace what was killed meanwhile, so that whoever wants a process does not wait for it.

        Raises:
            Died: it was killed again.
            Refused: the model cannot be made.
        """
        with self._guard:
            if self._stopped:
                return
            while self._holder is not None and self._holder.ended():
                self._succeed()
            if self._spare is not None and self._spare.ended():
                self._drop_spare(self._spare)
            self._hatch(blueprint)

    def _forked(self, blueprint: object, threads: int) -> Process:
        holder = self._hatch(blueprint)
        (read_task, write_task), (read_answer, write_answer) = os.pipe(), os.pipe()
        tasks, answers = os.fdopen(write_task, "wb"), os.fdopen(read_answer, "rb")
        try:
            pid = holder.ask(("fork", threads), [read_task, write_answer])
        except Died:
            tasks.close()
            answers.close()
            raise
        finally:
            os.close(read_task)
            os.close(write_answer)
        return Process(pid, tasks, answers, lambda: self._wait(pid, holder))

    def stop(self) -> None:
        """Fork no more, and do not wait for a model that is being loaded."""
        self._stopped = True
        if (loading := self._loading) is not None:
            loading.kill()

    def close(self) -> None:
        """End it; processes that it forked go on until their own pipes are closed."""
        with self._guard:
            self._succeed()
            self._succeed()

    def _succeed(self) -> None:
        """Put the spare, if there is one, in the place of what holds the model, which ends if it has not."""
        before, self._holder, self._spare = self._holder, self._spare, None
        if before is not None:
            before.end()

    def _drop_spare(self, spare: _Holder) -> None:
        self._spare = None
        spare.line.close()
        self._wait_for(spare.pid, self._holder)

    def _hatch(self, blueprint: object) -> _Holder:
        if self._stopped:
            raise Died
        if self._holder is None:
            self._holder = self._loaded(blueprint)
        if self._spared and self._spare is None:
            self._spare = self._set_aside(self._holder)
        return self._holder

    def _loaded(self, blueprint: object) -> _Holder:
        line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                # one thread until it forks: threads do not come along, and what waits for them would wait for ever
                popen = _program(self._module, "nest", 1, theirs, subprocess.DEVNULL, self._settings)
        except OSError:
            line.close()
            raise
        made = _Holder(line, popen.pid, popen)
        self._loading = popen
        try:
            if self._stopped:
                popen.kill()
            error = made.ask(blueprint)
        except Died:
            made.end()
            raise
        finally:
            self._loading = None
        if error is not None:
            made.end()
            raise Refused(error)
        return made

    @staticmethod
    def _set_aside(holder: _Holder) -> _Holder:
        line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                return _Holder(line, holder.ask(("spare",), [theirs.fileno()]))
            except Died:
                line.close()
                raise

    def _wait(self, pid: int, holder: _Holder) -> int:
        with self._guard:
            return self._wait_for(pid, holder)

    def _wait_for(self, pid: int, holder: _Holder | None) -> int:
        if holder is not None and holder is self._holder:
            with suppress(Died):
                return int(holder.ask(("wait", pid)))
            self._succeed()
        return _reap(pid)


def adopting() -> bool:
    """Let processes whose parent ends become children of this one, and say whether the system does that (Linux)."""
    become = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
    try:
        return bool(ctypes.CDLL(None).prctl(become, ctypes.c_ulong(1), 0, 0, 0) == 0)
    except (AttributeError, OSError):  # another system
        return False


def _reap(pid: int) -> int:
    """Wait for the end of an orphan, and return how it ended; of one that this process did not adopt nobody knows."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return -int(signal.SIGKILL)


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
