"""Tasks with heads: files are read or refused by line, models learn them, and what is written runs elsewhere."""

from __future__ import annotations

import json

import pytest
from tests.builders import tiny_bert

from sentvec import pipeline
from sentvec.checkpoint.headed import load_headed
from sentvec.checkpoint.load import load
from sentvec.errors import InvalidInput, OutputError
from sentvec.runtime.headed import HeadedModel
from sentvec.runtime.origin import find
from sentvec.train.config import TrainConfig
from sentvec.train.rows import Question, question_rows
from sentvec.train.tasks import judge_of, train_head, train_masked
from sentvec.train.taught import (
    Asked,
    Labelled,
    Tagged,
    labels_of,
    read_documents,
    read_squad,
    read_tagged,
    read_taught,
    told,
)

STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("model"), **STILL)


def text(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def go(model, data, out, *, held_back=None, **settings):
    config = TrainConfig(**({"epochs": 30, "learning_rate": 3e-3, "batch_size": 4} | settings))
    return train_head(find(model), data, out, config, held_back=held_back, device="cpu", progress=False)


TEXTS = Labelled(["the cat sat", "a dog", "cats", "the dog on a mat"], [0, 1, 0, 1], ("cats", "dogs"))
PAIRS = Labelled([("cat", "cats"), ("cat", "dog"), ("dog", "dogs"), ("dog", "mat")], [1, 0, 1, 0], ("no", "yes"))
SCORES = Labelled([("cat", "cats"), ("cat", "dog"), ("dog", "dogs"), ("dog", "mat")], [0.9, 0.3, 0.8, 0.0])
WORDS = Tagged([(("the", "cat", "sat"), (0, 1, 0)), (("unaffable", "dog"), (0, 2))], ("O", "B-CAT", "B-DOG"))
ASKED = Asked(
    [
        Question("who sat?", "the cat sat on the mat", (("the cat", 0),)),
        Question("where?", "the cat sat on the mat", (("the mat", 15),)),
        Question("why?", "the cat sat on the mat", ()),
    ]
)


@pytest.mark.parametrize(
    ("data", "score"),
    [(TEXTS, "accuracy"), (PAIRS, "accuracy"), (SCORES, "spearman"), (WORDS, "f1"), (ASKED, "f1")],
    ids=["texts", "pairs", "scores", "words", "questions"],
)
def test_it_learns_what_it_is_shown(model, tmp_path, data, score):
    done = go(model, data, tmp_path / "out", held_back=data)
    assert next(iter(done.scores)) == score
    assert done.scores[score] == pytest.approx(1.0)
    assert judge_of(data)(load_headed(tmp_path / "out")) == pytest.approx(dict(done.scores), abs=1e-6)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (TEXTS, ("gives a text one of 2 labels", "| rows | classes | 4 | cross-entropy |", "| accuracy |  | 1.0000 |")),
        (PAIRS, ("gives two texts one of 2 labels", "| rows | labelled pairs | 4 |")),
        (SCORES, ("gives two texts a score", "| mean squared error |", "pipeline_tag: text-classification")),
        (WORDS, ("gives words one of 3 labels", "pipeline_tag: token-classification")),
        (ASKED, ("finds answers in a text", "pipeline_tag: question-answering")),
    ],
    ids=["texts", "pairs", "scores", "words", "questions"],
)
def test_it_has_a_card_whose_example_runs_and_a_picture(model, tmp_path, data, said):
    go(model, data, tmp_path / "out", held_back=data)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for part in ("library_name: transformers", "![loss, learning rate and scores by step](training.png)", *said):
        assert part in card
    assert (tmp_path / "out" / "training.png").read_bytes().startswith(b"\x89PNG")
    example = card.partition("```python\n")[2].partition("```")[0].replace("path/to/this/folder", str(tmp_path / "out"))
    run: dict[str, object] = {}
    exec(example, run)
    assert run["result"] or data is WORDS  # in which there may be nothing to tag


def test_what_is_written_does_its_task(model, tmp_path):
    go(model, TEXTS, tmp_path / "texts")
    found = pipeline("text-classification", tmp_path / "texts", device="cpu")(TEXTS.texts)
    assert [one["label"] for one in found] == ["cats", "dogs", "cats", "dogs"]
    go(model, WORDS, tmp_path / "words")
    found = pipeline("token-classification", tmp_path / "words", device="cpu")("the cat sat")
    assert "B-CAT" in json.dumps(found, default=str)
    go(model, ASKED, tmp_path / "asked")
    reader = HeadedModel.from_pretrained(tmp_path / "asked", device="cpu")
    assert reader.task == "question-answering"


@pytest.mark.oracle
def test_transformers_gives_the_same_labels(model, tmp_path):
    import transformers

    go(model, PAIRS, tmp_path / "out")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert theirs.config.id2label == {0: "no", 1: "yes"}
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    read = tokenizer([a for a, _ in PAIRS.texts], [b for _, b in PAIRS.texts], padding=True, return_tensors="pt")
    ours = HeadedModel.from_pretrained(tmp_path / "out", device="cpu").text_logits(PAIRS.texts)
    assert abs(theirs(**read).logits.detach().numpy() - ours).max() < 1e-4
    assert ours.argmax(axis=1).tolist() == list(PAIRS.values)


def test_the_best_of_all_epochs_is_kept(model, tmp_path):
    done = go(model, TEXTS, tmp_path / "out", held_back=TEXTS, epochs=12)
    lines = (tmp_path / "out" / "run" / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line).get("score/accuracy") for line in lines]
    assert len([one for one in found if one is not None]) == 12
    assert done.scores["accuracy"] == max(one for one in found if one is not None)


@pytest.mark.parametrize(
    ("data", "held", "message"),
    [
        (TEXTS, SCORES, "of another kind than what is learnt, or has other labels"),
        (TEXTS, WORDS, "of another kind"),
        (TEXTS, PAIRS, "has other labels"),
        (Labelled([], [], ("a", "b")), None, "no rows to learn from"),
        (Labelled(["a", "b"], [0, 0], ("only",)), None, "all rows have the label 'only'; there is nothing to tell"),
        (Asked([Question("the cat " * 40, "the mat", ())]), None, "leaves no room for its text in 64 tokens"),
    ],
)
def test_what_cannot_be_learnt(model, tmp_path, data, held, message):
    with pytest.raises(InvalidInput, match=message):
        go(model, data, tmp_path / "out", held_back=held)
    assert not (tmp_path / "out").exists()


def test_settings_of_other_jobs_are_refused(model, tmp_path):
    for settings in ({"loss": "infonce"}, {"matryoshka": (8,)}, {"prompts": {"query": "q"}}):
        with pytest.raises(InvalidInput, match="is no setting of this task; leave it out"):
            go(model, TEXTS, tmp_path / "out", **settings)
    with pytest.raises(InvalidInput, match="loss is 'x'"):
        train_masked(find(model), [["a cat"]], tmp_path / "out", TrainConfig(loss="x"))
    with pytest.raises(OutputError, match="holds the model"):
        go(model, TEXTS, model)


def test_texts_are_cut_where_the_user_says(model, tmp_path):
    config = TrainConfig(max_steps=1)
    train_head(find(model, max_seq_length=9), TEXTS, tmp_path / "out", config, device="cpu", progress=False)
    assert HeadedModel.from_pretrained(tmp_path / "out", device="cpu").max_seq_length == 9
    for length in (2, 65):
        with pytest.raises(InvalidInput, match=f"max_seq_length is {length}, but this model takes 3 to 64 tokens"):
            train_head(find(model, max_seq_length=length), WORDS, tmp_path / "no", config)


def test_a_run_on_other_data_is_not_gone_on_with(model, tmp_path):
    settings = TrainConfig(epochs=1)
    train_head(find(model), TEXTS, tmp_path / "out", settings, device="cpu", progress=False)
    other = Labelled(["cat", *TEXTS.texts[1:]], TEXTS.values, TEXTS.labels)
    with pytest.raises(OutputError, match="data changed"):
        train_head(find(model), other, tmp_path / "out", settings, device="cpu", resume=True, progress=False)


def test_masked_words_are_learnt_from_a_file(model, tmp_path):
    path = text(tmp_path / "plain.txt", "the cat sat on the mat\nthe cat sat\n\n" * 20)
    config = TrainConfig(epochs=6, learning_rate=3e-3, batch_size=8)
    done = train_masked(find(model), read_documents(path), tmp_path / "out", config, device="cpu", progress=False)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "out/run/metrics.jsonl").read_text().splitlines()]
    assert done.steps and losses[-1] < losses[0]
    assert load_headed(tmp_path / "out", "masked-lm").task == "masked-lm"
    assert 'do("one [MASK] word")' in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


# files


def test_texts_and_pairs_with_labels_or_scores(tmp_path):
    found = read_taught("text-classification", text(tmp_path / "a.tsv", "text\tlabel\na\tgood\nb\tbad\n"))
    assert found == Labelled(["a", "b"], [1, 0], ("bad", "good"))
    path = text(tmp_path / "b.tsv", "sentence1\tsentence2\tlabel\na\tb\tentailment\nc\td\tneutral\n")
    found = read_taught("text-classification", path)
    assert (found.texts, found.values) == ([("a", "b"), ("c", "d")], [1, 2])
    assert found.labels == ("contradiction", "entailment", "neutral")
    path = text(tmp_path / "c.csv", "sentence1,sentence2,score\na,b,5\nc,d,2.5\n")
    found = read_taught("regression", path)
    assert (found.values, found.labels) == ([1.0, 0.5], ()) and "put between 0 and 1" in found.notes[0]
    assert read_taught("regression", path, scores=(0, 10)).values == [0.5, 0.25]
    bare = text(tmp_path / "d.tsv", "good\ta text\nbad\tanother\n")
    assert read_taught("text-classification", bare).values == [1, 0]
    with pytest.raises(InvalidInput, match="its first line names none of its 2 columns"):
        read_taught("regression", bare)
    named = read_taught("text-classification", bare, columns={"label": 1, "text": 2}, labels=["good", "bad"])
    assert named.values == [0, 1]


def test_rows_that_cannot_be_used_are_named(tmp_path):
    path = text(tmp_path / "a.tsv", "text\tlabel\na\tgood\n\tbad\nb\tbad\n")
    with pytest.raises(InvalidInput, match="line 3: column 'text' is empty"):
        read_taught("text-classification", path)
    found = read_taught("text-classification", path, skip_bad=True)
    assert found.texts == ["a", "b"] and "1 row left out: line 3" in " ".join(found.notes)
    with pytest.raises(InvalidInput, match="line 2: column 'label' is 'good', which is not known"):
        read_taught("text-classification", path, labels=["bad", "fair"])


def test_a_file_of_another_task(tmp_path):
    path = text(tmp_path / "a.tsv", "text\tlabel\na\tgood\nb\tbad\n")
    with pytest.raises(InvalidInput, match="holds classes; regression learns from scored"):
        read_taught("regression", path)
    with pytest.raises(InvalidInput, match="task 'rhymes' is not known. Known: text-classification"):
        read_taught("rhymes", path)


def test_words_with_their_labels(tmp_path):
    path = text(tmp_path / "a.txt", "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n\nPeter NNP B-PER\n")
    found = read_tagged(path)
    assert found.labels == ("B-ORG", "B-PER", "O")
    assert found.sentences == [(["EU", "rejects"], [0, 2]), (["Peter"], [1])]
    assert read_tagged(path, ["O", "B-PER", "B-ORG"]).sentences[1] == (["Peter"], [1])
    with pytest.raises(InvalidInput, match="has the label 'B-ORG', which is not known. Known: O, B-PER"):
        read_tagged(path, ["O", "B-PER"])
    with pytest.raises(InvalidInput, match="line 2 is 'alone', which should be a word and its label"):
        read_tagged(text(tmp_path / "b.txt", "EU O\nalone\n"))
    with pytest.raises(InvalidInput, match=r"none.txt cannot be read"):
        read_tagged(tmp_path / "none.txt")
    with pytest.raises(InvalidInput, match="holds no words with labels"):
        read_tagged(text(tmp_path / "c.txt", "\n\n"))


def squad(*rows):
    asked = [{"question": q, "answers": [{"text": a, "answer_start": at} for a, at in answers]} for q, answers in rows]
    return json.dumps({"data": [{"paragraphs": [{"context": "the cat sat", "qas": asked}]}]})


def test_questions_in_squads_json(tmp_path):
    found = read_squad(text(tmp_path / "a.json", squad(("who?", [("cat", 4), ("the cat", 0)]), ("why?", []))))
    assert found.questions == [
        Question("who?", "the cat sat", (("cat", 4), ("the cat", 0))),
        Question("why?", "the cat sat", ()),
    ]
    for content in ("[]", "{", '{"data": [{"paragraphs": [{}]}]}', '{"data": 3}'):
        with pytest.raises(InvalidInput, match="b.json is no file of questions in SQuAD's JSON"):
            read_squad(text(tmp_path / "b.json", content))
    # places that are wrong, as in CMRC 2018
    found = read_squad(text(tmp_path / "c.json", squad(("who?", [("cat", 5)]), ("where?", [("mat", -1)]))))
    assert [one.answers for one in found.questions] == [(("cat", 4),), (("mat", -1),)]
    assert "Left out, as the answer is not in the text: 1." in told(found, "x")
    tokenizer = load(tiny_bert(tmp_path / "m")).tokenizer
    assert len(question_rows(found.questions, tokenizer, 64)) == 1
    with pytest.raises(InvalidInput, match="holds no questions"):
        read_squad(text(tmp_path / "d.json", '{"data": []}'))


def test_documents_are_parted_by_empty_lines(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n two \r\n\r\n \r\nthree\r\n")
    assert read_documents(path) == [["one", "two"], ["three"]]
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_documents(tmp_path / "none.txt")


def test_what_was_read_is_told():
    assert told(PAIRS, "pairs").splitlines() == [
        "pairs: 4 pairs with a label",
        "  labels: no, yes",
        "  example 1: 'cat' | 'cats' -> yes",
        "  example 2: 'cat' | 'dog' -> no",
    ]
    assert told(SCORES, "x").splitlines()[:2] == ["x: 4 pairs with a score", "  example 1: 'cat' | 'cats' -> 0.9"]
    assert told(WORDS, "x").splitlines()[2] == "  example 1: 'the/O cat/B-CAT sat/O'"
    assert "3 questions about texts" in told(ASKED, "x") and "Without an answer: 1." in told(ASKED, "x")
    assert "-> 'the cat'" in told(ASKED, "x")
    assert labels_of(ASKED) == () and labels_of(WORDS) == WORDS.labels
