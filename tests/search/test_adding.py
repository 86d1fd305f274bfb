"""Texts that are added: generators are read batch by batch, lists are checked whole, and what was cut is said once."""

from __future__ import annotations

import logging

import pytest

from sentvec.errors import InvalidInput
from sentvec.runtime.report import Truncation, gathered
from sentvec.search.encoding import BATCH

SOME = 2 * BATCH + 7


def numbered(count, drawn=None):
    for n in range(count):
        if drawn is not None:
            drawn.append(n)
        yield f"text {n}"


def test_a_generator_is_never_held(collection, model, monkeypatch):
    drawn, ahead = [], []
    plain = model._encode
    monkeypatch.setattr(
        model, "_encode", lambda texts: ahead.append(len(drawn) - len(model.encoded) + len(texts)) or plain(texts)
    )
    report = collection.add(numbered(SOME, drawn), (f"i{n}" for n in range(SOME)), ({"n": n} for n in range(SOME)))
    assert report.ids == tuple(f"i{n}" for n in range(SOME))
    assert (report.added, report.updated, report.encoded, len(collection)) == (SOME, 0, SOME, SOME)
    assert max(ahead) <= BATCH < SOME
    (entry,) = collection.get([f"i{SOME - 1}"])
    assert (entry.text, entry.metadata) == (f"text {SOME - 1}", {"n": SOME - 1})


def test_a_generator_of_texts_alone(collection):
    report = collection.add(numbered(SOME))
    assert len(set(report.ids)) == SOME == len(collection)
    assert collection.upsert(numbered(3), iter(report.ids[:3])).updated == 3


@pytest.mark.parametrize(
    ("texts", "ids", "message"),
    [
        (lambda: numbered(SOME), lambda: (f"i{n % (SOME - 1)}" for n in range(SOME)), "'i0' is given twice"),
        (
            lambda: numbered(SOME),
            lambda: (f"i{n}" for n in range(SOME - 1)),
            f"7 texts and 6 ids from text {2 * BATCH} on; give",
        ),
        (lambda: numbered(SOME), lambda: (f"i{n}" for n in range(SOME + 1)), "7 texts and 8 ids"),
        (lambda: numbered(2 * BATCH), lambda: (f"i{n}" for n in range(SOME)), "0 texts and 7 ids"),
        (lambda: [*numbered(SOME - 7), 3], lambda: (f"i{n}" for n in range(SOME - 6)), f"text {2 * BATCH} is int"),
    ],
    ids=["twice", "too few ids", "too many ids", "no more texts", "no text"],
)
def test_of_a_generator_whole_batches_before_the_fault_are_in(collection, texts, ids, message):
    with pytest.raises(InvalidInput, match=message):
        collection.add(texts(), ids())
    assert len(collection) == 2 * BATCH
    assert collection.verify().clean


def test_of_lists_nothing_is_written_where_one_text_is_wrong(collection):
    with pytest.raises(InvalidInput, match=f"text {SOME} is int"):
        collection.add([*numbered(SOME), 3])
    with pytest.raises(InvalidInput, match="'i0' is given twice"):
        collection.add(list(numbered(SOME)), [*(f"i{n}" for n in range(SOME - 1)), "i0"])
    assert len(collection) == 0


def cut(texts, tokens):
    found = Truncation(32)
    found.texts, found.cut, found.lost, found.longest = 100, texts, texts * tokens, 32 + tokens
    return found


def test_what_was_cut_is_said_once_with_its_number(collection, model, monkeypatch, caplog):
    plain = model._encode
    monkeypatch.setattr(model, "_encode", lambda texts: cut(len(texts), 8).log() or plain(texts))
    with caplog.at_level(logging.WARNING, "sentvec"):
        collection.add(numbered(SOME))
    assert [record.message for record in caplog.records] == [
        f"{SOME} texts were longer than 32 tokens and lost their end ({8 * SOME} tokens in all); "
        "the longest has 40 tokens"
    ]


def test_what_was_cut_before_a_fault_is_said_too(caplog):
    with pytest.raises(ZeroDivisionError), gathered():
        cut(3, 2).log()
        cut(2, 9).log()
        cut(0, 0).log()
        raise ZeroDivisionError
    assert [record.message[:50] for record in caplog.records] == ["5 texts were longer than 32 tokens and lost their "]
    cut(1, 1).log()
    assert "1 of 100 texts" in caplog.records[-1].message
