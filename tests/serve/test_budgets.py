"""What a key may use: in a minute, at a time; and how the settings name keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.serve.running import Running

from sentvec.errors import InvalidInput
from sentvec.serve.budgets import Allowance, Budget
from sentvec.serve.refusals import Refused
from sentvec.serve.settings import Settings, settings

GOOD = {"inputs": "the cat sat"}


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def made(**limits: int) -> tuple[Budget, Clock]:
    clock = Clock()
    return Budget(Allowance("name", "key", **limits), now=clock), clock


def wait_of(call: Any) -> float | None:
    try:
        call()
    except Refused as refused:
        assert refused.kind == "overloaded"
        return refused.retry_after
    return None


def spend(budget: Budget, tokens: int) -> float | None:
    def call() -> None:
        with budget.spending(tokens):
            pass

    return wait_of(call)


def test_requests_of_a_minute() -> None:
    budget, clock = made(requests=6)
    assert [wait_of(budget.request) for _ in range(7)] == [None] * 6 + [10]
    clock.seconds = 9
    assert wait_of(budget.request) == pytest.approx(1)
    clock.seconds = 10
    assert (wait_of(budget.request), wait_of(budget.request)) == (None, pytest.approx(10))
    clock.seconds = 1000  # one minute's worth is kept, and no more
    assert [wait_of(budget.request) for _ in range(7)].count(None) == 6


def test_tokens_of_a_minute() -> None:
    budget, clock = made(tokens=60)
    assert (spend(budget, 50), spend(budget, 11)) == (None, pytest.approx(1))
    assert wait_of(budget.request) is None
    assert spend(budget, 10) is None
    assert wait_of(budget.request) == pytest.approx(1)  # before its body is read
    clock.seconds = 60
    assert (spend(budget, 120), spend(budget, 1)) == (None, pytest.approx(61))  # more than there ever is takes it all


def test_what_is_refused_costs_nothing() -> None:
    budget, _ = made(tokens=60)
    with pytest.raises(Refused), budget.spending(60):
        raise Refused("overloaded", "by the queue")
    assert spend(budget, 60) is None


def test_tokens_at_a_time() -> None:
    budget, _ = made(concurrent_tokens=10)
    with budget.spending(30):  # alone, as large as it likes
        assert spend(budget, 1) == 1
    with budget.spending(6):
        assert (spend(budget, 4), spend(budget, 5)) == (None, 1)


def test_a_server_counts_by_name(strict: Running) -> None:
    def ask(key: str, body: Any = GOOD) -> Any:
        return strict.post("/embed", body, authorization=f"Bearer {key}")

    answers = [ask("a few") for _ in range(5)]
    assert [one.status for one in answers] == [200, 200, 200, 429, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
    assert "requests" in answers[-1].json["error"]
    assert ask("a bit", {"inputs": ["the cat sat"] * 7}).status == 200  # 35 of 40 tokens
    refused = ask("a bit", {"inputs": ["the cat sat"] * 7})
    assert (refused.status, "tokens" in refused.json["error"]) == (429, True)
    refused = strict.post("/v1/embeddings", {"input": ["the cat sat"] * 7}, authorization="Bearer a bit")
    assert (refused.status, refused.json["error"]["code"]) == (429, "rate_limit_exceeded")
    assert ask("other").status == 200
    told = strict.get("/metrics", authorization="Bearer a few").content.decode()
    assert 'te_key_requests{key="few-requests",code="429"} 2' in told
    assert 'te_key_tokens{key="few-tokens"} 35' in told
    info = strict.get("/info", authorization="Bearer a few").content.decode()
    assert "few-requests" in info
    assert "a few" not in told + info
    assert "a bit" not in told + info


def test_settings(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text('model = "m"\n[clients.indexer]\nkey = "a"\ntokens = 5\n[clients.web]\nkey = "b"\n')
    found = settings({}, {"SENTVEC_API_KEY": "c"}, file)
    assert found.clients == (Allowance("indexer", "a", tokens=5), Allowance("web", "b"))
    assert found.keys == ("c", "a", "b")
    assert found.shown()["clients"][0] == {
        "name": "indexer",
        "key": "set",
        "requests": 0,
        "tokens": 5,
        "concurrent_tokens": 0,
    }
    assert settings({}, {"SENTVEC_CLIENTS": '{"web": {"key": "d"}}'}, file).keys == ("d",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "a table"),
        ({"a b": {"key": "x"}}, "named with"),
        ({"a": {"key": "secret", "speed": 3}}, "speed"),
        ({"a": {"key": "secret", "tokens": -1}}, "0 or more"),
        ({"a": {"key": "secret", "tokens": True}}, "0 or more"),
        ({"a": {"key": 5}}, "text"),
        ({"a": {"tokens": 5}}, "no key"),
        ({"a": {"key": "secret"}, "b": {"key": "secret"}}, "twice"),
    ],
)
def test_odd_settings(given: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as error:
        settings({}, {"SENTVEC_CLIENTS": json.dumps(given)})
    assert "secret" not in str(error.value)
    assert Settings().keys == ()
