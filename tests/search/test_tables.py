"""Rows become records: the text found, the line right, nothing lost, bad lines named."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentvec.search.tables import read_csv, read_jsonl, read_tsv


def nested(levels):
    return '{"text": "a", "x": ' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


def seen(reading):
    return [(record.line, record.text, dict(record.metadata)) for record in reading.records]


@pytest.mark.parametrize(
    "name", ["text", "Content", "BODY", "sentence", "passage", "正文"], ids=lambda name: name.encode().hex()[:12]
)
def test_the_text_column_goes_by_its_name(name):
    reading = read_csv(f"id,{name}\n7,Cats sleep.\n8,Dogs bark.\n")
    assert seen(reading) == [(2, "Cats sleep.", {"id": "7"}), (3, "Dogs bark.", {"id": "8"})]


def test_a_title_stands_above_its_text():
    assert seen(read_csv("title,text\nPets,Cats sleep.\nPets,\n,Dogs bark.\n")) == [
        (2, "Pets\nCats sleep.", {"title": "Pets"}),
        (3, "Pets", {"title": "Pets"}),
        (4, "Dogs bark.", {}),
    ]


def test_without_a_known_name_all_cells_but_ids_are_the_text():
    reading = read_csv("id,question,answer,notes\n7,Where is it?,In the long hall behind the door.,\n8,Who?,Bob,old\n")
    assert seen(reading) == [
        (
            *(2, "question: Where is it?\nanswer: In the long hall behind the door."),
            {"id": "7", "question": "Where is it?", "answer": "In the long hall behind the door."},
        ),
        (
            *(3, "question: Who?\nanswer: Bob\nnotes: old"),
            {"id": "8", "question": "Who?", "answer": "Bob", "notes": "old"},
        ),
    ]
    assert reading.chosen == ("question", "answer", "notes")


def test_a_table_of_expenses_keeps_date_and_amount():
    reading = read_csv("date,what,amount\n2024-03-01,dentist,120.50\n2024-03-02,train to Basel,33\n")
    assert reading.records[0].text == "date: 2024-03-01\nwhat: dentist\namount: 120.50"


def test_a_known_text_stands_between_its_question_and_its_answer():
    reading = read_csv("answer,place,text,Question\nYes.,Rome,Cats sleep.,Do they?\n")
    assert seen(reading) == [
        (2, "Do they?\nCats sleep.\nYes.", {"answer": "Yes.", "place": "Rome", "Question": "Do they?"})
    ]
    assert reading.chosen == ()


def test_a_table_of_ids_alone_is_read_all_the_same():
    assert [text for _, text, _ in seen(read_csv("id,url\n1,example.org\n"))] == ["id: 1\nurl: example.org"]


def test_a_field_of_text_is_found_in_json_as_in_tables():
    lines = [
        {"question": "Who?", "answer": "Bob", "n": 3, "user_id": 9, "ok": True},
        {"question": "Who?", "text": "Cats.", "answers": ["x"]},
        {"name": "Ann", "tags": ["a", "b"], "deep": {"x": "y"}},
    ]
    reading = read_jsonl("\n".join(map(json.dumps, lines)))
    assert [text for _, text, _ in seen(reading)] == [
        "question: Who?\nanswer: Bob\nn: 3",
        "Who?\nCats.",
        "name: Ann\ntags: a, b",
    ]
    assert reading.chosen == ("question", "answer", "n", "name", "tags")
    assert dict(reading.records[0].metadata) == lines[0]


def test_columns_alike_are_joined():
    assert seen(read_csv("name,score,place\nBob,3,Rome\n")) == [
        (2, "name: Bob\nscore: 3\nplace: Rome", {"name": "Bob", "score": "3", "place": "Rome"})
    ]


def test_without_a_header_no_row_is_lost():
    assert [text for _, text, _ in seen(read_csv("Cats sleep all the day long.,3\nDogs bark at the moon.,5\n"))] == [
        "Cats sleep all the day long., 3",
        "Dogs bark at the moon., 5",
    ]
    assert [line for line, _, _ in seen(read_csv("Cats sleep\nDogs bark\n"))] == [1, 2]
    assert [text for _, text, _ in seen(read_csv("Bob,Rome\nAnn,Oslo\n"))] == ["Bob, Rome", "Ann, Oslo"]


def test_quotes_commas_and_lines_within_a_field():
    text = 'id,text\r\n1,"one, two\r\nthree ""four"""\r\n\r\n2,five\r\n'
    assert seen(read_csv(text)) == [(2, 'one, two\r\nthree "four"', {"id": "1"}), (5, "five", {"id": "2"})]


@pytest.mark.parametrize("mark", [";", "\t", "|", ","])
def test_separators(mark):
    text = f"id{mark}text\n" + "".join(f"{n}{mark}Row number {n}.\n" for n in range(3))
    assert seen(read_csv(text))[2] == (4, "Row number 2.", {"id": "2"})


def test_a_quote_that_is_never_closed_does_not_swallow_the_rest():
    reading = read_csv('id,text\n1,fine\n2,"open\n3,fine too\n4,"closed"\n5,"again\n')
    assert [text for _, text, _ in seen(reading)] == ["fine", '"open', "fine too", "closed", '"again']


def test_lines_within_quotes_that_look_like_rows():
    assert seen(read_csv('id,text\n0,"\n,"\n')) == [(2, ",", {"id": "0"})]


def test_tsv_takes_stray_quotes_as_they_are():
    reading = read_tsv('id\ttext\n1\t"so he said\n2\tplain\n3\t"all of it"\n4\t6" nail\n')
    assert [text for _, text, _ in seen(reading)] == ['"so he said', "plain", "all of it", '6" nail']
    assert [line for line, _, _ in seen(reading)] == [2, 3, 4, 5]


def test_tsv_with_lines_within_quotes():
    reading = read_tsv('id\ttext\n1\t"one\ntwo"\n2\tthree\n3\tfour\n')
    assert seen(reading)[0] == (2, "one\ntwo", {"id": "1"})
    assert seen(reading)[1][0] == 4


def test_a_huge_field_leaves_the_process_limit_alone():
    before = csv.field_size_limit()
    assert len(read_csv(f"id,text\n1,{'x' * 3_000_000}\n").records[0].text) == 3_000_000
    assert csv.field_size_limit() == before


def test_rows_longer_and_shorter_than_the_header():
    assert seen(read_csv("id,text\n1,a b,more\n2\n3,c\n")) == [
        (2, "a b", {"id": "1", "column 3": "more"}),
        (4, "c", {"id": "3"}),
    ]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 99), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_is_written_is_read(rows):
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerows([("id", "text"), *rows])
    expected = [text.strip() for _, text in rows if text.strip()]
    assert [record.text for record in read_csv(file.getvalue()).records] == expected


def test_jsonl_objects_strings_and_titles():
    lines = [
        {"_id": "a", "title": "Pets", "text": "Cats sleep."},
        "Dogs bark.",
        {"body": "x", "n": 1},
        {"a": "b", "c": 2},
    ]
    text = "\n\n".join(json.dumps(line) for line in lines)
    assert seen(read_jsonl(text)) == [
        (1, "Pets\nCats sleep.", {"_id": "a", "title": "Pets"}),
        (3, "Dogs bark.", {}),
        (5, "x", {"n": 1}),
        (7, "a: b\nc: 2", {"a": "b", "c": 2}),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "no JSON from character 2"),
        ("[1]", "it is a list"),
        ("3", "it is a number"),
        ('{"text": 5}', "field 'text' is a number"),
        ('{"text": ""}', "no text"),
        ('{"text": null}', "no text"),
        ("{}", "no text"),
        ('{"text": "a", "x": NaN}', "NaN is no JSON"),
        ('{"text": "a", "x": 1e999}', "a number that JSON has not"),
        (r'{"text": "\ud800"}', "half a character"),
        ("[" * 100_000, "nested too deeply"),
        (nested(101), "nested deeper than 100 levels"),
        (nested(900), "nested deeper than 100 levels"),
        ('{"text": "a", "n": ' + "9" * 5000 + "}", "too many digits"),
    ],
    ids=lambda value: value[:20],
)
def test_a_bad_line_is_named_and_the_others_are_read(line, reason):
    reading = read_jsonl(f'{{"text": "one"}}\n{line}\n{{"text": "three"}}\n')
    assert [(record.line, record.text) for record in reading.records] == [(1, "one"), (3, "three")]
    ((number, why),) = reading.bad
    assert number == 2
    assert reason in why


def test_a_hundred_levels_are_read():
    assert len(read_jsonl(nested(100)).records) == 1


def test_unicode_line_separators_do_not_end_a_json_line():
    assert [record.text for record in read_jsonl('{"text": "a\u2028b"}\r\n{"text": "c"}\r\n').records] == [
        "a\u2028b",
        "c",
    ]
