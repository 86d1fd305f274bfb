"""Facts and plans against a plain evaluation of the filter, over random metadata and filters."""

from __future__ import annotations

import stores_oracle as oracle
from hypothesis import given
from hypothesis import strategies as st

from sentvec.search.filters import Compared, Every, Exists, Not, OneOf, Some
from sentvec.stores.facts import Both, Either, Has, Lacks, facts, plan

names = st.sampled_from(["a", "b", "a.b", ""])
numbers = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, -0.0, 2.0, 1e300]))
texts = st.sampled_from(["", "a", "b", "\uffee", "\U0001f600", "1", "true"])
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))
rows = st.dictionaries(names, values, max_size=4)
paths = st.lists(names, min_size=1, max_size=2).map(tuple)
orders = st.sampled_from(["<", "<=", ">", ">="])
leaves = st.one_of(
    st.builds(OneOf, paths, st.lists(scalars, max_size=3).map(tuple)),
    st.builds(Exists, paths),
    st.builds(Compared, paths, orders, numbers | texts),
)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(Every, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Some, st.lists(inner, max_size=3).map(tuple)),
    ),
)


def holds(found, known):
    match found:
        case Both(parts):
            return all(holds(part, known) for part in parts)
        case Either(parts):
            return any(holds(part, known) for part in parts)
        case Has(tokens):
            return bool(set(tokens) & set(known.tokens))
        case Lacks(tokens):
            return not set(tokens) & set(known.tokens)
    if found.key not in known.bounds:
        return False
    a, b = known.bounds[found.key], found.value
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[found.order]


@given(filters, rows)
def test_a_plan_holds_exactly_where_the_filter_does(found, row):
    assert holds(plan(found), facts(row)) == oracle.meets(found, row)
