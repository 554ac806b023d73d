import asyncio
from collections import Counter
from math import inf
from typing import Any

import pytest
from msgspec import Struct

from judge_service.errors import DeadlineExceeded, Throttled, Unavailable
from judge_service.flow import Request, stack
from judge_service.flow.admission.gate import Gate, Limit
from judge_service.flow.deadline import Deadline
from judge_service.testing import START_S, VirtualTimeLoop, run_virtual
from tests.flow.gates import MANY, assert_nothing_held, new_gate


class Job(Struct):
    """What it reserves and is charged, how long it takes, how it ends."""

    tokens: int = 0
    charged: int | None = None
    takes_s: float = 0.0
    error: Exception | None = None
    sends: bool = True
    name: str = ""


class Judge:
    """Does jobs and remembers when each began, in seconds from the start."""

    def __init__(self) -> None:
        self.began: list[tuple[float, Job]] = []

    async def __call__(self, request: Request[Job]) -> Job:
        loop, job = asyncio.get_running_loop(), request.body
        self.began.append((loop.time() - START_S, job))
        if job.sends:
            request.sent_at = loop.time()
        await asyncio.sleep(job.takes_s)
        if job.error:
            raise job.error
        return job

    def names(self) -> list[str]:
        return [job.name for _, job in self.began]


def gate_of(
    *, burst_s: float = 1.0, max_in_flight: int = MANY, **per_minute: float
) -> Gate[Job, Job]:
    def reserve(job: Job) -> tuple[int, ...]:
        amounts = {"requests": 1, "tokens": job.tokens}
        return tuple(amounts[name] for name in per_minute)

    def charge(job: Job, _: Job) -> tuple[int, ...]:
        amounts = {"requests": 1, "tokens": job.tokens if job.charged is None else job.charged}
        return tuple(amounts[name] for name in per_minute)

    limits = {name: Limit(amount, burst_s) for name, amount in per_minute.items()}
    return new_gate(limits, reserve=reserve, charge=charge, max_in_flight=max_in_flight)


def start(
    gate: Gate[Job, Job], judge: Judge, *jobs: Job, deadline: float = inf
) -> list[asyncio.Task[Job]]:
    return [asyncio.create_task(gate(Request(job, deadline), judge)) for job in jobs]


def test_without_limits_everything_goes_through() -> None:
    assert run_virtual(gate_of()(Request(Job(name="x")), Judge())).name == "x"


def test_its_line_shows_the_quota_and_the_slots() -> None:
    gate = gate_of(requests=6000, tokens=2_000_000, burst_s=0.5, max_in_flight=64)
    assert repr(gate).startswith(
        "Gate(requests=6000/min with 0.5 s at once, tokens=2000000/min with 0.5 s at once,"
        " Slots(fixed, max_in_flight=64), "
    )


def test_the_burst_goes_at_once_and_the_rest_at_the_rate_in_order() -> None:
    async def scenario() -> Judge:
        gate, judge = gate_of(requests=120), Judge()
        await asyncio.gather(*start(gate, judge, *(Job(name=str(n)) for n in range(6))))
        assert_nothing_held(gate)
        assert gate.statistics().granted == 6
        return judge

    judge = run_virtual(scenario())
    assert [at for at, _ in judge.began] == pytest.approx([0, 0, 0.5, 1, 1.5, 2], abs=1e-5)
    assert judge.names() == list("012345")


def test_all_resources_are_taken_or_none() -> None:
    async def scenario() -> None:
        gate, judge = gate_of(requests=600, tokens=600), Judge()
        tasks = start(gate, judge, Job(tokens=10), Job(tokens=5))
        await asyncio.sleep(0)
        assert gate.statistics().level == {"requests": 9, "tokens": 0}
        assert gate.statistics().waiting == 1
        await asyncio.gather(*tasks)
        assert judge.began[1][0] == pytest.approx(0.5, abs=1e-5)

    run_virtual(scenario())


def test_what_was_not_charged_is_given_back_and_wakes_the_next() -> None:
    async def scenario() -> None:
        gate, judge = gate_of(tokens=600), Judge()
        jobs = [Job(tokens=10, charged=2, takes_s=0.1), Job(tokens=8)]
        await asyncio.gather(*start(gate, judge, *jobs))
        assert judge.began[1][0] == pytest.approx(0.1)

    run_virtual(scenario())


def test_what_is_given_back_brings_the_next_turn_forward() -> None:
    async def scenario() -> None:
        gate, judge = gate_of(tokens=600), Judge()
        jobs = [Job(tokens=10, charged=2, takes_s=0.1), Job(tokens=10)]
        await asyncio.gather(*start(gate, judge, *jobs))
        assert judge.began[1][0] == pytest.approx(0.2, abs=1e-5)  # not 1.0

    run_virtual(scenario())


def test_more_charged_than_reserved_is_a_debt_the_next_one_waits_for() -> None:
    async def scenario() -> None:
        gate, judge = gate_of(tokens=600), Judge()
        await gate(Request(Job(tokens=5, charged=30)), judge)
        assert gate.statistics().level == {"tokens": -20}
        await gate(Request(Job(tokens=5)), judge)
        assert judge.began[1][0] == pytest.approx(2.5, abs=1e-5)

    run_virtual(scenario())


def test_time_in_which_the_bucket_stood_full_does_not_pay_a_debt() -> None:
    async def scenario() -> None:
        gate, judge = gate_of(tokens=600), Judge()
        await gate(Request(Job(tokens=1, charged=21, takes_s=60)), judge)
        assert gate.statistics().level == {"tokens": -10}
        await gate(Request(Job(tokens=10)), judge)
        assert judge.began[1][0] == pytest.approx(62, abs=1e-5)

    run_virtual(scenario())


@pytest.mark.parametrize(
    ("job", "left"),
    [
        (Job(tokens=10, error=Throttled("full")), 0),
        (Job(tokens=10, error=Unavailable("no connection")), 10),
        (Job(tokens=10, error=Unavailable("time-out", charged=True)), 0),
        (Job(tokens=10, error=ZeroDivisionError()), 0),
        (Job(tokens=10, error=ZeroDivisionError(), sends=False), 10),
    ],
)
def test_a_failed_call_gives_back_what_it_did_not_cost(job: Job, left: float) -> None:
    async def scenario() -> None:
        gate = gate_of(tokens=600)
        (task,) = start(gate, Judge(), job)
        await asyncio.wait((task,))
        assert task.exception() is job.error
        assert gate.statistics().level == {"tokens": left}
        assert_nothing_held(gate)

    run_virtual(scenario())


@pytest.mark.parametrize(("sends", "left"), [(True, 0), (False, 10)])
def test_a_call_cancelled_after_it_was_sent_keeps_its_reservation(sends: bool, left: float) -> None:
    async def scenario() -> None:
        gate = gate_of(tokens=600)
        (task,) = start(gate, Judge(), Job(tokens=10, takes_s=9, sends=sends))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        assert gate.statistics().level == {"tokens": left}
        assert_nothing_held(gate)

    run_virtual(scenario())


def test_a_cancelled_waiter_frees_its_place() -> None:
    async def scenario() -> list[str]:
        gate, judge = gate_of(tokens=600), Judge()
        jobs = [Job(tokens=10, name="a"), Job(tokens=10, name="b"), Job(tokens=1, name="c")]
        tasks = start(gate, judge, *jobs)
        await asyncio.sleep(0.2)
        tasks[1].cancel()
        await tasks[2]
        assert judge.began[-1][0] == pytest.approx(0.2)  # not when b would have gone
        assert_nothing_held(gate)
        return judge.names()

    assert run_virtual(scenario()) == ["a", "c"]


def test_a_waiter_cancelled_in_the_moment_of_its_grant_gives_it_to_the_next() -> None:
    async def scenario() -> list[str]:
        gate, judge = gate_of(tokens=600), Judge()
        jobs = [Job(tokens=10, name="a"), Job(tokens=10, name="b"), Job(tokens=10, name="c")]
        tasks = start(gate, judge, *jobs)
        await asyncio.sleep(0)
        asyncio.get_running_loop().stall(1)  # type: ignore[attr-defined] # the virtual loop
        gate._let_in()  # grants b, whose task has not run yet
        tasks[1].cancel()
        await tasks[2]
        assert judge.began[-1][0] == pytest.approx(1)
        assert_nothing_held(gate)
        return judge.names()

    assert run_virtual(scenario()) == ["a", "c"]


def test_a_waiter_cancelled_just_before_its_turn_takes_nothing() -> None:
    async def scenario() -> None:
        gate, judge = gate_of(tokens=600), Judge()
        tasks = start(gate, judge, *(Job(tokens=10) for _ in range(3)))
        await asyncio.sleep(0)
        asyncio.get_running_loop().stall(1)  # type: ignore[attr-defined] # the virtual loop
        tasks[1].cancel()  # its future is cancelled, its task has not run yet
        gate._let_in()
        await tasks[2]
        assert judge.began[-1][0] == pytest.approx(1)
        assert gate.statistics().granted == 2
        assert_nothing_held(gate)

    run_virtual(scenario())


def test_a_call_larger_than_the_burst_waits_its_time_and_is_not_passed_over() -> None:
    async def scenario() -> Judge:
        gate, judge = gate_of(tokens=600), Judge()
        jobs = [Job(tokens=1, name="a"), Job(tokens=300, name="big"), Job(tokens=1, name="b")]
        await asyncio.gather(*start(gate, judge, *jobs))
        assert_nothing_held(gate)
        return judge

    judge = run_virtual(scenario())
    assert judge.names() == ["a", "big", "b"]
    assert [at for at, _ in judge.began] == pytest.approx([0, 0.1, 0.1 + 29.1 / 0.9925], abs=1e-4)


def test_a_call_whose_turn_comes_after_its_deadline_is_refused_at_once() -> None:
    async def scenario() -> None:
        gate, judge = gate_of(requests=60), Judge()
        patient = start(gate, judge, *(Job() for _ in range(10)))
        await asyncio.sleep(0)
        hasty = start(gate, judge, Job(name="hasty"), deadline=START_S + 5)
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded, match=r"turn 5\.0 s after its deadline; 9 calls wait"):
            hasty[0].result()
        await start(gate, judge, Job(name="in time"), deadline=START_S + 10.1)[0]
        assert gate.statistics().refused == 1
        await asyncio.gather(*patient)
        assert_nothing_held(gate)

    run_virtual(scenario())


def test_refunds_to_come_are_counted_before_a_call_is_refused() -> None:
    async def scenario() -> None:
        gate, judge = gate_of(tokens=600), Judge()
        for _ in range(200):
            await gate(Request(Job(tokens=10, charged=1)), judge)
        waiting = start(gate, judge, *(Job(tokens=10, charged=1) for _ in range(50)))
        loop = asyncio.get_running_loop()
        await start(gate, judge, Job(tokens=10), deadline=loop.time() + 10)[0]  # 50 s of tokens
        await asyncio.gather(*waiting)
        assert gate.statistics().refused == 0

    run_virtual(scenario())


def test_under_a_deadline_a_late_waiter_leaves_its_place() -> None:
    async def scenario() -> None:
        gate, judge = gate_of(tokens=600), Judge()
        await gate(Request(Job(tokens=10, charged=60)), judge)
        call = stack(judge, Deadline(), gate)
        gate._buckets.buckets["tokens"].share = 0.0  # an estimate that is wrong lets it queue
        first = start(gate, judge, Job(tokens=10))
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded):
            await call(Request(Job(tokens=10), asyncio.get_running_loop().time() + 5.5))
        assert gate.statistics().waiting == 1
        await asyncio.gather(*first)
        assert_nothing_held(gate)

    run_virtual(scenario())


@pytest.mark.parametrize("frozen_s", [2.0, 600.0])
def test_after_a_stall_or_a_freeze_no_more_than_the_burst_goes(frozen_s: float) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        gate, judge = gate_of(requests=600), Judge()
        tasks = start(gate, judge, *(Job() for _ in range(100)))
        await asyncio.sleep(0.05)
        loop.stall(frozen_s)
        await asyncio.sleep(0.01)
        woken = [at for at, _ in judge.began if at >= frozen_s]
        assert len(woken) == 10
        await asyncio.gather(*tasks)

    run_virtual(scenario())


def test_one_timer_serves_all_waiters() -> None:
    async def scenario() -> int:
        gate, judge = gate_of(requests=60), Judge()
        tasks = start(gate, judge, *(Job() for _ in range(500)))
        await asyncio.sleep(0.5)
        timers = len(asyncio.get_running_loop()._scheduled)  # type: ignore[attr-defined] # private
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert_nothing_held(gate)
        return timers

    assert run_virtual(scenario()) == 1


def put(
    gate: Gate[Job, Job], judge: Judge, number: int, name: str, **envelope: Any
) -> list[asyncio.Task[Job]]:
    jobs = (Job(tokens=10, name=name) for _ in range(number))
    return [asyncio.create_task(gate(Request(job, **envelope), judge)) for job in jobs]


def test_lanes_share_a_full_quota_by_their_weights() -> None:
    async def scenario() -> Judge:
        gate, judge = gate_of(tokens=7800), Judge()
        tasks = [
            task
            for lane in ("bulk", "training", "interactive")
            for task in put(gate, judge, 500, lane, lane=lane)
        ]
        await asyncio.sleep(0)
        assert gate.statistics().waiting_by_lane == {
            "interactive": 500,
            "training": 500,
            "bulk": 487,
        }
        await asyncio.sleep(20.05)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert_nothing_held(gate)
        return judge

    went = Counter(run_virtual(scenario()).names()[13:])
    assert went == pytest.approx({"interactive": 160, "training": 80, "bulk": 20}, abs=2)


def test_a_small_job_is_not_locked_out_by_a_large_one_of_its_lane() -> None:
    async def scenario() -> float:
        gate, judge = gate_of(tokens=6000), Judge()
        large = put(gate, judge, 1000, "large", job="large")
        await asyncio.sleep(1)
        await asyncio.gather(*put(gate, judge, 10, "small", job="small"))
        took_s = judge.began[-1][0] - 1
        await asyncio.gather(*large)
        return took_s

    assert run_virtual(scenario()) == pytest.approx(2, abs=0.15)  # 20 turns at 10 a second, not 900


def test_another_attempt_takes_the_place_of_the_first() -> None:
    async def scenario() -> list[str]:
        gate, judge = gate_of(tokens=600), Judge()
        first = put(gate, judge, 1, "gone")
        await asyncio.sleep(0.5)
        tasks = put(gate, judge, 3, "later")
        await asyncio.sleep(0.1)
        tasks += put(gate, judge, 1, "again", arrived_at=START_S + 0.1)
        await asyncio.gather(*first, *tasks)
        assert_nothing_held(gate)
        return judge.names()

    assert run_virtual(scenario()) == ["gone", "again", "later", "later", "later"]


def test_who_waits_learns_when_it_arrived() -> None:
    async def scenario() -> None:
        gate, judge, request = gate_of(tokens=600), Judge(), Request(Job(tokens=10))
        await gate(Request(Job(tokens=10)), judge)
        await gate(request, judge)
        assert request.arrived_at == START_S
        assert judge.began[1][0] == pytest.approx(1)

    run_virtual(scenario())


def test_a_deadline_is_held_against_what_goes_first_and_not_against_the_whole_queue() -> None:
    async def scenario() -> None:
        gate, judge = gate_of(tokens=600), Judge()
        bulk = put(gate, judge, 100, "bulk", lane="bulk")
        await asyncio.sleep(0)
        hurried = put(gate, judge, 2, "now", lane="interactive", deadline=START_S + 4.1)
        await asyncio.gather(*hurried)
        late = put(gate, judge, 1, "late", lane="bulk", deadline=START_S + 50)
        with pytest.raises(DeadlineExceeded):
            await late[0]
        for task in bulk:
            task.cancel()
        await asyncio.wait(bulk)

    run_virtual(scenario())
