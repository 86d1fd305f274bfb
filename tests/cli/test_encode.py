"""`sentvec encode`: files and standard input in, vectors out, and an output that is whole or not there."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.builders import TEXTS, add_modules, bert_config, bert_weights, tiny_bert, write_json
from tests.cli.running import environment, inside, shell

from sentvec import Embedder
from sentvec.cli.encode import _STORES
from sentvec.cli.output import whole
from sentvec.errors import OutputError
from sentvec.index.compact import CODES, as_bits, from_int8
from sentvec.runtime.shards import read_vectors

LINES = [text for text in TEXTS if text]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = add_modules(tiny_bert(tmp_path_factory.mktemp("m") / "model"), "Pooling", "Normalize")
    write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "query: "}})
    return folder


@pytest.fixture(scope="module")
def vectors(model):
    return Embedder.from_pretrained(model, device="cpu").encode(LINES)


@pytest.fixture
def sentvec(monkeypatch, capsys, tmp_path, model):
    monkeypatch.chdir(tmp_path)
    run = inside(monkeypatch, capsys)
    # of an option given twice, the later counts: tests can ask for another model or device
    return lambda *arguments, **options: run("encode", "-m", model, "--device", "cpu", *arguments, **options)


def write(name, content):
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


SOURCES = {
    "t.txt": "".join(f"{line}\n" for line in LINES),
    "no-last-end.txt": "\n".join(LINES),
    "crlf.txt": "".join(f"{line}\r\n" for line in LINES),
    "bom.txt": "\ufeff" + "\n".join(LINES),
    "t.jsonl": "".join(json.dumps({"id": 1, "text": line}) + "\n\n" for line in LINES),
    "strings.jsonl": "\n".join(json.dumps(line, ensure_ascii=False) for line in LINES),
    "T.JSONL": "\n".join(json.dumps({"text": line}) for line in LINES),
    "t.csv": "id,text\n" + "".join(f'1,"{line}"\n' for line in LINES),
    "t.tsv": "\ufefftext\tid\r\n" + "".join(f"{line}\t1\r\n" for line in LINES),
}


@pytest.mark.parametrize(
    ("store", "kind", "width"),
    [("float32", np.float32, 32), ("float16", np.float16, 32), ("int8", np.int8, 32), ("bits", np.uint8, 4)],
)
def test_numbers_are_kept_as_asked(sentvec, vectors, store, kind, width):
    write("t.txt", SOURCES["t.txt"])
    ended = sentvec("t.txt", "-o", "out.npy", "--store", store)
    assert ended.code == 0 and "vectors of 32 features" in ended.err
    got = np.load("out.npy")
    assert (got.dtype, got.shape) == (kind, (len(LINES), width))
    back = {"int8": from_int8, "bits": lambda bits: np.unpackbits(bits, axis=1) * 2.0 - 1}.get(store, np.asarray)(got)
    back = back / np.linalg.norm(back, axis=1, keepdims=True)
    assert ((back * vectors).sum(1) > {"int8": 0.95, "bits": 0.6}.get(store, 0.999)).all()
    assert sentvec("t.txt", "-o", "out.jsonl", "--store", store).code == 0
    lines = [json.loads(line)["vector"] for line in Path("out.jsonl").read_text().splitlines()]
    assert np.array_equal(np.array(lines, kind), got)


def test_a_cut_is_made_before_numbers_are_kept(sentvec, model):
    write("t.txt", SOURCES["t.txt"])
    assert sentvec("t.txt", "-o", "out.npy", "--store", "bits", "--dim", "16").code == 0
    cut = Embedder.from_pretrained(model, device="cpu").encode(LINES, dim=16)
    assert np.array_equal(np.load("out.npy"), as_bits(cut))


def test_bytes_are_of_length_one_whatever_the_model_ends_with(sentvec, tmp_path):
    plain = add_modules(tiny_bert(tmp_path / "plain"), "Pooling")
    write("t.txt", SOURCES["t.txt"])
    assert sentvec("t.txt", "-m", plain, "-o", "out.npy", "--store", "int8").code == 0
    longer = Embedder.from_pretrained(plain, device="cpu").encode(LINES)
    assert abs(np.linalg.norm(longer, axis=1) - 1).min() > 0.01
    back = from_int8(np.load("out.npy"))
    assert ((back * longer).sum(1) / np.linalg.norm(longer, axis=1) / np.linalg.norm(back, axis=1) > 0.95).all()


def test_one_vector_is_said_to_be_one(sentvec):
    write("t.txt", "a text\n")
    assert sentvec("t.txt", "-o", "out.npy").err == "1 vector of 32 features: out.npy\n"
    assert sentvec("t.txt", "-o", "out", "--format", "npy").err == "1 vector in 1 part: out\n"


def test_the_shell_names_every_way_of_keeping():
    assert tuple(CODES) == _STORES


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-o", "out.npy", "--store", "int4"), "--store 'int4' is not known. Known: float32, float16, int8, bits."),
        (("-o", "folder", "--store", "int8"), "a folder holds float32; with --store int8, give -o a name that ends"),
    ],
)
def test_a_way_of_keeping_that_cannot_be_is_refused(sentvec, arguments, told):
    ended = sentvec(write("t.txt", "a text\n"), *arguments)
    assert ended.code == 1 and told in ended.err and ended.err.count("\n") == 1


@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_of_file(sentvec, vectors, name):
    write(name, SOURCES[name])
    ended = sentvec(name, "-o", "out.npy")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.strip().endswith(f"{len(LINES)} vectors of 32 features: out.npy")
    got = np.load("out.npy")
    assert got.dtype == np.float32
    assert np.abs(got - vectors).max() < 1e-6
    assert {path.name for path in Path().iterdir()} == {name, "out.npy"}


@pytest.mark.parametrize("name", ["t.txt", "crlf.txt", "t.jsonl", "t.tsv"])
def test_packed_files_are_unpacked_on_the_way(sentvec, vectors, name):
    write(f"{name}.GZ", gzip.compress(SOURCES[name].encode()))
    assert sentvec(f"{name}.GZ", "-o", "out.npy").code == 0
    assert np.abs(np.load("out.npy") - vectors).max() < 1e-6


def test_parquet_in_and_parquet_out(sentvec, vectors, monkeypatch):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("sentvec.cli.rows._BLOCK", 2)
    names = [f"n{number}" for number in range(len(LINES))]
    table = arrow.table({"other": [1] * len(LINES), "name": names, "body": arrow.array(LINES).dictionary_encode()})
    parquet.write_table(table, "rows.parquet")
    assert sentvec("rows.parquet", "-o", "out", "--field", "body", "--id-field", "name").code == 0
    (part,) = read_vectors("out")
    assert part[0] == names and np.abs(part[1] - vectors).max() < 1e-6
    assert sentvec("rows.parquet", "-o", "out.npy", "--field", "body").code == 0
    assert np.abs(np.load("out.npy") - vectors).max() < 1e-6
    for options, said in [
        ([], "rows.parquet: no column 'text' (it has: other, name, body). Name the column with --field."),
        (["--field", "other"], "rows.parquet, row 1: 'other' is 1, which is not a text."),
        (["--field", "body", "--id-field", "id"], "no column 'id' (it has: other, name, body). Name the column with"),
    ]:
        ended = sentvec("rows.parquet", "-o", "new", *options)
        assert ended.code == 1 and said in ended.err
    parquet.write_table(arrow.table({"text": ["fine", "fine", None], "id": [1, None, 3]}), "holes.parquet")
    assert "holes.parquet, row 3: 'text' is None, which is not a text." in sentvec("holes.parquet", "-o", "h.npy").err
    assert "holes.parquet, row 2: 'id' is None; an id is" in sentvec("holes.parquet", "-o", "h", "--id-field", "id").err


@pytest.mark.parametrize("source", [[], ["-"]])
def test_standard_input_to_standard_output(sentvec, vectors, source):
    ended = sentvec(*source, stdin="\n".join(LINES).encode())
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert [row["text"] for row in rows] == LINES
    assert np.abs(np.array([row["vector"] for row in rows]) - vectors).max() < 1e-6
    assert "你好世界" in ended.out


def test_jsonl_holds_every_bit_of_a_vector(sentvec):
    write("t.txt", "\n".join(LINES))
    assert sentvec("t.txt", "-o", "out.jsonl").code == 0
    assert sentvec("t.txt", "-o", "out.npy").code == 0
    rows = [json.loads(line)["vector"] for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (np.array(rows, np.float32) == np.load("out.npy")).all()


def test_empty_lines_are_texts_and_an_empty_file_has_none(sentvec):
    assert sentvec(write("gaps.txt", "\nthe cat\n\n"), "-o", "out.npy").code == 0
    assert np.load("out.npy").shape == (3, 32)
    assert sentvec(write("empty.txt", ""), "-o", "out.npy").code == 0
    assert np.load("out.npy").shape == (0, 32)
    assert sentvec("empty.txt").out == ""


def test_quoted_fields_over_several_lines(sentvec):
    write("t.csv", 'title,text\na,"the cat\nsat, ""on""\n\nthe mat"\nb,dog\n')
    texts = [json.loads(line)["text"] for line in sentvec("t.csv").out.splitlines()]
    assert texts == ['the cat\nsat, "on"\n\nthe mat', "dog"]
    assert [json.loads(line)["text"] for line in sentvec("t.csv", "--field", "title").out.splitlines()] == ["a", "b"]


def test_fields_longer_than_the_csv_modules_limit(sentvec):
    write("t.csv", "text\n" + "cat " * 50_000 + "\n")
    assert sentvec("t.csv", "-o", "out.npy").code == 0


def test_options(sentvec, model):
    embedder = Embedder.from_pretrained(model, device="cpu")
    write("t.txt", "\n".join(LINES))
    for options, expected in (
        (["--dim", "8"], embedder.encode(LINES, dim=8)),
        (["--prompt", "the "], embedder.encode(LINES, prompt="the ")),
        (["--prompt-name", "query"], embedder.encode(LINES, prompt_name="query")),
    ):
        ended = sentvec("t.txt", "-o", "out.npy", *options)
        assert f"vectors of {expected.shape[1]} features" in ended.err
        assert np.abs(np.load("out.npy") - expected).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"fine\nfine\nb\xff\xfed\n", "a.txt, line 3: not UTF-8 (invalid start byte at byte 1)"),
        ("a.csv", b"text\nfine\nb\xff\n", "a.csv, line 3: not UTF-8"),
        ("a.txt", "fine".encode("utf-16"), "a.txt, line 1: not UTF-8"),
        ("a.jsonl", b'{"text": "a"}\n{oops\n', "a.jsonl, line 2: not JSON"),
        (
            "a.jsonl",
            b'{"text": "a"}\n\n{"body": "b", "id": 3}\n',
            "a.jsonl, line 3: no text under 'text' (it has: body",
        ),
        ("a.jsonl", b'{"text": 3}\n', "a.jsonl, line 1: 'text' is 3, which is not a text."),
        ("a.jsonl", b"[1]\n", "a.jsonl, line 1: no text under 'text' (it has: list)"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "a.jsonl, line 1: half of a surrogate pair"),
        ("a.jsonl", b"[" * 100_000 + b"\n", "a.jsonl, line 1: not JSON"),
        ("a.csv", b"id,body\n1,a\n", "a.csv: no column 'text' (it has: id, body). Name the column with --field."),
        ("a.csv", b"", "a.csv: no column 'text' (it has: nothing)"),
        ("a.csv", b"id,text\n1,a\n2\n", "a.csv, line 3: the row has no 'text'"),
        ("a.csv", b'text\n"open\n', "a.csv, line 2: unexpected end of data"),
        ("a.csv", b'text\n"a"b\n', "a.csv, line 2"),
        ("a.txt.gz", b"fine\n", "a.txt.gz cannot be read (Not a gzipped file"),
        ("a.txt.gz", gzip.compress(b"fine\n" * 99, mtime=0)[:-9], "a.txt.gz cannot be read (Compressed file ended"),
        ("a.txt.gz", gzip.compress(b"b\xff\n", mtime=0), "a.txt.gz, line 1: not UTF-8"),
        ("a.parquet", b"fine\n", "a.parquet cannot be read as Parquet ("),
    ],
)
def test_inputs_that_cannot_be_read(sentvec, name, content, said):
    write(name, content)
    write("out.npy", b"precious")
    for output in ("out.npy", "new.jsonl"):
        ended = sentvec(name, "-o", output)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith("error: ")
        assert said in ended.err
    assert Path("out.npy").read_bytes() == b"precious"
    assert {path.name for path in Path().iterdir()} == {name, "out.npy"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.txt"], "nowhere.txt does not exist; give a file, or - for standard input"),
        (["."], ". is a folder; give a file, or index the folder with: sentvec index ."),
        (["t.txt", "-o", "out.parquet"], "out.parquet: vectors are written as .npy or .jsonl"),
        (["t.txt", "-o", "out.npy", "--resume"], "--resume and --id-field need a folder"),
        (["t.txt", "-o", "out", "--id-field", "id"], "t.txt is one text a line and has no ids"),
        (["t.txt", "-o", "gone/out.npy"], "gone/out.npy: there is no folder gone"),
        (["t.txt", "-o", "folder.npy"], "folder.npy is a folder"),
        (["t.txt", "-o", "/proc/out.npy"], "/proc/out.npy cannot be written"),
        (["t.txt", "--dim", "0"], "dim is 0, which should be a whole number from 1 to 32"),
        (["t.txt", "--dim", "33"], "dim is 33"),
        (["t.txt", "--prompt-name", "x"], "prompt_name 'x' is not stored"),
        (["t.txt", "--prompt", "a", "--prompt-name", "query"], "not both"),
        (["t.txt", "--precision", "float8"], "precision 'float8' is not known"),
        (["t.txt", "--device", "toaster"], "device 'toaster' cannot be used"),
        (["t.txt", "-m", "no/such-model"], "'no/such-model' is not a folder"),
    ],
)
def test_arguments_that_cannot_be(sentvec, arguments, said):
    write("t.txt", "the cat\n")
    Path("folder.npy").mkdir()
    ended = sentvec(*arguments)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: ")
    assert said in ended.err
    assert {path.name for path in Path().iterdir()} == {"t.txt", "folder.npy"}


@pytest.mark.parametrize("link", [False, True])
def test_the_texts_are_not_replaced_by_their_vectors(sentvec, link):
    content = json.dumps({"text": "the cat"})
    write("t.jsonl", content)
    if link:
        Path("u.jsonl").hardlink_to("t.jsonl")
    ended = sentvec("t.jsonl", "-o", "u.jsonl" if link else "./t.jsonl")
    assert ended.code == 1
    assert "is the file with the texts, which vectors would replace" in ended.err
    assert Path("t.jsonl").read_text() == content


@pytest.mark.parametrize("name", ["a" * 251 + ".npy", "猫" * 82 + ".jsonl"])
def test_the_longest_possible_names(sentvec, name):
    write("t.txt", "the cat\n")
    assert sentvec("t.txt", "-o", name).code == 0
    assert {path.name for path in Path().iterdir()} == {"t.txt", name}


@pytest.mark.parametrize("name", ["out.npy", "out.jsonl"])
def test_a_disk_that_fills_up(model, tmp_path, name):
    """A limit on the size of files stands in for the disk."""
    (tmp_path / "t.txt").write_text("the cat\n" * 2000)
    (tmp_path / name).write_bytes(b"precious")
    main = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000));"
        "from sentvec.cli.app import main; main()"
    )
    command = [sys.executable, "-c", main, "encode", "t.txt", "-o", name, "-m", str(model), "--device", "cpu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, env=environment())
    assert done.returncode == 1
    assert f"error: {name} cannot be written (File too large)." in done.stderr.decode()
    assert (tmp_path / name).read_bytes() == b"precious"
    assert {path.name for path in tmp_path.iterdir()} == {"t.txt", name}


def test_two_runs_do_not_write_one_file(tmp_path):
    with whole(tmp_path / "a.npy") as first:
        first.write(b"whole")
        with pytest.raises(OutputError, match=r"a\.npy: another run is writing it"), whole(tmp_path / "a.npy"):
            pytest.fail("let in")
    assert (tmp_path / "a.npy").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_csv_limits_are_as_before(sentvec):
    before = csv.field_size_limit()
    assert sentvec(write("t.csv", "text\nthe cat\n")).code == 0
    assert sentvec(write("u.csv", "body\nthe cat\n")).code == 1
    assert csv.field_size_limit() == before


def test_a_missing_file_is_noticed_before_the_model_is_loaded(sentvec, monkeypatch):
    monkeypatch.setattr("sentvec.cli.encode.open_model", lambda *_: pytest.fail("loaded"))
    assert sentvec("nowhere.txt").code == 1


def test_damaged_weights_leave_no_output(monkeypatch, capsys, tmp_path):
    tensors = bert_weights(bert_config())
    tensors["embeddings.LayerNorm.bias"][0] = float("nan")
    tiny_bert(tmp_path / "model", tensors=tensors)
    monkeypatch.chdir(tmp_path)
    write("t.txt", "the cat\n")
    ended = inside(monkeypatch, capsys)("encode", "t.txt", "-o", "out.npy", "-m", "model")
    assert ended.code == 1
    assert "error: the vector of text 0 holds NaN or infinity" in ended.err
    assert {path.name for path in Path().iterdir()} == {"t.txt", "model"}


def test_cut_texts_are_reported_on_stderr_only(model, tmp_path):
    done = shell("encode", "-m", model, stdin=b"cat " * 100)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert b"WARNING: 1 of 1 texts were longer than 64 tokens" in done.stderr


def test_a_name_without_an_ending_is_a_folder_of_parts(sentvec, vectors):
    write("rows.jsonl", "".join(json.dumps({"id": f"r{i}", "text": text}) + "\n" for i, text in enumerate(LINES)))
    ended = sentvec("rows.jsonl", "-o", "out/", "--id-field", "id", "--shard-rows", "2")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == f"{len(LINES)} vectors in {-(-len(LINES) // 2)} parts: out\n"
    parts = list(read_vectors("out"))
    assert [name for ids, _ in parts for name in ids] == [f"r{i}" for i in range(len(LINES))]
    np.testing.assert_allclose(np.concatenate([part for _, part in parts]), vectors, atol=1e-6)
    again = sentvec("rows.jsonl", "-o", "out", "--id-field", "id", "--shard-rows", "2")
    assert (again.code, "Go on with them with resume (--resume)" in again.err) == (1, True)
    assert "of them from before" in sentvec("rows.jsonl", "-o", "out", "--id-field", "id", "--resume").err


def test_a_bad_row_keeps_finished_parts(sentvec, monkeypatch):
    monkeypatch.setattr("sentvec.runtime.engine.WINDOW", 4)
    good = "".join(json.dumps({"text": f"the cat {i}"}) + "\n" for i in range(20))
    write("rows.jsonl", good + '{"body": "no text"}\n')
    ended = sentvec("rows.jsonl", "-o", "out", "--shard-rows", "4")
    assert ended.code == 1
    assert "rows.jsonl, line 21: no text under 'text' (it has: body)" in ended.err
    done = json.loads(Path("out/manifest.json").read_text())["rows"]
    assert done >= 12
    write("rows.jsonl", good)
    assert (
        f"20 vectors in 5 parts, {done} of them from before"
        in sentvec("rows.jsonl", "-o", "out", "--shard-rows", "4", "--resume").err
    )


def test_csv_rows_have_ids_too(sentvec):
    write("rows.csv", "name,text\na,the cat\nb,the dog\n")
    assert sentvec("rows.csv", "-o", "out", "--id-field", "name", "--format", "npy").code == 0
    assert [ids for ids, _ in read_vectors("out")] == [["a", "b"]]
    assert "no column 'id' (it has: name, text)" in sentvec("rows.csv", "-o", "out2", "--id-field", "id").err


@pytest.mark.parametrize("several", [["--workers", "2"], ["--devices", "cpu, cpu"]], ids=" ".join)
def test_several_processes_write_what_one_does(sentvec, vectors, several, monkeypatch):
    monkeypatch.setattr("sentvec.runtime.spread.TASK_TEXTS", 2)
    write("t.txt", "".join(f"{line}\n" for line in LINES))
    assert sentvec("t.txt", "-o", "out.npy", *several).code == 0
    np.testing.assert_allclose(np.load("out.npy"), vectors, atol=1e-6)
    assert sentvec("t.txt", "-o", "out", "--shard-rows", "3", *several).code == 0
    np.testing.assert_allclose(np.concatenate([part for _, part in read_vectors("out")]), vectors, atol=1e-6)
    ended = sentvec("t.txt", *several)
    assert [json.loads(line)["text"] for line in ended.out.splitlines()] == LINES


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workers", "0"], "workers is 0; give a number of processes"),
        (["--devices", ""], "device '' cannot be used"),
        (["--devices", "cpu", "--workers", "2"], "leave --workers and --engine away"),
        (["--devices", "cpu", "--engine", "ray"], "leave --workers and --engine away"),
        (["--engine", "spark"], "engine 'spark' is not known. Known: local, ray."),
        (["--engine", "ray", "--device", "cuda:1"], "device 'cuda:1' cannot be used on Ray"),
    ],
)
def test_workers_that_cannot_be(sentvec, arguments, said):
    write("t.txt", "the cat\n")
    ended = sentvec("t.txt", "-o", "out.npy", *arguments)
    assert (ended.code, ended.out) == (1, "")
    assert said in ended.err
    assert {path.name for path in Path().iterdir()} == {"t.txt"}
