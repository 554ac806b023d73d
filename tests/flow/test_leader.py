"""The first of several calls that begin alike goes alone, and the others wait no longer than it pays."""

import asyncio
from math import inf
from typing import Any

import pytest

from judge_service.errors import Throttled, Unavailable
from judge_service.flow import Request, stack
from judge_service.flow.leader import BUSY_FACTOR, FUTILE, OFF_S, TTL_S, LeaderFirst
from judge_service.testing import START_S, run_virtual

TYPICAL_S = 1.0


class Judge:
    """Takes `latency_s`, keeps the beginnings (first letters) of what it has answered, and tells of it."""

    def __init__(self, latency_s: float = 1.0, *, keeps: bool = True, tells: bool = True) -> None:
        self.latency_s = latency_s
        self.keeps, self.tells = keeps, tells
        self.kept: set[str] = set()
        self.began: list[tuple[str, float]] = []
        self.errors: list[Exception | None] = []

    async def __call__(self, request: Request[str]) -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        request.sent_at = loop.time()
        self.began.append((request.body, loop.time() - START_S))
        had = request.body[0] in self.kept
        await asyncio.sleep(self.latency_s)
        if self.errors and (error := self.errors.pop(0)):
            raise error
        if self.keeps:
            self.kept.add(request.body[0])
        return (9 if had else 0, 9 if self.keeps and self.tells and not had else 0)

    @property
    def times(self) -> list[float]:
        return [at_s for _, at_s in self.began]


def layer(**changes: Any) -> LeaderFirst[str, tuple[int, int]]:
    options: dict[str, Any] = {
        "key": lambda body: body[0] if len(body) > 1 else "",
        "tokens": lambda result: result,
        "tells_writes": True,
        "typical_s": lambda: TYPICAL_S,
        "is_busy": lambda: False,
    }
    return LeaderFirst(**(options | changes))


def run(judge: Judge, leader: Any, *requests: Request[str], after_s: float = 0.0) -> list[Any]:
    async def scenario() -> list[Any]:
        call = stack(judge, leader)
        await asyncio.sleep(after_s)

        async def ask(request: Request[str]) -> Any:
            return await call(request)

        return await asyncio.gather(*map(ask, requests), return_exceptions=True)

    return run_virtual(scenario())


def asked(*bodies: str, **envelope: Any) -> list[Request[str]]:
    return [Request(body, **envelope) for body in bodies]


def test_the_first_goes_and_the_others_read_what_it_wrote() -> None:
    judge, leader = Judge(), layer()
    assert run(judge, leader, *asked("a1", "a2", "a3")) == [(0, 9), (9, 0), (9, 0)]
    assert judge.times == [0, 1, 1]


def test_other_beginnings_and_those_not_worth_it_wait_for_nobody() -> None:
    judge = Judge()
    run(judge, layer(), *asked("a1", "b1", "a", "a"))
    assert judge.times == [0, 0, 0, 0]


def test_what_the_judge_has_waits_for_nobody_until_it_is_forgotten() -> None:
    judge, leader = Judge(), layer()

    async def scenario() -> list[bool]:
        call = stack(judge, leader)

        async def ask(body: str) -> None:
            await call(Request(body))

        await ask("a1")
        had = [leader.has("a2"), leader.has("b2")]
        await asyncio.gather(ask("a2"), ask("a3"))
        await asyncio.sleep(TTL_S - 1.5)  # the last use was 1 s before its answer
        had.append(leader.has("a4"))
        await asyncio.sleep(1)
        return [*had, leader.has("a4")]

    assert run_virtual(scenario()) == [True, False, True, False]
    assert judge.times == [0, 1, 1]


@pytest.mark.parametrize(("is_busy", "waits_s"), [(False, 1), (True, BUSY_FACTOR)])
def test_nobody_waits_longer_than_it_pays(is_busy: bool, waits_s: float) -> None:
    judge, leader = Judge(latency_s=10.0), layer(is_busy=lambda: is_busy)
    run(judge, leader, *asked("a1", "a2", "a3"))
    assert judge.times == [0, waits_s, waits_s]


def test_the_time_counts_from_when_the_leader_was_sent() -> None:
    judge = Judge(latency_s=10.0)

    async def queue(request: Request[str], call_next: Any) -> Any:
        if request.body == "a1":
            await asyncio.sleep(5)
        return await call_next(request)

    async def scenario() -> None:
        call = stack(judge, layer(), queue)

        async def ask(request: Request[str]) -> Any:
            return await call(request)

        await asyncio.gather(*map(ask, asked("a1", "a2")))

    run_virtual(scenario())
    assert judge.times == [5, 6]


@pytest.mark.parametrize(("left_s", "went_s"), [(2.0, 0.0), (2.5, 0.5), (9.0, 1.0), (inf, 1.0)])
def test_two_typical_latencies_are_left_before_the_deadline(left_s: float, went_s: float) -> None:
    judge = Judge(latency_s=3.0)
    run(judge, layer(), Request("a1"), Request("a2", deadline=START_S + left_s))
    assert judge.times == [0, went_s]


@pytest.mark.parametrize("envelope", [{"lane": "interactive"}, {"job": "another"}])
def test_calls_of_another_lane_or_job_have_a_leader_of_their_own(envelope: dict[str, str]) -> None:
    judge = Judge()
    run(judge, layer(), Request("a1"), Request("a2", **envelope))
    assert judge.times == [0, 0]


def test_a_leader_that_is_refused_or_goes_hands_over() -> None:
    judge = Judge(latency_s=0.75)
    judge.errors = [Throttled("slow down"), None]
    results = run(judge, layer(), *asked("a1", "a2", "a3"))
    assert judge.times == [0, 0.75, 1.5]
    assert isinstance(results[0], Throttled)

    other = Judge()

    async def scenario() -> None:
        call = stack(other, layer())

        async def ask(request: Request[str]) -> Any:
            return await call(request)

        tasks = [asyncio.create_task(ask(request)) for request in asked("a1", "a2", "a3")]
        await asyncio.sleep(0.5)
        tasks[0].cancel()
        await asyncio.wait(tasks)

    run_virtual(scenario())
    assert other.times == [0, 0.5, 1.5]


def test_when_a_leader_fails_the_others_do_not_fail_one_after_the_other() -> None:
    judge = Judge()
    judge.errors = [Unavailable("down")] * 3
    run(judge, layer(), *asked("a1", "a2", "a3"))
    assert judge.times == [0, 1, 1]


def test_one_who_is_cancelled_in_the_moment_of_its_turn_hands_over() -> None:
    judge = Judge()

    async def scenario() -> None:
        call = stack(judge, layer())

        async def ask(request: Request[str]) -> Any:
            return await call(request)

        tasks = [asyncio.create_task(ask(request)) for request in asked("a1", "a2", "a3")]
        await asyncio.sleep(0.5)
        tasks[0].cancel()
        await asyncio.sleep(0)  # the second's turn is given, and not taken yet
        tasks[1].cancel()
        await asyncio.wait(tasks)

    run_virtual(scenario())
    assert judge.times == [0, 0.5]


def test_a_judge_that_caches_nothing_is_waited_for_three_times() -> None:
    judge, leader = Judge(keeps=False), layer()

    async def scenario() -> None:
        call = stack(judge, leader)

        async def ask(body: str) -> None:
            await call(Request(body))

        for letter in "abcd":
            await asyncio.gather(ask(f"{letter}1"), ask(f"{letter}2"))
        assert not leader.statistics().is_on
        await asyncio.sleep(OFF_S)
        judge.keeps = True
        await asyncio.gather(ask("e1"), ask("e2"))

    run_virtual(scenario())
    starts = [at_s for body, at_s in judge.began if body[1] == "2"]
    waited = [second - first for (_, first), second in zip(judge.began[::2], starts, strict=True)]
    assert waited == [1, 1, 0, 0, 1]
    assert FUTILE == 3


def test_where_writes_are_not_told_nobody_waits_before_an_answer_has_read() -> None:
    judge, leader = Judge(tells=False), layer(tells_writes=False)

    async def scenario() -> None:
        call = stack(judge, leader)

        async def ask(body: str) -> None:
            await call(Request(body))

        await asyncio.gather(ask("a1"), ask("a2"))
        await ask("a3")  # reads
        await asyncio.gather(ask("b1"), ask("b2"))

    run_virtual(scenario())
    assert judge.times == [0, 0, 1, 2, 3]


def test_one_who_has_waited_keeps_its_place_in_the_queue() -> None:
    follower = Request("a2")
    run(Judge(), layer(), Request("a1"), follower)
    assert follower.arrived_at == START_S
