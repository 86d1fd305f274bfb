"""Learned temperatures stay in their range, guides are asked, and memories come back as they were."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from tests.builders import tiny_bert
from tests.train.runs import Pairs, learner

from sentvec.errors import InvalidInput
from sentvec.ops.losses.contrastive import guide_mask, info_nce
from sentvec.train.batches import Batch
from sentvec.train.config import TrainConfig
from sentvec.train.loop import train
from sentvec.train.objectives import objective

DIM = 6


def batch_of(*numbers: int) -> tuple[Batch, tuple[torch.Tensor, ...]]:
    texts = tuple(f"query {i}" for i in numbers), tuple(f"document {i}" for i in numbers)
    return Batch("pairs", texts), (torch.randn(len(numbers), DIM), torch.randn(len(numbers), DIM))


class TestTemperature:
    @pytest.mark.parametrize("name", ["infonce", "infonce_memory"])
    def test_it_is_learned(self, name):
        given = {"dim": DIM} if name == "infonce_memory" else {}
        learnt = objective(name, temperature=0.5, learn_temperature=True, **given)
        batch, (queries, _) = batch_of(1, 2, 3)
        optimizer = torch.optim.SGD(learnt.parameters(), lr=0.1)
        before = learnt((queries, queries), batch)
        before.backward()
        optimizer.step()
        (scale,) = learnt.parameters()
        assert math.exp(-scale.item()) < 0.5  # what is right already may be said more sharply

    @pytest.mark.parametrize(("wild", "kept"), [(50.0, 0.01), (-50.0, 1.0)])
    def test_it_stays_in_its_range_and_can_leave_the_limit_again(self, wild, kept):
        learnt = objective("infonce", learn_temperature=True)
        (scale,) = learnt.parameters()
        scale.data.fill_(wild)
        batch, vectors = batch_of(1, 2, 3)
        loss = learnt(vectors, batch)
        torch.testing.assert_close(loss, info_nce(*vectors, temperature=kept))
        loss.backward()
        assert scale.grad != 0

    def test_a_fixed_one_is_no_parameter(self):
        assert list(objective("infonce").parameters()) == []
        assert not any(one.requires_grad for one in objective("sigmoid", learn=False).parameters())


class TestGuide:
    @pytest.mark.parametrize("relative", [False, True])
    def test_what_it_finds_nearer_than_the_positive_is_left_out(self, relative):
        asked = []

        def guide(texts):
            asked.append(list(texts))
            return np.stack([np.random.default_rng(abs(hash(text)) % 1000).normal(size=3) for text in texts])

        batch, vectors = batch_of(*range(8))
        found = objective("gist", guide=guide, margin=0.1, relative=relative)(vectors, batch)
        assert asked == [list(column) for column in batch.columns]
        read = [torch.as_tensor(guide(column)) for column in batch.columns]
        mask = guide_mask(*read, margin=0.1, relative=relative)
        assert mask.any()
        torch.testing.assert_close(found, info_nce(*vectors, mask=mask, temperature=0.01))

    def test_an_embedder_can_be_the_guide(self, minilm):
        batch, vectors = batch_of(1, 2, 3)
        assert objective("gist", guide=minilm.encode)(vectors, batch) > 0


class TestMemory:
    def test_past_documents_are_negatives(self):
        learnt, plain = objective("infonce_memory", dim=DIM, size=5), objective("infonce")
        first, vectors = batch_of(1, 2, 3)
        assert learnt(vectors, first) == plain(vectors, first)
        second, (queries, documents) = batch_of(4, 5)
        expected = info_nce(queries, torch.cat([documents, vectors[1]]))
        torch.testing.assert_close(learnt((queries, documents), second), expected)
        third, (asked, right) = batch_of(6)  # five are remembered, and all are younger than document 1 now
        expected = info_nce(asked, torch.cat([right, vectors[1], documents]))
        torch.testing.assert_close(learnt((asked, right), third), expected)
        fourth, (asked, last) = batch_of(7)
        expected = info_nce(asked, torch.cat([last, right, vectors[1][1:], documents]))
        torch.testing.assert_close(learnt((asked, last), fourth), expected)

    def test_known_positives_are_not(self):
        learnt = objective("infonce_memory", dim=DIM, temperature=1.0)  # mild, so that every document counts
        _, vectors = batch_of(1, 2, 3)
        learnt(vectors, Batch("pairs", (("a", "b", "c"), ("x", "y", "z"))))
        # x is the positive of one query and y the text of the other, so nothing is left of them but z
        queries, documents = torch.randn(2, DIM), torch.randn(2, DIM)
        found = learnt((queries, documents), Batch("pairs", (("a", "y"), ("x", "w"))))
        everything = torch.cat([documents, vectors[1]])
        mask = torch.tensor([[0, 0, 1, 0, 0], [0, 0, 1, 1, 0]]).bool()  # x is fresh in this batch, for both
        torch.testing.assert_close(found, info_nce(queries, everything, mask=mask, temperature=1.0))

    def test_no_gradient_flows_into_the_past(self):
        learnt = objective("infonce_memory", dim=DIM)
        batch, vectors = batch_of(1, 2)
        old = tuple(part.requires_grad_() for part in vectors)
        learnt(old, batch)
        batch, new = batch_of(3, 4)
        new = tuple(part.requires_grad_() for part in new)
        learnt(new, batch).backward()
        assert all(part.grad is None for part in old)
        assert all(part.grad.abs().sum() > 0 for part in new)

    def test_it_comes_back_from_its_state_as_it_was(self, tmp_path):
        def steps(learnt, numbers):
            return [learnt(vectors[number], batches[number]).item() for number in numbers]

        batches, vectors = zip(*(batch_of(*range(3 * i, 3 * i + 3)) for i in range(6)), strict=True)
        unbroken = objective("infonce_memory", dim=DIM, size=7, learn_temperature=True)
        expected = steps(unbroken, range(6))
        stopped = objective("infonce_memory", dim=DIM, size=7, learn_temperature=True)
        steps(stopped, range(3))
        torch.save(stopped.state_dict(), tmp_path / "state.pt")
        resumed = objective("infonce_memory", dim=DIM, size=7, learn_temperature=True)
        resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        assert steps(resumed, range(3, 6)) == expected[3:]
        for name, value in unbroken.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[name])

    def test_out_of_training_nothing_is_added(self):
        learnt = objective("infonce_memory", dim=DIM)
        before = copy.deepcopy(learnt.state_dict())
        batch, vectors = batch_of(1, 2)
        learnt.eval()(vectors, batch)
        assert all(torch.equal(value, before[name]) for name, value in learnt.state_dict().items())

    def test_a_batch_longer_than_the_memory(self):
        learnt = objective("infonce_memory", dim=DIM, size=2)
        batch, vectors = batch_of(1, 2, 3)
        learnt(vectors, batch)
        assert torch.equal(learnt.body.vectors, vectors[1][1:])

    def test_vectors_of_another_width(self):
        batch, vectors = batch_of(1, 2)
        with pytest.raises(InvalidInput, match="vectors have 6 features, the memory was built for 5; pass dim=6"):
            objective("infonce_memory", dim=5)(vectors, batch)


class Broken(Pairs):
    """Batches that end with an error in the second epoch."""

    def batches(self, epoch, start=0):
        if epoch == 1:
            raise OSError("the disk is gone")
        return super().batches(epoch, start)


class TestMemoryInARun:
    """The loop keeps a memory as it keeps weights."""

    @staticmethod
    def run(model, out, *, source=Pairs, resume=False, **settings):
        config = TrainConfig(epochs=2, learning_rate=1e-3, **settings)
        taught = learner(model, config, "infonce_memory", dim=32, size=10)
        train(taught, source(size=4, count=2), out, config, resume=resume, progress=False)
        return taught.extra["objective.0"].state_dict()

    def test_a_resumed_run_remembers_what_an_unbroken_one_does(self, tmp_path):
        model = tiny_bert(tmp_path / "model")
        expected = self.run(model, tmp_path / "whole", save_every=1)
        with pytest.raises(OSError, match="the disk is gone"):
            self.run(model, tmp_path / "broken", source=Broken, save_every=1)
        found = self.run(model, tmp_path / "broken", resume=True, save_every=1)
        assert found["body.written"] == 16
        for name, value in expected.items():
            assert torch.equal(found[name], value)

    def test_a_second_look_by_an_adversary_is_not_remembered(self, tmp_path):
        found = self.run(tiny_bert(tmp_path / "model"), tmp_path / "out", adversary=1.0)
        assert found["body.written"] == 16
