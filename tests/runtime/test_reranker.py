"""A reranker gives sentence-transformers' CrossEncoder's scores, whatever the order, the batch and the length."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.builders import tiny_bert, write_json
from tests.headed import tiny

from sentvec import Reranker
from sentvec.errors import ConfigError, HeadNotFound, InvalidInput, NonFiniteOutput, SentvecError
from sentvec.models.registry import ARCHITECTURES
from sentvec.runtime.reranker import TASK, Ranked

pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle

HEAD = "ForSequenceClassification"
PAIRS = [
    ("what is a cat?", "the cat sat on the mat"),
    ("what is a cat?", "dogs"),
    ("", ""),
    ("cat", ""),
    ("", "a dog, unaffable"),
    ("你好 世界", "猫 狗 中文"),
    ("the cat " * 30, "dog"),  # longer than the model reads, in each of the ways
    ("dog", "the mat " * 40),
    ("the cat sat " * 15, "on the mat " * 12),
    ("what is a cat?", "dogs"),  # twice
]
FAMILIES = [name for name in ("bert", "roberta", "xlm-roberta", "distilbert", "modernbert") if name in ARCHITECTURES]


def oracle(folder: Path, **options: Any) -> Any:
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(folder), device="cpu", **options)


@pytest.fixture
def one(tmp_path: Path) -> Path:
    tiny(tmp_path / "one", "bert", HEAD, num_labels=1)
    return tmp_path / "one"


def changed(folder: Path, **config: Any) -> Path:
    given = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", given | config)
    return folder


def stored(folder: Path, **content: Any) -> None:
    """Write what sentence-transformers 5.4 and later write beside the model."""
    kind = "sentence_transformers.base.modules.transformer.Transformer"
    write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": kind}])
    text = {"method": "forward", "method_output_name": "logits"}
    content_of_module = {"transformer_task": TASK, "modality_config": {"text": text}, "module_output_name": "scores"}
    write_json(folder / "sentence_bert_config.json", content_of_module)
    write_json(folder / "config_sentence_transformers.json", {"model_type": "CrossEncoder"} | content)


@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_equal_the_reference(tmp_path: Path, family: str, labels: int) -> None:
    tiny(tmp_path, family, HEAD, num_labels=labels)
    expected = oracle(tmp_path, max_length=64).predict(PAIRS)
    model = Reranker.from_pretrained(tmp_path, device="cpu", max_seq_length=64)
    scores = model.score(PAIRS)
    assert scores.dtype == np.float32
    assert scores.shape == ((len(PAIRS),) if labels == 1 else (len(PAIRS), 3))
    assert np.abs(scores - expected).max() < 1e-5
    assert np.ptp(scores, axis=0).min() > 0.01  # or the comparison would say little


@pytest.mark.parametrize(
    ("config", "newest", "activation"),
    [
        ({}, None, "Sigmoid"),
        (
            {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.1"}},
            None,
            "Id",
        ),
        ({"sbert_ce_default_activation_function": "torch.nn.modules.activation.Tanh"}, None, "Tanh"),
        ({}, "torch.nn.modules.linear.Identity", "Id"),
        ({"sbert_ce_default_activation_function": "torch.nn.Tanh"}, "torch.nn.modules.activation.ReLU", "ReLU"),
        ({"sentence_transformers": {"activation_fn": "torch.nn.Tanh"}}, "torch.nn.modules.activation.ReLU", "ReLU"),
    ],
)
def test_the_activation_is_the_checkpoints(
    one: Path, config: dict[str, Any], newest: str | None, activation: str
) -> None:
    changed(one, **config)
    if newest:
        stored(one, activation_fn=newest)
    model = Reranker.from_pretrained(one, device="cpu")
    assert activation in model.activation
    assert np.abs(model.score(PAIRS) - oracle(one).predict(PAIRS)).max() < 1e-5
    raw = model.score(PAIRS, raw=True)
    assert np.abs(raw - oracle(one, activation_fn=torch.nn.Identity()).predict(PAIRS)).max() < 1e-5


def test_an_activation_that_is_not_known_is_refused(one: Path) -> None:
    changed(one, sentence_transformers={"activation_fn": "their.own.Code"})
    with pytest.raises(ConfigError, match="'their.own.Code' of .* is not known. Known: Identity"):
        Reranker.from_pretrained(one)


@pytest.mark.parametrize("version", ["new", "transformers"])
def test_folders_go_both_ways(one: Path, tmp_path: Path, version: str) -> None:
    folder = one
    if version == "new":
        theirs = oracle(one, max_length=24, activation_fn=torch.nn.Tanh())
        folder = tmp_path / "written by the reference"
        theirs.save_pretrained(str(folder))
    model = Reranker.from_pretrained(folder, device="cpu")
    assert model.max_seq_length == (24 if version == "new" else 64)
    expected = oracle(folder).predict(PAIRS)
    assert np.abs(model.score(PAIRS) - expected).max() < 1e-5
    model.save_pretrained(tmp_path / "ours")
    assert np.array_equal(Reranker.from_pretrained(tmp_path / "ours", device="cpu").score(PAIRS), model.score(PAIRS))
    back = oracle(tmp_path / "ours")
    assert back.max_seq_length == model.max_seq_length
    assert np.abs(back.predict(PAIRS) - expected).max() < 1e-5


def test_a_stored_default_prompt_stands_before_the_query(one: Path, tmp_path: Path) -> None:
    plain = Reranker.from_pretrained(one, device="cpu").score([("query: the cat", "sat"), ("query: dog", "on")])
    stored(one, prompts={"q": "query: "}, default_prompt_name="q", activation_fn="torch.nn.Sigmoid")
    model = Reranker.from_pretrained(one, device="cpu")
    pairs = [("the cat", "sat"), ("dog", "on")]
    assert np.abs(model.score(pairs) - plain).max() < 1e-6
    assert np.abs(model.score(pairs) - oracle(one).predict(pairs)).max() < 1e-5
    model.save_pretrained(tmp_path / "ours")
    assert np.array_equal(Reranker.from_pretrained(tmp_path / "ours", device="cpu").score(pairs), model.score(pairs))
    assert np.abs(model.score(pairs) - oracle(tmp_path / "ours").predict(pairs)).max() < 1e-5


def test_a_score_does_not_depend_on_order_or_batch(one: Path) -> None:
    model = Reranker.from_pretrained(one, device="cpu")
    together = model.score(PAIRS)
    assert np.abs(together - np.concatenate([model.score([pair]) for pair in PAIRS])).max() < 1e-6
    assert np.abs(together[::-1] - model.score(iter(PAIRS[::-1]))).max() < 1e-6
    many = model.score(PAIRS * 900, progress=False)  # more than one window
    assert np.abs(many.reshape(900, -1) - together).max() < 1e-6


def test_what_is_cut_is_told(one: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = Reranker.from_pretrained(one, device="cpu", max_seq_length=16)
    with caplog.at_level(logging.WARNING, "sentvec"):
        model.score([("the cat", "dog")])
        assert not caplog.records
        model.score(PAIRS)
    assert "4 of 10 texts were longer than 16 tokens and lost their end" in caplog.text
    assert len(caplog.records) == 1


def test_ranking(one: Path) -> None:
    model = Reranker.from_pretrained(one, device="cpu")
    documents = [text for _, text in PAIRS]
    ranked = model.rank("what is a cat?", documents)
    expected = oracle(one).rank("what is a cat?", documents, return_documents=True)
    assert [(one.index, one.text) for one in ranked] == [(one["corpus_id"], one["text"]) for one in expected]
    assert np.allclose([one.score for one in ranked], [one["score"] for one in expected], atol=1e-5)
    assert [type(value) for value in (ranked[0].index, ranked[0].score, ranked[0].text)] == [int, float, str]
    assert model.rank("what is a cat?", documents, top_k=3) == ranked[:3]
    assert model.rank("what is a cat?", iter(documents), top_k=100) == ranked
    raw = model.rank("what is a cat?", documents, raw=True)
    assert [one.index for one in raw] == [one.index for one in ranked]
    assert raw[0].score == pytest.approx(np.log(ranked[0].score / (1 - ranked[0].score)), abs=1e-4)


def test_equal_scores_keep_their_order(one: Path) -> None:
    ranked = Reranker.from_pretrained(one, device="cpu").rank("cat", ["dog", "mat", "dog", "dog"])
    dogs = [one.index for one in ranked if one.text == "dog"]
    assert dogs == [0, 2, 3]


def test_nothing_gives_nothing(one: Path, tmp_path: Path) -> None:
    model = Reranker.from_pretrained(one, device="cpu")
    assert model.score([]).shape == (0,)
    assert model.score([]).dtype == np.float32
    assert model.rank("cat", []) == []
    tiny(tmp_path / "three", "bert", HEAD, num_labels=3)
    assert Reranker.from_pretrained(tmp_path / "three", device="cpu").score([]).shape == (0, 3)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ("a text", "pairs is str; give a list"),
        (None, "pairs is NoneType"),
        ({"a": "b"}, "pairs is dict"),
        (("query", "document"), r"pairs is one pair; give a list of pairs: \[\(query, document\)\]"),
        ([("a", "b"), "cd"], "pair 1 is str .*give a tuple of two str"),
        ([("a", "b", "c")], "pair 0 is tuple"),
        ([("a", "b"), None], "pair 1 is NoneType"),
        ([("a", "b"), ("a", None)], "text 1 is tuple"),
        ([("a", "\ud800")], "text 0 is not valid Unicode"),
    ],
)
def test_what_is_no_pair_is_refused(one: Path, pairs: Any, said: str) -> None:
    model = Reranker.from_pretrained(one, device="cpu")
    with pytest.raises(InvalidInput, match=said):
        model.score(pairs)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((None, ["a"]), "query is NoneType"),
        (("a", "text"), "documents is str"),
        (("a", ["b", 3]), "document 1 is int"),
        (("a", ["b"], 0), "top_k is 0"),
        (("a", ["b"], True), "top_k is True"),
    ],
)
def test_what_cannot_be_ranked_is_refused(one: Path, arguments: tuple[Any, ...], said: str) -> None:
    model = Reranker.from_pretrained(one, device="cpu")
    options = {"top_k": arguments[2]} if len(arguments) == 3 else {}
    with pytest.raises(InvalidInput, match=said):
        model.rank(*arguments[:2], **options)


def test_several_labels_give_no_one_order(tmp_path: Path) -> None:
    tiny(tmp_path, "bert", HEAD, num_labels=3)
    with pytest.raises(InvalidInput, match="gives 3 scores for a pair .* Call score"):
        Reranker.from_pretrained(tmp_path, device="cpu").rank("a", ["b"])


def test_other_heads_are_named(tmp_path: Path) -> None:
    tiny(tmp_path / "a", "bert", "ForMaskedLM")
    with pytest.raises(HeadNotFound, match="Ask for masked-lm"):
        Reranker.from_pretrained(tmp_path / "a")
    tiny_bert(tmp_path / "b")
    with pytest.raises(HeadNotFound, match="Use it as an Embedder"):
        Reranker.from_pretrained(tmp_path / "b")


@pytest.mark.parametrize(("precision", "within"), [("bfloat16", 0.05), ("float16", 0.01), ("int8", 0.05)])
def test_other_number_formats_stay_near(tmp_path: Path, precision: str, within: float) -> None:
    one = tmp_path / "one"
    tiny(one, "bert", HEAD, num_labels=1, hidden_size=64, intermediate_size=64)
    exact = Reranker.from_pretrained(one, device="cpu").score(PAIRS)
    model = Reranker.from_pretrained(one, device="cpu", precision=precision)
    assert model.precision == precision
    scores = model.score(PAIRS)
    assert scores.dtype == np.float32
    assert 0 < np.abs(scores - exact).max() < within
    model.save_pretrained(tmp_path / "saved")  # nothing is rounded
    assert np.array_equal(Reranker.from_pretrained(tmp_path / "saved", device="cpu").score(PAIRS), exact)


def test_arguments_are_looked_at_first() -> None:
    with pytest.raises(InvalidInput, match="precision 'exact' is not known"):
        Reranker.from_pretrained("no/such-model", precision="exact")


def test_lengths_that_cannot_be(one: Path) -> None:
    short = Reranker.from_pretrained(one, device="cpu", max_seq_length=4)  # and three of them are special
    with pytest.raises(InvalidInput, match="max_seq_length is 4, but a pair of texts takes 5 tokens or more"):
        short.score([("the cat", "dogs")])
    with pytest.raises(InvalidInput, match="max_seq_length is 1000"):
        Reranker.from_pretrained(one, device="cpu", max_seq_length=1000)


def test_a_broken_model_is_told(one: Path) -> None:
    model = Reranker.from_pretrained(one, device="cpu")
    with torch.no_grad():
        model._model.head.out.bias.fill_(float("nan"))
    with pytest.raises(NonFiniteOutput, match=r"text \d holds NaN"):
        model.score(PAIRS)


def test_a_result_is_a_value() -> None:
    assert Ranked(1, 0.5, "a") == Ranked(1, 0.5, "a")
    assert issubclass(HeadNotFound, SentvecError)
