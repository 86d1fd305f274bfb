"""Hard negatives: those that should be found are, those that may be right are not, and doubts are told."""

from __future__ import annotations

import numpy as np
import pytest

from sentvec.errors import InvalidInput
from sentvec.train.batches import Dataset, Example
from sentvec.train.mine import MineConfig, mine

ANGLES = {"q": 0.0, "right": 20.0, "above": 10.0, "near": 21.0, "far": 60.0, "further": 80.0, "opposite": 170.0}


class Circle:
    """A model whose vectors lie on a circle, at an angle for each text."""

    similarity_name = "cosine"

    def encode_query(self, texts, *, progress=None):
        angles = np.deg2rad([ANGLES[text] for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    encode_document = encode_query


PAIRS = Dataset("pairs", "pairs", [Example(("q", "right"))])
POOL = ["above", "near", "far", "further", "opposite", "right", "q"]


def found(**settings):
    return mine(Circle(), PAIRS, POOL, MineConfig(**{"negatives": 2, "last": 5} | settings), progress=False)


def test_the_nearest_that_are_far_enough_are_taken():
    mined = found(relative_margin=0.05)
    assert mined.dataset.kind == "tuples"
    assert mined.dataset.examples[0].texts == ("q", "right", "far", "further")
    assert mined.left_out["within the margin"] == 2  # what is above the positive, and what is as near
    assert (mined.found, mined.without) == (2, 0)


@pytest.mark.parametrize(
    ("settings", "texts"),
    [
        ({"relative_margin": None}, ("above", "near")),
        ({"relative_margin": None, "first": 2}, ("near", "far")),
        ({"relative_margin": None, "margin": 0.1}, ("far", "further")),
        ({"relative_margin": None, "highest": 0.3}, ("further", "opposite")),
        ({"relative_margin": 0.5}, ("further", "opposite")),
        ({"relative_margin": None, "last": 1, "negatives": 1}, ("above",)),
    ],
)
def test_settings(settings, texts):
    if "highest" in settings or settings["relative_margin"] == 0.5:
        ANGLES["far"] = 30.0 if settings["relative_margin"] == 0.5 else 60.0
    try:
        assert found(**settings).dataset.examples[0].texts[2:] == texts
    finally:
        ANGLES["far"] = 60.0


def test_doubts_are_told():
    mined = found()
    assert mined.above == 1.0
    assert mined.doubts[0].document == "above"
    assert mined.doubts[0].score > mined.doubts[0].positive_score
    assert "100.0 % of pairs have a document above" in str(mined)


def test_all_positives_of_a_query_are_no_negatives():
    pairs = Dataset("pairs", "pairs", [Example(("q", "right")), Example(("q", "far"))])
    mined = mine(Circle(), pairs, POOL, MineConfig(negatives=3, last=5, relative_margin=None), progress=False)
    assert all(not {"right", "far", "q"} & set(one.texts[2:]) for one in mined.dataset.examples)


def test_a_cross_encoder_has_the_last_word():
    asked = []

    def check(pairs):
        asked.extend(pairs)
        return np.array([0.9 if document in ("right", "far") else 0.1 for _, document in pairs], np.float32)

    mined = mine(Circle(), PAIRS, POOL, MineConfig(negatives=2, last=5), check=check, progress=False)
    assert mined.dataset.examples[0].texts[2:] == ("further", "opposite")
    assert mined.left_out["by the cross-encoder"] == 1
    assert ("q", "right") in asked


def test_random_ones_are_seeded():
    one, two = (found(relative_margin=None, draw="random", seed=3).dataset.examples for _ in range(2))
    assert one == two


def test_what_cannot_be():
    with pytest.raises(InvalidInput, match="no pair of pairs has a negative among ranks 1 to 5 of 7 documents"):
        found(highest=-1.0)
    with pytest.raises(InvalidInput, match="holds texts"):
        mine(Circle(), Dataset("x", "texts", [Example(("a",))]), POOL)
    for settings in ({"first": 0}, {"first": 9}, {"negatives": 6}, {"draw": "best"}, {"relative_margin": 1.0}):
        with pytest.raises(InvalidInput, match="accepted|Known"):
            found(**settings)
