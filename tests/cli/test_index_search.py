"""`sentvec index` and `sentvec search`, as a user meets them: what is printed, where, and the exit code."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from sentvec.cli import app, index, search

spec = importlib.util.spec_from_file_location("fake_model", Path(__file__).parents[1] / "search" / "fake_model.py")
fakes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fakes)


@pytest.fixture
def loaded(monkeypatch):
    """Stand in for the loading of models; returns the names that were asked for."""
    names = []

    def open_model(name, device="auto", precision="float32", offline=False):
        names.append(name)
        return fakes.FakeModel(name)

    monkeypatch.setattr(index, "open_model", open_model)
    monkeypatch.setattr(search, "open_model", open_model)
    return names


@pytest.fixture
def sentvec(monkeypatch, capsys, tmp_path, loaded):
    """Run the command line in a folder of its own: arguments in, (exit code, stdout, stderr) out."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["sentvec", *map(str, arguments)])
        try:
            app.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "pets.md").write_text("# Cats\n\nCats sleep all day.\n\n# Dogs\n\nDogs bark at night.\n")
    (folder / "bin.txt").write_bytes(b"\0\1")
    (folder / "photo.png").write_bytes(b"\x89PNG")
    (folder / "rows.jsonl").write_text('{"text": "Fish swim."}\n{\n')
    return folder


def test_index_prints_a_summary_and_names_what_was_skipped(sentvec, docs):
    code, out, err = sentvec("index", "docs", "-c", "notes.sv")
    assert code == 0
    assert "3 files: 2 new or changed, 0 unchanged, 1 skipped" in out
    assert "3 passages added, 0 removed, 0 kept; 3 encoded" in out
    assert "notes.sv: 3 passages" in out
    assert "skipped docs/bin.txt: binary file" in err
    assert "skipped docs/rows.jsonl, line 2: not a JSON object" in err
    assert "not read, of other types: 1 (docs/photo.png)" in err


def test_index_again_and_prune(sentvec, docs):
    sentvec("index", "docs")
    (docs / "pets.md").unlink()
    code, out, _ = sentvec("index", "docs", "--prune")
    assert code == 0
    assert "1 gone and removed" in out
    assert "0 passages added, 2 removed" in out


def test_what_is_gone_is_told_with_the_way_to_remove_it(sentvec, docs):
    sentvec("index", "docs")
    (docs / "pets.md").unlink()
    code, _, err = sentvec("index", "docs")
    assert code == 0
    assert "gone, and still in the collection: 1 (docs/pets.md); remove it with --prune" in err
    (docs / "rows.jsonl").unlink()
    (docs / "bin.txt").unlink()
    code, _, err = sentvec("index", "docs")
    assert code == 1
    assert "gone, and still in the collection: 2 (" in err
    code, out, err = sentvec("index", "docs", "--prune")
    assert (code, "2 gone and removed" in out, "error" in err) == (0, True, False)


def test_nothing_new_is_one_line(sentvec, docs):
    (docs / "bin.txt").unlink()
    sentvec("index", "docs")
    assert sentvec("index", "docs") == (0, "sentvec.sv is up to date: 2 files, 3 passages\n", "")


def test_an_empty_folder_is_named_and_makes_no_collection(sentvec, docs, loaded, tmp_path):
    (tmp_path / "empty").mkdir()
    code, out, err = sentvec("index", "empty")
    assert (code, out, loaded) == (1, "", [])
    assert "nothing to index in empty: files read in folders are .txt .md .rst .csv .tsv .jsonl" in err
    assert not (tmp_path / "sentvec.sv").exists()


def test_index_as_json(sentvec, docs):
    code, out, _ = sentvec("index", "docs", "--json")
    report = json.loads(out)
    assert code == 0
    assert (report["files"], report["added"], report["passages"]) == (3, 3, 3)
    assert report["skipped"][0][0] == str(docs / "bin.txt")


def test_stopped_by_the_user_it_says_what_is_kept_and_how_to_go_on(sentvec, docs, monkeypatch):
    def stop(self, texts, *, progress=None):
        if any("Fish" in text for text in texts):
            raise KeyboardInterrupt
        return self._encode(texts)

    monkeypatch.setattr(fakes.FakeModel, "encode_document", stop)
    monkeypatch.setattr("sentvec.search.ingest.GROUP", 1)
    code, out, err = sentvec("index", "docs")
    assert (code, out) == (130, "")
    assert err == "stopped; 1 file is in the collection; run the same command again to go on\n"


def test_nothing_that_can_be_read_is_exit_code_1(sentvec, docs):
    code, _, err = sentvec("index", "docs/bin.txt")
    assert code == 1
    assert "skipped docs/bin.txt" in err
    assert "error: every file was skipped" in err
    (docs / "only").mkdir()
    (docs / "only" / "photo.png").write_bytes(b"x")
    code, _, err = sentvec("index", "docs/only")
    assert code == 1
    assert "nothing to index" in err


def test_a_mistyped_path_loads_no_model_and_makes_no_collection(sentvec, docs, loaded, tmp_path):
    code, _, err = sentvec("index", "dcos")
    assert code == 1
    assert err.startswith("error: No such file or folder")
    assert loaded == []
    assert not (tmp_path / "sentvec.sv").exists()


def test_many_files_of_other_types_are_counted_by_kind(sentvec, docs):
    for n in range(11):
        (docs / f"{n}.png").write_bytes(b"x")
    (docs / "Makefile").write_text("x")
    _, _, err = sentvec("index", "docs")
    assert "not read, of other types: 13 (12 .png, 1 no suffix)" in err


def test_search_in_a_pipe_is_plain(sentvec, docs):
    sentvec("index", "docs")
    code, out, err = sentvec("search", "when do dogs bark at night", "-k", 2)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(" 1. 0.") and lines[0].endswith("  docs/pets.md:5")
    assert lines[1].strip() == "Dogs — Dogs bark at night."
    assert "\x1b" not in out and all(ord(letter) < 0x2500 or ord(letter) > 0x257F for letter in out)


def test_search_on_a_terminal_is_a_table(sentvec, docs, monkeypatch):
    sentvec("index", "docs")
    monkeypatch.setattr(search, "_on_terminal", lambda: True)
    _, out, _ = sentvec("search", "dogs bark", "-k", 1)
    assert "file:line" in out and "docs/pets.md:5" in out and "Dogs bark at night." in out


def test_a_question_needs_no_quotes(sentvec, docs):
    sentvec("index", "docs")
    assert sentvec("search", "dogs", "bark", "-k", 1) == sentvec("search", "dogs bark", "-k", 1)


def test_lines_are_wrapped_by_cells_of_the_terminal():
    lines = search.wrapped("狗在夜里叫。" * 30 + " and some words " + "x" * 100, 40)
    assert max(cell_len(line) for line in lines) == 40
    assert "".join(lines).replace(" ", "") == "狗在夜里叫。" * 30 + "andsomewords" + "x" * 100
    assert not any(line.startswith("。") for line in lines)


def test_a_long_path_leaves_the_table_room(sentvec, docs, monkeypatch):
    folder = docs / "/".join(["a-long-name"] * 8)
    folder.mkdir(parents=True)
    (folder / "deep.txt").write_text("Whales dive deep into the sea.")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(search, "_on_terminal", lambda: True)
    sentvec("index", "docs")
    _, out, _ = sentvec("search", "whales dive deep", "-k", 1)
    (line,) = [line for line in out.splitlines() if "deep.txt:1" in line]
    assert "docs/a-" in line and "…" in line and "Whales dive deep into the sea." in line


def test_search_as_json_lines(sentvec, docs):
    sentvec("index", "docs")
    _, out, _ = sentvec("search", "fish swim", "--json", "-k", 3)
    hits = [json.loads(line) for line in out.splitlines()]
    assert len(hits) == 3
    assert hits[0]["text"] == "Fish swim."
    assert hits[0].keys() == {"id", "score", "text", "source", "line", "end_line", "metadata"}
    assert hits[0]["source"] == str(docs / "rows.jsonl")


def test_json_cannot_steer_a_terminal_and_loses_nothing(sentvec, docs):
    steering = "".join(map(chr, [0x7F, 0x9B, 0x9F, 0x61C, 0x200E, 0x200F, 0x2028, 0x202E, 0x2066, 0x2069, 0x1B]))
    row = {"text": f"Fish {steering} 你好", "note": {steering: [steering]}}
    (docs / "rows.jsonl").write_text(json.dumps(row))
    _, report, _ = sentvec("index", "docs", "--json")
    _, out, _ = sentvec("search", "fish", "--json", "-k", 1)
    assert not set(out + report) & set(steering)
    assert len(out.splitlines()) == 1
    hit = json.loads(out)
    assert (hit["text"], hit["metadata"]) == (row["text"], {"note": row["note"]})
    assert "你好" in out


def test_metadata_as_deep_as_it_may_be_comes_out_again(sentvec, docs):
    deep = json.loads("[" * 98 + "]" * 98)
    (docs / "rows.jsonl").write_text(json.dumps({"text": "Fish swim.", "x": deep}))
    sentvec("index", "docs/rows.jsonl")
    assert json.loads(sentvec("search", "fish", "--json")[1])["metadata"] == {"x": deep}


def test_a_name_that_is_not_utf8(sentvec, docs):
    for name in (b"\xff.txt", b"\xff.png"):
        Path(os.fsdecode(os.fsencode(docs) + b"/" + name)).write_bytes(b"x")
    code, out, err = sentvec("index", "docs")
    assert code == 0 and "1 unchanged" not in out
    assert "skipped docs/\\xff.txt: its name is not UTF-8; rename it" in err
    assert "docs/\\xff.png" in err
    code, out, _ = sentvec("index", "docs", "--json")
    assert code == 0
    assert str(docs / "\\xff.png") in json.loads(out)["ignored"]


@pytest.mark.parametrize("command", ["index", "search"])
def test_a_collection_whose_name_is_not_utf8(sentvec, docs, loaded, command):
    code, out, err = sentvec(command, "docs", "-c", os.fsdecode(b"\xff.sv"))
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "'\\udcff.sv' cannot be a collection's folder" in err
    assert loaded == []


def test_the_collection_knows_its_model(sentvec, docs, loaded):
    sentvec("index", "docs", "--model", "mine")
    sentvec("search", "fish")
    sentvec("index", "docs")
    assert loaded == ["mine"] * 3
    code, _, err = sentvec("search", "fish", "--model", "other")
    assert code == 1
    assert "'mine'" in err and "'other'" in err


def test_the_default_model(sentvec, docs, loaded):
    sentvec("index", "docs")
    assert loaded == ["sentence-transformers/all-MiniLM-L6-v2"]


def test_search_without_a_collection(sentvec, loaded):
    code, _, err = sentvec("search", "fish", "-c", "nowhere.sv")
    assert code == 1
    assert err.startswith("error: There is no collection in")
    assert loaded == []


def test_a_damaged_collection(sentvec, docs, tmp_path):
    sentvec("index", "docs")
    (tmp_path / "sentvec.sv" / "db.sqlite").write_bytes(b"rubbish " * 2000)
    for command in (("search", "fish"), ("index", "docs")):
        code, _, err = sentvec(*command)
        assert code == 1
        assert "is damaged" in err
    assert (tmp_path / "sentvec.sv" / "db.sqlite").read_bytes() == b"rubbish " * 2000


def test_an_empty_collection(sentvec, docs):
    sentvec("index", "docs/bin.txt")
    code, out, err = sentvec("search", "fish")
    assert (code, out) == (0, "")
    assert "is empty" in err


def test_an_empty_question(sentvec, docs):
    sentvec("index", "docs")
    code, _, err = sentvec("search", " ")
    assert code == 1
    assert "query is empty" in err


def test_the_real_model_from_a_shell(minilm, tmp_path):
    (tmp_path / "home.md").write_text("# Home\n\nRent is due on the third.\n\n# Garden\n\nTulips bloom in April.\n")

    def run(*arguments):
        command = [sys.executable, "-c", "from sentvec.cli.app import main; main()", *arguments]
        return subprocess.run([*command, "-c", tmp_path / "c.sv"], capture_output=True, text=True, check=True)

    assert "2 passages added" in run("index", tmp_path / "home.md").stdout
    answer = run("search", "when must I pay the landlord?", "-k", "1")
    assert "home.md:1" in answer.stdout and "Rent is due" in answer.stdout
    assert answer.stderr == ""
