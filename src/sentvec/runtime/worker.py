"""One worker: a blueprint of a model and tasks in, vectors out. What runs in each process of a pool.

As a program (`main`, or forked by `nest`) it reads pickles from one pipe and writes pickles to another, at whose ends
is the process that wants the vectors. It ends when that process does, however that ends.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import socket
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, NoReturn, Protocol

import torch

from sentvec.batch import TokenIds, pack
from sentvec.errors import ModelError, SentvecError
from sentvec.runtime.embedder import Embedder
from sentvec.runtime.engine import Window
from sentvec.runtime.report import Truncation
from sentvec.runtime.spread import Answer, Blueprint, Task


class Servant(Protocol):
    """What a process does with tasks."""

    def warm(self) -> None:
        """Make everything ready, without starting a thread."""

    def tokenise(self, task: Any) -> Any:
        """Do what does not need the device; called while another task is encoded."""

    def encode(self, task: Any, ready: Any) -> object:
        """Do the rest, and return the answer."""


class Worker:
    """A model made from a blueprint, and the two steps of a task.

    Args:
        blueprint: what model to make. Its weights are mapped from the file, so that processes share them.
        device: where to put it.

    Raises:
        ModelError: the folder, or the model of that name on this machine, is another one.
    """

    def __init__(self, blueprint: Blueprint, device: str) -> None:
        here = blueprint.folder.is_dir()
        snapshot = blueprint.folder.parent.name == "snapshots"  # of the Hub's cache: the folder's name is the commit
        source: Path | str = blueprint.folder if here else blueprint.name
        self._model = Embedder.from_pretrained(
            source,
            precision=blueprint.precision,
            device=device,
            revision=blueprint.folder.name if snapshot and not here else None,
            local_files_only=here,
            pooling=blueprint.pooling,
            max_seq_length=blueprint.max_seq_length,
        )
        if self._model.fingerprint != blueprint.fingerprint:
            raise ModelError(
                f"{source} is not the model that is being encoded with: its files, or the model after it was loaded, "
                "have changed. Save it with save_pretrained, load it from there, and encode again."
            )

    def warm(self) -> None:
        """Make weights ready for the processor now. No text: the tokeniser would start threads."""
        model = self._model
        with torch.inference_mode():
            model._job().forward(pack([TokenIds([0] * 4, [0] * 4)], model.device))

    def tokenise(self, task: Task) -> Window:
        """Do what does not need the device."""
        model = self._model
        return model._engine.window(task.texts, model._job(**task.options).prefix, task.first)

    def encode(self, task: Task, window: Window) -> Answer:
        """Do the rest."""
        model = self._model
        report = Truncation(model.max_seq_length)
        read: list[int] = []

        def advance(steps: int, tokens: int = 0, *, label: str | None = None, note: str | None = None) -> None:
            read.append(tokens)

        vectors = model._engine.encode(window, model._job(**task.options), report, advance)
        return Answer(vectors, report, sum(read))


def main(make: Callable[[Any, str], Servant] = Worker) -> None:
    """Encode for the process that started this one, and sends a blueprint and a device first."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _quiet()
    try:
        worker = make(*pickle.load(source))  # noqa: S301 - from our own parent
    except (EOFError, pickle.UnpicklingError):  # it ended before it said all
        return
    except Exception as error:
        _say(sink, portable(error))
        return
    _serve(worker, source, sink)


def nest(make: Callable[[Any, str], Servant] = Worker) -> None:
    """Load a model and fork workers that share it, as the process at the other end of standard input asks."""
    line = socket.socket(fileno=os.dup(0))
    _quiet()
    with suppress(ConnectionError):  # that process has ended, and with it our work
        _brood(line, make)


def _brood(line: socket.socket, make: Callable[[Any, str], Servant]) -> None:
    worker: Servant | None = None
    while True:
        message, files, _, _ = socket.recv_fds(line, 1 << 16, 2)
        if not message:
            return
        answer: Any = None
        match pickle.loads(message):  # noqa: S301 - from our own parent
            case ("fork", int(threads)):
                assert worker is not None
                answer = os.fork()
                if answer == 0:
                    line.close()
                    os.environ["RAYON_NUM_THREADS"] = str(threads)
                    torch.set_num_threads(threads)
                    _serve(worker, os.fdopen(files[0], "rb"), os.fdopen(files[1], "wb"))
                for file in files:
                    os.close(file)
            case ("spare",):
                answer = os.fork()
                _call_this("sentvec-models" if answer else "sentvec-spare")
                if answer == 0:
                    line.close()
                    line = socket.socket(fileno=files[0])
                    continue
                os.close(files[0])
            case ("wait", int(pid)):
                answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            case blueprint:
                try:
                    worker = make(blueprint, "cpu")
                    worker.warm()
                    gc.freeze()  # else the collector would write to pages that are shared
                except Exception as error:
                    answer = portable(error)
        line.send(pickle.dumps(answer))


def _call_this(name: str) -> None:
    """Give this process a name by which its system's list of processes tells it from others."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def _quiet() -> None:
    os.dup2(2, 1)  # what libraries print must not come between the answers
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    logging.getLogger("sentvec").setLevel(logging.ERROR)  # what loading says, the process that started this one said


def _serve(worker: Servant, source: BinaryIO, sink: BinaryIO) -> NoReturn:
    _say(sink, None)
    ready: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
    threading.Thread(target=_read, args=(source, worker, ready), daemon=True).start()
    while True:
        task, prepared = ready.get()
        answer: Any = prepared
        if not isinstance(prepared, Exception):
            try:
                answer = worker.encode(task, prepared)
            except Exception as error:
                answer = portable(error)
        _say(sink, answer)


def _read(source: BinaryIO, worker: Servant, ready: SimpleQueue[tuple[Any, Any]]) -> None:
    """Tokenise one task while another is encoded; the other side sends no more than it wants held here."""
    while True:
        try:
            task = pickle.load(source)  # noqa: S301 - from our own parent
        except (EOFError, OSError, pickle.UnpicklingError):
            os._exit(0)  # our parent has ended, and nobody waits for what is being encoded
        except Exception:
            traceback.print_exc()
            os._exit(1)  # what cannot be read would be waited for, for ever
        try:
            ready.put((task, worker.tokenise(task)))
        except Exception as error:
            ready.put((task, portable(error)))


def _say(sink: BinaryIO, answer: object) -> None:
    try:
        pickle.dump(answer, sink, protocol=pickle.HIGHEST_PROTOCOL)
        sink.flush()
    except BrokenPipeError:
        os._exit(0)


def portable(error: Exception) -> Exception:
    """Return an error that another process can read, with the stack of this one where it was not expected."""
    if not isinstance(error, SentvecError):
        error.add_note("In the worker:\n" + "".join(traceback.format_exception(error)).rstrip())
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:
        return RuntimeError(f"{type(error).__name__} in a worker: {error}")
    return error
