"""Encoding in several processes: the same vectors in the same order, whoever dies on the way."""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.builders import add_modules, tiny_bert
from tests.runtime.writer import texts

from sentvec import Embedder
from sentvec.checkpoint.load import load
from sentvec.errors import InvalidInput, ModelError, OutputError, WorkerDied
from sentvec.runtime import spread
from sentvec.runtime.shards import MANIFEST, read_manifest, read_vectors
from sentvec.runtime.spread import Task, blueprint_of
from sentvec.runtime.workers import TRIES, Workers

ROOT = Path(__file__).resolve().parents[2]
NONE = {"prompt": None, "prompt_name": None, "dim": None, "normalize": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return add_modules(tiny_bert(tmp_path_factory.mktemp("model")), "Pooling", "Normalize")


@pytest.fixture(scope="module")
def tiny(folder):
    return Embedder.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def two(tiny):
    with Workers(tiny, 2) as workers:
        yield workers


@pytest.fixture(autouse=True)
def _small_tasks(monkeypatch):
    monkeypatch.setattr(spread, "TASK_TEXTS", 16)


def running(pid: int) -> bool:
    """Whether there is such a process that has not ended; one that waits to be buried has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_vectors_and_their_order_are_those_of_one_process(tiny, two):
    rows = list(texts(500))
    np.testing.assert_allclose(tiny.encode(rows, workers=two), tiny.encode(rows), atol=1e-6)
    options = {"prompt": "query: ", "dim": 8, "normalize": False}
    found = tiny.encode(iter(rows), workers=two, **options)
    np.testing.assert_allclose(found, tiny.encode(rows, **options), atol=1e-6)
    assert len(two.pids) == 2
    assert tiny.encode([], workers=two).shape == (0, 32)
    np.testing.assert_allclose(tiny.encode("one", workers=two), tiny.encode("one"), atol=1e-6)
    pairs = [(f"question {i}", f"answer {i}") for i in range(40)]
    np.testing.assert_allclose(tiny.encode(pairs, workers=two), tiny.encode(pairs), atol=1e-6)


def test_what_was_cut_off_is_reported_once_for_all(tiny, two, caplog):
    rows = ["cat " * (60 + i) for i in range(50)]
    tiny.encode(rows)
    tiny.encode(rows, workers=two)
    alone, together = (record.getMessage() for record in caplog.records)
    assert alone == together
    assert "the longest, text 49, has" in together


def test_a_process_that_is_killed_is_replaced(tiny, two, caplog):
    rows = list(texts(1000))
    stream = tiny.encode_stream(rows, workers=two)
    found = [next(stream)]
    victim = two.pids[0]
    os.kill(victim, signal.SIGKILL)
    found += stream
    np.testing.assert_allclose(np.concatenate(found), tiny.encode(rows), atol=1e-6)
    assert not running(victim)
    assert re.search(r"a worker process was ended by SIGKILL; rows \d+ to \d+ are encoded again", caplog.text)
    np.testing.assert_allclose(tiny.encode(rows, workers=two), tiny.encode(rows), atol=1e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, workers are not forked")
def test_all_processes_are_killed_and_that_which_they_were_forked_from(tiny):
    rows, others = list(texts(400)), family()
    with Workers(tiny, 2) as workers:
        stream = tiny.encode_stream(rows, workers=workers)
        found = [next(stream)]
        for pid in family() - others:
            os.kill(pid, signal.SIGKILL)
        found += stream
    np.testing.assert_allclose(np.concatenate(found), tiny.encode(rows), atol=1e-6)


def test_rows_that_kill_every_process_are_named(tiny):
    with Workers(tiny, ["cpu"]) as workers:
        seen: set[int] = set()
        answer = workers.submit(Task(40, [f"{i} " * 60 for i in range(100_000)], NONE))
        for _ in range(TRIES):
            until(lambda: set(workers.pids) - seen)
            (pid,) = set(workers.pids) - seen
            seen.add(pid)
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(
            WorkerDied, match=r"died over rows 40 to 100039 of the input; the last was ended by SIGKILL"
        ):
            answer.result(60)
        again = workers.submit(Task(0, ["a cat"], NONE)).result(60)  # others go on
        np.testing.assert_allclose(again.vectors, tiny.encode(["a cat"]), atol=1e-6)


@pytest.mark.parametrize("odd", [7, "half \ud800"], ids=["number", "surrogate"])
def test_a_text_that_is_none_gives_the_error_of_one_process(tiny, two, odd):
    rows: list = list(texts(200))
    rows[150] = odd
    with pytest.raises(InvalidInput) as alone:
        tiny.encode(rows)
    stream = tiny.encode_stream(rows, workers=two)
    done = 0
    with pytest.raises(InvalidInput) as together:
        for vectors in stream:
            done += len(vectors)
    assert str(together.value) == str(alone.value)
    assert "text 150 is" in str(alone.value)
    assert done >= 144  # whole tasks before it


def test_what_was_read_before_the_source_broke_is_given_out(tiny, two):
    def broken():
        yield from texts(100)
        raise RuntimeError("the source broke")

    done = 0
    with pytest.raises(RuntimeError, match="the source broke"):
        for vectors in tiny.encode_stream(broken(), workers=two):
            done += len(vectors)
    assert done == 100


def test_no_more_is_read_than_is_kept_under_way(tiny, two):
    read = []
    stream = tiny.encode_stream((read.append(text) or text for text in texts(10_000)), workers=two)
    next(stream)
    assert len(read) <= 16 * (two.depth + 1)
    stream.close()


def test_all_processes_map_one_copy_of_the_weights(tiny, two):
    tiny.encode(list(texts(100)), workers=two)
    assert len(two.pids) == 2
    for pid in two.pids:
        maps = Path(f"/proc/{pid}/smaps").read_text()
        start = maps.index("model.safetensors")
        sizes = dict(re.findall(r"^(\w+): +(\d+) kB$", maps[start : maps.index("VmFlags", start)], re.MULTILINE))
        assert int(sizes["Rss"]) > 0
        assert int(sizes["Private_Dirty"]) == int(sizes["Anonymous"]) == 0


def test_a_model_without_files_is_saved_for_the_workers(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    checkpoint = load(folder)
    checkpoint = replace(checkpoint, recipe=replace(checkpoint.recipe, pooling=("max",), max_seq_length=12))
    with torch.no_grad():
        next(checkpoint.encoder.parameters()).mul_(1.5)
    model = Embedder(checkpoint, name="mine", device="cpu")
    np.testing.assert_allclose(model.encode(list(texts(20)), workers=["cpu"]), model.encode(list(texts(20))), atol=1e-6)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_that_of_its_folder_is_refused(folder):
    model = Embedder.from_pretrained(folder, device="cpu")
    with torch.no_grad():
        next(model.encoder.parameters()).mul_(1.5)
    with pytest.raises(ModelError, match="is not the model that is being encoded with"):
        model.encode(["a cat"], workers=["cpu"])


def test_workers_that_cannot_be(tiny, two, tmp_path):
    for workers in (0, -1, True, 2.5, "cpu", [], ["cpu", 1]):
        with pytest.raises(InvalidInput, match="give a number of processes"):
            tiny.encode(["a cat"], workers=workers)
    with pytest.raises(InvalidInput, match="device 'toaster' cannot be used"):
        tiny.encode(["a cat"], workers=["toaster"])
    with pytest.raises(InvalidInput, match="dim is 99"):
        tiny.encode_stream(["a cat"], workers=two, dim=99)
    other = Embedder.from_pretrained(add_modules(tiny_bert(tmp_path / "other"), "Pooling"), device="cpu")
    with pytest.raises(InvalidInput, match="these workers encode with another model"):
        other.encode(["a cat"], workers=two)
    closed = Workers(tiny, 2)
    closed.close()
    with pytest.raises(InvalidInput, match="these workers are closed"):
        tiny.encode(["a cat"], workers=closed)


class Named(str):
    """Texts as some libraries give them: a str of a class that no other process can find."""

    __slots__ = ()
    __module__ = "only_here"


def test_texts_and_prompts_of_classes_of_ones_own(tiny, two):
    rows = [Named(text) for text in texts(40)]
    expected = tiny.encode(list(texts(40)), prompt="query: ")
    np.testing.assert_allclose(tiny.encode(rows, workers=two, prompt=Named("query: ")), expected, atol=1e-6)
    pairs = [(text, text) for text in rows]
    np.testing.assert_allclose(tiny.encode(pairs, workers=two), tiny.encode(pairs), atol=1e-6)


def test_a_task_that_cannot_be_sent_or_read_is_an_error(tiny, two, monkeypatch):
    with pytest.raises(Exception, match="pickle"):
        two.submit(Task(0, ["a cat"], NONE | {"dim": lambda: 8})).result(60)
    monkeypatch.setitem(sys.modules, "only_here", SimpleNamespace(Named=Named))
    with pytest.raises(WorkerDied, match="ended with code 1"):
        two.submit(Task(0, ["a cat"], NONE | {"prompt": Named("a ")})).result(120)
    np.testing.assert_allclose(tiny.encode(["a cat"], workers=two), tiny.encode(["a cat"]), atol=1e-6)


def test_no_process_can_be_started(tiny, monkeypatch):
    with Workers(tiny, 2) as workers:
        monkeypatch.setattr(sys, "executable", "/no/such/python")
        answers = [workers.submit(Task(i, ["a cat"], NONE)) for i in range(4)]
        for answer in answers:
            with pytest.raises(FileNotFoundError):
                answer.result(60)
        monkeypatch.undo()
        assert workers.submit(Task(0, ["a cat"], NONE)).result(60).vectors.shape == (1, 32)


def test_threads_share_workers(tiny):
    rows, found = list(texts(64)), []
    with Workers(tiny, 2) as workers:
        threads = [threading.Thread(target=lambda: found.append(tiny.encode(rows, workers=workers))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(workers.pids) <= 2
    assert len(found) == 8
    for vectors in found:
        np.testing.assert_allclose(vectors, tiny.encode(rows), atol=1e-6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_workers_stay_with_the_process_that_made_them(tiny, two):
    before = tiny.encode(["a cat"], workers=two), two.pids
    child = os.fork()
    if child == 0:
        try:
            two.submit(Task(0, ["a cat"], NONE))
        except InvalidInput as error:
            two.close()
            os._exit("forked from" in str(error))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    np.testing.assert_allclose(tiny.encode(["a cat"], workers=two), before[0], atol=1e-6)
    assert two.pids == before[1]


def test_files_are_those_of_one_process(tiny, two, tmp_path):
    tiny.encode_to(tmp_path / "alone", texts(300), shard_rows=70)
    report = tiny.encode_to(tmp_path / "spread", texts(300), shard_rows=70, workers=two)
    assert (report.rows, report.encoded, report.shards) == (300, 300, 5)
    alone, together = (read_manifest(tmp_path / name) for name in ("alone", "spread"))
    assert alone[0]["key"] == together[0]["key"]
    assert [shard.input_sha256 for shard in alone[1]] == [shard.input_sha256 for shard in together[1]]
    assert tiny.encode_to(tmp_path / "spread", texts(300), shard_rows=70, resume=True).resumed == 300


def family() -> set[int]:
    """Processes below this one that encode, or fork those that do."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if b"runtime.worker" in (stat.parent / "cmdline").read_bytes():
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {pid for pid, parent in parents.items() if parent == os.getpid()}
    return found | {pid for pid, parent in parents.items() if parent in found}


def test_processes_end_when_writing_fails(tiny, tmp_path):
    others, ours = family(), set()
    (tmp_path / "out").mkdir()

    def rows():
        for i, text in enumerate(texts(400)):
            if i == 200:
                ours.update(family() - others)
                (tmp_path / "out" / "part-00002.npy").mkdir()
            yield text

    with pytest.raises(OutputError, match="100 finished rows stay") as held:  # with its frames, and what they hold
        tiny.encode_to(tmp_path / "out", rows(), shard_rows=50, file_format="npy", workers=2)
    assert held.value.__traceback__ is not None
    assert len(ours) == 3  # two, and the one that they were forked from
    assert not any(running(pid) for pid in ours)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, workers are not forked")
def test_a_parent_that_ends_while_the_model_is_loaded_is_not_complained_of(tiny, folder):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-c", "from sentvec.runtime.worker import nest; nest()"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with theirs, subprocess.Popen(command, stdin=theirs, stderr=subprocess.PIPE, env=environment) as program:
        theirs.close()
        socket.send_fds(ours, [pickle.dumps(blueprint_of(tiny, folder))], [])
        ours.close()
        said = program.communicate(timeout=300)[1]
    assert (program.returncode, said) == (0, b"")


SCRIPT = """
# no `if __name__ == "__main__"`: nothing of a script may run again in its workers
import sys
from tests.runtime.writer import texts
from sentvec import Embedder
from sentvec.runtime import spread
from sentvec.runtime.workers import Workers

spread.TASK_TEXTS = 16
model = Embedder.from_pretrained(sys.argv[1], device="cpu")
workers = Workers(model, 2)

def rows():
    for i, text in enumerate(texts(100_000)):
        if i == 600:
            print(*workers.pids, flush=True)
        yield text

model.encode_to(sys.argv[2], rows(), shard_rows=50, resume=True, progress=False, workers=workers)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_parent_that_ends_leaves_no_process_and_whole_parts(folder, tiny, tmp_path, number):
    (tmp_path / "script.py").write_text(SCRIPT)
    out = tmp_path / "out"
    command = [sys.executable, str(tmp_path / "script.py"), str(folder), str(out)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(running(pid) for pid in pids)
        os.killpg(parent.pid, number)  # what Ctrl-C does
        said = parent.communicate(timeout=60)[1]
    assert parent.returncode == -number
    assert said.count("Traceback") == (number == signal.SIGINT)  # the parent's own, and no worker's
    until(lambda: not any(running(pid) for pid in pids), seconds=20)
    done = read_manifest(out)[0]["rows"] if (out / MANIFEST).exists() else 0
    report = tiny.encode_to(out, texts(2000), shard_rows=50, resume=True)
    assert 0 < done == report.resumed < 2000
    parts = list(read_vectors(out))
    assert [name for ids, _ in parts for name in ids] == list(range(2000))
    np.testing.assert_allclose(np.concatenate([part for _, part in parts]), tiny.encode(texts(2000)), atol=1e-6)
