"""Every way of asking: by words, by both, filtered, reranked, unlike each other, and like a passage that is there."""

from __future__ import annotations

import numpy as np
import pytest
from fake_model import FakeModel

from sentvec.errors import CollectionError, InvalidInput, NonFiniteOutput
from sentvec.search import query
from sentvec.search.collection import Collection

TEXTS = {
    "cat": "Cats sleep by day.",
    "dog": "Dogs bark aloud at night.",
    "fish": "Fish swim in cold water.",
    "owl": "Owls hunt at night.",
    "mao": "黑猫警长抓老鼠。",
    "gou": "小狗在晚上叫。",
}
FIELDS = [
    {"legs": 4, "lang": "en"},
    {"legs": 4, "lang": "en", "tags": ["loud"]},
    {"legs": 0, "lang": "en"},
    {"legs": 2, "lang": "en"},
    {"legs": 4, "lang": "zh"},
    {"legs": 4, "lang": "zh", "tags": ["loud"]},
]


@pytest.fixture
def pets(collection):
    collection.add(TEXTS.values(), ids=list(TEXTS), metadata=FIELDS)
    return collection


def ids(hits):
    return [hit.id for hit in hits]


# Words -----------------------------------------------------------------------------------------------


def test_by_words_alone(pets):
    hits = pets.search_text("who BARKS, or bark, at night?")
    assert ids(hits) == ["dog", "owl"]
    assert hits[0].score > hits[1].score > 0
    assert ids(pets.search_text("警长")) == ["mao"]
    assert ids(pets.search_text("猫")) == ["mao"]
    assert pets.search_text("zebra") == []
    assert pets.search_text("!?") == []
    assert len(pets.search_text("at night", k=1)) == 1


def test_by_words_without_a_model(pets, tmp_path):
    with Collection.open(tmp_path / "c.sv") as bare:
        assert ids(bare.search_text("bark night", where={"legs": 4})) == ["dog"]
        assert ids(bare.search_like("dog", 1)) == ["owl"]
        with pytest.raises(CollectionError, match="model is needed"):
            bare.search("bark", hybrid=True)


def test_words_follow_changes(pets):
    pets.add(["Cats bark now."], ids=["cat"])
    assert set(ids(pets.search_text("bark"))) == {"cat", "dog"}
    assert pets.search_text("sleep") == []
    pets.delete(["cat", "dog"])
    assert pets.search_text("bark") == []


@pytest.mark.parametrize(
    "words", ['"', "bark AND", "NEAR(", "text:bark *", "bark) OR (night", "-bark ^", "'; DROP TABLE"]
)
def test_nothing_in_a_question_is_an_operator(pets, words):
    assert set(ids(pets.search_text(words))) <= {"dog", "owl"}
    assert len(pets.search(words, hybrid=True)) == 6


def test_words_that_most_texts_have_are_left_out_where_that_changes_nothing(collection, monkeypatch):
    random = np.random.default_rng(0)
    names = [f"w{n}" for n in range(30)]
    collection.add([f"the text {' '.join(random.choice(names, 5))}" for _ in range(200)])
    asked = ["the w1 w2 text", "the text", "text w3 the zebra"]
    whole = [collection.search_text(question, 10) for question in asked]
    monkeypatch.setattr(query, "_MANY", 1)
    assert [collection.search_text(question, 10) for question in asked][1] == whole[1]
    for question, before in zip(asked, whole, strict=True):
        assert ids(collection.search_text(question, 10)) == ids(before)


# Both ------------------------------------------------------------------------------------------------


def test_fused_scores_are_the_formula(pets):
    question = "dogs hunt at night"
    dense, words = ids(pets.search(question)), ids(pets.search_text(question))
    for hybrid, share in ((True, 0.5), (0.3, 0.3), (1.0, 1.0), (0.0, 0.0)):
        hits = pets.search(question, hybrid=hybrid)
        for hit in hits:
            wanted = sum(
                weight / (60 + ranking.index(hit.id) + 1)
                for weight, ranking in ((1 - share, dense), (share, words))
                if hit.id in ranking
            )
            assert hit.score == pytest.approx(wanted)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert ids(pets.search(question, hybrid=0.0)) == dense
    assert ids(pets.search(question, hybrid=1.0))[: len(words)] == words


def test_fused_by_scores_is_the_formula(pets):
    question = "dogs hunt at night"
    near = {hit.id: hit.score for hit in pets.search(question)}
    worded = {hit.id: hit.score for hit in pets.search_text(question)}
    worded = {name: worded.get(name, 0.0) for name in near}  # all six are near; of those without a word it is 0
    standard = [(np.array(list(one.values())) - np.mean(list(one.values()))) / np.std(list(one.values()))
                for one in (near, worded)]  # fmt: skip
    wanted = dict(zip(near, 0.7 * standard[0] + 0.3 * standard[1], strict=True))
    hits = pets.search(question, hybrid=0.3, fusion="score")
    assert {hit.id: hit.score for hit in hits} == pytest.approx(wanted, abs=1e-6)
    assert ids(hits) == sorted(wanted, key=wanted.__getitem__, reverse=True)
    assert pets.search_many([question], hybrid=0.3, fusion="score") == [hits]


@pytest.mark.parametrize("hybrid", [True, 0.3, 1.0])
@pytest.mark.parametrize("question", ["!?", "zebra"])
def test_fused_scores_without_words_are_those_of_one_ranking(pets, hybrid, question):
    dense, hits = pets.search(question), pets.search(question, hybrid=hybrid)
    assert ids(hits) == ids(dense)
    share = 0.5 if hybrid is True else hybrid
    assert [hit.score for hit in hits] == pytest.approx([(1 - share) / (60 + rank) for rank in range(1, 7)])


# Filters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("hybrid", [False, True])
def test_only_what_meets_the_filter(pets, compacted, hybrid):
    if compacted:
        pets.compact("hnsw")
    for where, wanted in (
        ({"lang": "zh"}, {"mao", "gou"}),
        ({"legs": {">": 1, "<": 4}}, {"owl"}),
        ({"tags": "loud", "$not": {"lang": "zh"}}, {"dog"}),
        ({"legs": "4"}, set()),
        ({}, set(TEXTS)),
    ):
        assert set(ids(pets.search("at night", hybrid=hybrid, where=where))) == wanted
        assert set(ids(pets.search_text("at night", where=where))) == wanted & {"dog", "owl"}


def test_a_filter_sees_changes(pets):
    assert ids(pets.search("x", where={"legs": 2})) == ["owl"]
    pets.add([TEXTS["cat"]], ids=["cat"], metadata=[{"legs": 2}])
    assert set(ids(pets.search("x", where={"legs": 2}))) == {"owl", "cat"}
    pets.delete(["owl"])
    assert ids(pets.search("x", where={"legs": 2})) == ["cat"]
    assert ids(pets.search("x", where={"legs": True})) == []
    assert pets.delete(where={"legs": 4}) == 3
    assert set(ids(pets.search("x"))) == {"fish", "cat"}


# Like a passage, and by a vector ---------------------------------------------------------------------


def test_like_a_passage(pets, model):
    hits = pets.search_like("dog", 3)
    asked = model.encode_query([TEXTS["dog"]])[0].astype(np.float32)
    assert ids(hits) == [one for one in ids(pets.search(asked, 4)) if one != "dog"]
    zh = {"lang": "zh"}
    assert ids(pets.search_like("dog", 9, where=zh)) == ids(pets.search(asked, where=zh))
    assert len(pets.search_like("dog", 1)) == 1
    for id_ in ("zebra", "\x1b[2J"):
        with pytest.raises(InvalidInput, match="There is no passage") as caught:
            pets.search_like(id_)
        assert str(caught.value).isprintable()


def test_a_twin_is_an_answer_to_its_twin(pets):
    pets.add([TEXTS["dog"]], ids=["twin"])
    assert ids(pets.search_like("dog", 1)) == ["twin"]
    assert ids(pets.search_like("twin", 1)) == ["dog"]


# Scored again, and unlike each other -----------------------------------------------------------------


class Longest:
    """Scores a pair by the length of the document."""

    def __init__(self):
        self.pairs = []

    def score(self, pairs, *, progress=None):
        self.pairs += pairs
        return np.array([len(document) for _, document in pairs], np.float32)


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_reranker_has_the_last_word(pets, hybrid):
    reranker = Longest()
    hits = pets.search("at night", 2, rerank=reranker, hybrid=hybrid)
    assert [(hit.id, hit.score) for hit in hits] == [("dog", 25.0), ("fish", 24.0)]
    assert len(reranker.pairs) == 6 and all(asked == "at night" for asked, _ in reranker.pairs)


def test_only_the_best_are_reranked(collection):
    collection.add([f"text number {n}" for n in range(80)])
    reranker = Longest()
    assert len(collection.search("text", 5, rerank=reranker)) == 5
    assert len(reranker.pairs) == 50


def test_equal_scores_of_a_reranker_keep_the_order(pets):
    class Same:
        def score(self, pairs, *, progress=None):
            return np.zeros(len(pairs), np.float32)

    assert ids(pets.search("at night", rerank=Same())) == ids(pets.search("at night"))


@pytest.mark.parametrize(
    ("scores", "error"),
    [(np.zeros((6, 3)), InvalidInput), (np.zeros(2), InvalidInput), (np.full(6, np.nan), NonFiniteOutput)],
)
def test_a_reranker_that_cannot_be(pets, scores, error):
    class Odd:
        def score(self, pairs, *, progress=None):
            return scores

    with pytest.raises(error):
        pets.search("at night", rerank=Odd())


def test_answers_that_differ(collection):
    texts = [f"dogs bark at night {extra}" for extra in ("", ".", "!", "?")] + ["dogs eat meat", "owls bark"]
    collection.add(texts, ids=[str(n) for n in range(6)])
    assert set(ids(collection.search("dogs bark at night", 3))) <= set("0123")
    found = ids(collection.search("dogs bark at night", 3, diversity=0.7))
    assert found[0] in "0123" and set(found[1:]) == {"4", "5"}
    assert ids(collection.search("dogs bark at night", 6, diversity=0.7, where={"x": {"exists": False}}))[:3] == found
    like = ids(collection.search_like("0", 3, diversity=0.7))
    assert "0" not in like and {"4", "5"} <= set(like)


@pytest.mark.parametrize("compacted", [False, True])
def test_diversity_after_a_reranker(pets, compacted):
    if compacted:
        pets.compact("flat")
    hits = pets.search("at night", 6, rerank=Longest(), diversity=0.0001)
    assert ids(hits) == ids(pets.search("at night", 6, rerank=Longest()))


# What cannot be --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": True}, "k is True"),
        ({"k": "5"}, "k is '5'"),
        ({"hybrid": 1.5}, "hybrid is 1.5; accepted: a number from 0 to 1"),
        ({"hybrid": float("nan")}, "hybrid is nan"),
        ({"hybrid": "yes"}, "hybrid is 'yes'"),
        ({"hybrid": True, "fusion": "best"}, "fusion is 'best'; accepted: 'rank', 'score'"),
        ({"diversity": -1}, "diversity is -1"),
        ({"where": "lang = zh"}, "the filter is"),
        ({"where": {"a": {"~": 1}}}, "operator '~' of 'a' is not known"),
        ({"query": " "}, "query is empty"),
        ({"query": "\ud800"}, "half a character"),
        ({"query": np.zeros(32, np.float32), "hybrid": True}, "need the question as a text"),
        ({"query": np.zeros(32, np.float32), "rerank": Longest()}, "need the question as a text"),
        ({"query": np.zeros(5, np.float32)}, r"accepted: a str, or a float32 array \(32,\)"),
    ],
)
def test_options_that_cannot_be(pets, options, told):
    with pytest.raises(InvalidInput, match=told):
        pets.search(**{"query": "at night", **options})


@pytest.mark.parametrize("words", ["", " \n", "\ud800", 5])
def test_words_that_cannot_be(pets, words):
    with pytest.raises(InvalidInput):
        pets.search_text(words)


def test_an_empty_collection(collection):
    assert collection.search("x", hybrid=True, rerank=Longest(), diversity=0.5, where={"a": 1}) == []
    assert collection.search("x", hybrid=True, rerank=Longest(), diversity=0.5) == []
    assert collection.search_text("x") == []


# Filters and indexes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf-sq8", "pq", "lsh"])
def test_filtered_recall(tmp_path, kind, monkeypatch):
    """Filters that leave many rows go through the index: as if they were many, here."""
    from sentvec.search import view

    monkeypatch.setattr(view, "NARROW", 20)
    model, random = FakeModel(), np.random.default_rng(0)
    words = [f"w{n}" for n in range(60)]
    texts = [" ".join(random.choice(words, 6)) for _ in range(2000)]
    fields = [{"tenth": int(random.integers(10)), "half": bool(random.integers(2)), "n": n} for n in range(2000)]
    with Collection.open(tmp_path / "c", model) as collection:
        collection.add(texts, ids=[str(n) for n in range(2000)], metadata=fields)
        collection.compact(kind)
        collection.delete([str(n) for n in range(0, 2000, 7)])
        kept, total = 0, 0
        vectors = model.encode_document(texts)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        for where, held in (
            ({"half": True}, lambda row: row["half"]),
            ({"tenth": 3}, lambda row: row["tenth"] == 3),
            ({"n": {"<": 60}}, lambda row: row["n"] < 60),
            ({"n": {"in": [8, 9, 10]}}, lambda row: row["n"] in (8, 9, 10)),
        ):
            living = np.array([n % 7 != 0 and held(row) for n, row in enumerate(fields)])
            for _ in range(20):
                asked = " ".join(random.choice(words, 3))
                scores = vectors @ model.encode_query([asked])[0]
                truth = np.sort(scores[living])[::-1][:10]
                hits = collection.search(asked, 10, where=where)
                assert len(hits) == len(truth)
                assert all(living[int(hit.id)] for hit in hits)
                found = scores[[int(hit.id) for hit in hits]]
                kept += int((found >= truth[-1] - 1e-4).sum())
                total += len(truth)
        assert kept / total >= 0.99
