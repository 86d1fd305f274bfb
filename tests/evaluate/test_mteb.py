"""mteb's own tasks, made in code, score an `Embedder` as our evaluation does on the same data."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from tests.builders import add_modules, tiny_bert, write_json

from sentvec import Embedder
from sentvec.errors import InvalidInput
from sentvec.evaluate.beir import read_retrieval
from sentvec.evaluate.mteb import MtebEncoder, _name
from sentvec.evaluate.retrieval import evaluate_retrieval
from sentvec.evaluate.sts import Sts, evaluate_sts
from sentvec.evaluate.vectors import Vectors

mteb = pytest.importorskip("mteb", reason="needs mteb, which the extra of that name installs")

WORDS = ("the", "cat", "cats", "sat", "on", "mat", "dog", "dogs", "unable", "aff", "12", "7", "x", "你好", "世界")
FACTS = {
    "description": "made in code",
    "reference": None,
    "dataset": {"path": "none", "revision": "none"},
    "eval_splits": ["test"],
    "eval_langs": ["eng-Latn"],
    "modalities": ["text"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return add_modules(tiny_bert(tmp_path_factory.mktemp("models") / "mine"), "Pooling")


@pytest.fixture(scope="module")
def model(folder):
    return Embedder.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def prompted(folder):
    """The same with a prompt for queries, one for documents, and one for a task."""
    prompts = {"query": "query: ", "document": "passage: ", "MadeSts": "the cat "}
    write_json(folder / "config_sentence_transformers.json", {"prompts": prompts, "similarity_fn_name": "dot"})
    return Embedder.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def words():
    chance = random.Random(0)
    return lambda: " ".join(chance.choices(WORDS, k=chance.randint(2, 8)))


@pytest.fixture(scope="module")
def pairs(words):
    left, right = (tuple(words() for _ in range(40)) for _ in "ab")
    return Sts("made", left, right, np.random.default_rng(0).uniform(0, 5, 40), np.zeros(40, np.int64))


@pytest.fixture(scope="module")
def search(words, tmp_path_factory):
    """Documents with and without titles, and queries, in BEIR's layout."""
    folder = tmp_path_factory.mktemp("search")
    documents = [{"_id": f"d{i}", "title": words() if i % 2 else "", "text": words()} for i in range(60)]
    queries = [{"_id": f"q{i}", "text": words()} for i in range(15)]
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    grades = [f"q{i}\td{(i * 4 + n) % 60}\t{n % 2 + 1}\n" for i in range(15) for n in range(3)]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(grades))
    return folder


def scored(model, task):
    """Return the scores of a task; nothing is fetched, and nothing is kept."""
    encoder = MtebEncoder(model)
    result = mteb.evaluate(encoder, task, cache=None, co2_tracker=False, show_progress_bar=False)
    (found,) = result.task_results[0].scores["test"]
    return found


def sts_task(pairs):
    from datasets import Dataset
    from mteb.abstasks.sts import AbsTaskSTS

    class MadeSts(AbsTaskSTS):
        metadata = mteb.TaskMetadata(name="MadeSts", type="STS", category="t2t", main_score="spearman", **FACTS)

        def load_data(self, **options):
            columns = {"sentence1": pairs.left, "sentence2": pairs.right, "score": pairs.scores}
            self.dataset, self.data_loaded = {"test": Dataset.from_dict(columns)}, True

    return MadeSts()


def search_task(folder):
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval

    given = read_retrieval(folder, folder / "qrels.tsv", "made")
    documents = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]

    class MadeSearch(AbsTaskRetrieval):
        metadata = mteb.TaskMetadata(
            name="MadeSearch", type="Retrieval", category="t2t", main_score="ndcg_at_10", **FACTS
        )

        def load_data(self, **options):
            rows = [{"id": row["_id"], "title": row["title"], "text": row["text"]} for row in documents]
            asked = [{"id": name, "text": text} for name, text in given.queries.items()]
            data = {"corpus": Dataset.from_list(rows), "queries": Dataset.from_list(asked), "top_ranked": None}
            self.dataset = {"default": {"test": data | {"relevant_docs": given.judged}}}
            self.data_loaded = True

    return given, MadeSearch()


def test_sts_is_what_we_score(model, pairs):
    found = scored(model, sts_task(pairs))
    ours = evaluate_sts(pairs, Vectors(model)).scores
    assert found["main_score"] == found["spearman"] == pytest.approx(ours["spearman (all)"], abs=1e-6)
    assert found["pearson"] == pytest.approx(ours["pearson (all)"], abs=1e-6)


def ours_of_search(model, given):
    return evaluate_retrieval(given, Vectors(model), (10,)).scores


def test_retrieval_is_what_we_score(model, search):
    given, task = search_task(search)
    found, ours = scored(model, task), ours_of_search(model, given)
    for theirs, name in (("ndcg_at_10", "nDCG@10"), ("map_at_10", "MAP@10"), ("recall_at_10", "recall@10")):
        assert found[theirs] == pytest.approx(ours[name], abs=1e-5)  # mteb rounds to five places
    assert 0 < found["main_score"] < 1


def test_queries_and_documents_have_their_prompts_and_the_models_similarity(model, prompted, search):
    given, task = search_task(search)
    found, ours = scored(prompted, task), ours_of_search(prompted, given)
    assert found["ndcg_at_10"] == pytest.approx(ours["nDCG@10"], abs=1e-5)
    assert abs(ours["nDCG@10"] - ours_of_search(model, given)["nDCG@10"]) > 1e-3  # prompts make a difference


def test_a_prompt_of_the_tasks_own_comes_first(prompted, pairs):
    with_prompt = [prompted.encode(side, prompt="the cat ") for side in (pairs.left, pairs.right)]
    expected = np.array([float(a @ b) for a, b in zip(*with_prompt, strict=True)])
    assert scored(prompted, sts_task(pairs))["pearson"] == pytest.approx(
        np.corrcoef(expected, pairs.scores)[0, 1], abs=1e-6
    )


def test_what_mteb_keeps_with_results(model, prompted, folder):
    encoder = MtebEncoder(model)
    assert isinstance(encoder, mteb.EncoderProtocol)
    meta = encoder.mteb_model_meta
    assert (meta.name, meta.revision) == (f"{folder.parent.name}/mine", model.fingerprint)
    assert (meta.embed_dim, meta.max_tokens, meta.use_instructions) == (32, 64, False)
    assert meta.n_parameters == sum(weight.numel() for weight in model.encoder.parameters())
    assert meta.similarity_fn_name.value == "cosine" and meta.experiment_kwargs is None
    other = MtebEncoder(prompted, name="me/mine").mteb_model_meta
    assert (other.name, other.similarity_fn_name.value, other.use_instructions) == ("me/mine", "dot", True)
    half = MtebEncoder(Embedder.from_pretrained(folder, device="cpu", precision="bfloat16")).mteb_model_meta
    assert half.experiment_kwargs == {"precision": "bfloat16"} and half != MtebEncoder(prompted).mteb_model_meta


def test_similarities_are_the_models(prompted):
    a, b = np.eye(3, 4, dtype=np.float32) * 2, np.ones((3, 4), np.float32)
    encoder = MtebEncoder(prompted)
    assert encoder.similarity(a, b).tolist() == [[2.0] * 3] * 3
    assert encoder.similarity_pairwise(a, b).tolist() == [2.0] * 3
    assert float(encoder.similarity_pairwise(a[0], b[0])) == 2.0


def test_names_have_an_owner(model):
    assert _name("bert-base-uncased") == "sentvec/bert-base-uncased"
    with pytest.raises(InvalidInput, match="name is 'mine'; mteb accepts names such as \"owner/model\""):
        MtebEncoder(model, name="mine")


def test_a_number_format_of_vectors_is_refused(model):
    with pytest.raises(InvalidInput, match=r"precision 'int8' is asked of vectors.*from_pretrained\(name, precision="):
        MtebEncoder(model).encode([], task_metadata=None, hf_split="", hf_subset="", precision="int8")
