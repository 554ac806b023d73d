import asyncio
from collections.abc import Sequence

import pytest

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
from judge_service.flow.failover import Failover, FailoverStatistics
from judge_service.telemetry.events import FailedOver
from judge_service.testing import START_S, RecordingSink, run_virtual
from tests.flow.gates import new_gate


class Target:
    """Answers with its name, or raises."""

    def __init__(self, name: str, error: BaseException | None = None) -> None:
        self.name, self.error = name, error
        self.envelopes: list[Request[str]] = []

    async def __call__(self, request: Request[str]) -> str:
        self.envelopes.append(request)
        if self.error:
            raise self.error
        return self.name


def ask(*targets: Target, sink: RecordingSink | None = None, deadline: float = START_S + 9) -> str:
    failover = Failover(targets, sink=sink or RecordingSink())
    return run_virtual(failover(Request("q", deadline, arrived_at=7.0)))


def test_the_first_target_that_answers_is_the_only_one_asked() -> None:
    second = Target("second")
    assert ask(Target("first"), second) == "first"
    assert second.envelopes == []


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("503"),
        Throttled("429"),
        QuotaExhausted("day"),
        BreakerOpen("ill", retry_after_s=3),
        DeadlineExceeded("the limiter's turn would come too late"),
    ],
)
def test_trouble_of_a_target_sends_the_question_to_the_next(error: CallError) -> None:
    sink = RecordingSink()
    assert ask(Target("first", error), Target("second"), sink=sink) == "second"
    assert sink.events == [FailedOver(position=1, reason=error.reason)]


@pytest.mark.parametrize(
    "error",
    [
        Denied("no access"),
        CredentialsError("expired"),
        DeadlineExceeded("too slow", charged=True),
        ZeroDivisionError(),
        asyncio.CancelledError(),
    ],
)
def test_what_another_target_cannot_mend_ends_the_call(error: BaseException) -> None:
    second = Target("second")
    with pytest.raises(type(error)):
        ask(Target("first", error), second)
    assert second.envelopes == []


def test_when_the_deadline_has_passed_no_other_target_is_asked() -> None:
    second = Target("second")
    with pytest.raises(DeadlineExceeded):
        ask(Target("first", DeadlineExceeded("late")), second, deadline=START_S)
    assert second.envelopes == []


@pytest.mark.parametrize(
    ("errors", "best"),
    [
        ([Unavailable("5xx"), Throttled("429")], 1),
        ([QuotaExhausted("day"), Unavailable("5xx")], 1),
        ([DeadlineExceeded("late"), Throttled("429", retry_after_s=9)], 1),
        ([Throttled("a", retry_after_s=3), Throttled("b", retry_after_s=2)], 1),
        ([BreakerOpen("ill", retry_after_s=5), Unavailable("5xx")], 1),
        ([Throttled("a"), Throttled("b")], 0),
    ],
)
def test_when_all_refuse_the_error_most_worth_waiting_for_is_raised(
    errors: Sequence[CallError], best: int
) -> None:
    with pytest.raises(CallError) as caught:
        ask(*(Target("", error) for error in errors))
    assert caught.value is errors[best]


def test_each_target_is_asked_once_and_knows_nothing_of_the_attempt_before() -> None:
    sent_before: list[float] = []

    async def target(request: Request[str]) -> str:
        sent_before.append(request.sent_at)
        request.sent_at = asyncio.get_running_loop().time()
        assert request.arrived_at == 7.0
        raise Unavailable("503")

    failover = Failover([target, target, target], sink=RecordingSink())
    with pytest.raises(Unavailable):
        run_virtual(failover(Request("q", START_S + 9, arrived_at=7.0)))
    assert sent_before == [0, 0, 0]


@pytest.mark.parametrize("targets", [1, 2])
def test_a_call_whose_caller_has_gone_asks_no_other_target(targets: int) -> None:
    asked = 0

    async def target(request: Request[str]) -> str:
        nonlocal asked
        asked += 1
        request.is_abandoned = True
        raise Unavailable("503")

    with pytest.raises(Unavailable):
        run_virtual(Failover([target] * targets, sink=RecordingSink())(Request("q")))
    assert asked == 1


def test_an_ill_target_is_passed_over_by_its_breaker_alone() -> None:
    async def scenario() -> tuple[int, FailoverStatistics]:
        ill, well = Target("ill", Unavailable("refused")), Target("well")
        failover = Failover([stack(ill, new_gate()), well], sink=RecordingSink())
        for _ in range(50):
            assert await failover(Request("q")) == "well"
        return len(ill.envelopes), failover.statistics()

    assert run_virtual(scenario()) == (20, FailoverStatistics(answered=(0, 50), refused=0))


def test_calls_that_nobody_answered_are_counted() -> None:
    failover = Failover([Target("a", Unavailable("x"))], sink=RecordingSink())
    with pytest.raises(Unavailable):
        run_virtual(failover(Request("q")))
    assert failover.statistics() == FailoverStatistics(answered=(0,), refused=1)
    assert repr(failover) == "Failover(targets=1)"
