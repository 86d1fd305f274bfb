"""`sentvec inspect`: tables in the terminal, pages in files, and what cannot be done refused before the model loads."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from tests.builders import add_modules, pooling_config, tiny_bert, write_json
from tests.cli.running import inside

from sentvec import Embedder

STS = 'the cat,the dog,1.5\nthe mat,a mat,4\n,dogs,0\n"a, b",c,2\n'


@pytest.fixture
def sentvec(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    tiny_bert(tmp_path / "m")
    run = inside(monkeypatch, capsys)
    return lambda *arguments: run("inspect", *arguments)


class TestAttention:
    @pytest.mark.parametrize(("view", "title"), [("head", "heads"), ("model", "whole model"), ("neuron", "queries")])
    def test_a_page_of_each_kind(self, sentvec, tmp_path, view, title):
        ended = sentvec("attention", "m", "the cat", "--pair", "dogs", "-o", "p.html", "--view", view)
        assert (ended.code, ended.out) == (0, "")
        assert "p.html: " in ended.err
        page = (tmp_path / "p.html").read_text(encoding="utf-8")
        assert f"<title>Attention: {title}" in page or title in page
        assert '"labels":["[CLS]","the","cat","[SEP]","dog","##s","[SEP]"]' in page

    @pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")
    def test_a_name_that_is_not_utf8(self, sentvec, tmp_path):
        ended = sentvec("attention", "m", "the cat", "-o", "p\udcff.html")
        assert ended.code == 0
        assert r"p\udcff.html: " in ended.err
        assert (tmp_path / "p\udcff.html").is_file()

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["-o", "p.txt"], "must end in .html"),
            (["-o", "gone/p.html"], "there is no folder gone"),
            (["-o", "p.html", "--view", "tail"], "view 'tail' is not known. Known: head, model, neuron"),
        ],
    )
    def test_what_cannot_be_written_is_refused_before_the_model_is_looked_for(self, sentvec, arguments, said):
        ended = sentvec("attention", "no-such-model", "the cat", *arguments)
        assert ended.code == 1
        assert said in ended.err


class TestWhy:
    def test_the_strongest_pairs_in_the_terminal(self, sentvec):
        ended = sentvec("why", "m", "the cat sat", "the cat", "-k", "3")
        assert ended.out.startswith("cosine 0.")
        assert "the sum of 20 pairs of tokens" in ended.out
        assert len(ended.out.splitlines()) == 2 + 3

    def test_json_sums_to_the_cosine_of_encode(self, sentvec, tmp_path):
        found = json.loads(sentvec("why", "m", "the cat sat", "dogs", "--json", "-o", "p.html").out)
        vectors = Embedder.from_pretrained(tmp_path / "m").encode(["the cat sat", "dogs"], normalize=True)
        assert np.sum(found["matrix"]) == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-6)
        assert found["rows"] == ["[CLS]", "the", "cat", "sat", "[SEP]"]
        assert (tmp_path / "p.html").exists()

    def test_stored_prompts_by_name(self, sentvec, tmp_path):
        folder = add_modules(tiny_bert(tmp_path / "p"), "Pooling", pooling=pooling_config("mean"))
        write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "query: "}})
        found = json.loads(sentvec("why", "p", "cat", "dog", "--first-prompt", "query", "--json").out)
        assert (len(found["rows"]), len(found["columns"])) == (5, 3)

    def test_tokens_cannot_steer_the_terminal(self, sentvec):
        assert "\x1b" not in sentvec("why", "m", "\x1b[2J cat", "cat").out

    def test_a_pooling_that_is_no_sum_is_refused(self, sentvec, tmp_path):
        add_modules(tiny_bert(tmp_path / "f"), "Pooling", pooling=pooling_config("first"))
        ended = sentvec("why", "f", "cat", "dog")
        assert (ended.code, ended.out) == (1, "")
        assert "pooling 'first' is no sum over tokens" in ended.err


class TestLayers:
    def test_a_table_with_the_best_named(self, sentvec, tmp_path):
        (tmp_path / "sts.csv").write_text(STS, encoding="utf-8")
        ended = sentvec("layers", "m", "--sts", "sts.csv", "--pooling", "mean", "--pooling", "max")
        lines = ended.out.splitlines()
        assert lines[0] == "Spearman × 100 on 4 pairs"
        assert [line.split()[0] for line in lines[2:5]] == ["embeddings", "1", "2"]
        assert lines[5].startswith("best: layer ")

    def test_json_has_null_where_there_is_no_order(self, sentvec, tmp_path):
        (tmp_path / "sts.csv").write_text(STS, encoding="utf-8")
        found = json.loads(sentvec("layers", "m", "--sts", "sts.csv", "--json").out)
        assert (found["pairs"], np.shape(found["table"])) == (4, (3, 5))
        assert found["table"][0][found["poolings"].index("first")] is None

    @pytest.mark.parametrize(
        "content",
        [
            "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tlabel\n"
            '1\tthe "cat\ta\t4.5\tX\n2\tb\tc\t1\tX\n3\td\te\t2\tY\n',
            'score,sentence2,sentence1\n4.5,a,"the ""cat"\n1,c,b\n2,e,d\n',
            '\ufeffthe "cat,a,4.5\nb,c,1\n\nd,e,2\n',
        ],
        ids=["SICK", "header", "plain"],
    )
    def test_columns_are_found(self, tmp_path, content):
        from sentvec.cli.pairs import read_pairs

        (tmp_path / "sts.txt").write_text(content, encoding="utf-8")
        pairs, scores = read_pairs(tmp_path / "sts.txt")
        assert scores == [4.5, 1, 2]
        assert pairs[1:] == [("b", "c"), ("d", "e")]
        assert pairs[0] == ('the "cat', "a")

    def test_grades_are_scores(self, tmp_path):
        from sentvec.cli.pairs import read_pairs

        (tmp_path / "sts.jsonl").write_text(
            "".join(json.dumps({"text1": "a", "text2": "b", "score": i}) + "\n" for i in (0, 1, 2))
        )
        assert read_pairs(tmp_path / "sts.jsonl") == ([("a", "b")] * 3, [0, 1, 2])

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"a,b,1\nc,d,3\na,b\n", "sts.csv, line 3: column 3 is missing, which is not a number"),
            (b"a,b,1\nc,d,3\ne,f,nan\n", "sts.csv, line 3: column 3 is 'nan', which is not a number"),
            (b"a,b,much\n", "sts.csv holds no scored pairs of texts (3 columns without names"),
            (b"text1,text2\na,b\n", "sts.csv holds no scored pairs of texts (it holds bitext)"),
            (b"a,b,1\n\xff,b,1\n", "sts.csv, line 2: not UTF-8"),
            (b'a,b,1\n"c,d,3\n', "sts.csv, line 2: unexpected end of data"),
            (b"", "sts.csv holds no scored pairs of texts (no rows)"),
        ],
    )
    def test_rows_that_are_no_pairs_are_named(self, sentvec, tmp_path, content, said):
        (tmp_path / "sts.csv").write_bytes(content)
        ended = sentvec("layers", "m", "--sts", "sts.csv")
        assert (ended.code, ended.out) == (1, "")
        assert said in ended.err

    def test_a_file_that_is_not_there(self, sentvec):
        assert "gone.csv is no file" in sentvec("layers", "m", "--sts", "gone.csv").err

    @pytest.mark.data
    @pytest.mark.parametrize(("name", "count"), [("stsb/stsb-en-dev.csv", 1500), ("sick/SICK_trial.txt", 500)])
    def test_published_sets_are_read_whole(self, shared_data, name, count):
        from sentvec.cli.pairs import read_pairs

        pairs, scores = read_pairs(shared_data / "sts" / name)
        assert len(pairs) == len(scores) == count
        assert all(0 <= score <= 5 for score in scores)


class TestMap:
    def test_a_page_with_groups(self, sentvec, tmp_path):
        (tmp_path / "t.csv").write_text("text,kind\nthe cat,animal\na mat,thing\ndogs,animal\n", encoding="utf-8")
        ended = sentvec("map", "m", "t.csv", "--group-field", "kind", "-o", "map.html")
        assert ended.code == 0
        page = (tmp_path / "map.html").read_text(encoding="utf-8")
        assert '"texts":["the cat","a mat","dogs"],"groups":["animal","thing","animal"]' in page

    def test_lines_of_text(self, sentvec, tmp_path):
        (tmp_path / "t.txt").write_text("the cat\n\ndogs\n", encoding="utf-8")
        assert sentvec("map", "m", "t.txt", "-o", "map.html").code == 0
        assert '"groups":null' in (tmp_path / "map.html").read_text(encoding="utf-8")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--method", "mds"], "method 'mds' is not known"),
            (["--group-field", "kind"], "--group-field is for .jsonl, .csv, .tsv, .parquet"),
            (["--method", "tsne"], "tsne lays out at least 5 texts, but 1 came"),
        ],
    )
    def test_what_cannot_be_drawn_is_refused(self, sentvec, tmp_path, arguments, said):
        (tmp_path / "t.txt").write_text("the cat\n", encoding="utf-8")
        ended = sentvec("map", "m", "t.txt", "-o", "map.html", *arguments)
        assert ended.code == 1
        assert said in ended.err
        assert not (tmp_path / "map.html").exists()
