"""A process that encodes, by itself: whose cores it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.builders import tiny_bert

ON_ONE_CORE = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import torch
from sentvec import Embedder
from sentvec.serve.child import CROWDED, Servant
from sentvec.serve.work import Loaded, Order, Work

model = Embedder.from_pretrained(sys.argv[1], device="cpu", precision="float32")
servant = Servant(Loaded(sys.argv[1], "float32", None, None, model.fingerprint), "cpu")
ids, _ = model.tokenizer.assemble([30] * 18)
took = []
for shares in [1, 2, *[2] * CROWDED, 1, 2, 2]:
    servant.encode(Order(Work("vectors"), [ids], 1, shares), None)
    took.append(torch.get_num_threads())
assert took == [1, 2, *[1] * CROWDED, 1, 2, 1], took
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process be held to a core")
def test_cores_of_others_are_taken_and_left_again_where_there_are_none(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "model")
    done = subprocess.run([sys.executable, "-c", ON_ONE_CORE, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
