"""What would cost too much, waits too long or means nothing is refused, and counted; every task has a route."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import socket
import time
from pathlib import Path

import pytest
from tests.builders import tiny_bert
from tests.serve.conftest import KEY
from tests.serve.running import Running, serving

from sentvec.errors import InvalidInput
from sentvec.serve.budgets import Allowance
from sentvec.serve.http import BIG
from sentvec.serve.queue import Queue, Request
from sentvec.serve.refusals import Refused
from sentvec.serve.server import _bound, _reload
from sentvec.serve.settings import Settings, settings
from sentvec.serve.surfaces.tasks import TAKEN
from sentvec.serve.work import Work
from sentvec.tasks.pipeline import TASKS

WITH = {"authorization": f"Bearer {KEY}"}


def test_a_long_text_among_short_ones_is_counted_as_it_is_written(server: Running) -> None:
    texts = ["the"] * 99 + ["the cat " * 300]  # 550 true tokens, 25,600 places
    answer = server.post("/encode", {"texts": texts, "pooling": "NONE"})
    assert answer.status == 400, len(answer.content)
    assert "9,830,400 numbers" in answer.json["description"]


def test_tokens_that_are_only_listed_are_limited_too(strict: Running) -> None:
    assert strict.post("/tokenize", {"inputs": "the cat " * 500}, **WITH).status == 422
    assert strict.post("/tokenize", {"inputs": "the cat " * 300}, **WITH).status == 200


@pytest.mark.parametrize("name", ["processes", "max_seq_length"])
def test_less_than_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="0 or more"):
        Settings(**{name: -1})


def test_what_waits_too_long_is_answered_where_nobody_takes_it() -> None:
    ended: list[Request] = []
    queue = Queue(100, 10)
    gone = []
    for deadline, left in (
        (time.monotonic() - 1, False),
        (time.monotonic() + 60, True),
        (time.monotonic() + 60, False),
    ):
        gone.append(Request(Work("vectors"), ["a", "b"], [1, 2], deadline, lambda left=left: left, ended.append))
        queue.admit(gone[-1])
    queue.expire()
    assert ended == gone[:2] or set(map(id, ended)) == {id(gone[0]), id(gone[1])}
    assert [type(one.error) for one in gone] == [Refused, Refused, type(None)]
    assert (queue.held, queue.requests) == (3, 1)
    assert queue.take(wait=False).rows == ["b", "a"]
    assert queue.waiting == 0


def test_every_task_has_a_route() -> None:
    assert TAKEN.keys() == TASKS.keys()


def test_tasks_refuse_what_is_too_long_where_they_are_told_to(strict: Running) -> None:
    long = "the cat " * 100
    assert strict.post("/predict", {"inputs": long}, **WITH).status == 422  # --no-truncate
    assert strict.post("/tasks/text-classification", {"inputs": long}, **WITH).status == 422
    assert strict.post("/predict", {"inputs": long, "truncate": True}, **WITH).status == 200
    assert strict.post("/predict", {"inputs": long, "truncate": False}, **WITH).status == 422


@pytest.mark.parametrize(
    ("wrong", "right"), [("DEADLINE", "DEADLINE_S"), ("NO_PAGE", "PAGE"), ("RECEIVE", "RECEIVE_S")]
)
def test_a_variable_named_like_the_option_is_not_passed_over(wrong: str, right: str) -> None:
    with pytest.raises(InvalidInput, match=f"SENTVEC_{right}[.]"):
        settings({}, {f"SENTVEC_{wrong}": "5"})
    assert settings({}, {"SENTVEC_SERVICE_HOST": "10.0.0.1", "SENTVEC_DEADLINE_S": "5"}).deadline_s == 5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"host": ""}, "host is empty"),
        ({"api_key": " , ,"}, "holds no key"),
        ({"clients": (Allowance("a", "k\n"),)}, "no client can send it"),
        ({"api_key": "a\tb"}, "no client can send it"),
        ({"receive_s": 1e300}, "at most"),
        ({"drain_s": math.inf}, "at most"),
    ],
)
def test_settings_that_would_leave_a_server_open_or_broken(given: dict, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        Settings(**given)


def test_settings_nested_beyond_all_measure(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no JSON"):
        settings({}, {"SENTVEC_CLIENTS": "[" * 100_000})
    (tmp_path / "deep.toml").write_text("task = " + "[" * 100_000)
    with pytest.raises(InvalidInput, match="cannot be read"):
        settings({}, {}, tmp_path / "deep.toml")
    (tmp_path / "odd.toml").write_text("task = [1]")
    with pytest.raises(InvalidInput, match="a list of texts"):
        settings({}, {}, tmp_path / "odd.toml")


@pytest.mark.parametrize("host", ["no such name", "\0", "a" * 80 + ".b", ".."])
def test_a_host_that_is_none_is_named(host: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be listened on"):
        _bound(Settings(host=host, port=0))


def test_few_files_are_shared_out(tiny: Path) -> None:
    with serving(tiny, "--processes", "1", files=200) as small:
        assert any("connections are the most" in line for line in small.lines)
        idle = [small.raw() for _ in range(400)]
        for _ in range(3):
            assert small.post("/embed", {"inputs": "the cat"}).status == 200
        for one in idle:
            one.close()


def test_large_bodies_have_so_much_memory_and_a_reload_ends_with_the_server(tiny: Path) -> None:
    with serving(tiny, "--processes", "1", "--max-body", "200000", "--receive", "20") as small:
        head = b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        head += b"content-length: 200000\r\n\r\n"
        many = [small.raw(head + b" " * 199_000) for _ in range(64 * 200_000 // (199_000 - BIG) + 20)]
        time.sleep(1)
        assert small.post("/embed", {"inputs": "the cat"}).status == 200  # small ones always fit
        large = json.dumps({"inputs": "the cat", "more": "a" * 199_900}).encode()
        assert small.post("/embed", large).status == 429
        told = b"".join(_there(one) for one in many)
        assert 10 < told.count(b"HTTP/1.1 429") < 30
        for one in many:
            one.close()
        time.sleep(1)
        assert small.post("/embed", large).status == 200

        small.process.send_signal(signal.SIGHUP)
        small.wait_for("loading the models again")
        time.sleep(2)
        begun = time.monotonic()
        assert small.end() == 0
        assert time.monotonic() - begun < 5  # to load them takes longer
        assert not any("Traceback" in line for line in small.lines)


def _there(connection: socket.socket) -> bytes:
    connection.setblocking(False)
    try:
        return connection.recv(65536)
    except BlockingIOError:
        return b""


def _asked(strict: Running) -> tuple[float, float]:
    lines = strict.get("/metrics", **WITH).content.decode().splitlines()
    found = dict.fromkeys(("te_request_count", "te_request_success"), 0.0)
    for line in lines:
        name = line.partition("{")[0]
        if name in found:
            found[name] += float(line.rsplit(" ", 1)[1])
    return found["te_request_count"], found["te_request_success"]


def test_requests_that_are_refused_are_counted_as_requests(strict: Running) -> None:
    before = _asked(strict)
    assert strict.post("/embed", {"inputs": "the cat " * 100}, **WITH).status == 422
    assert strict.post("/embed", {"inputs": "the cat"}, **WITH).status == 200
    after = _asked(strict)
    assert (after[0] - before[0], after[1] - before[1]) == (2, 1)


def test_no_more_is_looked_at_than_there_is_memory_for(tmp_path: Path) -> None:
    with serving(tiny_bert(tmp_path / "long", max_position_embeddings=2048), "--processes", "1") as long:
        assert long.post("/attention", {"text": "the cat " * 500}).status == 200
        answer = long.post("/attention", {"text": "the cat " * 900})
        assert (answer.status, answer.json["error_type"]) == (400, "too_long")
        assert long.post("/why", {"a": "the " * 600, "b": "the " * 600}).status == 400


def test_models_that_cannot_be_loaded_again_are_told_of_whatever_it_is(caplog: pytest.LogCaptureFixture) -> None:
    class Bare:
        def load(self) -> None:
            raise RuntimeError("can't start new thread")

    asyncio.run(_reload(Bare()))
    assert "those before serve on: can't start new thread" in caplog.text
