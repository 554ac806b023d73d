from collections.abc import Callable
from typing import Any

import pytest

from judge_service.api.access import ANYBODY, Caller
from judge_service.api.admission.capacity import LONGEST_WAIT_S, Capacity
from judge_service.api.errors import HttpError

HALF = Caller(tenant="half", share=0.5)
OTHER = Caller(tenant="other")


def capacity(**given: Any) -> Capacity:
    defaults: dict[str, Any] = {
        "max_samples": 100,
        "max_bytes": 1000,
        "expected_per_s": None,
        "is_busy": lambda: False,
        "now": lambda: 0.0,
    }
    return Capacity(**{**defaults, **given})


def refusal(work: Callable[[], None]) -> HttpError:
    with pytest.raises(HttpError) as caught:
        work()
    return caught.value


def test_an_idle_service_takes_any_batch_that_it_could_hold() -> None:
    books = capacity(expected_per_s=0.1)

    books.enter(ANYBODY, samples=100, deadline_s=1.0)

    assert books.statistics().held_samples == 100


def test_what_can_never_be_held_is_too_large_and_not_to_be_tried_again() -> None:
    error = refusal(lambda: capacity().enter(ANYBODY, samples=101, deadline_s=10.0))

    assert error.status == 413
    assert "retry-after" not in error.headers


def test_work_that_would_come_out_late_is_refused_at_the_door() -> None:
    books = capacity(expected_per_s=2.0)
    books.enter(ANYBODY, samples=10, deadline_s=10.0)

    books.enter(OTHER, samples=4, deadline_s=10.0)  # 14 at 2 a second: 7 s, which is 70 % of 10
    error = refusal(lambda: books.enter(OTHER, samples=1, deadline_s=10.0))

    assert (error.status, error.code) == (503, "overloaded")
    books.enter(OTHER, samples=1, deadline_s=20.0)  # who has more time may still come


def test_a_refused_caller_is_told_when_there_will_be_room() -> None:
    books = capacity(expected_per_s=1.0)
    books.enter(ANYBODY, samples=40, deadline_s=60.0)

    waits = {
        int(refusal(lambda: books.check(OTHER, samples=1, deadline_s=10.0)).headers["retry-after"])
        for _ in range(200)
    }

    # 34 s until 7 are left, and up to half as much again
    assert 34 <= min(waits) < max(waits) <= 51


def test_nobody_is_sent_away_for_longer_than_a_minute() -> None:
    books = capacity(expected_per_s=0.001)
    books.enter(ANYBODY, samples=40, deadline_s=60.0)

    error = refusal(lambda: books.check(OTHER, samples=1, deadline_s=1.0))

    assert error.headers["retry-after"] == f"{LONGEST_WAIT_S}"


def test_a_caller_over_its_share_is_refused_and_others_are_not() -> None:
    books = capacity()
    books.enter(HALF, samples=50, deadline_s=10.0)

    error = refusal(lambda: books.enter(HALF, samples=1, deadline_s=10.0))

    assert (error.status, error.code) == (429, "over_share")
    books.enter(OTHER, samples=50, deadline_s=10.0)


def test_a_small_share_still_gets_one_batch_in() -> None:
    small = Caller(tenant="small", share=0.01)
    books = capacity()

    books.enter(small, samples=64, deadline_s=10.0)

    assert refusal(lambda: books.enter(small, samples=1, deadline_s=10.0)).status == 429


def test_what_leaves_makes_room() -> None:
    books = capacity()
    books.enter(ANYBODY, samples=100, deadline_s=10.0)
    assert refusal(lambda: books.check(OTHER, samples=1, deadline_s=10.0)).status == 503

    books.leave(ANYBODY, samples=100, finished=True)

    books.enter(OTHER, samples=100, deadline_s=10.0)
    assert books.statistics().refused == {"overloaded": 1}


def test_the_measured_rate_replaces_the_expected_one() -> None:
    clock = [0.0]
    books = capacity(expected_per_s=1000.0, is_busy=lambda: True, now=lambda: clock[0])
    for _ in range(20):  # one at a time, 0.1 s each, and always somebody who waits
        books.enter(ANYBODY, samples=1, deadline_s=10.0)
        clock[0] += 0.1
        books.leave(ANYBODY, samples=1, finished=True)
    books.enter(ANYBODY, samples=80, deadline_s=10.0)

    assert books.statistics().drain_per_s == pytest.approx(10.0)
    assert refusal(lambda: books.check(OTHER, samples=1, deadline_s=10.0)).status == 503


def test_abandoned_work_is_not_taken_for_speed() -> None:
    clock = [0.0]
    books = capacity(is_busy=lambda: True, now=lambda: clock[0])
    books.enter(ANYBODY, samples=1, deadline_s=10.0)
    for finished in (True, False) * 10:
        books.enter(OTHER, samples=1, deadline_s=10.0)
        clock[0] += 0.1
        books.leave(OTHER, samples=1, finished=finished)

    assert books.statistics().drain_per_s == pytest.approx(5.0, rel=0.01)


def test_bodies_are_held_up_to_a_bound() -> None:
    books = capacity()
    books.hold_bytes(1000)

    assert refusal(lambda: books.hold_bytes(1)).status == 503

    books.release_bytes(1000)
    books.hold_bytes(1)
    assert books.statistics().held_bytes == 1


def test_a_stopping_service_lets_nothing_in_and_closes_the_connection() -> None:
    books = capacity()
    books.stop()

    error = refusal(lambda: books.enter(ANYBODY, samples=1, deadline_s=10.0))

    assert (error.status, error.code) == (503, "draining")
    assert error.headers["connection"] == "close"
    assert int(error.headers["retry-after"]) >= 1
