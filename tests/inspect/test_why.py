"""Contributions of token pairs sum to the cosine of `encode`'s vectors, for every recipe that is a sum over tokens."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from tests.builders import add_modules, pooling_config, tiny_bert, tiny_roberta, write_json

from sentvec import Embedder
from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.inspect.why import SUMS, explain_similarity

PAIRS = [
    ("The cat sat on the mat", "the dog sat"),
    ("", "the cat"),
    ("", ""),
    ("unaffable, 你好世界!", "the cat " * 40),
]
LINEAR = {"activation_function": "torch.nn.modules.linear.Identity"}


def cosine(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def agrees(model, a, b, **options):
    found = explain_similarity(model, a, b, **options)
    prompts, names = options.get("prompts", (None, None)), options.get("prompt_names", (None, None))
    vectors = [model.encode(t, prompt=p, prompt_name=n) for t, p, n in zip((a, b), prompts, names, strict=True)]
    assert abs(found.matrix.sum() - cosine(*vectors)) < 1e-6
    assert found.score == pytest.approx(found.matrix.sum(), abs=1e-12)
    assert found.matrix.shape == (len(found.rows), len(found.columns))
    return found


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("pooling", [*SUMS, ("mean", "weighted_mean"), ("first_last_mean", "mean_sqrt")])
def test_contributions_sum_to_the_cosine(tmp_path, pooling, pair):
    agrees(Embedder.from_pretrained(tiny_bert(tmp_path / "m"), pooling=pooling), *pair)


@pytest.mark.parametrize(
    "dense",
    [
        LINEAR,
        LINEAR | {"bias": False},
        LINEAR | {"use_residual": True},
        LINEAR | {"use_residual": True, "out_features": 32},
    ],
)
@pytest.mark.parametrize("after", [("Dense",), ("Dense", "Normalize"), ("Normalize", "Dense")])
def test_through_projections_without_an_activation(tmp_path, dense, after):
    folder = add_modules(tiny_roberta(tmp_path / "m"), "Pooling", *after, dense=dense)
    agrees(Embedder.from_pretrained(folder), "the cat sat", "a dog!")


def test_a_recipe_that_cuts_dimensions(tmp_path):
    folder = add_modules(tiny_bert(tmp_path / "m"), "Pooling", "Normalize")
    write_json(folder / "config_sentence_transformers.json", {"truncate_dim": 8})
    model = Embedder.from_pretrained(folder)
    assert model.dim == 8
    agrees(model, "the cat sat", "a dog!")


@pytest.mark.parametrize("pooling", ["mean", "weighted_mean"])
@pytest.mark.parametrize("counted", [True, False])
def test_prompts_count_where_the_checkpoint_counts_them(tmp_path, counted, pooling):
    config = pooling_config(pooling, include_prompt=counted)
    folder = add_modules(tiny_bert(tmp_path / "m"), "Pooling", pooling=config)
    write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "query: "}})
    model = Embedder.from_pretrained(folder)
    found = agrees(model, "the cat", "a dog", prompt_names=("query", None), prompts=(None, "passage: "))
    assert found.rows == (("[CLS]", "query", ":") if counted else ()) + ("the", "cat", "[SEP]")
    assert found.columns == (("[CLS]", "passage", ":") if counted else ()) + ("a", "dog", "[SEP]")


def test_contributions_say_which_tokens_are_alike(minilm):
    found = agrees(minilm, "A cat sits on the mat.", "The cat sleeps.")
    assert [(pair.first, pair.second) for pair in found.strongest(1)] == [("cat", "cat")]
    best = found.strongest()
    assert len(best) == 10
    assert [abs(pair.contribution) for pair in best] == sorted((abs(p.contribution) for p in best), reverse=True)
    assert all(found.matrix[pair.places] == pair.contribution for pair in best)
    assert all(found.rows[pair.places[0]] == pair.first for pair in best)


@pytest.mark.parametrize("pooling", ["first", "last", "max", "pooler"])
def test_poolings_that_are_no_sums_are_refused_by_name(tmp_path, pooling):
    model = Embedder.from_pretrained(tiny_bert(tmp_path / "m"), pooling=("mean", pooling))
    with pytest.raises(InvalidInput, match=f"pooling '{pooling}' is no sum over tokens.*mean_sqrt"):
        explain_similarity(model, "a", "b")


def test_an_activation_is_refused_by_name(tmp_path):
    folder = add_modules(tiny_bert(tmp_path / "m"), "Pooling", "Dense")
    assert "activation_function" not in json.loads((folder / "2_Dense" / "config.json").read_text())
    with pytest.raises(InvalidInput, match="activation Tanh"):
        explain_similarity(Embedder.from_pretrained(folder), "a", "b")


def test_what_is_cut_off_is_said(tmp_path, caplog):
    model = Embedder.from_pretrained(tiny_bert(tmp_path / "m"))
    with caplog.at_level(logging.WARNING, logger="sentvec"):
        explain_similarity(model, "cat " * 100, "dog")
    assert "lost their end" in caplog.text


def test_damaged_weights_are_said(tmp_path):
    model = Embedder.from_pretrained(tiny_bert(tmp_path / "m"))
    with torch.no_grad():
        next(model.encoder.layers.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteOutput, match="the checkpoint's weights are damaged"):
        explain_similarity(model, "a cat", "a dog")
