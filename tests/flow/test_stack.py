"""The layers together, as the service stacks them."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from judge_service.errors import Throttled, Unavailable
from judge_service.flow import Handler, Request, stack
from judge_service.flow.admission.bucket import Limit
from judge_service.flow.cache import Cache
from judge_service.flow.coalesce import Coalesce
from judge_service.flow.deadline import Deadline
from judge_service.flow.detach import Detached
from judge_service.flow.observe import Observe
from judge_service.flow.retry import Retry, RetryBudget
from judge_service.telemetry.events import CallEnded, Retried
from judge_service.testing import RecordingSink, run_virtual
from tests.flow.gates import assert_nothing_held, new_gate


class House:
    """One stack over a judge that fails now and then, and all its parts to look at."""

    def __init__(self) -> None:
        self.sink = RecordingSink()
        self.detached = Detached()
        self.coalesce: Coalesce[str, str] = Coalesce(key=str, weight=len, detached=self.detached)
        self.gate = new_gate({"requests": Limit(600, 0.5)}, max_in_flight=3)
        self.attempts = 0
        self.inside = self.most_inside = 0
        self.call: Handler[str, str] = stack(
            self.judge,
            Deadline(),
            self.cache(),
            self.coalesce,
            self.retry(),
            Observe(target="here", sink=self.sink),
            self.gate,
        )

    def cache(self) -> Cache[str, str]:
        return Cache(
            max_entries=3,
            ttl_s=60,
            key=str,
            keep=lambda _, answer: bool(answer),
            mark=str,
            sink=self.sink,
        )

    def retry(self) -> Retry:
        return Retry(
            max_attempts=3,
            max_throttled=8,
            base_s=0.05,
            throttled_base_s=1,
            cap_s=5,
            budget=RetryBudget(ratio=0.2, per_s=10),
            sink=self.sink,
            random=lambda: 0.5,
        )

    async def judge(self, request: Request[str]) -> str:
        self.attempts += 1
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        failing = (Throttled("full"), None, Unavailable("reset"), None, None)
        error = failing[self.attempts % len(failing)]
        try:
            await asyncio.sleep(0.1)
            request.sent_at = asyncio.get_running_loop().time()
            await asyncio.sleep(0.3)
        finally:
            self.inside -= 1
        if error:
            raise error
        return request.body

    async def ask(self, body: str, deadline_s: float) -> str:
        loop = asyncio.get_running_loop()
        return await self.call(Request(body, loop.time() + deadline_s))


def test_throttled_and_failing_calls_are_answered_in_the_end() -> None:
    async def scenario() -> House:
        house = House()
        bodies = [str(number) for number in range(20)]
        assert await asyncio.gather(*(house.ask(body, 60) for body in bodies)) == bodies
        return house

    house = run_virtual(scenario())
    outcomes = [event.outcome for event in house.sink.of(CallEnded)]
    assert outcomes.count("ok") == 20
    assert len(house.sink.of(Retried)) == len(outcomes) - 20 > 0
    assert house.most_inside == 3


class Caller(Struct, frozen=True):
    body: str
    arrives_s: float
    deadline_s: float
    cancel_after_s: float | None


moments = st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.4, 0.45, 1.0])
callers = st.builds(
    Caller,
    body=st.sampled_from("abcde"),
    arrives_s=moments,
    deadline_s=st.sampled_from([0.0, 0.1, 0.4, 2.0, 60.0]),
    cancel_after_s=st.none() | moments,
)


@settings(max_examples=150, deadline=None)
@given(drawn=st.lists(callers, max_size=15))
def test_whoever_leaves_whenever_nothing_is_left_behind(drawn: Sequence[Caller]) -> None:
    async def scenario() -> House:
        house, loop = House(), asyncio.get_running_loop()

        async def one(caller: Caller) -> None:
            await asyncio.sleep(caller.arrives_s)
            task = asyncio.create_task(house.ask(caller.body, caller.deadline_s))
            if caller.cancel_after_s is not None:
                loop.call_later(caller.cancel_after_s, task.cancel)
            left_by_s = loop.time() + caller.deadline_s
            await asyncio.gather(task, return_exceptions=True)
            assert loop.time() <= left_by_s + 1e-6

        await asyncio.gather(*map(one, drawn))
        await house.detached.aclose(grace_s=1)
        assert len(asyncio.all_tasks()) == 1
        return house

    house = run_virtual(scenario())
    assert house.inside == 0
    assert house.most_inside <= 3
    assert house.detached.statistics().abandoned == 0
    assert house.coalesce.statistics().flights == house.coalesce.statistics().waiting == 0
    assert_nothing_held(house.gate)
    sent = [event for event in house.sink.of(CallEnded) if event.outcome != "cancelled"]
    assert len(sent) <= house.attempts <= house.gate.statistics().granted
