"""The rate that a quota allows, and the setting that limits it."""

import pytest

from judge_service.settings import LimitSettings
from judge_service.throughput import expect


def test_the_smallest_quota_binds() -> None:
    limits = LimitSettings(requests_per_minute=6000, tokens_per_minute=600_000)

    expected = expect(limits, input_tokens=490, output_tokens=10)

    assert expected.bound_by == "limits.tokens_per_minute"
    assert expected.evaluations_per_s == pytest.approx(20)
    assert expected.by_resource["limits.requests_per_minute"] == pytest.approx(100)


def test_burndown_draws_and_processes_divide_the_quota() -> None:
    limits = LimitSettings(tokens_per_minute=600_000, output_burndown=5, processes=2)

    expected = expect(limits, input_tokens=450, output_tokens=10, calls_each=5)

    assert expected.evaluations_per_s == pytest.approx(600_000 / 60 / 500 / 5 / 2)


def test_slots_bind_when_calls_are_longer_than_littles_law_allows() -> None:
    limits = LimitSettings(requests_per_minute=6000, max_in_flight=200)

    assert expect(limits, input_tokens=1, output_tokens=1).longest_call_s == pytest.approx(2.0)


def test_without_a_quota_it_says_so() -> None:
    expected = expect(LimitSettings(), input_tokens=1, output_tokens=1)

    assert (expected.bound_by, expected.evaluations_per_s) == (None, None)
    assert "no quota is set" in expected.lines()[0]
