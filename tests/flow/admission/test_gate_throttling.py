"""What refusals do to the pace, against judges that keep a quota of their own."""

import asyncio
from collections.abc import Callable
from math import inf

import pytest
from judge_service.flow.admission.rate_limit import Limit, RateLimit

from judge_service.errors import Throttled
from judge_service.flow import Request
from judge_service.flow.admission.bucket import MICRO, Bucket
from judge_service.testing import START_S, run_virtual

REFUSAL_S = 0.03


class Judge:
    """Has a bucket of its own; `per_minute_at` says what fills it, 0 in a storm."""

    def __init__(self, per_minute_at: Callable[[float], float], latency_s: float = 0.3) -> None:
        self.latency_s = latency_s
        self.per_minute_at = per_minute_at
        self.bucket = Bucket(Limit(max(1.0, per_minute_at(0)), burst_s=1.0))
        self.calls: list[tuple[float, int, bool]] = []

    async def __call__(self, request: Request[int]) -> None:
        loop = asyncio.get_running_loop()
        request.sent_at = loop.time()
        now_s = loop.time() - START_S
        per_minute = self.per_minute_at(now_s)
        if per_minute * MICRO != self.bucket._quota:
            self.bucket.set_rate(per_minute, int(loop.time() * MICRO))
            if not per_minute:
                self.bucket.drop()
        taken = self.bucket.take(request.body * MICRO, int(loop.time() * MICRO))
        self.calls.append((now_s, request.body, taken and per_minute > 0))
        if not (taken and per_minute > 0):
            await asyncio.sleep(REFUSAL_S)
            raise Throttled("full")
        await asyncio.sleep(self.latency_s)

    def between(self, from_s: float, until_s: float) -> list[tuple[int, bool]]:
        return [(size, taken) for at_s, size, taken in self.calls if from_s <= at_s < until_s]

    def throttled_share(self, from_s: float, until_s: float) -> float:
        calls = self.between(from_s, until_s)
        return sum(not taken for _, taken in calls) / len(calls)

    def used(self, from_s: float, until_s: float) -> float:
        """Units a minute that were let in."""
        units = sum(size for size, taken in self.between(from_s, until_s) if taken)
        return units * 60 / (until_s - from_s)


def layer_of(per_minute: float) -> RateLimit[int, None]:
    return RateLimit(
        limits={"tokens": Limit(per_minute)},
        reserve=lambda size: (size,),
        charge=lambda size, _: (size,),
    )


async def answered(request: Request[int]) -> None:
    request.sent_at = asyncio.get_running_loop().time()


async def refuse(request: Request[int]) -> None:
    await answered(request)
    raise Throttled("full")


async def refused(layer: RateLimit[int, None], size: int = 1) -> None:
    with pytest.raises(Throttled):
        await layer(Request(size), refuse)


async def work(layer: RateLimit[int, None], judge: Judge, sizes: list[int], until_s: float) -> None:
    """Asks again as soon as it was answered, and with the same question when it was refused."""
    loop, turn = asyncio.get_running_loop(), 0
    while loop.time() - START_S < until_s:
        request = Request(sizes[turn % len(sizes)])
        turn += 1
        while loop.time() - START_S < until_s:
            try:
                await layer(request, judge)
                break
            except Throttled:
                request = request.again()


def play(
    judge: Judge,
    layers: list[RateLimit[int, None]],
    *,
    workers: int,
    for_s: float,
    sizes: list[int] | None = None,
) -> Judge:
    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            for layer in layers:
                for number in range(workers):
                    some = sizes or [1]
                    turned = some[number % len(some) :] + some[: number % len(some)]
                    group.create_task(work(layer, judge, turned, for_s))
            await asyncio.sleep(for_s)
            group._abort()  # type: ignore[attr-defined] # who still waits need not be waited for

    run_virtual(scenario())
    return judge


@pytest.mark.parametrize("per_second", [10, 100, 500])
def test_in_a_storm_one_call_a_second_goes_and_soon_after_it_all(per_second: int) -> None:
    quota = per_second * 60.0
    judge = Judge(lambda now_s: 0 if 20 <= now_s < 80 else quota)
    layer = layer_of(quota)
    play(judge, [layer], workers=per_second, for_s=100)
    assert len(judge.between(22, 80)) <= 1.0 * 58
    if per_second <= 100:  # at 500 more than that were on the wire when it began
        assert len(judge.between(20, 80)) <= 1.1 * 60
    assert judge.used(90, 100) >= 0.99 * quota
    assert judge.throttled_share(80, 100) < 0.01
    statistics = layer.statistics()
    assert statistics.effective_per_minute == {"tokens": quota}
    assert statistics.probing_calls_per_s == inf
    assert statistics.throttled == sum(not taken for _, _, taken in judge.calls)


@pytest.mark.parametrize("latency_s", [0.3, 2.0])
@pytest.mark.parametrize("sizes", [[1], [1] * 10 + [10]])
def test_when_another_tenant_takes_70_percent_we_take_the_rest(
    latency_s: float, sizes: list[int]
) -> None:
    judge = Judge(lambda now_s: 12_000 if now_s < 20 else 3600, latency_s=latency_s)
    play(judge, [layer_of(12_000)], workers=500, for_s=100, sizes=sizes)
    assert judge.throttled_share(20, 50) < 0.05
    assert judge.throttled_share(50, 100) < 0.02
    assert judge.used(50, 100) >= 0.95 * 3600


def test_forty_processes_with_twice_their_share_share_without_a_store() -> None:
    quota = 24_000.0
    judge = Judge(lambda _: quota)
    layers = [layer_of(2 * quota / 40) for _ in range(40)]
    play(judge, layers, workers=30, for_s=60)
    assert judge.throttled_share(30, 60) < 0.02
    assert judge.used(30, 60) >= 0.98 * quota
    answered = [layer.statistics().answered for layer in layers]
    assert sum(answered) ** 2 / (40 * sum(n * n for n in answered)) >= 0.97  # Jain's index


def test_a_refusal_slows_at_most_once_a_second_and_time_makes_good() -> None:
    async def scenario() -> None:
        layer = layer_of(6000)
        for _ in range(5):
            await refused(layer)
        assert layer.statistics().effective_per_minute == {"tokens": 4800}
        await asyncio.sleep(1)
        await refused(layer)
        assert layer.statistics().effective_per_minute["tokens"] == pytest.approx(6000 * 0.81 * 0.8)
        await asyncio.sleep(36)
        await layer(Request(1), answered)
        assert layer.statistics().effective_per_minute == {"tokens": 6000}
        assert layer._pace.calm

    run_virtual(scenario())


def test_the_first_refusal_gives_back_all_and_those_while_slowed_down_nothing() -> None:
    async def scenario() -> None:
        layer = layer_of(6000)  # holds 50, then 40
        await refused(layer, 20)
        assert layer.statistics().level == {"tokens": 40}
        await refused(layer, 20)
        assert layer.statistics().level == {"tokens": 20}

    run_virtual(scenario())


def test_answers_to_calls_sent_before_a_storm_do_not_end_it() -> None:
    async def scenario() -> None:
        loop, layer = asyncio.get_running_loop(), layer_of(60_000)

        async def late(request: Request[int]) -> None:
            request.sent_at = loop.time()
            await asyncio.sleep(3)

        early = asyncio.create_task(layer(Request(1), late))
        await asyncio.sleep(1)
        for _ in range(10):
            await refused(layer)
        assert layer.statistics().probing_calls_per_s == 0.8
        await early
        assert layer.statistics().probing_calls_per_s == 0.8
        await layer(Request(1), answered)
        assert layer.statistics().probing_calls_per_s == 1.6

    run_virtual(scenario())


def test_a_refusal_when_probes_had_doubled_ends_probing_at_half_the_rate() -> None:
    async def scenario() -> None:
        layer = layer_of(6000)
        for _ in range(10):
            await refused(layer)
        await layer(Request(1), answered)
        assert layer.statistics().probing_calls_per_s == 1.6
        await refused(layer)
        assert layer.statistics().probing_calls_per_s == inf
        assert layer.statistics().effective_per_minute["tokens"] == pytest.approx(3000, rel=0.03)
        assert repr(layer._pace).startswith("Pace(factor=0.5")

    run_virtual(scenario())


def test_a_call_that_was_refused_at_once_keeps_its_place_for_the_next_attempt() -> None:
    async def scenario() -> None:
        layer, request = layer_of(6000), Request(1)
        with pytest.raises(Throttled):
            await layer(request, refuse)
        assert request.again().arrived_at == START_S

    run_virtual(scenario())
