"""The queue by itself: who is admitted, whose turn it is, what becomes of failures."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from typing import Any

import pytest

from sentvec.serve.queue import TRIES, Batch, Queue, Request
from sentvec.serve.refusals import Refused
from sentvec.serve.work import Work

VECTORS = Work("vectors")


def request(*costs: int, work: Work = VECTORS, late: float = 60, left: bool = False) -> Request:
    ended: list[Request] = []
    made = Request(
        work, [f"row {i}" for i in range(len(costs))], costs, time.monotonic() + late, lambda: left, ended.append
    )
    made.ended = ended  # type: ignore[attr-defined]
    return made


def places(batch: Batch | None) -> list[tuple[Request, tuple[int, ...]]]:
    assert batch is not None
    return list(batch.parts)


def taken(queue: Queue, **how: Any) -> Batch | None:
    return queue.take(wait=False, **how)


def test_rows_of_several_requests_share_a_batch_up_to_the_budget() -> None:
    queue = Queue(1000, 10)
    a, b, c = request(4), request(3, 2), request(5)
    for one in (a, b, c):
        queue.admit(one)
    assert places(taken(queue)) == [(a, (0,)), (b, (0,))]
    assert places(taken(queue)) == [(c, (0,)), (b, (1,))]
    assert taken(queue) is None


def test_a_row_larger_than_the_budget_goes_alone() -> None:
    queue = Queue(1000, 10)
    queue.admit(request(50, 1))
    assert [sum(len(p) for _, p in places(taken(queue))) for _ in range(2)] == [1, 1]


def test_other_work_is_another_batch() -> None:
    queue = Queue(1000, 100)
    a, b, c = request(1), request(1, work=Work("states")), request(1)
    for one in (a, b, c):
        queue.admit(one)
    assert [part[0] for part in places(taken(queue))] == [a, c]
    assert [part[0] for part in places(taken(queue))] == [b]


def test_short_requests_do_not_wait_behind_a_long_one_nor_for_ever() -> None:
    queue = Queue(10_000, 10)
    long = request(*[10] * 50)
    queue.admit(long)
    taken(queue)
    order = []
    for _ in range(10):
        queue.admit(request(10))
        batch = taken(queue)
        order.append(places(batch)[0][0] is long)
        queue.give(batch, ["done"], 0.1)  # type: ignore[arg-type]
    assert 3 <= order.count(True) <= 6, order


def test_all_of_a_request_or_nothing() -> None:
    queue = Queue(10, 5)
    queue.admit(request(6))
    with pytest.raises(Refused) as refused:
        queue.admit(request(1, 4))
    assert (refused.value.kind, refused.value.retry_after) == ("overloaded", 1.0)
    queue.admit(request(4))
    assert queue.held == 10


def test_a_request_of_more_than_all_room_is_admitted_when_nothing_is_there() -> None:
    queue = Queue(10, 5)
    queue.admit(request(6, 6))
    assert queue.held == 12


def test_room_is_kept_while_tokens_are_counted() -> None:
    queue = Queue(10, 5)
    with queue.reserved(6):
        with pytest.raises(Refused), queue.reserved(5):
            raise AssertionError("there is no room for these")
        queue.admit(request(4))
        with pytest.raises(Refused):
            queue.admit(request(1))
    queue.admit(request(1, 5))
    assert queue.held == 10


def test_results_come_back_in_their_places() -> None:
    queue = Queue(1000, 10)
    a, b = request(2, 5, 3), request(4)
    queue.admit(a)
    queue.admit(b)
    while (batch := taken(queue)) is not None:
        queue.give(batch, [row.upper() for row in batch.rows], 0.1)
    assert a.results == ["ROW 0", "ROW 1", "ROW 2"]
    assert (len(a.ended), len(b.ended), queue.held, queue.waiting) == (1, 1, 0, 0)  # type: ignore[attr-defined]


def test_who_left_or_waited_too_long_is_dropped() -> None:
    queue = Queue(1000, 100)
    gone, late, good = request(5, left=True), request(5, late=-1), request(5)
    for one in (gone, late, good):
        queue.admit(one)
    assert places(taken(queue)) == [(good, (0,))]
    assert [one.error.kind for one in (gone, late)] == ["gone", "overloaded"]  # type: ignore[union-attr]
    assert queue.held == 5


def test_requests_of_a_batch_that_fails_run_again_each_alone() -> None:
    queue = Queue(1000, 100)
    bad, good = request(1), request(1)
    queue.admit(bad)
    queue.admit(good)
    queue.fail(taken(queue), ValueError("both"))  # type: ignore[arg-type]
    for _ in range(2):
        batch = taken(queue)
        ((one, _),) = places(batch)
        if one is bad:
            queue.fail(batch, ValueError("alone"))  # type: ignore[arg-type]
        else:
            queue.give(batch, ["done"], 0.1)  # type: ignore[arg-type]
    assert (str(bad.error), good.error, good.results) == ("alone", None, ["done"])
    assert queue.held == 0


def test_what_kills_processes_is_given_up() -> None:
    queue = Queue(1000, 100)
    bad = request(1)
    queue.admit(bad)
    for _ in range(TRIES):
        queue.fail(taken(queue), ValueError("died"), died=True)  # type: ignore[arg-type]
    assert str(bad.error) == "died"
    assert taken(queue) is None


def test_full_batches_only() -> None:
    queue = Queue(1000, 10)
    queue.admit(request(9))
    assert taken(queue, full=True) is None
    queue.admit(request(1))
    assert taken(queue, full=True) is not None


def test_closing_answers_what_waits() -> None:
    queue = Queue(1000, 10)
    one = request(1)
    queue.admit(one)
    queue.close(Refused("unhealthy", "ended"))
    assert isinstance(one.error, Refused)
    with pytest.raises(Refused, match="shutting down"):
        queue.admit(request(1))
    assert queue.take(wait=True) is None


def waiting_takers(queue: Queue, threads: ThreadPoolExecutor, count: int) -> list[Future[Batch | None]]:
    """Let processes wait for batches."""
    takers = [threads.submit(queue.take, wait=True) for _ in range(count)]
    while queue.idle < count:
        time.sleep(0.001)
    return takers


def test_what_waits_is_shared_with_processes_that_are_idle() -> None:
    queue = Queue(10_000, 2000)
    with ThreadPoolExecutor(3) as threads:
        takers = waiting_takers(queue, threads, 3)
        queue.admit(request(*[100] * 15))
        found = [taker.result(10) for taker in takers]
    assert [batch.tokens for batch in found if batch] == [500, 500, 500]
    assert sorted(batch.shares for batch in found if batch) == [1, 1, 1]


def test_little_is_one_batch_on_the_cores_of_all_that_are_idle() -> None:
    queue = Queue(10_000, 2000)
    with ThreadPoolExecutor(2) as threads:
        first, second = waiting_takers(queue, threads, 2)
        a, b = request(20, 30), request(20)
        queue.admit(a)
        batch = next(as_completed([first, second], 10)).result()
        assert batch is not None
        assert (places(batch), batch.shares) == ([(a, (1, 0))], 2)
        queue.admit(b)  # one process is busy now
        wait([first, second], 10)
        other = next(one for one in (first.result(), second.result()) if one is not batch)
        assert other is not None
        assert (places(other), other.shares) == ([(b, (0,))], 1)
