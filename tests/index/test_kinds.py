"""Every kind of index finds what NumPy finds, leaves out what it is told to, and is read back as it was written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sentvec.errors import CollectionCorrupt, InvalidInput, NonFiniteOutput
from sentvec.index.kinds import build, in_blocks, read
from sentvec.index.menu import KINDS, bytes_of, chosen, factory_of
from sentvec.index.rows import unit
from sentvec.index.tuning import Point, Tuning

DIM, COUNT = 32, 3000
FACTORIES = (*KINDS, "IVF64_HNSW8,SQ8", "PQ16x4fs,RFlat", "PCA16,Flat", "RaBitQ", "SQfp16")


def groups(n=COUNT, seed=0):
    """Draw vectors around some centres, as texts are."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(40, DIM))
    return (centres[random.integers(0, 40, n)] + 0.6 * random.normal(size=(n, DIM))).astype(np.float32)


VECTORS, ASKED = groups(), groups(50, seed=1)


def scores(metric, vectors, asked):
    if metric == "l2":
        return -((asked[:, None] - vectors[None]) ** 2).sum(axis=2)
    return unit(asked) @ unit(vectors).T if metric == "cosine" else asked @ vectors.T


def share(found, wanted):
    return np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, wanted, strict=True)])


def best(given, k=10):
    return np.argsort(-given, axis=1, kind="stable")[:, :k]


@pytest.fixture(scope="module")
def made():
    """Build each kind once."""
    held = {}

    def get(kind, metric="cosine"):
        if (kind, metric) not in held:
            held[kind, metric] = build(kind, in_blocks(VECTORS, 700), COUNT, DIM, metric)
        return held[kind, metric]

    return get


@pytest.mark.parametrize("kind", FACTORIES)
def test_finds_what_numpy_finds(made, kind):
    index = made(kind)
    assert len(index) == COUNT and index.factory.split(",")[0].startswith(factory_of(kind, DIM, COUNT).split(",")[0])
    found, point = index.search(ASKED, 10)
    assert found.dtype == np.int64 and found.shape[0] == 50
    assert share(found, best(scores("cosine", VECTORS, ASKED))) >= 0.93
    assert point == index.tuning.chosen
    assert point.recall >= 0.95 or point == max(index.tuning.curve, key=lambda one: one.recall)


@pytest.mark.parametrize("metric", ["inner_product", "l2"])
@pytest.mark.parametrize("kind", ["flat", "hnsw", "sq8", "ivf-flat", "ivf-pq-refine"])
def test_other_metrics(made, kind, metric):
    found, _ = made(kind, metric).search(ASKED, 10)
    assert share(found, best(scores(metric, VECTORS, ASKED))) >= 0.93


@pytest.mark.parametrize("kind", FACTORIES)
@pytest.mark.parametrize("few", [0.5, 0.1, 0.01, 0.0])
def test_leaves_out_what_may_not_be_found(made, kind, few):
    allowed = np.random.default_rng(3).random(COUNT) < few
    found, _ = made(kind).search(ASKED, 10, recall=0.99, allowed=allowed)
    assert not (~allowed[found[found >= 0]]).any()
    kept = np.flatnonzero(allowed)
    wanted = kept[best(scores("cosine", VECTORS[kept], ASKED))] if len(kept) else np.zeros((50, 0))
    if len(kept):
        assert share(found, wanted) >= 0.97
    else:
        assert found.shape == (50, 0)


@pytest.mark.parametrize("kind", FACTORIES)
def test_is_read_as_it_was_written(made, kind, tmp_path):
    index = made(kind)
    index.write(tmp_path / "ann.faiss")
    tuning = Tuning.from_dict(json.loads(json.dumps(index.tuning.as_dict())))
    again = read(tmp_path / "ann.faiss", index.factory, COUNT, DIM, "cosine", tuning)
    assert again.tuning == index.tuning
    np.testing.assert_array_equal(again.search(ASKED, 10)[0], index.search(ASKED, 10)[0])


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf-pq"])
def test_a_damaged_file_is_refused(made, kind, tmp_path):
    file = tmp_path / "ann.faiss"
    index = made(kind)
    index.write(file)
    whole = file.read_bytes()
    for damaged in (
        b"",
        whole[:100],
        whole[: len(whole) // 2],
        b"rubbish" * 100,
        whole[:8] + b"\xff" * 40 + whole[48:],
    ):
        file.write_bytes(damaged)
        with pytest.raises(CollectionCorrupt, match=r"ann\.faiss"):
            read(file, index.factory, COUNT, DIM, "cosine")
    file.write_bytes(whole)
    with pytest.raises(CollectionCorrupt, match=f"{COUNT} vectors of {DIM} numbers, not 5 of {DIM}"):
        read(file, index.factory, 5, DIM, "cosine")
    with pytest.raises(CollectionCorrupt, match="cannot be read"):
        read(tmp_path / "none", index.factory, COUNT, DIM, "cosine")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 2, 9, 300])
def test_few_vectors(kind, count):
    index = build(kind, in_blocks(VECTORS[:count]), count, DIM)
    found, _ = index.search(ASKED[:3], 10)
    truth = best(scores("cosine", VECTORS[:count], ASKED[:3]))
    assert share(found, truth) > 0.9 if count else found.shape == (3, 0)
    allowed = np.arange(count) % 2 == 1
    found, _ = index.search(ASKED[:3], 10, allowed=allowed)
    assert (found[found >= 0] % 2 == 1).all()
    assert sorted(set(found[0][found[0] >= 0])) == list(range(1, count, 2)) or count > 20


def test_the_curve_rises_and_the_cheapest_point_is_taken(made):
    tuning = made("ivf-flat").tuning
    assert tuning.queries == 200 and tuning.k == 10 and tuning.target == 0.95
    recalls = [point.recall for point in tuning.curve]
    assert recalls == sorted(recalls) and recalls[0] < 0.95 < recalls[-1]
    assert tuning.reaching(0.5).effort <= tuning.chosen.effort <= tuning.reaching(0.99).effort
    hard = Tuning(0.99, 10, 5, (Point(1, 1, 0.5, 1e-3), Point(2, 1, 0.7, 2e-3)))
    assert hard.chosen == hard.curve[1]
    two = Tuning(0.5, 10, 5, (Point(1, 1, 0.6, 2e-3), Point(2, 1, 0.7, 1e-3)))
    assert two.chosen == two.curve[1]


def test_beyond_the_end_of_the_curve_it_looks_further():
    index = build("hnsw", in_blocks(VECTORS), COUNT, DIM)
    index.tuning = Tuning(0.9, 10, 50, (Point(16, 1, 0.8), Point(32, 1, 0.9)))
    assert [index.point(recall).effort for recall in (None, 0.7, 0.85, 0.95)] == [32, 16, 32, 128]


def test_queries_of_users_are_what_recall_is_measured_on():
    index = build("ivf-flat", in_blocks(VECTORS), COUNT, DIM, recall=0.8, queries=ASKED)
    assert index.tuning.queries == 50 and index.tuning.target == 0.8


def test_equal_vectors_count_for_each_other():
    same = np.repeat(groups(30), 100, axis=0)
    assert build("hnsw", in_blocks(same), COUNT, DIM).tuning.chosen.recall > 0.5


def test_auto_chooses_by_size_and_memory():
    assert [chosen(384, n, 4 << 30) for n in (0, 99_999, 100_000, 2_000_000)] == ["flat", "flat", "hnsw", "hnsw-sq8"]
    assert [chosen(384, 1_000_000, size << 20) for size in (700, 400, 100)] == ["hnsw-sq8", "ivf-sq8", "ivf-pq-refine"]
    assert factory_of("auto", 384, 200_000, memory=1 << 40) == "HNSW32"
    assert factory_of("auto", 384, 200_000, memory=100 << 20).startswith("IVF1788,SQ8")


def test_sizes_are_as_faiss_takes_them(made, tmp_path):
    for kind in ("flat", "hnsw", "hnsw-sq8", "sq8", "pq", "lsh", "ivf-flat", "ivf-sq8"):
        index = made(kind)
        index.write(tmp_path / "file")
        size = (tmp_path / "file").stat().st_size
        assert bytes_of(index.factory, DIM, COUNT) == pytest.approx(size, rel=0.25, abs=40_000), kind


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("best", r"'best' is not known; accepted: 'auto', 'flat', 'hnsw'"),
        ("", "is not known"),
        ("IDMap,Flat", "Leave out IDMap"),
        ("IVF0,Flat", "0 lists; accepted: 1 to"),
        ("IVF99999999,Flat", "99999999 lists"),
        ("PQ0", "into 0 parts; give a divisor"),
        ("PQ5", "cuts 32 numbers into 5 parts"),
        ("PQ8x20", "20 bits for each part; accepted: 4 to 12"),
        ("PQ8x8fs", "fast scan has 4 bits"),
        ("HNSW1", "1 links; accepted: 2 to 512"),
        ("HNSW99999", "99999 links"),
        ("LSH0", "0 bits"),
        ("PCA64,Flat", "turns vectors to 64 numbers; accepted: 1 to 32"),
        ("PCA0,Flat", "turns vectors to 0 numbers"),
        ("OPQ5_16,Flat", "cuts 16 numbers into 5 parts"),
        ("OPQ0,Flat", "into 0 parts"),
        ("IVF16,HNSW32", "puts a graph or signs into lists"),
        ("IVF16,LSH64", "puts a graph or signs into lists"),
        (5, "The kind of index 5 is not known"),
    ],
    ids=str,
)
def test_kinds_that_cannot_be(kind, told):
    with pytest.raises(InvalidInput, match=told):
        build(kind, in_blocks(VECTORS), COUNT, DIM)


def test_arguments_that_cannot_be(made):
    blocks = in_blocks(VECTORS)
    for options, told in (
        ({"metric": "l7"}, "metric is 'l7'"),
        ({"count": -1}, "count is -1"),
        ({"dim": 0}, "dim is 0"),
        ({"recall": 0.0}, "recall is 0.0"),
        ({"count": 5}, "hold 3000 vectors, not 5"),
        ({"dim": 16}, r"accepted: float32 \(n, 16\)"),
        ({"kind": "lsh", "metric": "l2"}, "only rank by cosine, not by l2"),
    ):
        with pytest.raises(InvalidInput, match=told):
            build(**{"kind": "flat", "blocks": blocks, "count": COUNT, "dim": DIM, **options})
    with pytest.raises(NonFiniteOutput):
        build("hnsw", in_blocks(np.full((20, DIM), np.nan, np.float32)), 20, DIM)
    index = made("flat")
    for asked, k, allowed in (
        (ASKED, 0, None),
        (ASKED[:, :5], 5, None),
        (ASKED.astype(float), 5, None),
        (ASKED, 5, np.ones(7, bool)),
        (ASKED, 5, np.ones(COUNT, int)),
    ):
        with pytest.raises(InvalidInput):
            index.search(asked, k, allowed=allowed)
    with pytest.raises(InvalidInput, match="no curve"):
        Tuning.from_dict({"target": 1})
