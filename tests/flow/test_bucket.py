"""Numbers in, numbers out."""

from hypothesis import given
from hypothesis import strategies as st

from judge_service.flow.bucket import MICRO, Bucket, Limit

SECOND_US = 1_000_000


def bucket(per_minute: float = 600, burst_s: float = 1.0) -> Bucket:
    """10 units a second, 10 at once, by default."""
    return Bucket(Limit(per_minute, burst_s))


def test_it_starts_full_and_holds_no_more_than_its_burst() -> None:
    one = bucket()
    one.fill(3600 * SECOND_US)
    assert one.level == one.capacity == 10 * MICRO


def test_it_fills_at_the_rate() -> None:
    one = bucket()
    one.fill(SECOND_US)
    one.reserve(10 * MICRO)
    assert not one.has(1, SECOND_US)
    assert one.has(5 * MICRO, SECOND_US + SECOND_US // 2)
    assert not one.has(5 * MICRO + 1, SECOND_US + SECOND_US // 2)


def test_a_cost_above_the_burst_is_let_in_when_full_and_leaves_a_debt() -> None:
    one = bucket()
    assert one.has(25 * MICRO, SECOND_US)
    one.reserve(25 * MICRO)
    assert one.level == -15 * MICRO
    assert one.ready_at_us(25 * MICRO) == SECOND_US + 2_500_000
    assert not one.has(25 * MICRO, SECOND_US + 2_499_999)
    assert one.has(25 * MICRO, SECOND_US + 2_500_000)


def test_settling_gives_back_or_takes_more() -> None:
    one = bucket()
    one.fill(SECOND_US)
    one.reserve(8 * MICRO)
    assert one.reserved == 8 * MICRO
    one.settle(8 * MICRO, 3 * MICRO)
    assert (one.level, one.reserved) == (7 * MICRO, 0)
    one.reserve(7 * MICRO)
    one.settle(7 * MICRO, 9 * MICRO)
    assert one.level == -2 * MICRO


def test_what_is_given_back_to_a_full_bucket_is_lost() -> None:
    one = bucket()
    one.fill(SECOND_US)
    one.reserve(10 * MICRO)
    one.fill(2 * SECOND_US)
    one.settle(10 * MICRO, 0)
    assert one.level == one.capacity


def test_it_learns_what_share_of_a_reservation_is_charged() -> None:
    one = bucket()
    for _ in range(300):
        one.reserve(MICRO)
        one.settle(MICRO, MICRO // 4)
    assert abs(one.share - 0.25) < 0.01
    one.level = 0
    queue = 40 * MICRO
    assert one.ready_at_us(MICRO, queue) < SECOND_US * 1.2


def test_a_clock_that_goes_back_adds_nothing() -> None:
    one = bucket()
    one.fill(100 * SECOND_US)
    one.reserve(10 * MICRO)
    one.fill(50 * SECOND_US)
    assert one.level == 0


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
        ready_us = one.ready_at_us(cost)
        if ready_us > now_us:
            assert not one.has(cost, ready_us - 1)
        assert one.has(cost, max(ready_us, now_us))
        now_us = max(ready_us, now_us)
        one.reserve(cost)


@given(per_minute=st.floats(0.01, 1e7), steps=st.lists(st.integers(1, 10**7), max_size=50))
def test_small_steps_add_up_to_one_large_step(per_minute: float, steps: list[int]) -> None:
    small, large = bucket(per_minute), bucket(per_minute)
    for one in (small, large):
        one.reserve(10**18)
    now_us = 0
    for step_us in steps:
        now_us += step_us
        small.fill(now_us)
    large.fill(now_us)
    assert small.level == large.level
