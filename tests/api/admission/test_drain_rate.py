import pytest

from judge_service.api.admission.drain_rate import DrainRate


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_known_of_a_service_that_was_never_busy() -> None:
    clock = Clock()
    rate = DrainRate(clock)

    for _ in range(100):
        clock.now += 1.0
        rate.observe(finished=1, is_busy=False)

    assert rate.per_s() is None


def test_completions_are_counted_while_somebody_waits() -> None:
    clock = Clock()
    rate = DrainRate(clock)
    rate.observe(finished=0, is_busy=True)

    for _ in range(200):
        clock.now += 0.1
        rate.observe(finished=3, is_busy=True)

    assert rate.per_s() == pytest.approx(30.0)


def test_a_changed_quota_shows_within_seconds() -> None:
    clock = Clock()
    rate = DrainRate(clock)
    for finished in [10] * 300 + [1] * 300:
        clock.now += 0.1
        rate.observe(finished=finished, is_busy=True)

    known = rate.per_s()

    assert known is not None
    assert 10 < known < 16  # 100 a second before, 10 now, faded by e each 10 s


def test_what_was_measured_long_ago_is_forgotten() -> None:
    clock = Clock()
    rate = DrainRate(clock)
    for _ in range(20):
        clock.now += 0.1
        rate.observe(finished=1, is_busy=True)

    assert rate.per_s() is not None
    clock.now += 61.0
    assert rate.per_s() is None


def test_a_moment_is_no_evidence() -> None:
    clock = Clock()
    rate = DrainRate(clock)
    rate.observe(finished=0, is_busy=True)
    clock.now += 0.4
    rate.observe(finished=1, is_busy=True)

    assert rate.per_s() is None
