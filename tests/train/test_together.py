"""Several processes, joined by gloo, have the gradient that one process has with the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.builders import tiny_bert
from tests.train.runs import Pairs, go, learner, sentences

from sentvec import Embedder
from sentvec.train.batches import Batch
from sentvec.train.config import TrainConfig
from sentvec.train.plot import read_metrics
from sentvec.train.together import joined

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("model"), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def together(program: str, *arguments: str, count: int = 2) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}", "--master-port=0"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "-m", "tests.train.shared", program, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("joined at the end: False") == count


@pytest.mark.parametrize("tokens", ["16384", "24"])
def test_two_processes_have_the_gradient_of_one(model, tmp_path, tokens):
    together("gradients", str(model), str(tmp_path), tokens)
    alone = learner(model, TrainConfig())
    _, batch = next(Pairs(size=7).batches(0))
    loss = alone.run(0, batch, 1.0, 1)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert found["loss"] == pytest.approx(loss, abs=1e-5)
        for name, parameter in alone.encoder.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(found["grads"][name], parameter.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("adapters", [None, 2])
def test_a_run_of_two_ends_as_a_run_of_one(model, tmp_path, adapters):
    together("run", str(model), str(tmp_path / "two"), *([] if adapters is None else [str(adapters)]))
    go(model, tmp_path / "one", save_every=None, lora_rank=adapters)
    # weights themselves may differ where the gradient is nothing but rounding, which Adam scales up: biases of keys
    one, two = (Embedder.from_pretrained(tmp_path / name).encode(sentences(20)) for name in ("one", "two"))
    assert torch.cosine_similarity(torch.tensor(one), torch.tensor(two)).min() > 0.9999
    read = [read_metrics(tmp_path / name / "run" / "metrics.jsonl") for name in ("one", "two")]
    for left, right in zip(*read, strict=True):
        assert left["loss"] == pytest.approx(right["loss"], abs=1e-3)


def test_shares_are_joined_in_order():
    shares = [
        Batch("tuples", (("q1",), ("p1",), ("n1", "n2")), owners=torch.tensor([0, 0])),
        Batch("tuples", (("q2", "q3"), ("p2", "p3"), ("n3",)), owners=torch.tensor([1])),
    ]
    whole = joined(shares)
    assert whole.columns == (("q1", "q2", "q3"), ("p1", "p2", "p3"), ("n1", "n2", "n3"))
    assert whole.owners.tolist() == [0, 0, 2]
    scored = [
        Batch("scored", (("a",), ("b",)), values=torch.tensor([0.5])),
        Batch("scored", ((), ()), values=torch.empty(0)),
    ]
    assert joined(scored).values.tolist() == [0.5]
