"""Any sequence of events at the gate has the same result as in a simple model."""

import asyncio
from collections import defaultdict
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Struct

from judge_service.errors import Throttled, Unavailable
from judge_service.flow import Request
from judge_service.flow.admission.breaker import BreakerOpen
from judge_service.flow.admission.bucket import Limit
from judge_service.flow.admission.fair_queue import LANES
from judge_service.testing import START_S, VirtualTimeLoop
from tests.flow.gates import assert_nothing_held, new_gate

NAMES = ("requests", "tokens")
QUOTA = {"requests": 600.0, "tokens": 6000.0}
BURST_S = 0.5
SLOTS = 12


class Call(Struct, eq=False):
    """A call of the model. `ends` is set from outside; what it holds is known from its state."""

    request: Request["Call"]
    tokens: int
    charged: int = 0
    state: str = "waiting"
    task: asyncio.Task[None] | None = None
    ends: asyncio.Future[None] | None = None


class GateMachine(RuleBasedStateMachine):
    """The naive model: by how much the worst span so far carried more than was supplied in it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.gate = new_gate(
            {name: Limit(amount, BURST_S) for name, amount in QUOTA.items()},
            reserve=lambda call: (1, call.tokens),
            charge=lambda call, _: (1, call.charged),
            max_in_flight=SLOTS,
        )
        self.calls: list[Call] = []
        self.began: dict[tuple[str, str], list[Call]] = defaultdict(list)
        self.rate = dict(QUOTA)
        self.seen_at_s = START_S
        self.excess = dict.fromkeys(NAMES, 0.0)
        self.largest = dict.fromkeys(NAMES, 1)
        self.overspent = 0

    # what the world does

    async def judge(self, request: Request[Call]) -> Call:
        call = request.body
        self.may_begin()
        call.state, call.ends = "running", self.loop.create_future()
        self.began[(request.lane, request.job)].append(call)
        self.flow(1, call.tokens)
        self.largest["tokens"] = max(self.largest["tokens"], call.tokens)
        await call.ends
        return call

    def flow(self, requests: int, tokens: int) -> None:
        """Taken, or given back. No span begins better than with all that it could have saved up."""
        self.supply()
        for name, amount in zip(NAMES, (requests, tokens), strict=True):
            self.excess[name] = max(0.0, self.excess[name] + amount)

    def supply(self, **units: int) -> None:
        passed_s, self.seen_at_s = self.loop.time() - self.seen_at_s, self.loop.time()
        for name in NAMES:
            supplied = self.rate[name] / 60 * passed_s + units.get(name, 0)
            self.excess[name] = max(0.0, self.excess[name] - supplied)

    def may_begin(self) -> None:
        """No call goes to an open breaker. While it is half open, one goes and one more for each answer."""
        breaker = self.gate._breaker
        assert breaker.state != "open"
        assert breaker.state == "closed" or breaker._probing <= breaker._answered + 1

    async def attempt(self, call: Call) -> None:
        try:
            await self.gate(call.request, self.judge)
        except BreakerOpen:
            call.state = "refused"
        except (Throttled, Unavailable):
            pass

    def run(self, seconds: float = 0.0) -> None:
        """Lets time pass, and everything of that moment happen."""
        self.loop.run_until_complete(asyncio.sleep(seconds + 1e-5))

    def within(self, act: Any, *arguments: Any) -> None:
        """Calls something of the limiter from inside the loop, as its users do."""

        async def inside() -> None:
            act(*arguments)

        self.loop.run_until_complete(inside())
        self.run()

    def of(self, state: str) -> list[Call]:
        return [call for call in self.calls if call.state == state]

    # events

    @rule(
        tokens=st.one_of(st.integers(0, 60), st.integers(0, 300)),
        lane=st.sampled_from(sorted(LANES)),
        job=st.sampled_from("ab"),
        count=st.sampled_from([1, 1, 1, 8]),
    )
    def arrive(self, tokens: int, lane: str, job: str, count: int) -> None:
        for _ in range(count):
            call = Call(None, tokens)  # type: ignore[arg-type] # set in the next line
            call.request = Request(call, lane=lane, job=job)
            call.task = self.loop.create_task(self.attempt(call))
            self.calls.append(call)
        self.run()

    @precondition(lambda self: self.of("running"))
    @rule(which=st.integers(0, 99), percent=st.integers(0, 150), sent=st.booleans())
    def settle(self, which: int, percent: int, sent: bool) -> None:
        """Less or more than reserved."""
        call = self.of("running")[which % len(self.of("running"))]
        call.charged = call.tokens * percent // 100
        self.flow(0, call.charged - call.tokens)
        self.overspent += max(0, call.charged - call.tokens)
        self.end(call, sent)

    @precondition(lambda self: self.of("running"))
    @rule(which=st.integers(0, 99), charged=st.booleans(), sent=st.booleans())
    def fail(self, which: int, charged: bool, sent: bool) -> None:
        call = self.of("running")[which % len(self.of("running"))]
        if not charged:
            self.flow(-1, -call.tokens)
        self.end(call, sent, Unavailable("broken", charged=charged))

    @precondition(lambda self: self.of("running"))
    @rule(which=st.integers(0, 99))
    def throttle(self, which: int) -> None:
        """Charged like an average answer: the judge takes nothing for it, but attempts are paced."""
        call = self.of("running")[which % len(self.of("running"))]
        requests, tokens = self.gate._buckets.average((1, call.tokens))
        self.flow(requests - 1, tokens - call.tokens)
        self.end(call, True, Throttled("full"))

    @rule()
    def outage(self) -> None:
        """Whatever is sent fails, until the breaker is open (or a quota without a rate lets none go)."""
        for _ in range(40):
            if self.gate._breaker.state == "open":
                break
            self.arrive(0, "interactive", "a", 1)
            for call in self.of("running"):
                self.flow(-1, -call.tokens)
                self.end(call, True, Unavailable("down"))
            self.run(0.1)

    def end(self, call: Call, sent: bool, error: Exception | None = None) -> None:
        assert call.ends
        call.request.sent_at = self.loop.time() if sent else 0.0
        if error:
            call.ends.set_exception(error)
        else:
            call.ends.set_result(None)
        call.state = "ended"
        self.run()

    @precondition(lambda self: self.of("running") or self.of("waiting"))
    @rule(which=st.integers(0, 99), sent=st.booleans())
    def cancel(self, which: int, sent: bool) -> None:
        """Waiting, running, or abandoned after it was sent."""
        present = self.of("running") + self.of("waiting")
        call = present[which % len(present)]
        assert call.task
        if call.state == "running":
            call.request.sent_at = self.loop.time() if sent else 0.0
            if not sent:
                self.flow(-1, -call.tokens)
        call.state = "ended"
        call.task.cancel()
        self.run()

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0, 7.0, 61.0]))
    def advance(self, seconds: float) -> None:
        self.run(seconds)

    @rule(
        requests=st.sampled_from([0.0, 60.0, 600.0]), tokens=st.sampled_from([0.0, 600.0, 6000.0])
    )
    def set_rates(self, requests: float, tokens: float) -> None:
        rates = {"requests": requests, "tokens": tokens}
        self.supply()
        self.rate = rates
        self.within(self.gate.set_rates, rates)

    @precondition(lambda self: not all(self.rate.values()))
    @rule(requests=st.integers(0, 10), tokens=st.integers(0, 200))
    def add(self, requests: int, tokens: int) -> None:
        units = {"requests": requests, "tokens": tokens}
        leased = {name: amount for name, amount in units.items() if not self.rate[name]}
        self.supply(**leased)
        self.within(self.gate.add, leased)

    @rule()
    def drop(self) -> None:
        self.within(self.gate.drop)

    # what must hold after each

    @invariant()
    def no_span_carries_more_than_its_supply_a_burst_and_a_call(self) -> None:
        """Without a change of rates it is a burst *or* a call: `test_gate_invariants.py`."""
        for name in NAMES:
            allowed = QUOTA[name] / 60 * BURST_S + self.largest[name]
            if name == "tokens":
                allowed += self.overspent
            assert self.excess[name] <= allowed + 0.01

    @invariant()
    def what_is_granted_and_not_settled_is_in_flight(self) -> None:
        running, statistics = self.of("running"), self.gate.statistics()
        assert statistics.in_flight == len(running) <= SLOTS
        assert statistics.reserved == {
            "requests": len(running),
            "tokens": sum(call.tokens for call in running),
        }

    @invariant()
    def who_waits_is_in_the_queue_once(self) -> None:
        waiting = self.of("waiting")
        assert self.gate.statistics().waiting == len(waiting)
        assert self.gate._queued == [len(waiting), sum(call.tokens for call in waiting)]
        assert self.gate._alarm.is_set is False or waiting
        assert self.gate._breaker.state != "open" or not waiting

    @invariant()
    def a_job_is_served_in_the_order_of_arrival(self) -> None:
        places = {call: place for place, call in enumerate(self.calls)}
        for began in self.began.values():
            order = [places[call] for call in began]
            assert order == sorted(order)

    def teardown(self) -> None:
        """Nobody starves: with a supply all go, and nothing is left."""
        try:
            self.set_rates(*QUOTA.values())
            while self.of("waiting") or self.of("running"):
                before = len(self.of("waiting"))
                for call in self.of("running"):
                    self.end(call, True)
                self.run(120)
                assert len(self.of("waiting")) < before or not before
            assert_nothing_held(self.gate)
            assert not any(lane.jobs for lane in self.gate._queue._lanes.values())
        finally:
            for call in self.calls:
                if call.task:
                    call.task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()


TestGateMachine = GateMachine.TestCase
TestGateMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
