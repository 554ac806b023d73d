import asyncio
import random
from collections import Counter
from math import inf

import pytest
from judge_service.flow.admission.rate_limit import Limit, RateLimit

from judge_service.errors import CallError, Denied, Throttled, Unavailable
from judge_service.flow import Handler, Request, stack
from judge_service.flow.admission.adaptive import (
    AdaptiveConcurrency,
    AdaptiveLimit,
    AdaptiveStatistics,
)
from judge_service.flow.detach import Detach
from judge_service.flow.latencies import Latencies
from judge_service.flow.retry import Retry, RetryBudget
from judge_service.testing import START_S, RecordingSink, run_virtual


def limit_of(max_slots: int = 100, min_slots: int = 1) -> AdaptiveLimit:
    return AdaptiveLimit(min_slots=min_slots, max_slots=max_slots, random=lambda: 0.0)


def answer(limit: AdaptiveLimit, times: int, now: float, latency_s: float = 0.5) -> None:
    for _ in range(times):
        limit.succeed(now - latency_s, latency_s, limit.limit, now)


def test_it_starts_at_its_maximum_and_good_answers_change_nothing() -> None:
    limit = limit_of()
    answer(limit, 1000, 10.0)
    assert (limit.limit, limit.slots(100, 10.0), limit.changes_at(10.0)) == (100, 100, None)


def test_one_throttled_call_cuts_it_once_an_episode() -> None:
    limit = limit_of()
    for _ in range(5):
        limit.drop(9.0, 100, 10.0)
    assert (limit.limit, limit.episodes, limit.dropped) == (90, 1, 5)
    limit.drop(10.5, 90, 11.0)
    assert (limit.limit, limit.episodes) == (81, 2)


def test_an_episode_lasts_one_and_a_half_latencies() -> None:
    limit = limit_of()
    answer(limit, 10, 9.0, latency_s=4.0)
    limit.drop(9.0, 100, 10.0)
    limit.drop(10.5, 90, 15.9)
    assert limit.episodes == 1
    limit.drop(10.5, 90, 16.0)
    assert limit.episodes == 2


def test_what_was_sent_before_the_cut_does_not_cut_again() -> None:
    limit = limit_of()
    limit.drop(9.0, 100, 10.0)
    limit.drop(9.9, 90, 20.0)
    assert (limit.limit, limit.episodes) == (90, 1)


def test_the_cut_is_from_what_was_in_use() -> None:
    limit = limit_of(max_slots=1000)
    limit.drop(9.0, 40, 10.0)
    assert limit.limit == 36


def test_slots_of_throttled_calls_stay_empty_until_the_episode_ends() -> None:
    limit = limit_of()
    for _ in range(5):
        limit.drop(9.0, 100, 10.0)
    assert (limit.slots(90, 10.9), limit.changes_at(10.9)) == (85, 11.0)
    assert (limit.slots(90, 11.0), limit.changes_at(11.0)) == (90, None)


def test_it_grows_only_when_it_was_full() -> None:
    limit = limit_of()
    limit.drop(9.0, 100, 10.0)
    for _ in range(50):
        limit.succeed(11.0, 0.5, 89, 12.0)
    assert limit.limit == 90
    limit.start(90, 12.0)
    limit.succeed(11.0, 0.5, 89, 12.0)
    assert limit.limit > 89


def test_beyond_the_cut_it_grows_by_two_in_a_hundred_and_one_a_round_trip() -> None:
    limit = limit_of()
    limit.drop(9.0, 100, 10.0)
    answer(limit, 90, 12.0)
    assert limit.limit == 92
    answer(limit, 1000, 13.0)
    assert limit.limit == 100


def test_below_it_doubles_a_round_trip() -> None:
    limit = limit_of(max_slots=1000)
    limit.drop(9.0, 10, 10.0)
    answer(limit, 9, 12.0)
    assert limit.limit == 18


def test_when_everything_comes_back_the_door_shuts() -> None:
    limit = limit_of(max_slots=10)
    for _ in range(9):
        limit.drop(9.0, 10, 10.0)
    assert limit.is_shut
    assert (limit.slots(1, 10.9), limit.changes_at(10.9)) == (0, 11.0)
    assert limit.slots(1, 11.0) == 2
    limit.start(2, 11.0)
    assert (limit.slots(2, 12.9), limit.changes_at(12.9)) == (0, 13.0)


def test_only_an_answer_to_a_probe_opens_it_at_half_of_what_it_was() -> None:
    limit = limit_of(max_slots=100)
    for _ in range(90):
        limit.drop(9.0, 100, 10.0)
    limit.succeed(9.5, 1.0, 5, 10.5)
    assert limit.is_shut
    limit.drop(11.0, 1, 11.1)
    limit.succeed(11.0, 1.0, 5, 12.0)
    assert (limit.is_shut, limit.limit) == (False, 45)


@pytest.mark.parametrize("in_flight", [1, 3, 100, 10_000])
def test_it_stays_within_its_bounds(in_flight: int) -> None:
    limit = limit_of(max_slots=100, min_slots=5)
    for second in range(20):
        limit.drop(float(second), in_flight, second + 0.5)
        assert 5 <= limit.limit <= 100
    for second in range(30, 60):
        answer(limit, 100, float(second))
    assert limit.limit == 100


def test_a_judge_that_becomes_slower_gets_fewer_calls_and_a_steady_one_does_not() -> None:
    limit = limit_of()
    answer(limit, 600, 10.0, latency_s=0.5)
    answer(limit, 600, 20.0, latency_s=0.7)
    assert (limit.limit, limit.episodes) == (100, 0)
    for second in range(20):
        answer(limit, 10, 30.0 + 3 * second, latency_s=2.0)
    assert 25 <= limit.limit < 90
    for second in range(60):  # it stays so: then this is how fast it is
        answer(limit, 30, 100.0 + 3 * second, latency_s=2.0)
    assert limit.limit == 100


def test_a_long_tail_is_not_a_slower_judge() -> None:
    chance, limit = random.Random(5), limit_of()
    for number in range(20_000):
        tail = 8 if chance.random() < 0.02 else 1
        answer(limit, 1, number / 100, latency_s=0.3 * tail * chance.lognormvariate(0, 0.3))
    assert limit.limit >= 90


def test_when_the_slow_judge_is_hardly_used_nothing_is_cut() -> None:
    limit = limit_of()
    answer(limit, 600, 10.0, latency_s=0.5)
    for second in range(100):
        limit.succeed(0.0, 5.0, 10, 20.0 + second)
    assert limit.episodes == 0


class Judge:
    """Serves `per_s` calls a second from a bucket of one second, none during the storm."""

    def __init__(
        self, per_s: float, *, latency_s: float = 0.5, storm: tuple[float, float] = (inf, inf)
    ) -> None:
        self.per_s, self.latency_s, self.storm = per_s, latency_s, storm
        self.level, self.filled_at = per_s, START_S
        self.random = random.Random(1)
        self.sent: Counter[int] = Counter()
        self.ok: Counter[int] = Counter()
        self.throttled = 0
        self.inside = self.most_inside = 0

    async def __call__(self, request: Request[int]) -> int:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            return await self._judge(request)
        finally:
            self.inside -= 1

    async def _judge(self, request: Request[int]) -> int:
        loop = asyncio.get_running_loop()
        request.sent_at = loop.time()
        self.sent[int(loop.time() - START_S)] += 1
        if not self._has_room(loop.time()):
            self.throttled += 1
            await asyncio.sleep(0.05)
            raise Throttled("429")
        await asyncio.sleep(self.latency_s * self.random.lognormvariate(0, 0.2))
        self.ok[int(loop.time() - START_S)] += 1
        return request.body

    def _has_room(self, now: float) -> bool:
        self.level = min(self.level + (now - self.filled_at) * self.per_s, self.per_s)
        self.filled_at = now
        if self.storm[0] <= now - START_S < self.storm[1] or self.level < 1:
            return False
        self.level -= 1
        return True


def ok_per_s(judge: Judge, begin_s: int, end_s: int) -> float:
    return sum(judge.ok[second] for second in range(begin_s, end_s)) / (end_s - begin_s)


def stacked(
    judge: Handler[int, int], slots: AdaptiveConcurrency, limits: dict[str, Limit]
) -> Handler[int, int]:
    chance = random.Random(2)
    retry = Retry(
        max_attempts=3,
        max_throttled=8,
        base_s=0.05,
        throttled_base_s=1,
        cap_s=5,
        budget=RetryBudget(ratio=0.2, per_s=10),
        sink=RecordingSink(),
        random=chance.random,
    )
    quota: RateLimit[int, int] = RateLimit(
        limits=limits, reserve=lambda _: (1,), charge=lambda _body, _answer: (1,)
    )
    return stack(judge, retry, Detach(), quota, slots)


async def load(call: Handler[int, int], calls: int, per_s: float) -> list[CallError]:
    failed = []

    async def one(number: int) -> None:
        await asyncio.sleep(number / per_s)
        try:
            await call(Request(number, START_S + 900))
        except CallError as error:
            failed.append(error)

    await asyncio.gather(*(one(number) for number in range(calls)))
    return failed


def new_slots(max_in_flight: int = 512) -> AdaptiveConcurrency:
    return AdaptiveConcurrency(max_in_flight=max_in_flight, random=random.Random(3).random)


@pytest.mark.parametrize("latency_s", [0.3, 2.0])
@pytest.mark.parametrize("limits", [{}, {"requests": Limit(60 * 50, 0.5)}], ids=["free", "quota"])
def test_a_storm_of_throttling_is_sat_out_and_forgotten(
    latency_s: float, limits: dict[str, Limit]
) -> None:
    async def scenario() -> None:
        judge = Judge(50, latency_s=latency_s, storm=(10, 70))
        slots = new_slots()
        assert await load(stacked(judge, slots, limits), 48 * 100, 48) == []
        settled_s = 10 + 1 + int(2 * latency_s)
        in_storm = sum(judge.sent[second] for second in range(settled_s, 70))
        assert in_storm / (70 - settled_s) <= 1.1
        assert ok_per_s(judge, 80, 90) >= 45
        assert slots.statistics().in_flight == slots.statistics().waiting == 0

    run_virtual(scenario())


def test_it_finds_a_quota_nobody_told_it() -> None:
    async def scenario() -> None:
        judge = Judge(100)
        assert await load(stacked(judge, new_slots(), {}), 6000, 200) == []
        assert ok_per_s(judge, 10, 50) >= 95
        assert judge.throttled <= 0.05 * 6000

    run_virtual(scenario())


def test_it_follows_when_others_take_most_of_the_quota() -> None:
    async def scenario() -> None:
        judge = Judge(400)
        asyncio.get_running_loop().call_later(10, setattr, judge, "per_s", 120)
        asyncio.get_running_loop().call_later(39, setattr, judge, "throttled", 0)
        assert await load(stacked(judge, new_slots(), {}), 8000, 150) == []
        served = sum(judge.ok[second] for second in range(39, 60))
        assert ok_per_s(judge, 39, 50) >= 0.9 * 120
        assert judge.throttled <= 0.05 * served

    run_virtual(scenario())


def test_a_steady_judge_has_a_thousand_calls_in_flight_all_the_time() -> None:
    async def judge(request: Request[int]) -> int:
        request.sent_at = asyncio.get_running_loop().time()
        await asyncio.sleep(2)
        return request.body

    async def scenario() -> tuple[float, AdaptiveStatistics]:
        slots, loop = new_slots(1000), asyncio.get_running_loop()
        call: Handler[int, int] = stack(judge, slots)
        await asyncio.gather(*(call(Request(number)) for number in range(10_000)))
        return 10_000 / (loop.time() - START_S), slots.statistics()

    per_s, statistics = run_virtual(scenario())
    assert per_s >= 499
    assert (statistics.limit, statistics.episodes) == (1000, 0)


@pytest.mark.parametrize("error", [Unavailable("503"), Denied("no"), ZeroDivisionError()])
def test_failures_that_say_nothing_of_room_are_ignored(error: Exception) -> None:
    async def judge(_request: Request[int]) -> int:
        raise error

    async def scenario() -> None:
        slots = new_slots(10)
        for _ in range(50):
            with pytest.raises(type(error)):
                await slots(Request(1), judge)
        assert slots.statistics() == AdaptiveStatistics(
            in_flight=0, waiting=0, limit=10, episodes=0, dropped=0, is_shut=False
        )

    run_virtual(scenario())


async def throw_back(_request: Request[int]) -> int:
    raise Throttled("429")


async def serve(request: Request[int]) -> int:
    await asyncio.sleep(0.5)
    return request.body


async def shut(slots: AdaptiveConcurrency) -> None:
    with pytest.raises(Throttled):
        await slots(Request(1), throw_back)
    assert slots.statistics().is_shut


def test_through_a_shut_door_one_call_a_time_asks() -> None:
    async def scenario() -> list[float]:
        slots = AdaptiveConcurrency(max_in_flight=9, random=lambda: 0.0)
        loop = asyncio.get_running_loop()
        await shut(slots)
        asked: list[float] = []

        async def judge(request: Request[int]) -> int:
            asked.append(loop.time() - START_S)
            return await throw_back(request)

        calls = [asyncio.ensure_future(slots(Request(n), judge)) for n in range(4)]
        await asyncio.wait(calls)
        assert all(isinstance(call.exception(), Throttled) for call in calls)
        return asked

    assert run_virtual(scenario()) == [1.0, 3.0, 5.0, 7.0]


def test_many_that_end_together_let_only_one_probe_go() -> None:
    async def scenario() -> None:
        slots = AdaptiveConcurrency(max_in_flight=20, random=lambda: 0.0)
        loop = asyncio.get_running_loop()
        asked: list[float] = []

        async def judge(request: Request[int]) -> int:
            asked.append(loop.time() - START_S)
            return await serve(request)

        async def thrown_back_later(request: Request[int]) -> int:
            await asyncio.sleep(request.body)
            raise Throttled("429")

        bodies = [0] * 9 + [1] * 9  # the second nine end with the first probe's time
        old = [asyncio.ensure_future(slots(Request(body), thrown_back_later)) for body in bodies]
        await asyncio.sleep(0.5)
        assert not slots.statistics().is_shut
        await asyncio.gather(*old, return_exceptions=True)
        assert slots.statistics().is_shut
        calls = [asyncio.ensure_future(slots(Request(n), judge)) for n in range(9)]
        await asyncio.gather(*calls)
        assert asked[:2] == pytest.approx([2.0, 2.5])

    run_virtual(scenario())


def test_calls_from_before_the_door_shut_that_end_in_a_probes_moment_are_no_probes() -> None:
    async def scenario() -> None:
        slots = AdaptiveConcurrency(max_in_flight=20, random=lambda: 0.0)
        asked = 0

        async def judge(request: Request[int]) -> int:
            nonlocal asked
            asked += 1
            return await serve(request)

        async def end(request: Request[int]) -> int:
            await asyncio.sleep(0.1 if request.body else 1.1)
            raise Throttled("429") if request.body else Unavailable("503")

        old = [asyncio.ensure_future(slots(Request(n > 1), end)) for n in range(20)]
        await asyncio.sleep(0.2)
        assert slots.statistics().is_shut
        assert slots.statistics().in_flight == 2
        calls = [asyncio.ensure_future(slots(Request(n), judge)) for n in range(9)]
        await asyncio.gather(*old, return_exceptions=True)
        await asyncio.sleep(0.25)
        assert asked == 1
        await asyncio.gather(*calls)

    run_virtual(scenario())


@pytest.mark.parametrize("moment_s", [0.0, 0.5, 1.0, 1.2, 1.5])
def test_cancelled_at_any_await_its_slot_and_its_probe_go_to_the_next(moment_s: float) -> None:
    async def scenario() -> None:
        slots = AdaptiveConcurrency(max_in_flight=9, random=lambda: 0.0)
        await shut(slots)
        first = asyncio.ensure_future(slots(Request(1), serve))
        second = asyncio.ensure_future(slots(Request(2), serve))
        asyncio.get_running_loop().call_later(moment_s, first.cancel)
        assert await second == 2
        await asyncio.wait((first,))
        statistics = slots.statistics()
        assert (statistics.in_flight, statistics.waiting) == (0, 0)
        assert not statistics.is_shut

    run_virtual(scenario())


def test_a_door_that_nobody_waits_at_lets_the_next_one_through() -> None:
    async def scenario() -> float:
        slots = AdaptiveConcurrency(max_in_flight=9, random=lambda: 0.0)
        loop = asyncio.get_running_loop()
        await shut(slots)
        await asyncio.sleep(60)
        began = loop.time()
        await asyncio.gather(*(slots(Request(n), serve) for n in range(3)))
        return loop.time() - began

    assert run_virtual(scenario()) == pytest.approx(1.0)  # one probe, then the rest


def test_a_hedge_is_welcome_only_with_a_free_slot_and_after_ten_calm_seconds() -> None:
    async def scenario() -> list[bool]:
        slots = new_slots(2)
        seen = [slots.has_room()]
        calls = [asyncio.ensure_future(slots(Request(n), serve)) for n in range(2)]
        await asyncio.sleep(0.1)
        seen.append(slots.has_room())
        await asyncio.wait(calls)
        await shut_one(slots)
        await slots(Request(1), serve)
        await asyncio.sleep(8)
        seen.append(slots.has_room())
        await asyncio.sleep(3)
        seen.append(slots.has_room())
        return seen

    async def shut_one(slots: AdaptiveConcurrency) -> None:
        with pytest.raises(Throttled):
            await slots(Request(1), throw_back)

    assert run_virtual(scenario()) == [True, False, False, True]


def test_latencies_are_of_the_backend_alone() -> None:
    async def judge(request: Request[int]) -> int:
        await asyncio.sleep(5)
        request.sent_at = asyncio.get_running_loop().time()
        await asyncio.sleep(1)
        return 1

    async def scenario(slots: AdaptiveConcurrency, latencies: Latencies) -> float | None:
        for _ in range(20):
            await slots(Request(1), judge)
        return latencies.quantile_s(0.5)

    latencies = Latencies()
    slots = AdaptiveConcurrency(max_in_flight=2, latencies=latencies)
    assert run_virtual(scenario(slots, latencies)) == pytest.approx(1.0)


def test_its_line_shows_the_bounds() -> None:
    assert repr(AdaptiveConcurrency(max_in_flight=7)) == (
        "AdaptiveConcurrency(min_in_flight=1, max_in_flight=7)"
    )
