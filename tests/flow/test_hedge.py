import asyncio
import random
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import pytest

from judge_service.errors import CallError, Denied, Unavailable
from judge_service.flow import Handler, Request, stack
from judge_service.flow.admission.bucket import Limit
from judge_service.flow.detach import Detached
from judge_service.flow.hedge import Hedge, HedgeStatistics
from judge_service.flow.latencies import Latencies
from judge_service.telemetry.events import Hedged
from judge_service.testing import START_S, RecordingSink, run_virtual
from tests.flow.gates import assert_nothing_held, new_gate


def known(latency_s: float = 1.0) -> Latencies:
    latencies = Latencies()
    for _ in range(20):
        latencies.note(latency_s)
    return latencies


def new(
    *,
    budget_ratio: float = 1.0,
    latencies: Latencies | None = None,
    may_hedge: Callable[[], bool] = lambda: True,
    sink: RecordingSink | None = None,
    detached: Detached | None = None,
) -> Hedge:
    return Hedge(
        budget_ratio=budget_ratio,
        latencies=latencies or known(),
        may_hedge=may_hedge,
        detached=detached or Detached(),
        sink=sink or RecordingSink(),
    )


class Judge:
    """Each copy takes its own time, then answers with its number or fails."""

    def __init__(self, *ends: tuple[float, CallError | None]) -> None:
        self.ends = list(ends)
        self.begun_s: list[float] = []
        self.cancelled: list[int] = []
        self.envelopes: list[Request[str]] = []

    async def __call__(self, request: Request[str]) -> int:
        number = len(self.begun_s)
        request.sent_at = asyncio.get_running_loop().time()
        self.begun_s.append(request.sent_at - START_S)
        self.envelopes.append(request)
        latency_s, error = self.ends[number]
        try:
            await asyncio.sleep(latency_s)
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        if error:
            raise error
        return number


def run(hedge: Hedge, judge: Judge) -> tuple[int, float]:
    async def scenario() -> tuple[int, float]:
        answer = await hedge(Request("q", arrived_at=7.0), judge)
        took_s = asyncio.get_running_loop().time() - START_S
        await hedge._detached.abandon()  # the copy that lost was sent, so it goes on
        assert len(asyncio.all_tasks()) == 1
        return answer, took_s

    return run_virtual(scenario())


def test_a_quick_answer_is_one_call() -> None:
    judge, sink = Judge((0.9, None)), RecordingSink()
    assert run(new(sink=sink), judge) == (0, pytest.approx(0.9))
    assert judge.begun_s == [0]
    assert sink.events == []


def test_a_slow_one_is_sent_again_and_the_first_good_answer_wins() -> None:
    judge, sink = Judge((8, None), (0.5, None)), RecordingSink()
    hedge = new(sink=sink)
    assert run(hedge, judge) == (1, 1.5)
    assert (judge.begun_s, judge.cancelled) == ([0, 1], [0])
    assert sink.events == [Hedged(after_s=1.0, won=True)]
    assert hedge.statistics() == HedgeStatistics(calls=1, copies=1, won=1, refused=0)


def test_the_first_copy_may_still_win() -> None:
    judge, sink = Judge((1.2, None), (0.5, None)), RecordingSink()
    assert run(new(sink=sink), judge) == (0, pytest.approx(1.2))
    assert judge.cancelled == [1]
    assert sink.events == [Hedged(after_s=1.0, won=False)]


def test_when_both_answer_together_there_is_one_result() -> None:
    judge = Judge((1.5, None), (0.5, None))
    assert run(new(), judge) == (0, 1.5)
    assert judge.cancelled == []


def test_each_copy_has_an_envelope_of_its_own() -> None:
    judge = Judge((8, None), (0.5, None))
    run(new(), judge)
    first, second = judge.envelopes
    assert first is not second
    assert first.arrived_at == second.arrived_at == 7.0


def test_there_is_never_a_third_copy() -> None:
    judge = Judge((8, None), (8, None))
    assert run(new(), judge) == (0, 8)
    assert judge.begun_s == [0, 1]


def test_an_early_failure_is_for_the_retry_not_for_a_copy() -> None:
    judge = Judge((0.5, Unavailable("503")))
    with pytest.raises(Unavailable):
        run(new(), judge)
    assert judge.begun_s == [0]


@pytest.mark.parametrize(
    "ends",
    [
        [(1.2, Unavailable("first")), (2.0, None)],
        [(3.0, None), (0.1, Unavailable("second"))],
    ],
)
def test_a_copy_that_fails_leaves_the_other_to_answer(
    ends: Sequence[tuple[float, CallError | None]],
) -> None:
    assert run(new(), Judge(*ends))[1] == 3.0


def test_when_both_fail_the_first_ones_error_is_raised() -> None:
    judge = Judge((3.0, Denied("first")), (0.1, Unavailable("second")))
    with pytest.raises(Denied, match="first"):
        run(new(), judge)


def test_it_needs_twenty_observations() -> None:
    latencies = Latencies()
    for _ in range(19):
        latencies.note(1.0)
    judge = Judge((8, None))
    assert run(new(latencies=latencies), judge) == (0, 8)


def test_a_copy_that_may_not_go_is_asked_for_again_later() -> None:
    answers = iter([False, False, True])
    judge, hedge = Judge((8, None), (0.5, None)), new(may_hedge=lambda: next(answers))
    assert run(hedge, judge) == (1, 3.5)
    assert hedge.statistics().refused == 2


def test_copies_are_a_share_of_the_calls() -> None:
    async def scenario() -> HedgeStatistics:
        hedge = new(budget_ratio=0.05)
        judges = [Judge((8, None), (0.5, None)) for _ in range(400)]
        for judge in judges:
            await hedge(Request("q"), judge)
        return hedge.statistics()

    assert run_virtual(scenario()).copies == 20


def test_a_quiet_time_saves_up_ten_copies_and_no_more() -> None:
    async def scenario() -> int:
        hedge = new(budget_ratio=0.05)
        for _ in range(1000):
            await hedge(Request("q"), Judge((0.0, None)))
        judges = [Judge((8, None), (0.5, None)) for _ in range(15)]
        await asyncio.gather(*(hedge(Request("q"), judge) for judge in judges))
        return hedge.statistics().copies

    assert run_virtual(scenario()) == 10


@pytest.mark.parametrize("moment_s", [0.0, 0.5, 1.0, 1.2, 1.5])
def test_cancelled_at_any_await_both_copies_end(moment_s: float) -> None:
    async def scenario() -> None:
        judge, detached = Judge((8, None), (0.5, None)), Detached()
        task = asyncio.create_task(new(detached=detached)(Request("q"), judge))
        asyncio.get_running_loop().call_later(moment_s, task.cancel)
        await asyncio.wait((task,))
        assert detached.statistics().abandoned + 1 == len(asyncio.all_tasks())
        await detached.abandon()
        assert len(asyncio.all_tasks()) == 1

    run_virtual(scenario())


def test_the_time_in_a_queue_is_not_held_against_a_call() -> None:
    """Sent after 30 s, answered 0.9 s later: no copy. Sent after 30 s and slow: a copy 1 s later."""

    async def took(latency_s: float) -> tuple[list[float], int]:
        judge, hedge = Judge((latency_s, None), (0.5, None)), new()

        async def queued(request: Request[str]) -> int:
            if not judge.begun_s:
                await asyncio.sleep(30)
            return await judge(request)

        await hedge(Request("q"), queued)
        await hedge._detached.abandon()
        return judge.begun_s, hedge.statistics().refused

    assert run_virtual(took(0.9)) == ([30], 0)
    begun_s, _ = run_virtual(took(8))
    assert begun_s == pytest.approx([30, 31])


def test_a_call_that_waits_in_a_queue_is_seldom_looked_at() -> None:
    async def scenario() -> int:
        async def queued(_request: Request[str]) -> int:
            await asyncio.sleep(1000)
            return 1

        looks = 0
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def counted(*arguments: Any, **options: Any) -> asyncio.TimerHandle:
            nonlocal looks
            looks += 1
            return call_later(*arguments, **options)

        loop.call_later = counted  # type: ignore[method-assign] # a spy
        await new()(Request("q"), queued)
        return looks

    assert run_virtual(scenario()) <= 12  # and not one a second


def test_a_second_cancellation_leaves_copies_that_are_slow_to_end() -> None:
    async def slow_to_end(_request: Request[str]) -> int:
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(5)
        return 0

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(new()(Request("q"), slow_to_end))
        for moment_s in (2.0, 3.0):
            loop.call_later(moment_s, task.cancel)
        await asyncio.wait((task,))
        left_at = loop.time() - START_S
        await asyncio.sleep(10)
        assert len(asyncio.all_tasks()) == 1
        return left_at

    assert run_virtual(scenario()) == 3.0


def test_both_copies_are_settled_by_the_gate() -> None:
    async def scenario() -> None:
        gate, detached = new_gate({"requests": Limit(6000, 1)}), Detached()
        latencies = iter([8.0, 0.5])

        async def judge(request: Request[str]) -> str:
            request.sent_at = asyncio.get_running_loop().time()
            await asyncio.sleep(next(latencies))
            return "answer"

        assert await stack(judge, new(detached=detached), gate)(Request("q")) == "answer"
        assert gate.statistics().in_flight == 1  # the loser was sent: it counts until it ends
        assert detached.statistics().abandoned == 1
        await asyncio.sleep(8)
        assert detached.statistics().abandoned == 0
        assert gate.statistics().charged == {"requests": 2}
        assert_nothing_held(gate)

    run_virtual(scenario())


def test_a_copy_that_waits_for_quota_ends_with_the_call() -> None:
    async def scenario() -> None:
        gate, detached = new_gate({"requests": Limit(6, 10)}), Detached()

        async def judge(request: Request[str]) -> str:
            request.sent_at = asyncio.get_running_loop().time()
            await asyncio.sleep(2)
            return "answer"

        assert await stack(judge, new(detached=detached), gate)(Request("q")) == "answer"
        assert detached.statistics().abandoned == 0
        assert gate.statistics().charged == {"requests": 1}
        assert_nothing_held(gate)

    run_virtual(scenario())


class Tail:
    """300 ms median, log-normal, and one answer in fifty takes eight times as long."""

    def __init__(self) -> None:
        self.random = random.Random(7)
        self.calls = 0

    async def __call__(self, request: Request[int]) -> int:
        self.calls += 1
        request.sent_at = asyncio.get_running_loop().time()
        latency_s = 0.3 * self.random.lognormvariate(0, 0.3)
        await asyncio.sleep(latency_s * (8 if self.random.random() < 0.02 else 1))
        return request.body


async def batch_s(call: Handler[int, int]) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(call(Request(number)) for number in range(64)))
    return loop.time() - began


async def median_batch_s(*, hedged: bool) -> tuple[float, int]:
    judge, latencies = Tail(), Latencies()
    gate = new_gate(max_in_flight=256, adaptive=True, latencies=latencies)
    hedge = new(budget_ratio=0.05, latencies=latencies, may_hedge=gate.has_room)
    layers = (hedge, gate) if hedged else (gate,)
    call: Handler[int, int] = stack(judge, *layers)
    return median([await batch_s(call) for _ in range(100)]), judge.calls - 6400


def test_it_halves_the_time_of_a_batch_for_at_most_five_in_a_hundred_calls() -> None:
    plain_s, _ = run_virtual(median_batch_s(hedged=False))
    hedged_s, extra = run_virtual(median_batch_s(hedged=True))
    assert hedged_s <= 0.5 * plain_s
    assert 0 < extra <= 0.05 * 6400


def test_its_line_shows_the_budget() -> None:
    assert repr(new(budget_ratio=0.05)) == "Hedge(budget=5 %)"
