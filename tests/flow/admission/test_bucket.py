"""The arithmetic of a token bucket."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.flow.admission.bucket import MICRO, Bucket, Limit

SECOND_US = 1_000_000


def bucket(per_minute: float = 600, burst_s: float = 1.0) -> Bucket:
    """10 units a second, 10 at once, by default."""
    return Bucket(Limit(per_minute, burst_s))


def emptied(now_us: int = SECOND_US) -> Bucket:
    one = bucket()
    assert one.take(one.capacity, now_us)
    return one


def test_it_starts_full_and_holds_no_more_than_its_burst() -> None:
    one = bucket()
    one.fill(3600 * SECOND_US)
    assert one.level == one.capacity == 10 * MICRO


def test_it_fills_at_the_rate() -> None:
    one = emptied()
    assert not one.take(1, SECOND_US)
    assert not one.take(5 * MICRO + 1, SECOND_US + SECOND_US // 2)
    assert one.take(5 * MICRO, SECOND_US + SECOND_US // 2)


def test_a_cost_above_the_burst_is_let_in_when_full_and_leaves_a_debt() -> None:
    one = bucket(600_000)
    cost = one.capacity + 2000 * MICRO  # 2 % of a minute: 0.75 % slower from then on
    assert one.take(cost, SECOND_US)
    assert one.level == -2000 * MICRO
    ready_us = one.ready_at_us(cost)
    assert ready_us == pytest.approx(SECOND_US + 1_200_000 / 0.9925, abs=1)
    assert not one.take(cost, int(ready_us) - 1)
    assert one.take(cost, int(ready_us))


def test_settling_gives_back_or_takes_more() -> None:
    one = bucket()
    assert one.take(8 * MICRO, SECOND_US)
    assert one.reserved == 8 * MICRO
    one.settle(8 * MICRO, 3 * MICRO)
    assert (one.level, one.reserved) == (7 * MICRO, 0)
    assert one.take(7 * MICRO, SECOND_US)
    one.settle(7 * MICRO, 9 * MICRO)
    assert one.level == -2 * MICRO


def test_what_was_taken_in_vain_is_put_back() -> None:
    one = bucket()
    assert one.take(8 * MICRO, SECOND_US)
    one.untake(8 * MICRO)
    assert (one.level, one.reserved) == (one.capacity, 0)


def test_what_is_given_back_to_a_full_bucket_is_lost() -> None:
    one = emptied()
    one.fill(2 * SECOND_US)
    one.settle(10 * MICRO, 0)
    assert one.level == one.capacity


def test_it_learns_what_share_of_a_reservation_is_charged() -> None:
    one = bucket()
    for _ in range(300):
        one.settle(MICRO, MICRO // 4)
    assert abs(one.share - 0.25) < 0.01
    one.level = 0
    queue = 40 * MICRO
    assert one.ready_at_us(MICRO, queue) < SECOND_US * 1.2


def test_a_clock_that_goes_back_adds_nothing() -> None:
    one = emptied(100 * SECOND_US)
    one.fill(50 * SECOND_US)
    assert one.level == 0


@pytest.mark.parametrize(
    ("cost", "rate"),
    [(60, 1.0), (100, 1.0), (125, 0.9975), (175, 0.9925), (9000, 0.9925)],
)
def test_calls_dearer_than_the_burst_slow_it_by_as_much_as_the_worst_minute_needs(
    cost: int, rate: float
) -> None:
    one = bucket(10_000, 0.5)  # 83 at once; 100 are 1 % of a minute
    assert one.take(cost * MICRO, SECOND_US)
    assert one.rate == pytest.approx(10_000 * MICRO * rate)


def test_a_changed_rate_keeps_the_level_and_holds_the_same_seconds() -> None:
    one = emptied()
    one.set_rate(6000, SECOND_US + SECOND_US // 2)
    assert (one.level, one.capacity) == (5 * MICRO, 100 * MICRO)
    one.fill(SECOND_US + SECOND_US // 2 + 100_000)
    assert one.level == 15 * MICRO
    one.set_rate(60, 2 * SECOND_US)
    assert one.level == one.capacity == MICRO


def test_slowed_down_it_fills_and_holds_less() -> None:
    one = emptied()
    one.slow_to(0.5, SECOND_US)
    one.fill(SECOND_US + 100_000)
    assert one.level == MICRO // 2
    one.fill(60 * SECOND_US)
    assert one.level == 5 * MICRO


def test_without_a_rate_it_is_filled_from_outside_alone() -> None:
    one = emptied()
    one.set_rate(0, SECOND_US)
    one.fill(100 * SECOND_US)
    assert one.level == 0
    assert one.ready_at_us(MICRO) == inf
    one.add(4 * MICRO)
    assert not one.is_low(0.4)
    assert one.is_low(0.41)
    one.add(4 * MICRO, 5 * MICRO)
    assert one.level == one.capacity == 5 * MICRO


def test_dropping_forgets_what_is_there_but_no_debt() -> None:
    one = bucket()
    one.drop()
    assert one.level == 0
    one.level = -5
    one.drop()
    assert one.level == -5


@given(
    per_minute=st.floats(0.001, 1e9),
    burst_s=st.floats(0.001, 60),
    start_us=st.integers(0, 10**13),
    steps=st.lists(
        st.tuples(st.integers(0, 10**8), st.integers(0, 10**13)), min_size=1, max_size=20
    ),
)
def test_it_is_ready_exactly_when_it_says(
    per_minute: float, burst_s: float, start_us: int, steps: list[tuple[int, int]]
) -> None:
    one, now_us = bucket(per_minute, burst_s), start_us
    for pause_us, cost in steps:
        now_us += pause_us
        one.fill(now_us)
        ready_us = int(one.ready_at_us(cost))
        if ready_us > now_us:
            assert not one.take(cost, ready_us - 1)
        now_us = max(ready_us, now_us)
        assert one.take(cost, now_us)


@given(per_minute=st.floats(0.01, 1e7), steps=st.lists(st.integers(1, 10**7), max_size=50))
def test_small_steps_add_up_to_one_large_step(per_minute: float, steps: list[int]) -> None:
    small, large = bucket(per_minute), bucket(per_minute)
    for one in (small, large):
        assert one.take(10**18, 0)
    now_us = 0
    for step_us in steps:
        now_us += step_us
        small.fill(now_us)
    large.fill(now_us)
    assert small.level == large.level
