"""A batch's gradient: in parts as in one go, with dropout, for every objective alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.builders import tiny_bert
from tests.train.runs import learner, pairs, sentences

from sentvec.batch import pack
from sentvec.checkpoint.load import load
from sentvec.errors import InvalidInput
from sentvec.runtime.embedder import Embedder
from sentvec.runtime.forward import Finish, vectors
from sentvec.train.batches import Batch
from sentvec.train.config import TrainConfig
from sentvec.train.step import EmbedderLearner


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("model"))


def gradients(model, batch, *, loss="infonce", seed=5, **settings):
    taught = learner(model, TrainConfig(**settings), loss)
    value = taught.run(0, batch, 1.0, seed)
    return value, {name: p.grad for name, p in taught.encoder.named_parameters() if p.grad is not None}


def close(found, wanted, tolerance=1e-5):
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(
            found[name], wanted[name], atol=tolerance, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("tokens", [16, 60])
def test_parts_give_the_gradient_of_the_whole_batch(tmp_path, tokens):
    plain = tiny_bert(tmp_path, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    batch = pairs(9)
    whole, wanted = gradients(plain, batch)
    value, found = gradients(plain, batch, micro_tokens=tokens)
    assert value == pytest.approx(whole, abs=1e-5)
    close(found, wanted)


def test_the_gradient_is_that_of_a_naive_loop(tmp_path):
    plain = tiny_bert(tmp_path, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    batch = pairs(5)
    taught = learner(plain, TrainConfig())
    value = taught.run(0, batch, 0.5, 1)  # the scale is of the gradient, not of the loss
    again = learner(plain, TrainConfig())
    engine = Embedder(again.checkpoint, name="x", device="cpu")._engine
    again.encoder.train()

    def alone(text):
        return vectors(again.encoder, again.checkpoint.recipe, pack(engine.tokenize([text])), Finish())[0]

    unit = torch.nn.functional.normalize
    queries, documents = (unit(torch.stack([alone(text) for text in column])) for column in batch.columns)
    loss = torch.nn.functional.cross_entropy(queries @ documents.T / 0.05, torch.arange(5))
    (0.5 * loss).backward()
    assert value == pytest.approx(float(loss.detach()), abs=1e-4)
    close(
        {name: p.grad for name, p in taught.encoder.named_parameters() if p.grad is not None},
        {name: p.grad for name, p in again.encoder.named_parameters() if p.grad is not None},
        tolerance=1e-4,
    )


def test_dropout_is_drawn_again_as_it_was_in_parts(model):
    """Were a part's second pass to drop other places, its gradient would not be that of the loss."""
    batch = pairs(6)
    taught = learner(model, TrainConfig(micro_tokens=20))
    name, parameter = next((n, p) for n, p in taught.encoder.named_parameters() if n.endswith("up.weight"))
    taught.run(0, batch, 1.0, 3)
    direction = parameter.grad / parameter.grad.norm()
    step = 1e-3
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter.add_(direction, alpha=sign * step)
        values.append(taught.run(0, batch, 0.0, 3))
        with torch.no_grad():
            parameter.sub_(direction, alpha=sign * step)
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(float(parameter.grad.norm()), rel=0.05), name


def test_two_views_have_dropout_of_their_own(model):
    batch = Batch("texts", (tuple(sentences(6)),))
    taught = learner(model, TrainConfig(), "simcse")
    seen = []
    taught._objectives[0].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    taught.run(0, batch, 1.0, 3)
    first, second = seen[0]
    assert first.shape == second.shape == (6, 32)
    assert not torch.allclose(first, second)


def test_bfloat16_is_near(tmp_path):
    plain = tiny_bert(tmp_path, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    whole, wanted = gradients(plain, pairs(9))
    value, found = gradients(plain, pairs(9), precision="bfloat16")
    assert value == pytest.approx(whole, rel=0.05)
    for name, grad in wanted.items():
        if grad.norm() > 1e-3:
            assert torch.cosine_similarity(found[name].flatten(), grad.flatten(), dim=0) > 0.97, name


def test_prompts_are_put_before_their_column(model):
    plain = pairs(4)
    with_prompt = Batch("pairs", (tuple(f"query: {text}" for text in plain.columns[0]), plain.columns[1]))
    value, _ = gradients(model, with_prompt)
    assert gradients(model, plain, prompts={"query": "query: "})[0] == pytest.approx(value, abs=1e-6)
    assert gradients(model, plain)[0] != pytest.approx(value, abs=1e-6)


def test_a_copy_stays_as_it_was(model):
    taught = learner(model, TrainConfig())
    before = taught.copy()
    taught.run(0, pairs(4), 1.0, 3)
    with torch.no_grad():
        for parameter in taught.encoder.parameters():
            parameter.add_(1.0)
    first = Embedder(before, name="x", device="cpu").encode(["a cat"])
    assert abs(first - Embedder.from_pretrained(model).encode(["a cat"])).max() < 1e-6


def test_inner_layers_and_widths_are_learnt_too(model):
    from sentvec.train.objectives import objective
    from sentvec.train.wrappers import adaptive_layers, matryoshka

    config = TrainConfig()
    batch = pairs(6)
    for micro in (16_384, 40):
        made = adaptive_layers(matryoshka(objective("infonce"), (32, 8)), (1,), per_step=None)
        taught = EmbedderLearner(load(model), [made], replace(config, micro_tokens=micro), device="cpu")
        assert taught.run(0, batch, 1.0, 3) > learner(model, config).run(0, batch, 1.0, 3)
        grads = {name: p.grad for name, p in taught.encoder.named_parameters()}
        assert all(grads[name].norm() > 0 for name in grads if name.startswith("layers.") and "bias" not in name)


def test_two_encoders_learn_against_each_other_and_one_is_kept(model):
    """Contrastive tension: the first view is the twin's, the second that of the model, and both learn by themselves."""
    batch = Batch("texts", (tuple(sentences(6)),))
    gradients_ = []
    for tokens in (16_384, 30):
        taught = learner(model, TrainConfig(micro_tokens=tokens), "contrastive_tension", negatives=2)
        twin = taught.extra["twin"]
        for module in (*taught.encoder.modules(), *twin.modules()):
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if hasattr(module, "dropout") and isinstance(module.dropout, float):
                module.dropout = 0.0
        seen = []
        taught._objectives[0].register_forward_hook(lambda _, given, __, seen=seen: seen.append(given[0]))
        with torch.no_grad():
            twin.layers[0].attention.output.weight.mul_(1.5)
        taught.run(0, batch, 1.0, 3)
        wanted = Embedder(taught.copy(), name="x", device="cpu").encode(batch.columns[0], normalize=False)
        first, second = (part.detach().numpy() for part in seen[0])
        assert abs(second - wanted).max() < 1e-4
        assert abs(first - wanted).max() > 1e-3
        own, others = (
            {name: p.grad.clone() for name, p in one.named_parameters() if p.grad is not None}
            for one in (taught.encoder, twin)
        )
        assert own.keys() == others.keys()
        assert not torch.allclose(own["layers.0.attention.qkv.weight"], others["layers.0.attention.qkv.weight"])
        gradients_.append((own, others))
    for found, wanted in zip(*gradients_, strict=True):
        close(found, wanted)


def test_contrastive_tension_is_the_sum_written_out():
    from sentvec.train.objectives import objective

    draw = torch.Generator().manual_seed(0)
    first, second = (torch.randn(4, 5, generator=draw) for _ in range(2))
    batch = Batch("texts", (("a", "b", "a", "c"),))
    value = objective("contrastive_tension")((first, second), batch)  # 7 others are more than there are: all
    wanted = 0.0
    for i, one in enumerate(batch.columns[0]):
        for j, other in enumerate(batch.columns[0]):
            product = first[i] @ second[j]
            wanted -= torch.nn.functional.logsigmoid(product if one == other else -product)
    assert float(value) == pytest.approx(float(wanted) / 4, rel=1e-5)
    with pytest.raises(InvalidInput, match="no two to disagree on"):
        objective("contrastive_tension")((first[:1], second[:1]), Batch("texts", (("a",),)))
