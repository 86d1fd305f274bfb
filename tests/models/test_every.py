"""What every architecture in the registry must do, whatever else its own tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.headed import tiny
from tests.models.oracle import assert_embeds_alike, assert_parity, random_batch, saved_and_loaded

from sentvec.batch import pack
from sentvec.models.registry import ARCHITECTURES
from sentvec.nn.embeddings import TokenEmbeddings
from sentvec.nn.passes import passes
from sentvec.nn.stack import Layers

pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle

LENGTHS = [7, 33, 2, 33, 60]
# the reference computes parts of these in float32 whatever its format; their own tests look closer
ROUNDING = ("xlm", "modernbert", "deberta-v2")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def every(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, tiny(folder, request.param, "Model"), folder


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_users_are_told_of_it(model_type):
    page = Path(__file__).parents[2] / "docs" / "models.md"
    assert f"\n| `{model_type}` | " in page.read_text(encoding="utf-8")


def test_numbers_equal_transformers(every, tmp_path):
    name, reference, folder = every
    types = saved_and_loaded(reference, folder).config.types
    exact = 5e-6 if name in ROUNDING else 1e-12
    assert_parity(reference, tmp_path, lengths=LENGTHS, types=max(types, 1), exact=exact)


def test_vectors_of_texts_and_pairs_equal_the_reference_and_are_saved(every, tmp_path):
    assert_embeds_alike(every[2], tmp_path)


def test_a_text_does_not_depend_on_its_neighbours(every, tmp_path):
    encoder = saved_and_loaded(every[1], tmp_path).double()
    texts, batch = random_batch(encoder.config.vocab, LENGTHS, types=max(encoder.config.types, 1))
    with torch.no_grad():
        together = encoder(batch).split(list(batch.lengths))
        for text, states in zip(texts, together, strict=True):
            torch.testing.assert_close(encoder(pack([text])), states, atol=1e-12, rtol=0)


def test_half_precision_strays_no_further_than_the_reference_s(every, tmp_path):
    name, reference, _ = every
    encoder = saved_and_loaded(reference, tmp_path)
    texts, batch = random_batch(encoder.config.vocab, LENGTHS, types=max(encoder.config.types, 1))
    ours, theirs = [], []
    for dtype in (torch.float32, torch.bfloat16):
        encoder.to(dtype)
        reference.to(dtype)
        with torch.no_grad():
            ours.append(encoder(batch).float())
            states = [
                reference(
                    input_ids=torch.tensor([text.ids]),
                    **({"token_type_ids": torch.tensor([text.types])} if encoder.config.types else {}),
                ).last_hidden_state[0]
                for text in texts
            ]
            theirs.append(torch.cat(states).float())
    reference.float()
    exact, half = ours
    strays = (half - exact).square().mean().sqrt()
    allowed = (theirs[1] - theirs[0]).square().mean().sqrt()
    assert 0 < strays < 1.25 * allowed, (name, strays, allowed)


def test_gradients_reach_every_part(every, tmp_path):
    name, reference, _ = every
    encoder = saved_and_loaded(reference, tmp_path).train()
    _, batch = random_batch(encoder.config.vocab, [5, 9], types=max(encoder.config.types, 1))
    states = encoder(batch)
    (states.square().sum() if encoder.pooler is None else encoder.pooler(states).square().sum()).backward()
    without = [parameter for parameter, values in encoder.named_parameters() if values.grad is None]
    assert without == (["query_stream"] if name == "xlnet" else [])  # of XLNet's pre-training


def test_training_in_passes_that_are_written_out_gives_the_same_gradients(every, tmp_path):
    _, reference, _ = every
    plain, fast = (saved_and_loaded(reference, tmp_path) for _ in range(2))
    for module in fast.modules():
        if isinstance(module, Layers | TokenEmbeddings):
            module.fuse_training(passes())
    _, batch = random_batch(plain.config.vocab, [5, 9, 9], types=max(plain.config.types, 1))
    for encoder in (plain, fast):
        encoder(batch).square().sum().backward()
    for (name, expected), found in zip(plain.named_parameters(), fast.parameters(), strict=True):
        assert (expected.grad is None) == (found.grad is None), name
        if expected.grad is not None:
            scale = float(expected.grad.abs().max()) + 1e-3
            assert float((expected.grad - found.grad).abs().max()) < 1e-4 * scale, name
