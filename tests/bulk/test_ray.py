"""Encoding on a real Ray of this machine: whole, unique and in order, also when an actor is killed."""

from __future__ import annotations

import os
import re
import signal
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tests.builders import add_modules, tiny_bert
from tests.cli.running import inside
from tests.runtime.writer import texts

from sentvec import Embedder
from sentvec.errors import InvalidInput, ModelError, WorkerDied
from sentvec.runtime import spread
from sentvec.runtime.shards import read_manifest, read_vectors
from sentvec.runtime.spread import Task

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray, which the extra `ray` installs"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of many kinds
]
NONE = {"prompt": None, "prompt_name": None, "dim": None, "normalize": None}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start Ray: no network beyond this machine, nothing sent to its makers, little memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        import ray

        ray.init(
            address="local",
            num_cpus=4,
            object_store_memory=100 * 1024 * 1024,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
        )
        yield ray
        ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return add_modules(tiny_bert(tmp_path_factory.mktemp("model")), "Pooling", "Normalize")


@pytest.fixture(scope="module")
def tiny(folder):
    return Embedder.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def two(cluster, tiny):
    from sentvec.bulk.ray import RayWorkers

    with RayWorkers(tiny, 2) as workers:
        yield workers


@pytest.fixture(autouse=True)
def _small_tasks(monkeypatch):
    monkeypatch.setattr(spread, "TASK_TEXTS", 16)


def everything(out: Path) -> tuple[list, np.ndarray]:
    parts = list(read_vectors(out))
    return [name for ids, _ in parts for name in ids], np.concatenate([vectors for _, vectors in parts])


def test_rows_are_whole_and_unique_when_one_of_two_actors_is_killed(tiny, two, tmp_path):
    before, out = two.pids, tmp_path / "out"
    names = [f"id-{i}" for i in range(2000)]

    def rows():
        for i, text in enumerate(texts(2000)):
            if i == 800:
                os.kill(before[0], signal.SIGKILL)
            yield text

    report = tiny.encode_to(out, rows(), ids=names, shard_rows=300, workers=two)
    assert (report.rows, report.encoded, report.shards) == (2000, 2000, 7)
    assert set(two.pids) - set(before), "nobody was killed"
    assert before[1] in two.pids
    tiny.encode_to(tmp_path / "undisturbed", texts(2000), ids=names, shard_rows=300)
    ids, vectors = everything(out)
    assert ids == names
    np.testing.assert_allclose(vectors, everything(tmp_path / "undisturbed")[1], atol=1e-6)
    found, expected = (read_manifest(path)[0] for path in (out, tmp_path / "undisturbed"))
    assert found["key"] == expected["key"]
    assert [part["input_sha256"] for part in found["shards"]] == [part["input_sha256"] for part in expected["shards"]]


def test_a_run_goes_on_with_what_another_engine_began(tiny, two, tmp_path):
    def broken():
        yield from texts(100)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        tiny.encode_to(tmp_path / "out", broken(), shard_rows=30)
    first = tiny.encode_to(tmp_path / "out", texts(300), shard_rows=30, resume=True, workers=two)
    assert 0 < first.resumed + first.encoded == 300
    assert tiny.encode_to(tmp_path / "out", texts(400), shard_rows=30, resume=True).resumed == 300
    ids, vectors = everything(tmp_path / "out")
    assert ids == list(range(400))
    np.testing.assert_allclose(vectors, tiny.encode(texts(400)), atol=1e-6)


def test_errors_are_those_of_one_process(tiny, two):
    rows: list = list(texts(200))
    rows[150] = "half \ud800"
    with pytest.raises(InvalidInput) as alone:
        tiny.encode(rows)
    with pytest.raises(InvalidInput, match=f"^{re.escape(str(alone.value))}$"):
        tiny.encode(rows, workers=two)


def test_rows_that_kill_every_actor_are_named(cluster, tiny):
    from sentvec.bulk.ray import RayWorkers

    with RayWorkers(tiny, 1, cpus=0.5) as workers:
        answer = workers.submit(Task(40, [f"{i} " * 60 for i in range(200_000)], NONE))
        seen: set[int] = set()
        while not answer.done():
            for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    busy = b"ray::_Actor.encode" in cmdline.read_bytes()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if busy and int(cmdline.parent.name) not in seen:
                    seen.add(int(cmdline.parent.name))
                    os.kill(int(cmdline.parent.name), signal.SIGKILL)
        with pytest.raises(WorkerDied, match=r"died over rows 40 to 200039 of the input"):
            answer.result()
        assert len(seen) >= 3


def test_a_dataset_is_read_in_order(cluster, tiny, tmp_path, monkeypatch):
    from sentvec.bulk.ray import encode_to

    rows = [{"name": f"id-{i}", "body": text} for i, text in enumerate(texts(500))]
    data = cluster.data.from_items(rows, override_num_blocks=7)
    options = {"text_column": "body", "id_column": "name", "shard_rows": 200, "cpus": 0.5}
    report = encode_to(tmp_path / "out", data, tiny, **options)
    assert report.rows == 500
    ids, vectors = everything(tmp_path / "out")
    assert ids == [row["name"] for row in rows]
    np.testing.assert_allclose(vectors, tiny.encode(texts(500)), atol=1e-6)
    again = encode_to(tmp_path / "out", data, tiny, **options, resume=True, workers=1)
    assert (again.encoded, again.resumed) == (0, 500)
    with pytest.raises(InvalidInput, match=r"the dataset has no column 'text' \(it has: name, body\)"):
        encode_to(tmp_path / "other", data, tiny, cpus=0.5)
    monkeypatch.setattr("sentvec.bulk.ray._PATIENCE", 0)
    with pytest.raises(InvalidInput, match="9 workers of 1 CPUs each, and 1 CPU to read the dataset, are more than"):
        encode_to(tmp_path / "other", data, tiny, workers=9)


def test_a_step_for_pipelines_of_ones_own(cluster, folder, tiny):
    from sentvec.bulk.ray import Encoder

    data = cluster.data.from_items([{"n": i, "text": text} for i, text in enumerate(texts(60))])
    found = data.map_batches(
        Encoder,
        fn_constructor_args=(str(folder),),
        fn_constructor_kwargs={"device": "cpu", "options": {"dim": 8}},
        batch_size=20,
        concurrency=1,
    ).take_all()
    vectors = np.stack([row["vector"] for row in sorted(found, key=lambda row: row["n"])])
    np.testing.assert_allclose(vectors, tiny.encode(list(texts(60)), dim=8), atol=1e-6)


def test_the_command_line_goes_on_where_processes_stopped(cluster, folder, tiny, tmp_path, monkeypatch, capsys):
    run = inside(monkeypatch, capsys)
    source, out = tmp_path / "rows.txt", tmp_path / "out"
    source.write_text("".join(f"{text}\n" for text in texts(100)))
    command = ("encode", source, "-m", folder, "-o", out, "--device", "cpu", "--shard-rows", "30", "--workers", "1")
    assert run(*command).code == 0
    source.write_text("".join(f"{text}\n" for text in texts(300)))
    assert "100 of them from before" in run(*command, "--engine", "ray", "--resume").err
    ids, vectors = everything(out)
    assert ids == list(range(300))
    np.testing.assert_allclose(vectors, tiny.encode(texts(300)), atol=1e-6)


def test_what_cannot_be(cluster, folder, tiny):
    from sentvec.bulk.ray import RayWorkers

    for values in ({"workers": 0}, {"workers": True}, {"gpus": 0}, {"cpus": -1}):
        with pytest.raises(InvalidInput, match="give 1 worker or more"):
            RayWorkers(tiny, **values)
    with pytest.raises(InvalidInput, match="device 'cuda:1' cannot be used on Ray"):
        RayWorkers(tiny, device="cuda:1")
    with pytest.raises(InvalidInput, match="to have 5 CPUs, but no machine of the cluster has more than 4"):
        RayWorkers(tiny, 1, cpus=5)
    with pytest.raises(InvalidInput, match="to have 1 GPUs, but no machine of the cluster has more than 0"):
        RayWorkers(tiny, 1, device="cuda")
    changed = Embedder.from_pretrained(folder, device="cpu")
    next(changed.encoder.parameters()).data.mul_(1.5)
    with RayWorkers(changed, 1, cpus=0.5) as workers, pytest.raises(ModelError, match="is not the model"):
        changed.encode(["a cat"], workers=workers)
    changed.folder = None
    with pytest.raises(InvalidInput, match="no folder that other machines"):
        RayWorkers(changed, 1)
