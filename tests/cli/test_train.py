"""`sentvec train`: every format is read and told, what is wrong is named by its line, and broken runs go on."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.builders import add_modules, tiny_bert
from tests.cli.running import environment, inside
from tests.train.runs import WORDS, same, weights

from sentvec import Embedder, Reranker
from sentvec.runtime.headed import HeadedModel


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return add_modules(tiny_bert(tmp_path_factory.mktemp("m") / "model"), "Pooling")


@pytest.fixture
def sentvec(monkeypatch, capsys, tmp_path, model):
    monkeypatch.chdir(tmp_path)
    run = inside(monkeypatch, capsys)
    return lambda *arguments: run("train", "-m", model, "--device", "cpu", *arguments)


def written(path, content):
    """Write a file in the form that its name says."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(content), path)
    else:
        lines = [json.dumps(row) if isinstance(row, dict) else row for row in content]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def pairs(count=24):
    draw = random.Random(1)
    made = [" ".join(draw.choices(WORDS, k=5)) for _ in range(2 * count)]
    return [{"query": f"{i} {made[2 * i]}", "positive": made[2 * i + 1]} for i in range(count)]


FORMATS = {
    "pairs.csv": (
        ["question,answer", '"a, b",c', "d,e"],
        ["2 pairs (pairs of a query and what answers it)", "query = question, positive = answer", '"a, b"'],
    ),
    "triples.tsv": (
        ["anchor\tpositive\tnegative", "a\tb\tc", "d\te\tf"],
        ["2 tuples", "query = anchor, positive = positive, negative = negative", 'negative "c"'],
    ),
    "tuples.jsonl": (
        [{"query": "a", "positive": "b", "negative_1": "c", "negative_2": "d"}],
        ["1 tuples", "negative = negative_1, negative = negative_2"],
    ),
    "scored.csv": (
        ["sentence1,sentence2,score", "a,b,4.5", "c,d,1"],
        ["2 scored (pairs with a score)", "from 0 to 5, are put between 0 and 1", "-> 0.9"],
    ),
    "labelled.jsonl": (
        [{"query": "a", "positive": "b", "label": 1}, {"query": "c", "positive": "d", "label": 0}],
        ["2 labelled_pairs (pairs with a label)", "query = query, positive = positive, label = label"],
    ),
    "refused.jsonl": (  # (query, negative, label), as reranking sets have it
        [{"query": "a", "document": "b", "label": 0}, {"query": "c", "document": "d", "label": 1}],
        ["2 labelled_pairs", "positive = document"],
    ),
    "classes.tsv": (
        ["text\tlabel", "a\tgood", "b\tbad", "c\tgood"],
        ["3 classes (texts with a class)", "classes: 0 = bad, 1 = good", '"a" | -> 1 (good)'],
    ),
    "points.jsonl": (
        [{"query": "a", "label": "x"}, {"document": "b", "label": "y"}],
        ["2 classes", "each is a text with its class", "classes: 0 = x, 1 = y"],
    ),
    "lists.jsonl": (
        [{"query": "a", "documents": ["b", "c"], "scores": [2, 0]}],
        ["1 lists (queries with graded documents)", "documents = documents, scores = scores", "-> 2, 0"],
    ),
    "texts.txt": (["one text", "another text"], ["2 texts (single texts)", '"one text"']),
    "taught.jsonl": (
        [{"query": "a", "documents": ["b", "c"], "teacher_scores": [9.5, -3]}],
        ["1 taught_scores (queries with documents that a teacher scored)", "-> 9.5, -3"],
    ),
    "margins.csv": (["query,positive,negative,margin", "a,b,c,2.5"], ["1 taught_scores", "teacher = margin"]),
    "vectors.jsonl": (
        [{"text": "a", "vector": [0.5] * 32}, {"text": "b", "vector": [1.0] * 32}],
        ["2 taught_vectors (texts with a teacher's vector)", "(32 numbers)"],
    ),
    "flag.jsonl": (
        [{"query": "a", "pos": ["b", "c"], "neg": ["d", "e"]}, {"query": "f", "pos": ["g"], "neg": ["h"]}],
        ["3 tuples", "query = query, positive = pos, negative = neg"],
    ),
    "rows.parquet": (
        [{"sentence1": "a", "sentence2": "b", "score": 0.5}, {"sentence1": "c", "sentence2": "d", "score": 0.0}],
        ["2 scored", "-> 0.5"],
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_told_and_learnt(sentvec, name):
    content, told = FORMATS[name]
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="the bulk extra is not installed")
    ended = sentvec("--data", written(name, content), "--out", "out", "--max-steps", 1)
    assert ended.code == 0, ended.err
    assert ended.err.startswith(f"{Path(name).stem}: ")
    for one in told:
        assert one in ended.err
    assert "1 step in" in ended.err
    assert Embedder.from_pretrained("out", device="cpu").encode(["a"]).shape == (1, 32)


def beir(folder):
    written(folder / "corpus.jsonl", [{"_id": f"d{i}", "title": "", "text": f"document {i}"} for i in range(3)])
    written(folder / "queries.jsonl", [{"_id": "q0", "text": "the query"}])
    written(folder / "qrels" / "train.tsv", ["query-id\tcorpus-id\tscore", "q0\td1\t1"])
    return folder


def test_a_beir_folder_is_read_as_it_is(sentvec, tmp_path):
    ended = sentvec("--data", beir(tmp_path / "set"), "--out", "out")
    assert ended.code == 0 and "1 pairs" in ended.err and '"the query"' in ended.err and '"document 1"' in ended.err


def test_names_that_say_nothing_are_said(sentvec):
    path = written("odd.csv", ["one,two,how", "a,b,7", "c,d,3"])
    ended = sentvec("--data", path, "--out", "out")
    assert ended.code == 1 and "its first line names none of its 3 columns" in ended.err
    assert "(--column sentence1=1)" in ended.err
    said = ("--column", "sentence1=one", "--column", "sentence2=2", "--column", "score=how", "--scores", "0,10")
    ended = sentvec("--data", path, "--out", "out", *said)
    assert ended.code == 0 and "-> 0.7" in ended.err
    assert "query = one, positive = two, score = how" in ended.err
    for bad in ("10", "a,b", "1,2,3"):
        assert f"--scores is '{bad}'" in sentvec("--data", path, "--out", "out", "--scores", bad).err
    assert "the lowest first" in sentvec("--data", path, "--out", "o", *said[:-1], "9,1").err
    assert "--column is 'one'; give it as name=value" in sentvec("--data", path, "--out", "o", "--column", "one").err


def test_classes_have_the_order_that_is_said(sentvec):
    path = written("c.tsv", ["text\tlabel", "a\tgood", "b\tbad"])
    ended = sentvec("--data", path, "--out", "out", "--labels", "good, bad")
    assert ended.code == 0 and "classes: 0 = good, 1 = bad" in ended.err
    ended = sentvec("--data", path, "--out", "o", "--labels", "good,fair")
    assert ended.code == 1 and "line 3: column 'label' is 'bad', which is not known (known: good, fair)" in ended.err


def test_bad_rows_are_named_by_their_lines_and_left_out_on_demand(sentvec):
    good = [f"question {i},answer {i},0.{i}" for i in range(1, 9)]
    path = written("rows.csv", ["query,answer,score", *good, ",empty,0.5", "a,b,much", "c,d,0.5,more", "e,f,7"])
    ended = sentvec("--data", path, "--out", "out", "--scores", "0,1")
    assert ended.code == 1 and not Path("out").exists()
    assert "4 of 12 rows cannot be used: line 10: column 'query' is empty" in ended.err
    assert "line 11: column 'score' is 'much', which is not a number" in ended.err
    assert "line 12: it has 4 cells" in ended.err
    assert "line 13: column 'score' is 7, which is not between 0 and 1" in ended.err
    assert "skip_bad=True (--skip-bad)" in ended.err
    ended = sentvec("--data", path, "--out", "out", "--scores", "0,1", "--skip-bad")
    assert ended.code == 0 and "8 scored" in ended.err and "4 rows left out: line 10" in ended.err


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("batchsize = 3", "sets 'batchsize', which is not known. Known: accumulate"),
        ("batch_size = ", "cannot be read as TOML"),
        ('batch_size = "many"', "batch_size is 'many'; it must be a whole number."),
        ("batch_size = 1.5", "batch_size is 1.5; it must be a whole number."),
        ("epochs = 0", "epochs is 0, which should be a whole number, 1 or more."),
        ("learning_rate = nan", "learning_rate is nan; accepted: 0 to 1."),
        ("learning_rate = 1979-05-27", "learning_rate is datetime.date(1979, 5, 27); it must be a number."),
        ("matryoshka = 16", "matryoshka is 16; it must be a list (each a whole number)."),
        ('matryoshka = ["16"]', "matryoshka is ('16',); it must be a list (each a whole number)."),
        ("matryoshka = [4096, 8]", "matryoshka is [4096, 8], and vectors have 32 features."),
        ("loss = 3", "loss is 3; it must be a text or none."),
        ("unique = 1", "unique is 1; it must be true or false."),
        ('prompts = "query: "', "prompts is 'query: '; it must be a table (each a text)."),
        ("prompts = { query = 3 }", "prompts is {'query': 3}; it must be a table (each a text)."),
        ("loss_options = [1]", "loss_options is [1]; it must be a table."),
        ("[loss_options]\nwarmth = 3", "has no option 'warmth'. Its options: temperature"),
        ("[epochs]\nx = 1", "epochs is {'x': 1}; it must be a whole number."),
        ("inner_layers = [1, 9]", "inner_layers has 9, and the encoder has 2 layers."),
        ("freeze = 9", "freeze is 9, but the encoder has 2 layers."),
        ("unfreeze_every = 3", "unfreeze_every is 3, and freeze is 0: no layer is frozen."),
        ("patience = 2", "patience is 2, and nothing is scored. Say what should be (--eval), or leave it."),
        ("evaluate_every = 2", "evaluate_every is 2, and nothing is scored."),
        ('schedule = "sudden"', "schedule 'sudden' is not known. Known: constant"),
        ('loss = "cosent"', "loss 'cosent' learns from labelled_pairs or scored, and pairs holds pairs. Losses for"),
        ('loss = "best"', "'best' is not known. Known: infonce"),
    ],
)
def test_settings_that_cannot_be_are_named_in_one_line(sentvec, toml, message):
    Path("run.toml").write_text(toml, encoding="utf-8")
    ended = sentvec("--data", written("pairs.jsonl", pairs(4)), "--out", "out", "--config", "run.toml")
    assert ended.code == 1
    last = ended.err.rstrip().splitlines()[-1]
    assert last.startswith("error: ") and message in last
    assert not Path("out").exists()


def test_a_runs_own_settings_make_it_again(sentvec):
    path = written("pairs.jsonl", pairs())
    given = ("--batch-size", 6, "--lr", "1e-3", "--seed", 4, "--set", "clip=0.5", "--set", 'prompts={"query": "q: "}')
    assert sentvec("--data", path, "--out", "a", *given).code == 0
    assert sentvec("--data", path, "--out", "b", "--config", "a/run/config.toml").code == 0
    same(weights(Path("a")), weights(Path("b")))
    assert Path("a/run/config.toml").read_bytes() == Path("b/run/config.toml").read_bytes()
    assert "batch_size = 6" in Path("a/run/config.toml").read_text()
    # what is given in words goes before the file
    assert sentvec("--data", path, "--out", "c", "--config", "a/run/config.toml", "--seed", 5).code == 0
    assert "seed = 5" in Path("c/run/config.toml").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "speed=9"), "speed"),
        (("--set", "epochs"), "--set is 'epochs'; give it as name=value."),
        (("--task", "reranking"), "--task 'reranking' is not known. Known: embedding, rerank, text-class"),
        (("--kind", "couples"), "kind 'couples' is not known. Known: pairs"),
        (("--eval", "nowhere"), "nowhere does not exist"),
        (("--config", "no.toml"), "no.toml cannot be read as TOML"),
        (("--task", "text-classification", "--pooling", "mean"), "--pooling is for embeddings"),
        (("--max-seq-length", 0), "max_seq_length is 0, but this model takes 3 to 64 tokens"),
        (("--max-seq-length", 65), "max_seq_length is 65, but this model takes 3 to 64 tokens"),
        (("--task", "masked-lm", "--max-seq-length", 2), "max_seq_length is 2, but this model takes 3 to 64"),
        (("--task", "masked-lm", "--eval", "pairs.jsonl"), "is not scored during training; leave --eval away"),
        (("--task", "question-answering", "--data", "x"), "learns from one file, and there are 2"),
        (("--task", "question-answering"), "no file of questions in SQuAD's JSON"),
        (("--task", "text-classification"), "holds pairs; text-classification learns from classes or labelled_pairs"),
    ],
)
def test_options_that_cannot_be(sentvec, options, message):
    path = written("pairs.jsonl", pairs(4))
    ended = sentvec("--data", path, "--out", "out", *options)
    assert ended.code == 1 and message in ended.err and not Path("out").exists()


def test_folders_that_it_cannot_go_to(sentvec, model):
    path = written("pairs.jsonl", pairs(4))
    assert "holds the model that is to be trained" in sentvec("--data", path, "--out", model).err
    assert "pairs.jsonl is a file; give a folder" in sentvec("--data", path, "--out", path).err
    for nowhere in ("/proc/sentvec", path / "below"):  # root may write to what is read-only; nobody may write to these
        ended = sentvec("--data", path, "--out", nowhere)
        assert ended.code == 1 and ended.err.splitlines()[-1].startswith("error: ")
    assert sentvec("--data", path, "--out", "out").code == 0
    ended = sentvec("--data", path, "--out", "out")
    assert ended.code == 1 and "out holds a run already. Go on with it (--resume), or give another" in ended.err


def test_a_run_of_something_else_is_not_gone_on_with(sentvec):
    path = written("pairs.jsonl", pairs(8))
    assert sentvec("--data", path, "--out", "out", "--batch-size", 4).code == 0
    ended = sentvec("--data", path, "--out", "out", "--resume", "--batch-size", 8, "--lr", "1e-3")
    assert ended.code == 1
    assert "batch_size was 4 and is 8; learning_rate was 2e-05 and is 0.001" in ended.err
    assert "Give those of that run (settings: out/run/config.toml)" in ended.err
    ended = sentvec("--data", written("pairs.jsonl", pairs(9)), "--out", "out", "--resume", "--batch-size", 4)
    assert ended.code == 1 and "another model: data changed. Give" in ended.err


def process(model, data, out, *more, program=("-m", "sentvec")):
    """Start training in a process of its own."""
    command = [sys.executable, *program, "train", "-m", model, "--device", "cpu", "--data", data, "--out", out]
    given = [*map(str, command), *SLOW, *map(str, more)]
    return subprocess.Popen(given, stderr=subprocess.PIPE, text=True, env=environment({"OMP_NUM_THREADS": "1"}))


SLOW = ("--batch-size", "4", "--epochs", "20", "--lr", "1e-3", "--set", "save_every=1")  # 120 steps


def wait_for(found, child):
    end = time.monotonic() + 120
    while not (there := found()):
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < end
    return there


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, model):
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    with process(model, written(folder / "pairs.jsonl", pairs()), folder / "out") as child:
        assert child.wait() == 0, child.stderr.read()
        said = child.stderr.read()
    assert said.startswith("pairs: 24 pairs") and "120 steps in" in said and "Traceback" not in said
    return folder


def test_ctrl_c_saves_and_says_how_to_go_on(model, unbroken, tmp_path):
    data, out = unbroken / "pairs.jsonl", tmp_path / "out"
    with process(model, data, out, "--set", "save_every=1000") as child:
        wait_for((out / "run" / "metrics.jsonl").exists, child)
        child.send_signal(signal.SIGINT)
        assert child.wait() == 130
        said = child.stderr.read()
    assert "of 120. Go on with --resume and the same settings." in said and "Traceback" not in said
    with process(model, data, out, "--set", "save_every=1000", "--resume") as child:
        assert child.wait() == 0
    same(weights(unbroken / "out"), weights(out))


def test_killed_while_it_saves_it_goes_on_to_the_same_weights(model, unbroken, tmp_path):
    data, out = unbroken / "pairs.jsonl", tmp_path / "out"
    for _ in range(2):
        with process(model, data, out, "--resume") as child:
            wait_for((out / "run" / "state.pt").exists, child)
            wait_for(lambda: list((out / "run").glob(f".state.pt.{child.pid}")), child)
            child.kill()
    assert torch.load(out / "run" / "state.pt", weights_only=True)["position"]["step"] < 120
    with process(model, data, out, "--resume") as child:
        assert child.wait() == 0
    same(weights(unbroken / "out"), weights(out))
    read = [(folder / "out" / "run" / "metrics.jsonl").read_text() for folder in (unbroken, tmp_path)]
    assert read[0] == read[1]
    assert [one.name for one in (out / "run").iterdir() if one.name.startswith(".")] == []


def test_a_disk_that_is_full_leaves_the_state_that_was(model, unbroken, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(unbroken / "out", out)
    before = (out / "run" / "state.pt").read_bytes()
    limited = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) // 2}, {len(before) // 2}));"
        "from sentvec.cli.app import main; main()"
    )
    with process(model, unbroken / "pairs.jsonl", out, "--resume", program=["-c", limited]) as child:
        assert child.wait() == 1
        said = child.stderr.read()
    assert "error: File too large" in said and "Traceback" not in said
    assert (out / "run" / "state.pt").read_bytes() == before
    same(weights(unbroken / "out"), weights(out))


def test_a_reranker_is_trained_from_the_shell(sentvec):
    rows = [{"query": row["query"], "pos": [row["positive"]], "neg": ["a dog", "a mat"]} for row in pairs(8)]
    written("sets/found.jsonl", rows)
    ended = sentvec("--task", "rerank", "--data", written("rows.jsonl", rows), "--out", "out", "--eval", "sets")
    assert ended.code == 0 and "8 tuples" in ended.err and "; found MAP 0." in ended.err + "; found MAP 1."
    assert Reranker.from_pretrained("out", device="cpu").score([("a", "b")]).shape == (1,)
    ended = sentvec("--task", "rerank", "--data", written("pairs.jsonl", pairs()), "--out", "other")
    assert ended.code == 1 and "sentvec mine" in ended.err


def test_heads_are_trained_from_the_shell(sentvec):
    texts = [f"{text}\t{label}" for text, label in (("the cat", "cats"), ("a dog", "dogs"), ("cats sat", "cats"))]
    train, held = (written(name, ["text\tlabel", *texts]) for name in ("train.tsv", "dev.tsv"))
    ended = sentvec("--task", "text-classification", "--data", train, "--eval", held, "--out", "out", "--epochs", 2)
    assert ended.code == 0, ended.err
    assert "train: 3 texts with a label\n  labels: cats, dogs\n  example 1: 'the cat' -> cats" in ended.err
    assert "; accuracy " in ended.err
    assert HeadedModel.from_pretrained("out", device="cpu").labels == ("cats", "dogs")
    tagged = written("tagged.txt", ["the O", "cat B-CAT", "", "a O", "dog B-DOG"])
    ended = sentvec("--task", "token-classification", "--data", tagged, "--out", "tagged")
    assert ended.code == 0 and "2 sentences, whose 4 words have labels" in ended.err
    plain = written("plain.txt", ["the cat sat on the mat", "the dog sat", "", "cats and dogs"])
    assert sentvec("--task", "masked-lm", "--data", plain, "--out", "masked").code == 0
    assert HeadedModel.from_pretrained("masked", "masked-lm", device="cpu").task == "masked-lm"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", [], "empty.csv holds no rows; there is nothing to learn from"),
        ("empty.jsonl", [], "empty.jsonl holds no rows"),
        ("header.csv", ["query,positive"], "header.csv holds no rows"),
        ("blank.txt", ["", "  "], "blank.txt holds no rows"),
        ("broken.jsonl", ['{"query": "a", "positive": "b"}', "{"], "1 of 2 rows cannot be used: line 2: not JSON"),
        ("types.jsonl", [{"query": 1, "positive": ["b"]}], "line 1: column 'query' is 1, which is not a text"),
        ("nested.jsonl", [{"query": "a", "positive": {"b": 1}}], "line 1: column 'positive' is {\"b\": 1}, which is"),
        (
            "lists.jsonl",
            [{"query": "a", "documents": ["b"], "scores": "high"}],
            "lists need scores, and column 'scores' holds no list",
        ),
        ("lists.jsonl", [{"query": "a", "documents": ["b"], "scores": [1, 2]}], "2 scores for 1 document"),
        ("vectors.jsonl", [{"text": "a", "vector": [1, None]}], "column 'vector'"),
        ("vectors.jsonl", [{"text": "a", "vector": [1.0, 2.0]}], "pass dim= and teacher_dim="),
        ("scores.csv", ["sentence1,sentence2,score", "a,b,nan"], "line 2: column 'score' is 'nan'"),
        ("twice.csv", ["query,query,positive", "a,b,c"], "two columns are called 'query'"),
        ("words.docx", ["x"], "words.docx ends in '.docx'; read are .csv"),
    ],
)
def test_data_that_cannot_be_learnt_from(sentvec, name, content, message):
    ended = sentvec("--data", written(name, content), "--out", "out")
    assert ended.code == 1 and message in ended.err
    assert not Path("out/model.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "options", "warned", "steps"),
    [
        ([{"query": "a", "positive": "b"}], (), "the loss is exactly 0, so nothing is learnt", 1),
        ([{"query": "a", "positive": "b"}] * 6, (), "one text is in 6 examples", 6),
        (pairs(3), ("--batch-size", 512), "", 1),
        ([{"query": "the cat " * 12_500, "positive": "a " * 50_000}, *pairs(3)], (), "", 1),
        ([{"text": text, "label": "same"} for text in WORDS], (), "the loss is exactly 0", 1),
        (pairs(3), ("--set", "micro_tokens=1"), "", 1),
    ],
    ids=["one row", "duplicates", "a batch larger than the data", "long texts", "one class", "no room at all"],
)
def test_small_and_odd_data_come_to_an_end(sentvec, caplog, content, options, warned, steps):
    ended = sentvec("--data", written("data.jsonl", content), "--out", "out", *options)
    assert ended.code == 0, ended.err
    assert f"{steps} step" in ended.err and warned in caplog.text
    assert Embedder.from_pretrained("out", device="cpu").encode(["a"]).shape == (1, 32)


def test_weights_that_are_no_numbers_end_the_run_and_stay_out_of_its_state(sentvec, model, tmp_path):
    """Numbers so large that products overflow."""
    bad = tmp_path / "bad"
    shutil.copytree(model, bad)
    tensors = load_file(bad / "model.safetensors")
    tensors["embeddings.LayerNorm.weight"][:] = 3e38
    save_file(tensors, bad / "model.safetensors", metadata={"format": "pt"})
    ended = sentvec("-m", bad, "--data", written("pairs.jsonl", pairs(4)), "--out", "out")
    assert ended.code == 1
    assert "error: the loss at step 0 (epoch 0, batch 0, of data set 0) is nan. Lower the learning rate" in ended.err
    assert not Path("out/model.safetensors").exists() and not Path("out/run/state.pt").exists()
