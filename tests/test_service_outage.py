"""Runs without deadlines through outages of the judge, on the assembled service in virtual time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from judge_service.backends.scripted import Scripted
from judge_service.errors import CredentialsError, Denied, JudgeOut, QuotaExhausted, Unavailable
from judge_service.service import open_service
from judge_service.settings import CacheSettings, LimitSettings, RetrySettings, Settings
from judge_service.telemetry.events import SampleGraded
from judge_service.testing import START_S, RecordingSink, run_virtual
from judge_service.values import Reward, Sample, Wait

SETTINGS = Settings(
    backend="bedrock",
    model="m",
    limits=LimitSettings(requests_per_minute=6000, max_in_flight=64),
    cache=CacheSettings(max_entries=0),
)

Ill = Callable[[float, str], Exception | None]
"""What the judge fails with at a second of the run when asked about a response."""


class Judge(Scripted):
    """Answers after 0.3 s, except where `ill` says otherwise."""

    def __init__(self, ill: Ill) -> None:
        super().__init__(0.5, latency_s=0.3)
        self._ill = ill
        self.asked = 0

    async def __call__(self, request: Any) -> Any:
        now = asyncio.get_running_loop().time() - START_S
        self.asked += 1
        if (error := self._ill(now, request.body.question.response)) is not None:
            request.sent_at = now + START_S
            await asyncio.sleep(0.1)
            raise error
        return await super().__call__(request)


def down(first_s: float, last_s: float, kind: type[Exception] = Unavailable) -> Ill:
    return lambda now, _: kind("down") if first_s <= now < last_s else None


class Run:
    """What a run saw: reasons of its rewards, what it was told, and how long it took."""

    def __init__(self) -> None:
        self.rewards: dict[int, Reward] = {}
        self.told: list[Wait] = []
        self.took_s = 0.0

    @property
    def reasons(self) -> Counter[str]:
        return Counter(reward.reason or "scored" for reward in self.rewards.values())

    async def tell(self, wait: Wait) -> None:
        self.told.append(wait)

    async def go(
        self, judge: Judge, rows: int, *, settings: Settings = SETTINGS, **more: Any
    ) -> "Run":
        jobs = ((n, Sample(id=n, response=f"answer {n}", reference="x")) for n in range(rows))
        async with open_service(settings, environ={}, model=judge, **more.pop("opened", {})) as one:
            try:
                async for key, reward in one.stream(jobs, tell=self.tell, **more):
                    assert key not in self.rewards
                    self.rewards[key] = reward
            finally:
                self.took_s = asyncio.get_running_loop().time() - START_S
        return self


def run(ill: Ill, rows: int, **more: Any) -> Run:
    return run_virtual(Run().go(Judge(ill), rows, **more))


def test_an_outage_of_five_minutes_costs_no_row_and_little_more_time_than_it_lasts() -> None:
    seen = run(down(10, 310), 1000)

    assert seen.reasons == {"scored": 1000}
    assert seen.took_s < 12 + 300 + 60


def test_a_days_quota_that_is_gone_costs_no_row() -> None:
    seen = run(down(10, 40_000, QuotaExhausted), 1000)

    assert seen.reasons == {"scored": 1000}
    assert seen.took_s < 40_000 + 1800


def test_calls_that_were_on_the_wire_when_the_days_quota_went_do_not_end_the_wait() -> None:
    told = run(down(10, 40_000, QuotaExhausted), 2000).told

    assert [wait.is_over for wait in told] == [False] * (len(told) - 1) + [True]


def test_while_the_days_quota_is_gone_the_judge_is_asked_every_quarter_of_an_hour() -> None:
    judge = Judge(down(0, 40_000, QuotaExhausted))
    run_virtual(Run().go(judge, 100))

    assert judge.asked < 100 + 64 + 40_000 / 900 + 30


def test_a_quota_that_is_gone_again_and_again_is_never_held_against_a_row() -> None:
    def ill(now: float, response: str) -> Exception | None:
        return QuotaExhausted("gone") if response == "answer 3" and now < 8000 else None

    assert run(ill, 100).reasons == {"scored": 100}


def test_a_run_that_begins_in_an_outage_waits_too() -> None:
    assert run(down(0, 300), 10).reasons == {"scored": 10}


def test_credentials_that_expire_in_a_run_cost_no_row() -> None:
    seen = run(down(5, 200, CredentialsError), 700)

    assert seen.reasons == {"scored": 700}


def test_a_refusal_from_the_first_row_on_is_a_wrong_setting_and_not_an_outage() -> None:
    seen = run(down(0, 1e9, Denied), 30)

    assert seen.reasons == {"denied": 30}
    assert seen.took_s < 10


@pytest.mark.parametrize("error", [Unavailable, Denied])
@pytest.mark.parametrize("window", [1, 8])
@pytest.mark.parametrize("bad", ["answer 3", "answer 19"], ids=["in the middle", "the last"])
def test_a_row_at_which_the_judge_fails_each_time_gets_its_reason(
    error: type[Exception], window: int, bad: str
) -> None:
    seen = run(
        lambda _, response: error("on this row") if response == bad else None, 20, window=window
    )

    assert seen.reasons == {"scored": 19, error.reason: 1}  # type: ignore[attr-defined] # both have
    assert not seen.told  # the judge answered our question at once
    assert seen.took_s < 200


def test_bad_rows_alone_end_a_run_as_well() -> None:
    seen = run(lambda _, r: Unavailable("on it") if r.startswith("answer") else None, 5)

    assert seen.reasons == {"unavailable": 5}


def test_a_bad_row_is_judged_to_be_bad_after_an_outage_and_not_in_it() -> None:
    def ill(now: float, response: str) -> Exception | None:
        return Unavailable("x") if response == "answer 4" else down(1, 301)(now, response)

    seen = run(ill, 150)

    assert seen.reasons == {"scored": 149, "unavailable": 1}


def test_a_run_is_told_that_it_waits_why_and_until_when_and_that_it_goes_on() -> None:
    told = run(down(1, 301), 200).told

    assert {wait.reason for wait in told} == {"unavailable"}
    assert all(0 <= wait.next_s <= 60 for wait in told[:-1])
    assert [wait.is_over for wait in told] == [False] * (len(told) - 1) + [True]
    assert told[-1].waited_s == pytest.approx(300, abs=70)


def test_a_run_that_waits_is_counted_with_its_reason_until_it_goes_on_or_is_cancelled() -> None:
    async def scenario() -> list[Any]:
        seen: list[Any] = []
        async with open_service(SETTINGS, environ={}, model=Judge(down(1, 301))) as judge:

            async def consume(name: str) -> None:
                jobs = [(n, Sample(id=n, response=f"{name} {n}", reference="x")) for n in range(80)]
                async for _ in judge.stream(jobs, window=8):
                    pass

            runs = [asyncio.create_task(consume(name)) for name in ("one", "other")]
            for at_s in (0.5, 130, 200):
                await asyncio.sleep(START_S + at_s - asyncio.get_running_loop().time())
                seen.append(dict(judge.statistics().waiting_runs))
            runs[0].cancel()
            await asyncio.wait(runs[:1])
            seen.append(dict(judge.statistics().waiting_runs))
            await runs[1]
            seen.append(dict(judge.statistics().waiting_runs))
        return seen

    settings = [{}, {"unavailable": 2}, {"unavailable": 2}, {"unavailable": 1}, {}]
    assert run_virtual(scenario()) == settings


def test_a_run_gives_up_after_the_longest_wait_and_keeps_what_it_has() -> None:
    seen = Run()
    with pytest.raises(JudgeOut, match=r"could not be asked for 1\d\d s \(unavailable: "):
        run_virtual(seen.go(Judge(down(1, 1e9)), 300, max_wait_s=100.0))

    assert set(seen.reasons) == {"scored"}
    assert seen.took_s < 1 + 60 + 100 + 70


def test_with_a_deadline_for_each_row_nothing_waits() -> None:
    seen = run(down(0, 300), 100, deadline_s=5.0)

    assert "scored" not in seen.reasons
    assert len(seen.rewards) == 100
    assert not seen.told
    assert seen.took_s < 30


def test_a_deadline_for_all_rows_ends_all_of_them() -> None:
    limits = LimitSettings(max_in_flight=4)
    settings = Settings(backend="bedrock", model="m", limits=limits)
    seen = run(lambda *_: None, 100, settings=settings, deadline=START_S + 5.0)

    assert set(seen.reasons) == {"scored", "deadline"}
    assert len(seen.rewards) == 100
    assert seen.took_s == pytest.approx(5.0, abs=0.1)


def test_each_row_is_told_to_the_sink_once_with_its_result() -> None:
    sink = RecordingSink()
    run(down(0, 100), 50, opened={"sink": sink})

    assert Counter(event.id for event in sink.of(SampleGraded)) == Counter(range(50))
    assert all(event.reward.score == 0.5 for event in sink.of(SampleGraded))


async def four_new_rows_and_many_that_are_cached() -> AsyncIterator[tuple[int, Sample]]:
    for number in range(200):
        response = f"new {number}" if number < 4 else "answer"
        yield number, Sample(response=response, reference="x")
        await asyncio.sleep(0.01)


def test_answers_of_the_cache_do_not_pass_for_answers_of_the_judge() -> None:
    async def scenario() -> dict[int, str | None]:
        settings = Settings(backend="bedrock", model="m", retry=RetrySettings(max_attempts=1))
        async with open_service(settings, environ={}, model=Judge(down(0.5, 300))) as judge:
            await judge.score([Sample(response="answer", reference="x")])
            await asyncio.sleep(1)
            stream = judge.stream(four_new_rows_and_many_that_are_cached())
            return {key: reward.reason async for key, reward in stream}

    assert run_virtual(scenario()) == dict.fromkeys(range(200))


def test_a_run_of_one_row_starts_no_window_of_workers() -> None:
    async def scenario() -> int:
        most = 0
        async with open_service(SETTINGS, environ={}, model=Judge(lambda *_: None)) as judge:
            async for _ in judge.stream([(1, Sample(response="a", reference="x"))]):
                most = max(most, len(asyncio.all_tasks()))
        return most

    assert run_virtual(scenario()) <= 4


@pytest.mark.parametrize("after_s", [0, 0.4, 0.5, 0.7, 1, 5, 61, 62, 70, 100, 200, 300, 300.4])
def test_a_run_cancelled_at_any_moment_of_an_outage_leaves_nothing_behind(after_s: float) -> None:
    async def scenario() -> tuple[int, Any]:
        seen = Run()
        async with open_service(SETTINGS, environ={}, model=Judge(down(0.5, 300))) as judge:
            jobs = [(n, Sample(id=n, response=f"answer {n}", reference="x")) for n in range(80)]

            async def consume() -> None:
                async for key, reward in judge.stream(jobs, tell=seen.tell):
                    seen.rewards[key] = reward

            before = asyncio.all_tasks()
            task = asyncio.create_task(consume())
            await asyncio.sleep(after_s)
            began = asyncio.get_running_loop().time()
            task.cancel()
            await asyncio.wait([task])
            assert asyncio.get_running_loop().time() == began  # at once
            flights = {one for one in asyncio.all_tasks() if "Coalesce._fly" in repr(one)}
            left = asyncio.all_tasks() - before - flights  # calls on the wire go on
        assert set(seen.reasons) <= {"scored"}
        return len(left), seen

    left, _ = run_virtual(scenario())

    assert left == 0
