"""The layer study gives each layer's and pooling's Spearman, in one pass over the texts."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from tests.builders import TEXTS, tiny_bert

from sentvec import Embedder
from sentvec.errors import InvalidInput, UnknownPooling
from sentvec.inspect import layers
from sentvec.inspect.capture import trace
from sentvec.inspect.layers import POOLS, layer_study

scipy_stats = pytest.importorskip("scipy.stats", reason="scipy is not installed (`make install`)")
PAIRS = [(a, b) for a in TEXTS for b in TEXTS]
SCORES = [float(i * 7 % 11) for i in range(len(PAIRS))]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Embedder.from_pretrained(tiny_bert(tmp_path_factory.mktemp("m") / "m"))


def test_every_place_of_the_table_is_that_layers_score(model, monkeypatch):
    monkeypatch.setattr(layers, "CHUNK", 7)  # the last chunk is not full
    found = layer_study(model, PAIRS, SCORES)
    assert found.table.shape == (3, 5)
    states = {text: trace(model, text).hidden_states.astype(np.float64) for text in TEXTS}

    def pooled(text, layer, name):
        rows = states[text][layer]
        places = np.arange(1, len(rows) + 1)[:, None]
        by_hand = {"mean": rows.mean(0), "first": rows[0], "last": rows[-1], "max": rows.max(0)}
        return by_hand.get(name, (rows * places).sum(0) / places.sum())

    for layer in range(3):
        for column, name in enumerate(POOLS):
            vectors = {text: pooled(text, layer, name) for text in TEXTS}
            cosines = [
                vectors[a] @ vectors[b] / (np.linalg.norm(vectors[a]) * np.linalg.norm(vectors[b])) for a, b in PAIRS
            ]
            if (layer, name) == (0, "first"):  # the same [CLS] in every text: there is no order
                assert np.isnan(found.table[layer, column])
                continue
            expected = scipy_stats.spearmanr(np.round(cosines, 6), SCORES).statistic * 100
            assert found.table[layer, column] == pytest.approx(expected, abs=0.5)  # near ties fall either way


def test_the_model_itself_is_its_last_layer(model):
    found = layer_study(model, PAIRS, SCORES)
    assert model.recipe.pooling == ("mean",)
    assert found.table[-1, 0] == pytest.approx(found.whole, abs=0.5)
    assert found.table[found.best()[0], POOLS.index(found.best()[1])] == np.nanmax(found.table)


def test_each_text_goes_through_the_encoder_once_for_all_layers(model, monkeypatch):
    seen = []
    forward = type(model.encoder).forward

    def counted(self, batch, **options):
        seen.append((len(batch), options.get("probe") is not None))
        return forward(self, batch, **options)

    monkeypatch.setattr(type(model.encoder), "forward", counted)
    layer_study(model, PAIRS, SCORES)
    assert sum(n for n, probed in seen if probed) == len(TEXTS)
    assert sum(n for n, probed in seen if not probed) == len(TEXTS)


@pytest.mark.parametrize(
    ("pairs", "scores", "options", "said"),
    [
        (PAIRS[:2], [1, 2], {}, "2 pairs says nothing"),
        (PAIRS, [1.0], {}, "36 pairs of texts, but 1 scores"),
        (PAIRS[:3], [2, 2, 2], {}, "all scores are 2"),
        (PAIRS, SCORES, {"poolings": ["first_last_mean"]}, "does not read one layer alone"),
        (PAIRS, SCORES, {"poolings": []}, "names none"),
        (PAIRS[:3], [1, float("nan"), 3], {}, "score 1 is nan"),
        (PAIRS[:3], ["1", "2", "3"], {}, "score 0 is '1'"),
        ([*PAIRS[:2], ("alone",)], [1, 2, 3], {}, "pair 2 is .*give a tuple of two str"),
        ([("a cat", "a cat")] * 3, [1, 2, 3], {}, "every layer gives all pairs the same cosine"),
    ],
)
def test_what_cannot_be_compared_is_refused(model, pairs, scores, options, said):
    with pytest.raises(InvalidInput, match=said):
        layer_study(model, pairs, scores, **options)


def test_unknown_poolings_are_named(model):
    with pytest.raises(UnknownPooling, match="'avg'"):
        layer_study(model, PAIRS, SCORES, poolings=["avg"])


@pytest.mark.data
def test_the_real_minilm_gets_better_with_depth(minilm, shared_data):
    with (shared_data / "sts" / "stsb" / "stsb-en-dev.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[:300]
    found = layer_study(minilm, [(r[0], r[1]) for r in rows], [float(r[2]) for r in rows], poolings=["mean"])
    assert found.whole == pytest.approx(found.table[-1, 0], abs=0.01)
    assert found.best() == (6, "mean")
    assert found.table[0, 0] < found.whole - 5
