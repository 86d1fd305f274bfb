"""`sentvec evaluate`: what it prints and writes is what the evaluation says, and a second run encodes nothing."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.builders import add_modules, tiny_bert
from tests.cli.running import environment, inside

from sentvec import Embedder
from sentvec.evaluate.find import find_sets
from sentvec.evaluate.run import Settings
from sentvec.evaluate.run import evaluate as run
from sentvec.runtime.workers import Workers

WORDS = ("the", "cat", "cats", "sat", "on", "mat", "dog", "dogs", "unable", "aff", "12", "7", "x", "你好", "世界")
KINDS = {"sts", "retrieval", "rerank", "pairs", "classification", "clustering", "bitext"}
FEW = ("--resamples", 50)
FILES = ["evaluation.json", "evaluation.md", "evaluation.svg"]


def lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), "utf-8")


def write_sets(folder):
    """Write a small set of every kind."""
    chance = random.Random(0)

    def text():
        return " ".join(chance.choices(WORDS, k=chance.randint(2, 6)))

    pairs = [(text(), text()) for _ in range(40)]
    scored = [f"{a}\t{b}\t{chance.randint(0, 50) / 10}" for a, b in pairs]
    lines(folder / "sts" / "news-test.tsv", "sentence1\tsentence2\tscore", *scored)
    lines(folder / "sts" / "news-train.tsv", "sentence1\tsentence2\tscore", *scored[:5])
    lines(
        folder / "sts" / "forum.tsv",
        "sentence1\tsentence2\tscore\tgenre",
        *(f"{row}\tg{len(row) % 2}" for row in scored),
    )
    lines(folder / "same.csv", "text1,text2,label", *(f"{a},{b},{i % 2}" for i, (a, b) in enumerate(pairs)))
    documents = [{"_id": f"d{i}", "title": "" if i % 2 else text(), "text": text()} for i in range(30)]
    lines(folder / "search" / "corpus.jsonl", *documents)
    lines(folder / "search" / "queries.jsonl", *({"_id": f"q{i}", "text": text()} for i in range(12)))
    judged = [f"q{i}\td{(i + 10 * grade) % 30}\t{grade}" for i in range(1, 10) for grade in (0, 1, 2)]
    lines(folder / "search" / "qrels.tsv", "query-id\tcorpus-id\tscore", *judged)
    samples = [{"query": text(), "positive": [text()], "negative": [text(), text()]} for _ in range(15)]
    lines(folder / "order.jsonl", *samples)
    labelled = [f"{text()} {animal},{animal}" for animal in ("cat", "dog", "mat") for _ in range(12)]
    for name, part in (("train", labelled[::2]), ("test", labelled[1::2])):
        lines(folder / "topics" / f"{name}.csv", "text,label", *part)
    lines(folder / "translations.jsonl", *({"source": a, "target": b} for a, b in pairs))
    lines(folder / "README.md", "not a set")
    lines(folder / "words.txt", "cat", "dog")
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return write_sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("m")
    made = (tiny_bert(folder / name, seed=seed) for seed, name in enumerate(("one", "two")))
    return [add_modules(model, "Pooling") for model in made]


@pytest.fixture
def sentvec(monkeypatch, capsys, tmp_path, models):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    start = inside(monkeypatch, capsys)
    return lambda *arguments, model=models[0]: start("evaluate", model, *arguments, "--device", "cpu")


def printed(ended):
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def scores(content):
    return [model["results"] for model in content["models"]]


def counts(ended):
    """Return how many texts each model encoded, and how many were in the cache."""
    found = re.findall(r": (\d+) texts? encoded, (\d+) vectors? taken from", ended.err)
    return [(int(encoded), int(cached)) for encoded, cached in found]


@pytest.fixture(scope="module")
def expected(sets, models):
    """What the room below the command says of every set."""
    model = Embedder.from_pretrained(models[0], device="cpu")
    return run(model, find_sets(sets).sets, settings=Settings(resamples=50))


def test_the_table_has_every_set(sentvec, sets, expected, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    ended = sentvec(sets, *FEW)
    assert ended.code == 0
    rows = [re.split(" {2,}", line.strip()) for line in ended.out.splitlines()]
    assert rows[1] == ["set", "kind", "score", "× 100", "95 % interval", "items"]
    assert {result.kind for result in expected.results} == KINDS
    for one, row in zip(expected.results, rows[2:], strict=False):
        assert row[:4] == [one.name, one.kind, one.main, f"{100 * one.value:.2f}"]
        if one.interval is not None:
            assert row[4] == f"{100 * one.interval.low:.2f} to {100 * one.interval.high:.2f}"
    assert ["mean of sts", "sts", f"{100 * expected.means()['sts']:.2f}", "2 sets"] in rows
    assert "passed over: 1 file of other splits" in ended.err and "words.txt: one column" in ended.err
    assert "README" not in ended.err


@pytest.mark.parametrize(
    ("columns", "more", "left_out"),
    [(80, (), {"items"}), (120, (), set()), (80, ("--against",), {"kind", "items"}), (160, ("--against",), set())],
)
def test_the_table_fits(sentvec, sets, models, monkeypatch, columns, more, left_out):
    monkeypatch.setenv("COLUMNS", str(columns))
    ended = sentvec(sets, *FEW, *((*more, models[1]) if more else ()))
    assert ended.code == 0
    shown = ended.out.splitlines()
    head = next(i for i, line in enumerate(shown) if line.startswith("set"))
    table = [line for line in shown[head:] if "  " in line]
    assert max(map(len, table)) <= columns and "…" not in ended.out
    assert {"kind", "items"} - set(shown[head].split()) == left_out
    assert {"sts/forum", "sts/news-test", "search", "topics", "translations"} <= {line.split()[0] for line in table}


def test_json_and_files_say_the_same(sentvec, sets, expected, tmp_path):
    ended = sentvec(sets, *FEW, "--json", "-o", "deep/out")
    content = printed(ended)
    out = tmp_path / "deep" / "out"
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert json.loads((out / "evaluation.json").read_text("utf-8")) == content
    for one, found in zip(expected.results, scores(content)[0], strict=True):
        assert (found["set"], found["kind"], found["main"]) == (one.name, one.kind, one.main)
        assert found["scores"] == pytest.approx(dict(one.scores)) and found["sizes"] == dict(one.sizes)
    for one in expected.results:
        assert f"| {one.name} | {one.kind} | {one.main} | {100 * one.value:.2f} |" in (out / FILES[1]).read_text(
            "utf-8"
        )
    assert ElementTree.parse(out / FILES[2]).getroot().tag.endswith("svg")
    assert ended.err.count("written: ") == 3


def test_a_second_run_takes_all_vectors_from_the_cache(sentvec, sets):
    first = sentvec(sets, *FEW, "--json")
    ((encoded, _),) = counts(first)
    assert encoded > 100
    second = sentvec(sets, *FEW, "--json")
    ((again, cached),) = counts(second)
    assert (again, cached) == (0, sum(counts(first)[0]))
    assert scores(printed(second)) == scores(printed(first))


def test_only_a_changed_text_is_encoded_again(sentvec, tmp_path):
    write_sets(tmp_path / "mine")
    sentvec("mine", *FEW)
    path = tmp_path / "mine" / "translations.jsonl"
    path.write_text(path.read_text("utf-8").replace('"source": "', '"source": "new ', 1), "utf-8")
    assert counts(sentvec("mine", *FEW))[0][0] == 1


def test_a_changed_model_takes_nothing_from_the_cache(sentvec, sets, models, tmp_path):
    # the same name, and another fingerprint
    model = shutil.copytree(models[0], tmp_path / "model")
    first, second = (counts(sentvec(sets, *FEW, "--kind", "pairs", model=model)) for _ in "ab")
    assert second[0][0] == 0
    shutil.copy(models[1] / "model.safetensors", model)
    assert counts(sentvec(sets, *FEW, "--kind", "pairs", model=model)) == first


def test_the_cache_can_be_elsewhere_or_nowhere(sentvec, sets, tmp_path):
    ended = sentvec(sets, *FEW, "--kind", "pairs", "--cache", "kept")
    assert f"taken from {Path('kept')};" in ended.err and list(tmp_path.glob("kept/*/*.part"))
    assert not (tmp_path / "cache").exists()
    for _ in range(2):
        ended = sentvec(sets, *FEW, "--kind", "pairs", "--no-cache")
        assert "80 texts encoded; " in ended.err and not (tmp_path / "cache").exists()


def test_a_damaged_cache_is_told_and_made_again(sentvec, sets, tmp_path, caplog):
    first = sentvec(sets, *FEW, "--kind", "pairs", "--json")
    parts = list(tmp_path.glob("cache/sentvec/vectors/*/*.part"))
    for part in parts:
        part.write_bytes(part.read_bytes()[:-9])
    second = sentvec(sets, *FEW, "--kind", "pairs", "--json")
    assert all(f"{part} is damaged" in caplog.text for part in parts) and counts(second) == counts(first)
    assert scores(printed(second)) == scores(printed(first))
    assert counts(sentvec(sets, *FEW, "--kind", "pairs"))[0][0] == 0


def test_two_models_are_tested_against_each_other(sentvec, sets, models, tmp_path):
    ended = sentvec(sets, *FEW, "--against", models[1], "--json", "-o", "out")
    content = printed(ended)
    first, second = scores(content)
    assert [model["model"] for model in content["models"]] == list(map(str, models))
    tested = {(test["set"], test["kind"]): test for test in content["tests"]}
    for one, other in zip(first, second, strict=True):
        test = tested.get((one["set"], one["kind"]))
        assert (test is None) == (one["kind"] == "clustering")
        if test is not None:
            assert test["difference"] == pytest.approx(one["value"] - other["value"])
            assert 0 < test["p"] <= 1 and test["interval"]["low"] <= test["interval"]["high"]
    assert len(counts(ended)) == 2
    bars = (tmp_path / "out" / "evaluation.svg").read_text("utf-8")
    assert bars.count('class="bar0"') == bars.count('class="bar1"') == len(first) + 1


def test_a_model_does_not_differ_from_itself(sentvec, sets, models):
    tests = printed(sentvec(sets, *FEW, "--against", models[0], "--json"))["tests"]
    assert {(test["difference"], test["p"]) for test in tests} == {(0.0, 1.0)}


def test_processes_change_nothing(sentvec, sets, monkeypatch):
    alone = scores(printed(sentvec(sets, *FEW, "--no-cache", "--json")))
    given, submit = [], Workers.submit
    monkeypatch.setattr(Workers, "submit", lambda self, task: given.append(task) or submit(self, task))
    shared = scores(printed(sentvec(sets, *FEW, "--no-cache", "--json", "--workers", 2)))
    assert len(given) > 10
    for one, other in zip(alone[0], shared[0], strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-6)


def test_what_can_be_chosen_is_what_is_done(sentvec, sets):
    (found,) = scores(printed(sentvec(sets, "--kind", "sts", "--kind", "retrieval", "--k", 3, "--k", 5, "--json",
                                      "--aggregation", "wmean", "--split", "all", "--resamples", 0)))  # fmt: skip
    mains = {one["set"]: one["main"] for one in found}
    assert mains == {
        "search": "nDCG@3",
        "sts/forum": "spearman (wmean)",
        "sts/news-test": "spearman (all)",
        "sts/news-train": "spearman (all)",
    }
    assert "recall@5" in found[0]["scores"] and all(one["interval"] is None for one in found)


def test_one_file_is_a_folder_of_one_set(sentvec, sets):
    (found,) = scores(printed(sentvec(sets / "same.csv", *FEW, "--json")))
    assert [(one["set"], one["kind"]) for one in found] == [("same", "pairs")]


def break_row(folder):
    path = folder / "sts" / "news-test.tsv"
    path.write_text(path.read_text("utf-8") + "a\tb\t7.5\n", "utf-8")


def break_nothing(folder):
    del folder


@pytest.mark.parametrize(
    ("arguments", "harm", "said"),
    [
        (("gone",), break_nothing, "gone does not exist; give a folder with sets"),
        (("sets",), break_row, "news-test.tsv, line 42: column 'score' is 7.5, which is not between 0 and 5"),
        (("sets", "--kind", "sst"), break_nothing, "kind 'sst' is not known. Known: sts, retrieval"),
        (("sets/topics", "--kind", "sts"), break_nothing, "there are 2 sets, but none of the kind sts"),
        (("sets", "--split", "tset"), break_nothing, "split 'tset' is not known. Known: auto, all, test"),
        (("sets", "--aggregation", "median"), break_nothing, "aggregation 'median' is not known"),
        (("sets", "--k", "0"), break_nothing, "cutoffs are (0,); accepted: one or more numbers from 1 to 1000000"),
        (("sets", "--resamples", "-1"), break_nothing, "resamples is -1; accepted: 0 (no intervals) or more"),
        (
            ("sets", "--resamples", "0", "--against", "x/y"),
            break_nothing,
            "the test that --against asks for needs draws",
        ),
        (("sets", "--no-cache", "--cache", "c"), break_nothing, "--no-cache keeps no vectors, and --cache"),
        (("sets", "--against", "x/y"), break_nothing, "x/y"),
        (("sets", "--workers", "0"), break_nothing, "workers is 0"),
        (("sets", "--max-score", "nan"), break_nothing, "the highest score is nan; accepted: numbers above 0"),
        (("sets", "--k", "1000000000000"), break_nothing, "accepted: one or more numbers from 1 to 1000000"),
        (("sets/README.md",), break_nothing, "holds no set that can be evaluated"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(sentvec, tmp_path, arguments, harm, said):
    write_sets(tmp_path / "sets")
    harm(tmp_path / "sets")
    ended = sentvec(*arguments, "-o", "out", *(() if "--resamples" in arguments else FEW))
    assert (ended.code, ended.out) == (1, "") and said in ended.err and ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_told_at_once(sentvec, sets, tmp_path):
    (tmp_path / "out").write_text("mine")
    for output in ("out", "out/deeper"):
        ended = sentvec(sets, "-o", output)
        assert ended.code == 1 and "out is a file; give a folder for evaluation.md" in ended.err
    assert (tmp_path / "out").read_text() == "mine"


def test_a_name_that_is_no_utf8_is_written_all_the_same(sentvec, tmp_path):
    write_sets(tmp_path / "sets")
    (tmp_path / "sets" / "same.csv").rename(tmp_path / "sets" / "caf\udce9.csv")
    ended = sentvec("sets", *FEW, "--kind", "pairs", "-o", "out", "--json")
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8")) == json.loads(ended.out)
    assert r"caf\udce9" in (tmp_path / "out" / "evaluation.md").read_text("utf-8")
    ElementTree.parse(tmp_path / "out" / "evaluation.svg")


@pytest.mark.parametrize("arguments", [("--k", "ten"), ("--nothing",), ()])
def test_wrong_usage_is_code_2(sentvec, sets, arguments):
    assert sentvec(*((sets, *arguments) if arguments else ())).code == 2


def test_a_file_that_cannot_be_written_leaves_no_half(sentvec, sets, tmp_path):
    (tmp_path / "out" / "evaluation.svg").mkdir(parents=True)
    ended = sentvec(sets, *FEW, "--kind", "pairs", "-o", "out")
    assert ended.code == 1 and "evaluation.svg cannot be written" in ended.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES  # the others are whole
    json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))


def test_names_cannot_steer_a_terminal(sentvec, tmp_path):
    write_sets(tmp_path / "sets")
    (tmp_path / "sets" / "same.csv").rename(tmp_path / "sets" / "\x1b[2J\u202esame.csv")
    for more in ((), ("--json",)):
        ended = sentvec("sets", *FEW, "--kind", "pairs", *more)
        assert ended.code == 0 and "same" in ended.out and not set("\x1b\u202e") & set(ended.out + ended.err)


def test_two_runs_share_a_cache(sets, models, tmp_path):
    command = [sys.executable, "-m", "sentvec", "evaluate", models[0], sets, "--json", "--cache", tmp_path / "cache"]
    full = [*map(str, (*command, *FEW, "--kind", "sts", "--kind", "pairs"))]
    runs = [subprocess.Popen(full, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) for _ in "ab"]
    found = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert scores(json.loads(found[0][0])) == scores(json.loads(found[1][0]))
    assert b"damaged" not in found[0][1] + found[1][1]
