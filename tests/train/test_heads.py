"""Heads learn with the gradient of a naive loop, in parts as in one go, and new ones have what the architecture has."""

from __future__ import annotations

import pytest
import torch
from tests.builders import add_modules, tiny_bert
from tests.headed import tiny

from sentvec.batch import TokenIds, pack
from sentvec.checkpoint.headed import load_headed
from sentvec.errors import HeadNotFound
from sentvec.models.registry import ARCHITECTURES
from sentvec.train.config import TrainConfig
from sentvec.train.heads import IGNORED, HeadLearner, Rows, new_headed

STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SIZES = (5, 9, 3, 12)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("model"), **STILL)


def tokens():
    draw = torch.Generator().manual_seed(1)
    return [TokenIds(torch.randint(5, 60, (size,), generator=draw).tolist(), [0] * size) for size in SIZES]


TASKS = {
    "labels": ("sequence-classification", None, [torch.tensor(i) for i in (0, 2, 1, 2)]),
    "scores": ("sequence-classification", "regression", [torch.tensor(x) for x in (0.1, 0.9, 0.4, 0.5)]),
    "many labels": (
        "sequence-classification",
        "multi_label_classification",
        [torch.tensor(x) for x in ([1.0, 0, 1], [0.0, 0, 0], [1.0, 1, 1], [0.0, 1, 0])],
    ),
    "words": (
        "token-classification",
        None,
        [torch.tensor([IGNORED, *[i % 3 for i in range(size - 2)], IGNORED]) for size in SIZES],
    ),
    "answers": ("question-answering", None, [torch.tensor(x) for x in ((0, 0), (2, 4), (1, 1), (3, 11))]),
}


def made(model, case):
    task, problem, targets = TASKS[case]
    names = {"scores": ("score",), "answers": ("start", "end")}.get(case, ("a", "b", "c"))
    return new_headed(model, task, names, problem_type=problem, seed=3), Rows(tokens(), {task: targets})


def gradients(learner):
    """By name, of the encoder and of its head."""
    named = [*learner.encoder.named_parameters(), *next(iter(learner.extra.values())).named_parameters()]
    return {name: parameter.grad.clone() for name, parameter in named if parameter.grad is not None}


def naive(headed, rows, case):
    """The mean loss, row by row."""
    ((_, targets),) = rows.targets.items()
    (head,) = headed.heads.values()
    encoder, losses = headed.checkpoint.encoder, []
    ask = torch.nn.functional
    for row, target in zip(rows.tokens, targets, strict=True):
        batch = pack([row])
        logits = head(encoder(batch), batch, encoder)
        if case == "labels":
            losses.append(ask.cross_entropy(logits[0], target))
        elif case == "scores":
            losses.append((logits[0, 0] - target) ** 2)
        elif case == "many labels":
            chance = logits[0].sigmoid()
            losses += list(-(target * chance.log() + (1 - target) * (1 - chance).log()))
        elif case == "words":
            losses += [ask.cross_entropy(one, i) for one, i in zip(logits, target, strict=True) if i != IGNORED]
        else:
            losses += [ask.cross_entropy(logits[:, end], target[end]) for end in (0, 1)]
    return torch.stack(losses).mean()


@pytest.mark.parametrize("case", TASKS)
@pytest.mark.parametrize("most", [16_384, 14])
def test_the_gradient_is_that_of_a_naive_loop(model, case, most):
    headed, rows = made(model, case)
    learner = HeadLearner(headed, TrainConfig(micro_tokens=most), device="cpu")
    value = learner.run(0, rows, 0.5, 1)  # the scale is of the gradient, not of the loss
    again, _ = made(model, case)
    loss = naive(again, rows, case)
    (0.5 * loss).backward()
    assert value == pytest.approx(float(loss.detach()), abs=1e-5)
    found = gradients(learner)
    (head,) = again.heads.values()
    for name, parameter in [*again.checkpoint.encoder.named_parameters(), *head.named_parameters()]:
        if parameter.grad is not None:
            torch.testing.assert_close(found.pop(name), parameter.grad, atol=1e-5, rtol=1e-4)
    assert not found


def test_dropout_follows_from_the_seed(tmp_path):
    model = tiny_bert(tmp_path)
    losses = []
    for seed in (1, 1, 2):
        headed, rows = made(model, "labels")
        losses.append(HeadLearner(headed, TrainConfig(), device="cpu").run(0, rows, 1.0, seed))
    assert losses[0] == losses[1] != losses[2]


def test_a_copy_stays_as_it_is(model):
    headed, rows = made(model, "labels")
    learner = HeadLearner(headed, TrainConfig(), device="cpu")
    kept = learner.copy()
    (head,) = kept.heads.values()
    before = head.out.weight.clone()
    with torch.no_grad():
        next(iter(learner.extra.values())).out.weight.add_(1)
    assert torch.equal(head.out.weight, before)
    assert not head.training and not kept.checkpoint.encoder.training
    assert learner.count(rows) == 4


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "mpnet", "electra", "modernbert", "deberta-v2"])
def test_a_new_head_is_what_transformers_reads(tmp_path, family):
    pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
    if family not in ARCHITECTURES:
        pytest.skip("no such family")
    import transformers

    tiny(tmp_path / "encoder", family, "Model")
    headed = new_headed(tmp_path / "encoder", "sequence-classification", ("no", "yes"), seed=1)
    learner = HeadLearner(headed, TrainConfig(), device="cpu")
    learner.save(tmp_path / "out")
    theirs, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert all(".pooler." in name for name in info["unexpected_keys"])  # of the encoder; not every head reads it
    assert theirs.config.id2label == {0: "no", 1: "yes"}
    again = load_headed(tmp_path / "out")
    (ours,), (kept,) = headed.heads.values(), again.heads.values()
    for name, weight in ours.state_dict().items():
        assert torch.equal(weight, kept.state_dict()[name]), name


def test_a_new_heads_weights_follow_from_the_seed(model):
    first, same, other = (new_headed(model, "token-classification", ("a", "b"), seed=seed) for seed in (1, 1, 2))
    weights = [next(iter(one.heads.values())).out.weight for one in (first, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert 0.01 < float(weights[0].detach().std()) < 0.03
    assert not next(iter(first.heads.values())).out.bias.any()


def test_an_embedder_gives_its_encoder_and_its_length_but_no_prompts(tmp_path):
    folder = add_modules(tiny_bert(tmp_path / "m"), "Pooling")
    (folder / "config_sentence_transformers.json").write_text(
        '{"prompts": {"query": "query: "}, "default_prompt_name": "query"}', encoding="utf-8"
    )
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 24}', encoding="utf-8")
    recipe = new_headed(folder, "sequence-classification", ("a", "b")).checkpoint.recipe
    assert (recipe.max_seq_length, dict(recipe.prompts), recipe.default_prompt) == (24, {}, None)


def test_a_head_that_an_architecture_has_not(model):
    with pytest.raises(HeadNotFound, match="bert has no head for rhymes. It has: .*sequence-classification"):
        new_headed(model, "rhymes", ("a", "b"))
