"""Rerankers: they learn from every kind of data, in parts as in one go, and the folder gives the reference's scores."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.builders import add_modules, tiny_bert
from tests.headed import tiny
from tests.train.runs import WORDS, same
from tests.train.test_together import together

from sentvec import Reranker
from sentvec.checkpoint.headed import load_headed
from sentvec.errors import InvalidInput, OutputError
from sentvec.evaluate.rerank import Candidates, Rerank, evaluate_reranker
from sentvec.ops.losses.lists import RANKINGS
from sentvec.runtime.origin import find
from sentvec.train.batches import Batch
from sentvec.train.collate import collate
from sentvec.train.config import TrainConfig
from sentvec.train.rankings import DEFAULTS, RERANKINGS, as_lists, loss_for
from sentvec.train.read import read_dataset
from sentvec.train.rerank import RerankLearner, begin, train_reranker
from sentvec.train.sampling import Sampler

HEAD = "ForSequenceClassification"
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return add_modules(tiny_bert(tmp_path_factory.mktemp("encoder") / "m", **STILL), "Pooling")


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crossed") / "m"
    tiny(folder, "bert", HEAD, num_labels=1, **STILL)
    return folder


def rows(count=8, negatives=3):
    draw = random.Random(3)
    made = []
    for number in range(count):
        query, *documents = (" ".join(draw.choices(WORDS, k=4)) for _ in range(negatives + 2))
        made.append((f"{query} {number}", documents[0], documents[1:]))
    return made


def dataset(kind):
    """Examples of a kind; of each query the first document is the best."""
    if kind in ("labelled_pairs", "scored"):
        name, good = ("label", 1) if kind == "labelled_pairs" else ("score", 0.9)
        each = [(q, d, good if d == yes else 0) for q, yes, no in rows() for d in (yes, no[0])]
        return read_dataset([{"sentence1": q, "sentence2": d, name: value} for q, d, value in each])
    if kind == "tuples":
        return read_dataset([{"query": q, "pos": [yes], "neg": no} for q, yes, no in rows()])
    name = "teacher_scores" if kind == "taught_scores" else "scores"
    return read_dataset([{"query": q, "documents": [yes, *no], name: [3, 1, 0, 0]} for q, yes, no in rows()])


CANDIDATES = Rerank("rows", tuple(Candidates(q, (yes,), tuple(no)) for q, yes, no in rows()))


def go(model, data, out, *, resume=False, evaluate_on=None, **settings):
    config = TrainConfig(**({"epochs": 1, "learning_rate": 1e-3, "batch_size": 4, "warmup": 0.0} | settings))
    data = data if isinstance(data, list) else [data]
    return train_reranker(
        find(model), data, out, config, resume=resume, evaluate_on=evaluate_on, device="cpu", progress=False
    )


def state(folder):
    """All weights, of encoder and head."""
    headed = load_headed(folder)
    return {f"e.{k}": v for k, v in headed.checkpoint.encoder.state_dict().items()} | {
        f"{name}.{k}": v for name, head in headed.heads.items() for k, v in head.state_dict().items()
    }


@pytest.mark.parametrize(
    ("kind", "loss"),
    [
        *((kind, None) for kind in DEFAULTS),
        *(("lists", name) for name in ("list_softmax", "list_net", "rank_net")),
        *(("tuples", name) for name in ("bce", "lambda", "rank_net")),
        ("taught_scores", "kl"),
    ],
)
def test_it_learns_to_put_what_answers_first(encoder, tmp_path, kind, loss):
    done = go(encoder, dataset(kind), tmp_path / "out", loss=loss, epochs=25, learning_rate=2e-3, save_every=10**6)
    score = Reranker.from_pretrained(tmp_path / "out", device="cpu").score
    before = evaluate_reranker(CANDIDATES, Reranker(begin(find(encoder), 0), name="x", device="cpu").score).value
    pool = CANDIDATES
    if kind in ("labelled_pairs", "scored"):  # only the first of those that do not answer was shown
        pool = replace(pool, samples=tuple(replace(one, negative=one.negative[:1]) for one in pool.samples))
    assert before < 0.9 < evaluate_reranker(pool, score).value
    assert done.steps == 25 * (4 if kind in ("labelled_pairs", "scored") else 2)


@pytest.mark.oracle
@pytest.mark.parametrize("start", ["encoder", "crossed"])
def test_the_folder_gives_the_references_scores(request, tmp_path, start):
    from sentence_transformers import CrossEncoder

    go(request.getfixturevalue(start), dataset("tuples"), tmp_path / "out", epochs=3)
    pairs = [(q, d) for q, yes, no in rows() for d in (yes, *no)]
    ours = Reranker.from_pretrained(tmp_path / "out", device="cpu").score(pairs)
    theirs = CrossEncoder(str(tmp_path / "out"), device="cpu").predict(pairs)
    assert ours.shape == (32,) and np.ptp(ours) > 1e-3
    assert np.abs(ours - theirs).max() < 1e-5


def test_a_reranker_learns_on_from_where_it_is(crossed, tmp_path):
    pairs = [(q, yes) for q, yes, _ in rows()]
    before = Reranker.from_pretrained(crossed, device="cpu").score(pairs)
    go(crossed, dataset("tuples"), tmp_path / "out", learning_rate=0.0)
    assert np.array_equal(Reranker.from_pretrained(tmp_path / "out", device="cpu").score(pairs), before)


def test_a_head_with_several_labels_makes_room_for_one_score(tmp_path, caplog):
    tiny(tmp_path / "m", "bert", HEAD, num_labels=3)
    headed = begin(find(tmp_path / "m"), 0)
    assert headed.labels == ("LABEL_0",)
    assert "has a head for 3 labels (LABEL_0, LABEL_1, LABEL_2); a new one" in caplog.text


def gradients(model, batch, loss, tokens):
    """The gradient of a batch, and its loss."""
    data = dataset("lists")
    learner = RerankLearner(
        begin(find(model), 0), [loss_for(loss, data, {})[1]], TrainConfig(micro_tokens=tokens), device="cpu"
    )
    value = learner.run(0, batch, 0.5, 1)
    named = [*learner.encoder.named_parameters(), *next(iter(learner.extra.values())).named_parameters()]
    return value, {name: parameter.grad for name, parameter in named if parameter.grad is not None}


@pytest.mark.parametrize("loss", ["lambda", "list_net"])
@pytest.mark.parametrize("tokens", [24, 60])
def test_parts_give_the_gradient_of_all_lists(crossed, loss, tokens):
    data = dataset("lists")
    batch = collate("lists", data.examples[:3])
    whole, wanted = gradients(crossed, batch, loss, 16_384)
    value, found = gradients(crossed, batch, loss, tokens)
    assert value == pytest.approx(whole, abs=1e-5)
    assert found.keys() == wanted.keys() and len(found) > 20
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], atol=1e-5, rtol=1e-4)


def test_the_loss_is_that_of_the_scores_that_a_reranker_gives(crossed):
    """No dropout, so the step's scores are those of the finished model."""
    batch = collate("lists", dataset("lists").examples[:3])
    value, _ = gradients(crossed, batch, "rank_net", 16_384)
    pairs = [(batch.columns[0][i], text) for i, text in zip(batch.owners.tolist(), batch.columns[1], strict=True)]
    logits = torch.from_numpy(Reranker.from_pretrained(crossed, device="cpu").score(pairs, raw=True))
    assert value == pytest.approx(float(RANKINGS["rank_net"](logits, batch.values, batch.owners)), abs=1e-5)


def rank_gradients(model):
    """What this process, or all of them together, make of one batch: the learner, the loss, the gradient."""
    taught = RerankLearner(
        begin(find(model), 0), [loss_for("lambda", dataset("lists"), {})[1]], TrainConfig(), device="cpu"
    )
    source = Sampler([dataset("lists")], batch_size=5, seed=1, rank=taught.team.rank, world=taught.team.size)
    loss = taught.run(0, next(source.batches(0))[1], 1.0, 1)
    taught.team.add_up([taught.encoder, *taught.extra.values()])
    named = [*taught.encoder.named_parameters(), *next(iter(taught.extra.values())).named_parameters()]
    return taught, loss, {name: one.grad for name, one in named if one.grad is not None}


def test_two_processes_have_the_gradient_of_one(crossed, tmp_path):
    together("rerank", str(crossed), str(tmp_path))
    _, loss, wanted = rank_gradients(crossed)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert found["loss"] == pytest.approx(loss, abs=1e-5)
        for name, gradient in wanted.items():
            torch.testing.assert_close(found["grads"][name], gradient, atol=1e-5, rtol=1e-4)


def test_every_kind_becomes_lists():
    def listed(kind):
        one = as_lists(dataset(kind))
        assert one.kind == "lists"
        return one.examples[0].value

    assert listed("tuples") == (1.0, 0.0, 0.0, 0.0)
    assert listed("labelled_pairs") == (1.0,)
    assert listed("scored") == pytest.approx((0.9,))
    assert listed("lists") == listed("taught_scores") == (3.0, 1.0, 0.0, 0.0)
    assert set(RERANKINGS) == set(RANKINGS)
    assert all(kind in RERANKINGS[name].kinds for kind, name in DEFAULTS.items())


def test_a_broken_run_goes_on_to_the_same_weights(crossed, tmp_path):
    settings = {"epochs": 3, "save_every": 1}
    go(crossed, dataset("lists"), tmp_path / "whole", **settings)

    class Broken(Exception):
        pass

    class Breaks(RerankLearner):
        left = 4

        def run(self, number: int, batch: Batch, scale: float, seed: int) -> float:
            Breaks.left -= 1
            if Breaks.left < 0:
                raise Broken
            return super().run(number, batch, scale, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sentvec.train.rerank.RerankLearner", Breaks)
        with pytest.raises(Broken):
            go(crossed, dataset("lists"), tmp_path / "broken", **settings)
    done = go(crossed, dataset("lists"), tmp_path / "broken", resume=True, **settings)
    assert done.steps == 6
    same(state(tmp_path / "whole"), state(tmp_path / "broken"))
    with pytest.raises(OutputError, match="data changed"):
        go(crossed, dataset("tuples"), tmp_path / "broken", resume=True, **settings)


def sets(folder):
    folder.mkdir()
    lines = [json.dumps({"query": q, "positive": [yes], "negative": no}) for q, yes, no in rows()]
    (folder / "found.jsonl").write_text("\n".join(lines), encoding="utf-8")
    pairs = [f"{q}\t{d}\t{score}" for q, yes, no in rows() for d, score in ((yes, 5), (no[0], 0))]
    (folder / "sts.tsv").write_text("\n".join(["sentence1\tsentence2\tscore", *pairs]), encoding="utf-8")
    return folder


def test_it_is_scored_as_it_learns_and_the_card_says_so(encoder, tmp_path):
    where = sets(tmp_path / "sets")
    done = go(
        encoder, dataset("tuples"), tmp_path / "out", epochs=20, learning_rate=2e-3, evaluate_on=where, save_every=10**6
    )
    assert list(done.scores) == ["mean", "found MAP", "sts spearman"]
    model = Reranker.from_pretrained(tmp_path / "out", device="cpu")
    again = evaluate_reranker(CANDIDATES, lambda pairs: model.score(pairs, raw=True)).value
    assert done.scores["found MAP"] == pytest.approx(again)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    begun = Reranker(begin(find(encoder), 0), name="x", device="cpu")
    before = evaluate_reranker(CANDIDATES, lambda pairs: begun.score(pairs, raw=True)).value
    assert f"| found MAP | {before:.4f} | {done.scores['found MAP']:.4f} |" in card
    assert "pipeline_tag: text-ranking" in card and "from sentvec import Reranker" in card
    assert "| rows | tuples | 8 | list_softmax |" in card


def test_several_sets_have_a_loss_each(encoder, tmp_path):
    done = go(encoder, [dataset("lists"), dataset("labelled_pairs")], tmp_path / "out")
    assert done.steps == 6
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| lists | 8 | lambda |" in card and "| labelled pairs | 16 | bce |" in card


def test_pairs_are_cut_where_the_user_says(crossed, tmp_path):
    origin = find(crossed, max_seq_length=12)
    train_reranker(origin, [dataset("tuples")], tmp_path / "out", TrainConfig(max_steps=1), progress=False)
    assert Reranker.from_pretrained(tmp_path / "out", device="cpu").max_seq_length == 12
    with pytest.raises(InvalidInput, match="max_seq_length is 900"):
        begin(find(crossed, max_seq_length=900), 0)


def graded(*grades):
    return read_dataset([{"query": "a", "documents": ["b", "c"], "scores": list(grades)}])


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (read_dataset([{"query": "a", "positive": "b"}]), {}, "pairs that all belong together.* sentvec mine"),
        (read_dataset([{"text": "a"}]), {}, "rows holds texts; a reranker learns from scored, labelled_pairs, tuples"),
        (graded(1, 1), {}, "all documents have the same label or score, 1, so there is nothing to tell apart"),
        (graded(3, 0), {"loss": "bce"}, "loss 'bce': grades are from 0 to 3; they must be from 0 to 1"),
        (graded(1, -1), {}, "loss 'lambda': grades are from -1 to 1; they must not be below 0"),
        (graded(1, 0), {"loss": "margin_mse"}, "'margin_mse' learns from taught_scores, and rows holds lists. Losses"),
        (graded(1, 0), {"loss": "infonce"}, "loss 'infonce' is not known for rerankers. Known: bce, list_softmax"),
        (graded(1, 0), {"loss_options": {"scale": 3}}, "'lambda' has no option 'scale'. Its options: weighting"),
        (graded(1, 0), {"loss_options": {"weighting": "much"}}, "option 'weighting' of objective 'lambda' is 'much'"),
        (graded(1, 0), {"matryoshka": [16]}, r"matryoshka is \(16,\), and is an embedder's"),
        (graded(1, 0), {"prompts": {"query": "q: "}}, "prompts is {'query': 'q: '}, and is an embedder's"),
        ([], {}, "there is no data to train on"),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_is_refused_before_anything_is_written(crossed, tmp_path, data, settings, message):
    with pytest.raises(InvalidInput, match=message):
        go(crossed, data, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_labels_of_inference_are_no_grades(crossed, tmp_path):
    each = [{"sentence1": "a", "sentence2": "b", "label": name} for name in ("entailment", "neutral", "contradiction")]
    with pytest.raises(InvalidInput, match="has 3 labels .*--task text-classification learns all of them"):
        go(crossed, read_dataset(each), tmp_path / "out")


def test_sets_that_say_nothing_of_a_reranker_are_refused(crossed, tmp_path):
    (tmp_path / "sets").mkdir()
    lines = [json.dumps({"text": f"text {i}", "label": "ab"[i % 2]}) for i in range(40)]
    for split in ("train", "test"):
        (tmp_path / "sets" / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InvalidInput, match="is a set for classification; a reranker is scored on documents to rerank"):
        go(crossed, dataset("tuples"), tmp_path / "out", evaluate_on=tmp_path / "sets")
    with pytest.raises(InvalidInput, match="pooling is for embedders"):
        begin(find(crossed, pooling="mean"), 0)


def test_the_model_itself_is_not_written_over(crossed):
    with pytest.raises(OutputError, match="holds the model that is to be trained"):
        go(crossed, dataset("tuples"), crossed)
