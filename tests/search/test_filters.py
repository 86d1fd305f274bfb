"""Filters: what SQL finds equals a plain reading in Python, types never mix, and errors name what is wrong."""

from __future__ import annotations

import json

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentvec.errors import InvalidInput
from sentvec.search import filters
from sentvec.search.filters import Every, Exists, Not, OneOf, Some, parse


def selected(where, *rows):
    db = apsw.Connection(":memory:")
    db.execute("CREATE TABLE records(record INTEGER PRIMARY KEY, metadata TEXT) STRICT")
    stored = [(n, json.dumps(row, ensure_ascii=False)) for n, row in enumerate(rows)]
    db.executemany("INSERT INTO records VALUES (?, ?)", stored)
    text, values = filters.sql(parse(where), "r.metadata")
    found = db.execute(f"SELECT record, {text} FROM records r ORDER BY record", values).fetchall()
    assert {held for _, held in found} <= {0, 1}
    return [row for row, held in found if held]


def plain(found, row):
    """Evaluate a parsed filter as the docstring of the module tells it."""
    match found:
        case Every(parts):
            return all(plain(part, row) for part in parts)
        case Some(parts):
            return any(plain(part, row) for part in parts)
        case Not(part):
            return not plain(part, row)
    there = True
    for name in found.path:
        there = there and isinstance(row, dict) and name in row
        row = row[name] if there else None
    if isinstance(found, Exists):
        return there
    candidates = (row if isinstance(row, list) else [row]) if there else []
    return any(meets(found, one) for one in candidates)


def kind(value):
    return "number" if type(value) in (int, float) else type(value).__name__


def meets(found, value):
    if isinstance(found, OneOf):
        return any(kind(value) == kind(one) and value == one for one in found.values) and kind(value) != "dict"
    if kind(value) != kind(found.value):
        return False
    a, b = value, found.value
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[found.order]


ROWS = (
    {"year": 2021, "lang": "zh", "author": {"name": "Wu", "born": 1970}, "tags": ["a", "b"]},
    {"year": 2020.0, "lang": "en", "tags": []},
    {"year": "2021", "lang": None, "tags": "a", "a.b": 1},
    {"year": True, "a": {"b": 2}},
    {"$odd": 1, 'qu"ote': {"": 3}, "back\\slash": 4, "year": None},
    {},
)


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"year": 2021}, [0]),
        ({"year": 2021.0}, [0]),
        ({"year": 2020}, [1]),
        ({"year": "2021"}, [2]),
        ({"year": True}, [3]),
        ({"year": 1}, []),
        ({"year": None}, [4]),
        ({"year": {"!=": 2021}}, [1, 2, 3, 4, 5]),
        ({"year": {"exists": True}}, [0, 1, 2, 3, 4]),
        ({"year": {"exists": False}}, [5]),
        ({"year": {">": 2000}}, [0, 1]),
        ({"year": {">": 2000, "<": 2021}}, [1]),
        ({"year": {">=": "2021"}}, [2]),
        ({"year": {"in": [2021, "2021", None, True]}}, [0, 2, 3, 4]),
        ({"year": {"in": []}}, []),
        ({"lang": "zh", "year": {">": 2020}}, [0]),
        ({"author.name": "Wu"}, [0]),
        ({"author.name.x": "Wu"}, []),
        ({"author": {"exists": True}}, [0]),
        ({"author": "Wu"}, []),
        ({"a.b": {"exists": True}}, [3]),
        ({"a\\.b": 1}, [2]),
        ({"\\$odd": 1}, [4]),
        ({'qu"ote.': 3}, [4]),
        ({"back\\\\slash": 4}, [4]),
        ({"tags": "a"}, [0, 2]),
        ({"tags": {"!=": "a"}}, [1, 3, 4, 5]),
        ({"$or": [{"lang": "zh"}, {"lang": "en"}]}, [0, 1]),
        ({"$and": [{"tags": "a"}, {"tags": "b"}]}, [0]),
        ({"$not": {"lang": "zh"}}, [1, 2, 3, 4, 5]),
        ({"$not": {"$not": {"lang": "zh"}}, "$or": [{"year": 2021}, {"year": {"<": 0}}]}, [0]),
    ],
    ids=str,
)
def test_what_is_selected(where, rows):
    assert selected(where, *ROWS) == rows
    assert [n for n, row in enumerate(ROWS) if plain(parse(where), row)] == rows


names = st.sampled_from(["a", "b", "c", "a.b", 'q"', "\\", ".", "", "$x", "猫", "\n"])
numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
texts = st.one_of(st.sampled_from(["", "a", "b", "1", "true", "null", "猫", "\0", "a\0b"]), st.text(max_size=3))
few = st.sampled_from([0, 1, -1, 1.0, 0.5, 2**53, 2.0**53 + 2, 2**53 + 1, True, False, None])
scalars = st.one_of(few, numbers, texts)
fields = st.recursive(
    scalars,
    lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(names, part, max_size=3)),
    max_leaves=6,
)
records = st.dictionaries(names, fields, max_size=4)


def written(path):
    return ".".join(name.replace("\\", "\\\\").replace(".", "\\.").replace("$", "\\$") for name in path)


paths = st.lists(names, min_size=1, max_size=3).map(written)
ordered = scalars.filter(lambda value: value is not None and not isinstance(value, bool))
conditions = st.one_of(
    scalars,
    st.fixed_dictionaries({}, optional={"==": scalars, "!=": scalars, "in": st.lists(scalars, max_size=4)}).filter(
        bool
    ),
    st.fixed_dictionaries({}, optional={"<": ordered, ">=": ordered, ">": ordered, "<=": ordered}).filter(bool),
    st.fixed_dictionaries({"exists": st.booleans()}),
)
wheres = st.recursive(
    st.dictionaries(paths, conditions, max_size=2),
    lambda part: st.one_of(
        st.fixed_dictionaries({"$not": part}),
        st.fixed_dictionaries({"$or": st.lists(part, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$and": st.lists(part, min_size=1, max_size=3)}),
    ),
    max_leaves=4,
)


@settings(max_examples=400, deadline=None)
@given(where=wheres, rows=st.lists(records, min_size=1, max_size=5))
def test_sql_equals_a_plain_reading(where, rows):
    found = parse(where)
    assert selected(where, *rows) == [n for n, row in enumerate(rows) if plain(found, row)]


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(records, min_size=1, max_size=5), path=paths, value=scalars)
def test_not_is_the_exact_opposite(rows, path, value):
    held = selected({path: value}, *rows)
    assert selected({path: {"!=": value}}, *rows) == [n for n in range(len(rows)) if n not in held]


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ([], r"the filter is \[\]; accepted: a dict"),
        ("lang = 'zh'", "the filter is .*accepted: a dict"),
        ({1: 2}, "the filter is"),
        ({"$nor": []}, r"'\$nor' is not known; accepted: '\$and', '\$or', '\$not'"),
        ({"$or": []}, r"\$or is \[\]; accepted: a list of at least one filter"),
        ({"$or": {"a": 1}}, r"\$or is \{'a': 1\}; accepted: a list"),
        ({"$and": [5]}, r"part 0 of \$and is 5"),
        ({"$not": 5}, r"\$not is 5"),
        ({"a": {}}, "condition of 'a' is empty; accepted operators: ==, !="),
        ({"a": {"$gt": 5}}, r"operator '\$gt' of 'a' is not known; accepted: ==, !="),
        ({"a": {"b": 5}}, "operator 'b' of 'a' is not known.*with a dot"),
        ({"a": [1, 2]}, r"'a' == \[1, 2\]: accepted is a text.*for a list of values, write \{'in'"),
        ({"a": {"in": "abc"}}, "'a' in 'abc': accepted is a list"),
        ({"a": {"in": [{}]}}, r"'a' in \{\}: accepted is"),
        ({"a": {"exists": 1}}, "'a' exists 1: accepted is true or false"),
        ({"a": {">": True}}, "'a' > True: only numbers and texts"),
        ({"a": {"<": None}}, "'a' < None: only numbers and texts"),
        ({"a": float("nan")}, "'a' == nan: accepted is"),
        ({"a": 10**400}, "'a' == inf|'a' == 1000"),
        ({"a": "\ud800"}, "half a character"),
        ({"\ud800": 1}, "half a character"),
        ({"a\\": 1}, "ends in a single"),
        ({"a": b"x"}, "'a' == b'x': accepted is"),
    ],
    ids=ascii,
)
def test_errors_name_the_operator_and_the_value(where, told):
    with pytest.raises(InvalidInput, match=told) as caught:
        parse(where)
    assert str(caught.value).isprintable()


def test_depth_and_size_are_bounded():
    deep = {"a": 1}
    for _ in range(10_000):
        deep = {"$not": deep}
    with pytest.raises(InvalidInput, match="deeper than 32 levels"):
        parse(deep)
    with pytest.raises(InvalidInput, match="conditions; accepted: 500"):
        parse({"$or": [{"a": n} for n in range(600)]})
    assert selected({"$or": [{"a": n} for n in range(499)]}, {"a": 7}, {"a": 999}) == [0]
    assert selected({"a": {"in": list(range(50_000))}}, {"a": 49_999}, {"a": "7"}) == [0]


def test_whole_numbers_beyond_64_bits():
    assert selected({"a": 2**70}, {"a": 2**70}, {"a": 2**71}) == [0]
    assert selected({"a": {">": 2**70}}, {"a": 2**70}, {"a": 2**71}) == [1]
