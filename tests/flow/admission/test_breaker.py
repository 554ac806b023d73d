import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from math import inf

import pytest

from judge_service.errors import (
    CallError,
    DeadlineExceeded,
    Denied,
    QuotaExhausted,
    Throttled,
    Unavailable,
)
from judge_service.flow import Handler, Request, stack, stray
from judge_service.flow.admission.breaker import Breaker, BreakerOpen, BreakerStatistics
from judge_service.flow.admission.bucket import Limit
from judge_service.flow.retry import Retry, RetryBudget
from judge_service.telemetry.events import BreakerChanged
from judge_service.testing import START_S, RecordingSink, run_virtual
from tests.flow.gates import assert_nothing_held, new_gate


class Target:
    """Does what `error` says at the time, after `latency_s`."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.latency_s = 0.0
        self.calls = 0

    async def __call__(self, _request: Request[str]) -> str:
        self.calls += 1
        error = self.error
        await asyncio.sleep(self.latency_s)
        if error:
            raise error
        return "answer"


class Bench:
    """A gate with a breaker before a target, and what callers got."""

    def __init__(self) -> None:
        self.sink = RecordingSink()
        self.gate = new_gate(sink=self.sink)
        self.breaker = self.gate._breaker
        self.target = Target()
        self.call: Handler[str, str] = stack(self.target, self.gate)

    async def ask(self, times: int = 1, error: BaseException | None = None) -> list[BaseException]:
        """The errors that the breaker itself raised."""
        self.target.error = error
        refused = []
        for _ in range(times):
            call = asyncio.ensure_future(self.call(Request("q")))
            if isinstance(error, asyncio.CancelledError):  # by its caller, while it is on the wire
                await asyncio.sleep(0)
                call.cancel()
            try:
                await call
            except CallError as raised:
                if raised is not error:
                    refused.append(raised)
            except asyncio.CancelledError:
                pass
        return refused

    @property
    def state(self) -> str:
        return self.breaker.statistics().state

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.sink.of(BreakerChanged)]


def bench(scenario: Callable[[Bench], Awaitable[None]]) -> Bench:
    async def run() -> Bench:
        made = Bench()
        await scenario(made)
        return made

    return run_virtual(run())


async def sent(here: Bench, calls: int) -> None:
    """Waits until so many calls are at the target, which has then read its error and its latency."""
    for _ in range(10):
        if here.target.calls < calls:
            await asyncio.sleep(0)
    assert here.target.calls == calls


ILL = Unavailable("503")


def test_it_opens_when_half_of_twenty_calls_failed() -> None:
    async def scenario(here: Bench) -> None:
        await here.ask(10)
        await here.ask(9, ILL)
        assert here.breaker.statistics() == BreakerStatistics(
            state="closed", calls=19, failed=9, refused=0, probing=0
        )
        await here.ask(1, ILL)
        assert here.state == "open"

    assert bench(scenario).sink.events == [BreakerChanged(target="here", state="open")]


def test_less_than_half_leaves_it_closed() -> None:
    async def scenario(here: Bench) -> None:
        for _ in range(100):
            await here.ask(11)
            await here.ask(9, ILL)

    assert bench(scenario).states == []


def test_calls_that_the_backend_gives_up_unasked_count_as_failed() -> None:
    async def scenario(here: Bench) -> None:
        async def give_up(_request: Request[str]) -> str:
            raise asyncio.CancelledError

        here.call = stack(give_up, here.gate)
        refused = await here.ask(20)
        assert {str(one) for one in refused} == {str(stray(asyncio.CancelledError()))}

    assert bench(scenario).states == ["open"]


def test_nineteen_failures_are_too_few() -> None:
    async def scenario(here: Bench) -> None:
        await here.ask(19, ILL)

    assert bench(scenario).states == []


def test_what_is_older_than_ten_seconds_is_forgotten() -> None:
    async def scenario(here: Bench) -> None:
        await here.ask(19, ILL)
        await asyncio.sleep(10)
        await here.ask(1)
        await here.ask(1, ILL)
        assert here.breaker.statistics().calls == 2

    assert bench(scenario).states == []


def test_twenty_failures_in_a_row_open_it_however_good_it_was_before() -> None:
    async def scenario(here: Bench) -> None:
        await here.ask(5000)
        await here.ask(19, ILL)
        assert here.state == "closed"
        await here.ask(1, ILL)

    assert bench(scenario).states == ["open"]


@pytest.mark.parametrize(
    "error",
    [
        Throttled("429"),
        Denied("no"),
        DeadlineExceeded("late", charged=True),
        asyncio.CancelledError(),
    ],
)
def test_throttling_refusals_deadlines_and_cancellations_never_count(error: BaseException) -> None:
    async def scenario(here: Bench) -> None:
        await here.ask(100, error)
        assert here.breaker.statistics().calls == 0

    assert bench(scenario).states == []


def test_while_open_it_refuses_at_once_and_says_when_to_come_again() -> None:
    async def scenario(here: Bench) -> None:
        await here.ask(20, ILL)
        await asyncio.sleep(2)
        (refusal,) = await here.ask()
        assert isinstance(refusal, BreakerOpen)
        assert (refusal.retryable, refusal.throttled, refusal.charged) == (True, False, False)
        assert refusal.retry_after_s == pytest.approx(3)
        assert here.target.calls == 20
        assert here.breaker.statistics().refused == 1

    bench(scenario)


def test_half_open_one_call_goes_and_a_failure_opens_it_again() -> None:
    async def scenario(here: Bench) -> None:
        await here.ask(20, ILL)
        await asyncio.sleep(5)
        here.target.latency_s = 1
        probe = asyncio.create_task(here.ask(1, ILL))
        await asyncio.sleep(0.5)
        assert len(await here.ask(5)) == 5
        await probe
        assert here.target.calls == 21

    assert bench(scenario).states == ["open", "half_open", "open"]


def test_twenty_good_answers_close_it_and_each_lets_one_more_go_at_once() -> None:
    async def scenario(here: Bench) -> None:
        await here.ask(20, ILL)
        await asyncio.sleep(5)
        here.target.latency_s = 1
        most = []
        for _ in range(5):
            before = here.target.calls
            await asyncio.gather(*(here.ask() for _ in range(50)))
            most.append(here.target.calls - before)
        assert most == [1, 2, 4, 8, 16]
        assert here.state == "closed"

    assert bench(scenario).states == ["open", "half_open", "closed"]


@pytest.mark.parametrize("end", [Throttled("429"), Denied("no"), asyncio.CancelledError()])
def test_a_probe_that_says_nothing_frees_its_place(end: BaseException) -> None:
    async def scenario(here: Bench) -> None:
        await here.ask(20, ILL)
        await asyncio.sleep(5)
        await here.ask(3, end)
        assert here.target.calls == 23
        assert here.breaker.statistics().probing == 0

    assert bench(scenario).states == ["open", "half_open"]


def test_a_probe_cancelled_under_way_frees_its_place() -> None:
    async def scenario(here: Bench) -> None:
        await here.ask(20, ILL)
        await asyncio.sleep(5)
        here.target.latency_s = 1
        probe = asyncio.create_task(here.ask())
        await asyncio.sleep(0.5)
        assert here.breaker.statistics().probing == 1
        probe.cancel()
        await asyncio.wait((probe,))
        assert here.breaker.statistics().probing == 0

    bench(scenario)


def test_calls_that_began_before_it_changed_say_nothing() -> None:
    async def scenario(here: Bench) -> None:
        here.target.latency_s = 6
        late = [asyncio.create_task(here.ask()) for _ in range(30)]
        await sent(here, 30)
        late_failures = [asyncio.create_task(here.ask(1, ILL)) for _ in range(30)]
        await sent(here, 60)
        here.target.latency_s = 0
        await here.ask(20, ILL)
        await asyncio.sleep(5.5)
        here.target.latency_s = 1
        probe = asyncio.create_task(here.ask())
        await asyncio.gather(*late, *late_failures)
        assert here.state == "half_open"
        await probe

    assert bench(scenario).states == ["open", "half_open"]


def test_the_days_quota_opens_it_at_once_for_a_quarter_of_an_hour() -> None:
    async def scenario(here: Bench) -> None:
        await here.ask(1, QuotaExhausted("too many tokens per day"))
        await asyncio.sleep(899)
        (refusal,) = await here.ask()
        assert isinstance(refusal, QuotaExhausted)
        assert not refusal.retryable
        assert refusal.retry_after_s == pytest.approx(1)
        await asyncio.sleep(1)
        await here.ask(1, QuotaExhausted("still"))
        await asyncio.sleep(900)
        assert await here.ask(30) == []
        assert here.state == "closed"

    assert bench(scenario).states == ["open", "half_open", "open", "half_open", "closed"]


def test_after_the_first_answer_the_days_quota_is_back_and_others_are_told_to_come_again() -> None:
    breaker = Breaker(target="here", sink=RecordingSink())
    breaker.end(breaker.start(), QuotaExhausted("for the day"), 0.0)
    assert breaker.may_go(900.0)
    breaker.end(breaker.start(), None, 900.3)
    for _ in range(2):
        breaker.start()

    refusal = breaker.refusal(900.3)
    assert isinstance(refusal, BreakerOpen)
    assert refusal.retryable


def test_its_line_names_the_target() -> None:
    assert repr(Breaker(target="us-east-1/nova", sink=RecordingSink())) == (
        "Breaker(target=us-east-1/nova)"
    )


def test_all_that_wait_when_it_opens_are_refused_at_once_and_nothing_more_is_sent() -> None:
    async def scenario() -> None:
        gate, target = new_gate(max_in_flight=20), Target()
        target.error, target.latency_s = ILL, 1
        calls = [asyncio.ensure_future(gate(Request("q"), target)) for _ in range(1000)]
        await asyncio.sleep(1.001)
        refused = [call for call in calls if call.done() and call.exception() is not ILL]
        # 20 failures open it; the calls whose turn came with the first 19 of them are not sent either
        assert (target.calls, len(refused)) == (20, 980)
        assert {type(call.exception()) for call in refused} == {BreakerOpen}
        assert gate._breaker.statistics().refused == 980
        await asyncio.gather(*calls, return_exceptions=True)
        assert_nothing_held(gate)

    run_virtual(scenario())


def test_calls_that_wait_for_a_slot_while_it_is_half_open_go_one_by_one_as_answers_come() -> None:
    """Calls from before hold the slots, so that many join the queue before the first probe goes."""

    async def before(_request: Request[str]) -> str:
        await asyncio.sleep(7)
        return "answer"

    async def scenario() -> list[int]:
        gate, target = new_gate(max_in_flight=21), Target()
        old = [asyncio.ensure_future(gate(Request("q"), before)) for _ in range(20)]
        target.error = ILL
        for _ in range(20):
            await asyncio.gather(gate(Request("q"), target), return_exceptions=True)
        gate._slots.cap(20)
        await asyncio.sleep(5)
        target.error, target.latency_s = None, 1
        calls = [asyncio.ensure_future(gate(Request("q"), target)) for _ in range(40)]
        await asyncio.sleep(0.1)
        assert (gate.statistics().waiting, target.calls) == (40, 20)
        gate._slots.cap(inf)
        went = []
        for _ in range(5):
            await asyncio.sleep(1)
            went.append(target.calls - 20)
        await asyncio.gather(*old, *calls)
        assert_nothing_held(gate)
        return went

    assert run_virtual(scenario()) == [0, 1, 3, 7, 15]


class Burst:
    """A judge of which `share` of the calls fail from second 20 to 40. A hundred calls a second come."""

    PER_S = 100

    def __init__(self, share: float, seed: int) -> None:
        self.share = share
        self.random = random.Random(seed)
        self.sent: Counter[int] = Counter()
        self.second_attempts: Counter[int] = Counter()
        self.seen: set[int] = set()
        self.failed: list[CallError] = []

    async def judge(self, request: Request[int]) -> int:
        loop = asyncio.get_running_loop()
        request.sent_at = loop.time()
        now_s = int(loop.time() - START_S)
        self.sent[now_s] += 1
        self.second_attempts[now_s] += request.body in self.seen
        self.seen.add(request.body)
        if 20 <= now_s < 40 and self.random.random() < self.share:
            await asyncio.sleep(0.05)
            raise Unavailable("503", backoff_s=0.05)
        await asyncio.sleep(0.5 * self.random.lognormvariate(0, 0.2))
        return request.body

    def stacked(self) -> Handler[int, int]:
        retry = Retry(
            max_attempts=3,
            max_throttled=8,
            base_s=0.05,
            throttled_base_s=1,
            cap_s=5,
            budget=RetryBudget(ratio=0.2, per_s=10),
            sink=RecordingSink(),
            random=self.random.random,
        )
        limits = {"requests": Limit(60 * 2 * self.PER_S, 0.5)}
        return stack(self.judge, retry, new_gate(limits, max_in_flight=512, adaptive=True))

    async def run(self) -> None:
        call = self.stacked()

        async def one(number: int) -> None:
            await asyncio.sleep(number / self.PER_S)
            try:
                await call(Request(number, START_S + number / self.PER_S + 90))
            except CallError as error:
                self.failed.append(error)

        await asyncio.gather(*(one(number) for number in range(50 * self.PER_S)))


@pytest.mark.parametrize(("share", "seed"), [(0.5, 1), (0.5, 2), (1.0, 3), (0.3, 4)])
def test_a_burst_of_failures_loses_nothing_and_stirs_up_no_herd(share: float, seed: int) -> None:
    burst = Burst(share, seed)
    run_virtual(burst.run())
    assert burst.failed == []
    for second in range(100):
        retries = sum(burst.second_attempts[second + ahead] for ahead in range(10))
        assert retries <= 1.1 * (0.2 * 10 * burst.PER_S + 10 * 10)  # the gate may bunch them
    # What the quota allows in one second: twice the arrivals, and half a second of that at once.
    assert max(burst.sent.values()) <= 3 * burst.PER_S
