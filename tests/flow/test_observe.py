import asyncio

import pytest

from judge_service.errors import Denied, Throttled
from judge_service.flow import Request
from judge_service.flow.observe import Observe
from judge_service.telemetry.events import CallEnded
from judge_service.testing import RecordingSink, run_virtual


async def observed(
    error: BaseException | None, *, sent: bool = True, cancel_after_s: float | None = None
) -> CallEnded:
    async def backend(request: Request[str]) -> str:
        await asyncio.sleep(2)
        if sent:
            request.sent_at = asyncio.get_running_loop().time()
        await asyncio.sleep(3)
        if error is not None:
            raise error
        return "answer"

    sink = RecordingSink()
    observe = Observe(target="here/model", sink=sink)
    task = asyncio.create_task(observe(Request("q"), backend))
    if cancel_after_s is not None:
        asyncio.get_running_loop().call_later(cancel_after_s, task.cancel)
    await asyncio.wait((task,))
    if not task.cancelled():
        assert task.exception() is error
    (event,) = sink.of(CallEnded)
    return event


@pytest.mark.parametrize(
    ("error", "outcome", "throttled"),
    [
        (None, "ok", False),
        (Throttled("full"), "throttled", True),
        (Denied("no"), "denied", False),
        (ZeroDivisionError(), "grader_error", False),
    ],
)
def test_every_end_is_told_once_with_queue_and_backend_time(
    error: Exception | None, outcome: str, throttled: bool
) -> None:
    assert run_virtual(observed(error)) == CallEnded(
        target="here/model", outcome=outcome, queue_s=2, backend_s=3, throttled=throttled
    )


def test_a_call_never_sent_has_queue_time_only() -> None:
    event = run_virtual(observed(Denied("no"), sent=False))
    assert (event.queue_s, event.backend_s) == (5, 0)


@pytest.mark.parametrize(("after_s", "queue_s", "backend_s"), [(1, 1, 0), (4, 2, 2)])
def test_a_cancelled_attempt_is_told_as_cancelled(
    after_s: float, queue_s: float, backend_s: float
) -> None:
    event = run_virtual(observed(None, cancel_after_s=after_s))
    assert (event.outcome, event.queue_s, event.backend_s) == ("cancelled", queue_s, backend_s)


def test_its_line_names_the_target() -> None:
    assert repr(Observe(target="a/b", sink=RecordingSink())) == "Observe(target=a/b)"
