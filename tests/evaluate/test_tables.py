"""Files of rows: what they hold, each row with the line that it begins on, and what is wrong in them."""

from __future__ import annotations

import csv

import pytest

from sentvec.errors import InvalidInput
from sentvec.evaluate.tables import place_of, read_table, shortly


@pytest.fixture
def table(tmp_path):
    def table(name, content, most=None):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path, most)

    return table


def cells(found):
    return [row.cells for row in found.rows]


def test_csv_with_a_header_and_quotes_over_several_lines(table):
    found = table("a.csv", 'Text,Label\n"one, ""two""\nthree",x\n\nfour,y\n')
    assert found.names == ("text", "label")
    assert cells(found) == [('one, "two"\nthree', "x"), ("four", "y")]
    assert [row.line for row in found.rows] == [2, 5]


def test_tsv_takes_quotes_as_letters_and_byte_order_marks_away(table):
    found = table("a.tsv", '\ufeff1\t\ufeff"a\t0\n2\tb"\t1\r\n')
    assert found.names == () and cells(found) == [("1", '"a', "0"), ("2", 'b"', "1")]


def test_csv_parted_by_tabs(table):
    assert cells(table("a.csv", "1\ta, b\t0\n")) == [("1", "a, b", "0")]


def test_json_lines(table):
    found = table("a.jsonl", '{"Sentence1": "a", "score": 1}\n\n{"score": 2, "Sentence1": "b", "more": null}\n')
    assert found.names == ("sentence1", "score", "more")
    assert cells(found) == [("a", 1, None), ("b", 2, None)] and [row.line for row in found.rows] == [1, 3]


def test_only_the_first_rows(table):
    assert len(table("a.tsv", "a\tb\n" * 50, 7).rows) == 7
    assert table("a.csv", "").rows == ()


def test_cells_that_are_not_what_they_should_be_name_file_line_and_column(table):
    found = table("a.csv", "sentence1,sentence2,score,label\na,b,6,\nc,d,x,y\ne\n")
    with pytest.raises(InvalidInput, match="a.csv, line 2: column 'score' is 6, which is not between 0 and 5; more"):
        found.number(found.rows[0], 2, 0, 5, "; more")
    with pytest.raises(InvalidInput, match="line 3: column 'score' is 'x', which is not a number"):
        found.number(found.rows[1], 2, 0, 5)
    with pytest.raises(InvalidInput, match="line 4: column 'score' is missing, which is not a number"):
        found.number(found.rows[2], 2, 0, 5)
    with pytest.raises(InvalidInput, match="line 4: column 'sentence2' is missing, which is not a text"):
        found.text(found.rows[2], 1)
    with pytest.raises(InvalidInput, match="line 2: column 'label' is '', which names no class"):
        found.label(found.rows[0], 3)
    assert found.label(found.rows[1], 3) == "y"


@pytest.mark.parametrize("score", ['"nan"', "NaN", '"inf"', "-Infinity", '"1e999"', "true", "[1]", "null"])
def test_what_looks_like_a_number_and_is_none(table, score):
    found = table("a.jsonl", f'{{"score": {score}}}')
    with pytest.raises(InvalidInput, match="line 1: column 'score' is .*, which is not a number"):
        found.number(found.rows[0], 0, 0, 5)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"a,b\nc,\xff\n", "a.csv, line 2: not UTF-8 .*iconv"),
        ("a.tsv", "a\tb\n".encode("utf-16"), "a.tsv, line 1: not UTF-8"),
        ("a.csv", b'a,b\n"c,d\ne,f\ng,h\n', "a.csv, line 2: unexpected end of data.*is one not closed"),
        ("a.csv", b'a,b\n"c"d,e\n', "a.csv, line 2: ',' expected after"),
        ("a.jsonl", b'{"a": 1}\n{"a": 1\n', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", b'{"a": 1}\n\n7\n', "a.jsonl, line 3: 7 is no JSON object"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl, line 1: not JSON"),
        ("a.jsonl", b'{"a": "\\udc00"}\n', "a.jsonl, line 1: half of a surrogate pair"),
    ],
)
def test_files_that_are_broken(table, name, content, told):
    with pytest.raises(InvalidInput, match=told):
        table(name, content)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InvalidInput, match=r"none.csv cannot be read \(No such file or directory\)"):
        read_table(tmp_path / "none.csv")


def test_very_long_cells_are_read_and_the_limit_is_put_back(table):
    before = csv.field_size_limit()
    assert len(table("a.csv", f"text,label\n{'x' * 200_000},y\n").rows[0].cells[0]) == 200_000
    assert csv.field_size_limit() == before


def test_values_are_shown_shortly():
    assert shortly(None) == "missing" and shortly("a") == "'a'" and shortly({"a": [1]}) == '{"a": [1]}'
    assert len(shortly("x" * 1000)) == 60


def test_texts_are_found_where_they_stand(tmp_path):
    files = {
        "a.csv": 'one,two\n"three\nfour",five\nsix,seven\n',
        "b.jsonl": '{"title": "A", "text": "b"}\n{"sentences": ["c", "d"]}\n{"title": null, "text": "e"}\n',
        "c.pos": "a line\twith a tab\n",
    }
    paths = [tmp_path / name for name in files]
    for path in paths:
        path.write_text(files[path.name], encoding="utf-8")
    wanted = {"three\nfour": ("a.csv", 2), "seven": ("a.csv", 4), "A b": ("b.jsonl", 1), "d": ("b.jsonl", 2),
              "e": ("b.jsonl", 3), "with a tab": ("c.pos", 1), "a line\twith a tab": ("c.pos", 1)}  # fmt: skip
    for text, (name, line) in wanted.items():
        assert place_of(text, paths) == f"{tmp_path / name}, line {line}: "
    assert place_of("nowhere", paths) == ""
