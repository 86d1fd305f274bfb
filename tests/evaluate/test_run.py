"""A model goes through all sets once; what cannot be done is refused before the first text is encoded."""

from __future__ import annotations

import numpy as np
import pytest
from tests.evaluate.given import Given
from tests.evaluate.test_classify import make as make_classes
from tests.evaluate.test_sts import make as make_pairs

from sentvec.errors import InvalidInput, MissingExtra
from sentvec.evaluate import run as module
from sentvec.evaluate.bitext import Bitext
from sentvec.evaluate.classify import Clustering
from sentvec.evaluate.run import Settings, check_kinds, compare_reports, evaluate, of_kinds
from sentvec.evaluate.vectors import Counts


@pytest.fixture(scope="module")
def sets():
    """Two sets of scored pairs, one of them with subsets, their translations, and clusters."""
    one, first = make_pairs([60])
    other, second = make_pairs([30, 50], seed=1)
    renamed = {f"{text}!": row for text, row in second.items()}
    other = type(other)(
        "subsets", *(tuple(f"{t}!" for t in side) for side in (other.left, other.right)), other.scores, other.subsets
    )
    part, third = make_classes(40)
    wide = {text: np.pad(row, (0, 6)) for text, row in third.items()}
    chosen = (one, other, Bitext("both", one.left[:20], one.right[:20]), Clustering("groups", (part,)))
    return chosen, first | renamed | wide


SETTINGS = Settings(resamples=200)


def test_every_set_has_its_result_and_the_means_are_by_kind(sets):
    chosen, vectors = sets
    report = evaluate(Given(vectors), chosen, settings=SETTINGS, progress=False)
    assert [(one.name, one.kind) for one in report.results] == [
        ("set", "sts"), ("subsets", "sts"), ("both", "bitext"), ("groups", "clustering")
    ]  # fmt: skip
    assert report.means() == {"sts": pytest.approx((report.results[0].value + report.results[1].value) / 2)}
    assert (report.model, report.precision, report.settings) == ("given", "float32", SETTINGS)
    for one in report.results[:3]:
        assert one.interval.low <= one.value <= one.interval.high
    assert report.results[3].interval is None


def test_what_can_be_chosen_is_what_is_done(sets):
    chosen, vectors = sets
    report = evaluate(Given(vectors), chosen[:2], settings=Settings(aggregation="mean", resamples=0), progress=False)
    assert [one.main for one in report.results] == ["spearman (all)", "spearman (mean)"]
    assert all(one.interval is None for one in report.results)


def test_a_second_run_encodes_nothing_and_says_the_same(sets, tmp_path):
    chosen, vectors = sets
    first, second = (
        evaluate(Given(vectors), chosen, settings=SETTINGS, cache=tmp_path, progress=False) for _ in range(2)
    )
    assert first.counts == Counts(120 + 160 + 40, 40) and second.counts == Counts(0, 360)
    assert [(one.scores, one.interval) for one in first.results] == [
        (one.scores, one.interval) for one in second.results
    ]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"aggregation": "median"}, "aggregation 'median' is not known. Known: all, mean, wmean"),
        ({"cutoffs": ()}, "cutoffs are .*; accepted: one or more numbers from 1 to 1000000"),
        ({"cutoffs": (10, 0)}, "accepted: one or more numbers from 1 to 1000000"),
        ({"resamples": -1}, "resamples is -1; accepted: 0"),
    ],
)
def test_settings_that_are_not_possible_are_refused(options, told):
    with pytest.raises(InvalidInput, match=told):
        Settings(**options)


def test_a_package_that_is_missing_is_said_before_anything_is_encoded(sets, monkeypatch):
    def require(name, *, extra):
        raise MissingExtra(f"{name} {extra}")

    monkeypatch.setattr(module, "require", require)
    model = Given(sets[1])
    with pytest.raises(MissingExtra, match="evaluate"):
        evaluate(model, sets[0], progress=False)
    assert model.encoded == 0


def test_kinds(sets):
    assert of_kinds(sets[0], ()) == sets[0]
    assert of_kinds(sets[0], ("bitext", "clustering")) == sets[0][2:]
    with pytest.raises(InvalidInput, match="kind 'songs' is not known. Known: sts, retrieval"):
        check_kinds(("sts", "songs"))
    with pytest.raises(InvalidInput, match="there are 4 sets, but none of the kind rerank or pairs"):
        of_kinds(sets[0], ("rerank", "pairs"))


def test_two_models_are_compared_set_by_set(sets):
    chosen, vectors = sets
    random = np.random.default_rng(0)
    noisy = {text: row + 4 * random.normal(size=16) for text, row in vectors.items()}
    good, bad = (evaluate(Given(table), chosen, settings=SETTINGS, progress=False) for table in (vectors, noisy))
    tests = compare_reports(good, bad, progress=False)
    assert tests[3] is None
    assert all(test.difference > 0 for test in tests[:3])
    assert [test.method for test in tests[:3]] == ["paired bootstrap"] * 2 + ["paired permutation test"]
    assert all(test.p == 1 for test in compare_reports(good, good, progress=False)[:3])
    with pytest.raises(InvalidInput, match="given and given were evaluated on different sets"):
        compare_reports(good, evaluate(Given(noisy), chosen[:2], settings=SETTINGS, progress=False))
    with pytest.raises(InvalidInput, match="resamples is 0, and a test of two models needs draws"):
        compare_reports(evaluate(Given(vectors), chosen[:1], settings=Settings(resamples=0), progress=False), bad)
