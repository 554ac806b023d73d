"""A judge that dies while a thousand calls wait for it, on the assembled service in virtual time."""

import asyncio
from collections import Counter
from typing import Any

from msgspec import Struct

from judge_service.backends.scripted import Scripted
from judge_service.errors import Unavailable
from judge_service.flow import Request
from judge_service.flow.admission.breaker import OPEN_S
from judge_service.flow.retry import PATIENCE_S
from judge_service.service import open_service
from judge_service.settings import CacheSettings, LimitSettings, Settings
from judge_service.telemetry.events import BreakerChanged
from judge_service.testing import START_S, run_virtual
from judge_service.values import Completion, Prompt, Reward, Sample
from tests.flow.gates import assert_nothing_held

CALLS = 1000
PER_S = 20
DIES_S = 2.0
ANSWERS_AFTER_S = 0.3
FAILS_AFTER_S = 0.1
SETTINGS = Settings(
    backend="bedrock",
    model="m",
    limits=LimitSettings(requests_per_minute=PER_S * 60, max_in_flight=50, adaptive=False),
    cache=CacheSettings(max_entries=0),
)


class Mortal(Scripted):
    """Fails each call from `DIES_S` on until it is alive again, and notes what is sent to it meanwhile."""

    def __init__(self, alive_again_s: float) -> None:
        super().__init__(0.5)
        self.alive_again_s = alive_again_s
        self.gate: Any = None
        self.sent_at: list[float] = []
        self.breaker_at: list[str] = []

    async def __call__(self, request: Request[Prompt]) -> Completion:
        loop = asyncio.get_running_loop()
        request.sent_at = loop.time()
        now_s = request.sent_at - START_S
        self.sent_at.append(now_s)
        self.breaker_at.append(self.gate._breaker.state)
        if DIES_S <= now_s < self.alive_again_s:
            await asyncio.sleep(FAILS_AFTER_S)
            raise Unavailable("nobody listens")
        await asyncio.sleep(ANSWERS_AFTER_S)
        return self._completion(request.body, 0.5)


class Seen(Struct):
    """rewards: of each call, and when it had it, seconds. changed_s: when the breaker was which."""

    judge: Mortal
    gate: Any
    rewards: list[Reward]
    ended_s: list[float]
    changed_s: dict[str, list[float]]
    waiting_when_it_died: int
    after: list[Reward]

    @property
    def opened_s(self) -> float:
        return self.changed_s["open"][0]


async def outlive(alive_again_s: float, deadline_s: float, others: int = 0) -> Seen:
    """A thousand callers of one sample each through an outage of the judge, and others 10 s after it."""
    judge, loop = Mortal(alive_again_s), asyncio.get_running_loop()
    ended_s = [0.0] * (CALLS + others)
    changed_s: dict[str, list[float]] = {"open": [], "half_open": [], "closed": []}

    def note(event: Any) -> None:
        if isinstance(event, BreakerChanged):
            changed_s[event.state].append(loop.time() - START_S)

    async with open_service(SETTINGS, environ={}, sink=note, model=judge) as service:
        judge.gate = service._assembly.targets[0].gate

        async def call(number: int) -> Reward:
            sample = Sample(id=number, response=f"answer {number}", reference="x")
            (reward,) = await service.score([sample], deadline_s=deadline_s)
            ended_s[number] = loop.time() - START_S
            return reward

        calls = [asyncio.create_task(call(number)) for number in range(CALLS)]
        await asyncio.sleep(DIES_S)
        waiting = judge.gate.waiting
        rewards = await asyncio.gather(*calls)
        await asyncio.sleep(START_S + alive_again_s + 10 - loop.time())
        after = await asyncio.gather(*(call(CALLS + number) for number in range(others)))
    return Seen(judge, judge.gate, rewards, ended_s, changed_s, waiting, after)


def reasons(rewards: list[Reward]) -> Counter[str]:
    return Counter(reward.reason or "scored" for reward in rewards)


def assert_probes_only(seen: Seen) -> None:
    """From its opening to the outage's end the breaker lets a call through each time it is half open."""
    end_s = seen.judge.alive_again_s
    sent = [at_s for at_s in seen.judge.sent_at if seen.opened_s <= at_s < end_s]
    assert sent == [at_s for at_s in seen.changed_s["half_open"] if at_s < end_s]
    assert "open" not in seen.judge.breaker_at


def test_the_queue_of_a_judge_that_dies_is_sent_as_probes_and_answered_when_it_is_back() -> None:
    seen = run_virtual(outlive(40.0, deadline_s=900.0))

    assert seen.waiting_when_it_died > 900
    assert_probes_only(seen)
    probes = [at_s for at_s in seen.judge.sent_at if seen.opened_s <= at_s < 40.0]
    assert len(probes) == int((40.0 - seen.opened_s) / (OPEN_S + FAILS_AFTER_S))
    assert reasons(seen.rewards) == {"scored": CALLS}
    assert max(seen.ended_s) < 40.0 + OPEN_S + CALLS / PER_S + 2
    assert_nothing_held(seen.gate)


def test_calls_wait_for_a_dead_judge_for_a_minute_and_later_ones_are_answered() -> None:
    seen = run_virtual(outlive(120.0, deadline_s=900.0, others=100))
    answered = sum(at_s < DIES_S for at_s in seen.judge.sent_at)

    assert_probes_only(seen)
    assert reasons(seen.rewards) == {"scored": answered, "unavailable": CALLS - answered}
    longest_wait_s = OPEN_S + SETTINGS.retry.cap_s
    assert max(seen.ended_s[:CALLS]) < seen.opened_s + PATIENCE_S + longest_wait_s
    assert reasons(seen.after) == {"scored": 100}
    assert_nothing_held(seen.gate)


def test_a_deadline_ends_the_wait_for_a_dead_judge() -> None:
    seen = run_virtual(outlive(120.0, deadline_s=30.0))

    assert_probes_only(seen)
    assert reasons(seen.rewards).keys() == {"scored", "unavailable", "deadline"}
    assert max(seen.ended_s) <= 30.0
    assert_nothing_held(seen.gate)
