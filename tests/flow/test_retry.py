import asyncio
import itertools
from collections.abc import Callable
from math import inf, nan

import pytest
from msgspec import Struct

from judge_service.errors import (
    CallError,
    CredentialsError,
    DeadlineExceeded,
    Denied,
    QuotaExhausted,
    Throttled,
    Unavailable,
)
from judge_service.flow import Request, stack
from judge_service.flow.admission.breaker import BreakerOpen
from judge_service.flow.retry import Retry, RetryBudget, RetryBudgetStatistics, RetryStatistics
from judge_service.telemetry.events import Retried
from judge_service.testing import START_S, RecordingSink, run_virtual


class Script:
    """Fails with the errors given, one an attempt, then answers. Remembers when it was asked."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked_s: list[float] = []

    async def __call__(self, request: Request[str]) -> str:
        self.asked_s.append(asyncio.get_running_loop().time() - START_S)
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def new(
    *,
    max_attempts: int = 3,
    max_throttled: int = 4,
    budget: RetryBudget | None = None,
    sink: RecordingSink | None = None,
    random: Callable[[], float] = lambda: 1.0,
) -> Retry:
    return Retry(
        max_attempts=max_attempts,
        max_throttled=max_throttled,
        base_s=0.05,
        throttled_base_s=1,
        cap_s=5,
        budget=budget or RetryBudget(ratio=0.2, per_s=10),
        sink=sink or RecordingSink(),
        random=random,
    )


def run(retry: Retry, script: Script, deadline: float = inf) -> str:
    return run_virtual(retry(Request("q", deadline), script))


def test_a_first_success_is_one_attempt() -> None:
    script, sink = Script(), RecordingSink()
    assert run(new(sink=sink), script) == "answer"
    assert script.asked_s == [0]
    assert sink.events == []


def test_failures_are_tried_again_after_doubling_waits() -> None:
    script, sink = Script(Unavailable("1"), Unavailable("2")), RecordingSink()
    assert run(new(max_attempts=4, sink=sink), script) == "answer"
    assert script.asked_s == pytest.approx([0, 0.05, 0.15])
    assert [event.wait_s for event in sink.of(Retried)] == pytest.approx([0.05, 0.1])
    assert [event.attempt for event in sink.of(Retried)] == [1, 2]


def test_the_last_error_goes_through_unchanged() -> None:
    last = Unavailable("last")
    retry = new()
    with pytest.raises(Unavailable) as caught:
        run(retry, Script(Unavailable("1"), Unavailable("2"), last))
    assert caught.value is last
    assert retry.statistics() == RetryStatistics(
        retries=2, out_of_attempts=1, out_of_time=0, out_of_budget=0
    )


def test_the_jitter_is_full() -> None:
    script = Script(Unavailable("1"), Unavailable("2"))
    numbers = iter([0.0, 0.25])
    run(new(max_attempts=4, random=lambda: next(numbers)), script)
    assert script.asked_s == pytest.approx([0, 0, 0.025])


@pytest.mark.parametrize("error", [Denied("no"), CallError("no"), ZeroDivisionError()])
def test_what_cannot_succeed_later_is_not_tried_again(error: Exception) -> None:
    script = Script(error)
    with pytest.raises(type(error)):
        run(new(), script)
    assert len(script.asked_s) == 1


def test_an_error_that_can_never_succeed_ends_a_row_of_retries() -> None:
    script = Script(Unavailable("1"), Denied("no"))
    with pytest.raises(Denied):
        run(new(), script)
    assert len(script.asked_s) == 2


def test_throttled_attempts_are_counted_apart_wait_longer_and_cost_no_budget() -> None:
    budget = RetryBudget(ratio=0, per_s=0.1)  # one retry
    script = Script(*(Throttled(str(n)) for n in range(3)), Unavailable("x"))
    assert run(new(budget=budget, max_attempts=2), script) == "answer"
    assert script.asked_s == pytest.approx([0, 1, 3, 7, 7.05])


def test_a_question_throttled_too_often_is_given_up() -> None:
    script = Script(*(Throttled(str(n)) for n in range(9)))
    with pytest.raises(Throttled, match="3"):
        run(new(max_throttled=4), script)
    assert script.asked_s == pytest.approx([0, 1, 3, 7])


@pytest.mark.parametrize(
    ("asked_s", "waited_s"),
    [(3, 3.05), (0, 0.05), (-1, 0.05), (nan, 0.05), (100, 30.05), (inf, 30.05)],
)
def test_a_judge_that_says_how_long_to_wait_is_obeyed_within_reason(
    asked_s: float, waited_s: float
) -> None:
    script = Script(Unavailable("busy", retry_after_s=asked_s))
    run(new(), script)
    assert script.asked_s == pytest.approx([0, waited_s])


def test_an_error_may_bring_its_own_wait_and_its_own_cap() -> None:
    script = Script(*(Unavailable("time-out", backoff_s=0, max_retries=1) for _ in range(2)))
    with pytest.raises(Unavailable):
        run(new(max_attempts=9), script)
    assert script.asked_s == [0, 0]
    slow = Script(Unavailable("not ready", backoff_s=1))
    run(new(), slow)
    assert slow.asked_s == [0, 1]


def test_a_retry_that_would_come_after_the_deadline_is_refused_at_once() -> None:
    async def scenario() -> tuple[float, RetryStatistics]:
        retry = new()
        with pytest.raises(Throttled):
            await retry(Request("q", START_S + 1), Script(Throttled("full")))
        return asyncio.get_running_loop().time() - START_S, retry.statistics()

    assert run_virtual(scenario()) == (
        0,
        RetryStatistics(retries=0, out_of_attempts=0, out_of_time=1, out_of_budget=0),
    )


def test_without_budget_the_failure_stands() -> None:
    retry = new(budget=RetryBudget(ratio=0, per_s=0))
    with pytest.raises(Unavailable):
        run(retry, Script(Unavailable("1")))
    assert retry.statistics().out_of_budget == 1


def test_a_cancellation_during_the_wait_stays_one() -> None:
    async def scenario() -> bool:
        script = Script(Throttled("full"))
        task = asyncio.create_task(new()(Request("q"), script))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait((task,))
        return task.cancelled() and len(script.asked_s) == 1

    assert run_virtual(scenario())


def test_the_budget_is_a_share_of_recent_calls_and_a_rate() -> None:
    budget = RetryBudget(ratio=0.2, per_s=0.3)
    for _ in range(10):
        budget.count_call(100.0)
    assert [budget.take(101.0) for _ in range(6)] == [True] * 5 + [False]
    assert budget.statistics() == RetryBudgetStatistics(calls=10, retries=5, failures=0)


def test_the_budget_forgets_after_ten_seconds() -> None:
    budget = RetryBudget(ratio=0.5, per_s=0)
    budget.count_call(100.0)
    budget.count_call(100.0)
    assert budget.take(109.9)
    assert not budget.take(109.9)
    assert not budget.take(110.0)  # the calls are forgotten, the retry is not
    assert not budget.take(1e6)
    assert budget.statistics() == RetryBudgetStatistics(calls=0, retries=0, failures=0)


def test_when_everything_fails_retries_stay_within_the_budget() -> None:
    async def scenario() -> int:
        retry = new(budget=RetryBudget(ratio=0.2, per_s=0))
        scripts = [Script(*(Unavailable("down") for _ in range(9))) for _ in range(500)]
        calls = (retry(Request("q"), script) for script in scripts)
        await asyncio.gather(*calls, return_exceptions=True)
        return sum(len(script.asked_s) for script in scripts) - 500

    assert 95 <= run_virtual(scenario()) <= 100


def test_the_last_attempt_gives_a_burst_of_failures_time_to_show() -> None:
    script = Script(Unavailable("1"), Unavailable("2"))
    assert run(new(random=lambda: 0.5), script) == "answer"
    assert script.asked_s == pytest.approx([0, 0.025, 1.525])


def test_the_last_attempt_waits_until_the_judge_is_well() -> None:
    async def scenario() -> float:
        budget = RetryBudget(ratio=1, per_s=100)
        loop = asyncio.get_running_loop()
        for failure in range(80):  # one every quarter of a second, for 20 s
            loop.call_later(failure / 4, lambda: budget.count_failure(loop.time()))
        script = Script(Unavailable("1"), Unavailable("2"))
        await new(budget=budget)(Request("q"), script)
        return script.asked_s[-1]

    assert 20 <= run_virtual(scenario()) <= 28


@pytest.mark.parametrize("failures", [0, 1])
def test_a_call_waits_for_an_open_breaker_for_a_minute_also_if_it_failed_before(
    failures: int,
) -> None:
    sent = [Unavailable("1")] * failures
    script = Script(*sent, *(BreakerOpen("ill", retry_after_s=5) for _ in range(30)))
    with pytest.raises(BreakerOpen):
        run(new(), script)
    assert 50 <= script.asked_s[-1] < 60


def test_a_retry_waits_for_the_budget_as_long_as_its_deadline_allows() -> None:
    async def scenario(deadline: float) -> list[float]:
        budget = RetryBudget(ratio=0, per_s=0.1)  # one retry in 10 s
        budget.take(START_S)
        script = Script(Unavailable("1"))
        try:
            await new(budget=budget)(Request("q", deadline), script)
        except Unavailable:
            script.asked_s.append(asyncio.get_running_loop().time() - START_S)
        return script.asked_s

    assert run_virtual(scenario(START_S + 30)) == pytest.approx([0, 10.05])
    assert run_virtual(scenario(START_S + 7)) == pytest.approx([0, 7])


def test_no_retry_begins_so_late_that_half_of_them_would_come_after_the_deadline() -> None:
    script = Script(Unavailable("1"))
    retry = Retry(
        max_attempts=3,
        max_throttled=4,
        base_s=0.05,
        throttled_base_s=1,
        cap_s=5,
        budget=RetryBudget(ratio=0.2, per_s=10),
        sink=RecordingSink(),
        typical_s=lambda: 2.0,
        random=lambda: 1.0,
    )
    with pytest.raises(Unavailable):
        run(retry, script, START_S + 2.04)
    assert retry.statistics().out_of_time == 1
    assert run(retry, Script(Unavailable("1")), START_S + 2.06) == "answer"


def test_a_throttled_call_keeps_its_place_in_the_line_for_half_of_its_attempts() -> None:
    arrivals: list[float] = []

    async def judge(request: Request[str]) -> str:
        arrivals.append(request.arrived_at - START_S)
        raise Throttled("full")

    with pytest.raises(Throttled):
        run_virtual(stack(judge, new(max_throttled=6))(Request("q")))
    assert arrivals == [0, 0, 0, 7, 7, 7]


@pytest.mark.parametrize("moment_s", [0.0, 0.02, 0.05, 3.0])
def test_cancelled_at_any_await_it_makes_no_more_attempts(moment_s: float) -> None:
    async def scenario() -> int:
        budget = RetryBudget(ratio=0, per_s=0.1)
        budget.take(START_S)  # so that it waits for the budget after its own wait
        script = Script(*(Unavailable(str(n)) for n in range(9)))
        task = asyncio.create_task(new(budget=budget)(Request("q"), script))
        asyncio.get_running_loop().call_later(moment_s, task.cancel)
        await asyncio.wait((task,))
        await asyncio.sleep(100)
        assert task.cancelled()
        return len(script.asked_s)

    assert run_virtual(scenario()) <= 1


class Row(Struct, frozen=True):
    """A row of the table of errors: what comes back, and what is made of it with unlimited time."""

    error: CallError
    waits_s: list[float]
    costs_budget: bool = True


EIGHT_S = [1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0]
ROWS = {
    "429": Row(Throttled("rate"), EIGHT_S, costs_budget=False),
    "429, retry after 3": Row(
        Throttled("rate", retry_after_s=3), [3 + wait_s for wait_s in EIGHT_S], costs_budget=False
    ),
    "429, tokens per day": Row(QuotaExhausted("day"), [], costs_budget=False),
    "429, model not ready": Row(Unavailable("not ready", backoff_s=1.0), [1.0, 2.0]),
    "500, 502, 503, 504": Row(Unavailable("5xx", backoff_s=0.05, charged=True), [0.05, 2.0]),
    "503, retry after 2": Row(Unavailable("5xx", retry_after_s=2), [2.05, 2.1]),
    "408, 424": Row(Unavailable("model", backoff_s=0.5, max_retries=1, charged=True), [0.5]),
    "connection": Row(Unavailable("reset", backoff_s=0.05), [0.05, 2.0]),
    "our time-out": Row(Unavailable("slow", backoff_s=0, max_retries=1, charged=True), [0.0]),
    "unreadable reply": Row(Unavailable("html", backoff_s=0.05, max_retries=1), [0.05]),
    "403, expired": Row(CredentialsError("expired"), [], costs_budget=False),
    "400, 403, 404": Row(Denied("no"), [], costs_budget=False),
    "deadline": Row(DeadlineExceeded("late"), [], costs_budget=False),
    "open breaker": Row(BreakerOpen("ill", retry_after_s=5), [10.0] * 5, costs_budget=False),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_each_kind_of_error_has_its_row(row: Row) -> None:
    budget, script = RetryBudget(ratio=0, per_s=1), Script(*[row.error] * 99)
    with pytest.raises(type(row.error)):
        run(new(max_throttled=8, budget=budget), script)
    waits_s = [after - before for before, after in itertools.pairwise(script.asked_s)]
    assert waits_s == pytest.approx(row.waits_s)
    assert (budget.statistics().retries > 0) == row.costs_budget


def test_its_line_shows_the_settings() -> None:
    assert repr(new()) == (
        "Retry(max_attempts=3, max_throttled=4, base_s=0.05, throttled_base_s=1, cap_s=5,"
        " budget=20 % + 10/s)"
    )
