import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.simulator import SimulatorConfig, simulate
from judge_service.simulator.faults import Refusal
from judge_service.simulator.quota import Bucket, FixedWindow, Quota, Reservation, WorstWindow
from tests.simulator.raw_client import asking, connect, eventually


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def admitted(quota: Quota, tokens: float, now_s: float) -> Reservation:
    reservation = quota.admit(tokens, now_s)
    assert isinstance(reservation, Reservation)
    return reservation


def message(refused: Reservation | Refusal) -> str:
    assert isinstance(refused, Refusal)
    assert refused.status == 429
    return refused.message


def test_input_and_maximum_output_are_reserved_and_settled_to_the_truth() -> None:
    quota = Quota(SimulatorConfig(tokens_per_minute=1000, burst_s=60))
    first = admitted(quota, 900, 0)

    assert message(quota.admit(200, 0)).startswith("Too many tokens, please wait")

    quota.settle(first, 100, 0)
    admitted(quota, 900, 0)
    assert quota.statistics().charged_tokens == 100
    assert quota.statistics().reserved_tokens == 900
    assert quota.statistics().refused_tokens == 1


def test_a_continuous_quota_refills_at_its_rate_up_to_its_burst() -> None:
    bucket = Bucket(600, burst_s=2)
    bucket.take(20)

    assert not bucket.fits(11, 0)
    assert not bucket.fits(11, 1.0)
    assert bucket.fits(11, 1.2)
    assert not bucket.fits(21, 1.2)
    bucket.take(12)
    assert bucket.fits(20, 1000.0)
    bucket.take(20)
    assert not bucket.fits(1, 1000.0)


def test_a_request_above_the_burst_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    bucket = Bucket(600, burst_s=1)

    assert bucket.fits(100, 0)
    bucket.take(100)
    assert not bucket.fits(1, 9.0)
    assert bucket.fits(1, 9.2)
    assert not bucket.fits(601, 1000.0)


def test_a_fixed_window_begins_afresh_and_ignores_what_older_windows_give_back() -> None:
    window = FixedWindow(100, 60)
    assert window.fits(100, 0)
    old = window.take(100)

    assert not window.fits(1, 59.9)
    assert window.fits(100, 60)
    window.take(60)
    window.give(90, 61, old)
    assert not window.fits(41, 61)
    window.give(-40, 61, old)
    assert not window.fits(1, 61)


def test_a_refused_call_takes_nothing_from_any_quota() -> None:
    quota = Quota(SimulatorConfig(requests_per_minute=1, tokens_per_minute=10, refill="minute"))

    assert "tokens" in message(quota.admit(11, 0))
    admitted(quota, 1, 0)
    assert "requests" in message(quota.admit(1, 0))


def test_tokens_of_a_day_run_out_and_come_back_the_next_day() -> None:
    quota = Quota(SimulatorConfig(tokens_per_day=100))
    quota.settle(admitted(quota, 100, 0), 60, 1)

    assert message(quota.admit(50, 80_000)).startswith("Too many tokens per day")
    admitted(quota, 50, 86_401)


def test_the_worst_minute_is_found_wherever_it_begins() -> None:
    window = WorstWindow()
    for at_s in (0.0, 30.0, 59.0, 65.0, 149.0):
        window.add(10, at_s)

    window.add(15, 300.0)

    assert window.worst == 30  # 0 to 59, and 30 to 65; not with what came a minute later


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 300), st.floats(0, 1)), max_size=200),
    st.sampled_from(["continuous", "minute"]),
)
def test_no_minute_admits_more_than_the_quota_and_its_burst(
    calls: list[tuple[float, int, float]], refill: Any
) -> None:
    config = SimulatorConfig(requests_per_minute=60, tokens_per_minute=3000, refill=refill)
    quota, now_s = Quota(config), 0.0
    for pause_s, tokens, used in calls:
        now_s += pause_s
        reservation = quota.admit(tokens, now_s)
        if isinstance(reservation, Reservation):
            quota.settle(reservation, tokens * used, now_s)
    seen = quota.statistics()

    largest = {"continuous": 61 / 60, "minute": 2}[refill]
    assert seen.worst_window_requests <= 60 * largest + 1
    assert seen.worst_window_tokens <= 3000 * largest + 300  # a debt of one call
    assert seen.reserved_tokens == 0


@pytest.mark.parametrize("refill", ["continuous", "minute"])
async def test_requests_over_the_quota_are_throttled_until_it_refills(refill: Any) -> None:
    clock = Clock()
    config = SimulatorConfig(requests_per_minute=3, refill=refill, burst_s=60)
    async with simulate(config, clock=clock) as simulator, connect(simulator) as client:
        statuses = [(await client.ask(asking())).status for _ in range(4)]
        throttled = await client.ask(asking())
        clock.now_s += 60
        statuses.append((await client.ask(asking())).status)

    assert statuses == [200, 200, 200, 429, 200]
    assert throttled.headers["x-amzn-errortype"].startswith("throttlingexception:")
    assert throttled.json == {"message": "Too many requests, please wait before trying again."}


async def test_an_omitted_maximum_reserves_that_of_the_model() -> None:
    clock = Clock()
    config = SimulatorConfig(tokens_per_minute=130_000, burst_s=60, latency_median_s=0.02)
    async with (
        simulate(config, clock=clock) as simulator,
        connect(simulator) as one,
        connect(simulator) as two,
        connect(simulator) as three,
    ):
        body = {"messages": asking()["messages"]}
        both = [one.ask(body), two.ask(body)]
        waiting = [asyncio.ensure_future(call) for call in both]
        await eventually(lambda: simulator.statistics().in_flight == 2)
        refused = await three.ask(body)
        (quota,) = simulator.statistics().quotas.values()
        assert quota.reserved_tokens == 2 * (64_000 + 3)
        assert "tokens" in refused.json["message"]

        assert [(await call).status for call in waiting] == [200, 200]
        assert (await three.ask(body)).status == 200


async def test_output_burns_the_quota_down_faster_when_told_so() -> None:
    config = SimulatorConfig(output_burndown=5, text_answer=lambda prompt, score: "x" * 40)
    async with simulate(config) as simulator, connect(simulator) as client:
        await client.ask(asking("12345678"))
        (quota,) = simulator.statistics().quotas.values()

    assert quota.charged_tokens == 2 + 10 * 5


async def test_each_model_has_its_own_quota() -> None:
    config = SimulatorConfig(requests_per_minute=1, burst_s=60)
    async with simulate(config) as simulator, connect(simulator) as client:
        paths = [f"/model/{model}/converse" for model in ("a", "b", "a%3A0", "a")]
        statuses = [(await client.ask(asking(), path)).status for path in paths]

        assert statuses == [200, 200, 200, 429]
        assert sorted(simulator.statistics().quotas) == ["a", "a:0", "b"]


async def test_statistics_and_reset_are_served_beside_the_wire() -> None:
    get = b"GET /simulator/statistics HTTP/1.1\r\n\r\n"
    async with simulate() as simulator, connect(simulator) as client:
        for prompt in ("a", "b", "a"):
            await client.ask(asking(prompt))
        client.send(get)
        seen = (await client.receive()).json
        await client.ask({}, "/simulator/reset")
        client.send(get)
        fresh = (await client.receive()).json

    assert (seen["calls"], seen["answered"], seen["by_status"]) == (3, 3, {"200": 3})
    assert (seen["distinct_prompts"], seen["answered_again"]) == (2, 1)
    (quota,) = seen["quotas"].values()
    assert quota["worst_window_requests"] == 3
    assert (fresh["calls"], fresh["quotas"]) == (0, {})


async def test_what_is_remembered_is_bounded() -> None:
    config = SimulatorConfig(max_events=2, max_tracked_prompts=2)
    async with simulate(config) as simulator, connect(simulator) as client:
        for prompt in itertools.islice("abcde", 5):
            await client.ask(asking(prompt))

        assert [event.number for event in simulator.events()] == [4, 5]
        assert simulator.statistics().distinct_prompts == 2
        assert repr(simulator).endswith("<Calls <CallLog calls=5 in_flight=0> models=1>>")
