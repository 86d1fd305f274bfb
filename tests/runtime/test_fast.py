"""An encoder that is set up for training trains in passes, and in none of them elsewhere."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sentvec.nn.passes import passes

SCRIPT = """
import torch
from tests.nn.stacks import batch_of, layers_of
from sentvec.nn.embeddings import TokenEmbeddings
from sentvec.runtime.fast import set_up_training

class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embeddings = TokenEmbeddings(vocab=10, hidden=64, positions=20, types=2, norm_eps=1e-12)
        self.layers = layers_of(2)

    def forward(self, batch):
        states = self.embeddings(batch)
        return states, self.layers(states, batch, "auto", None)

encoder, batch = Encoder().train(), batch_of((9, 5))
print([type(x.grad_fn).__name__ for x in encoder(batch)])
set_up_training(encoder)
print([type(x.grad_fn).__name__ for x in encoder(batch)])
"""


def test_an_encoder_trains_in_passes():
    if passes() is None:
        pytest.skip("there is no C++ compiler here; the log says what was tried")
    # in a process of its own, for memory is kept from then on
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    before, after = done.stdout.splitlines()
    assert "_EmbedBackward" not in before
    assert after == "['_EmbedBackward', '_StackBackward']"
