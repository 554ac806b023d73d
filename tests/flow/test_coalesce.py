import asyncio
import gc
from math import inf

import pytest

from judge_service.errors import Throttled
from judge_service.flow import Request, stack
from judge_service.flow.coalesce import Coalesce, CoalesceStatistics
from judge_service.flow.detach import Detached
from judge_service.testing import START_S, run_virtual

WEIGHTS = {"interactive": 8, "training": 4, "bulk": 1}


class Model:
    """Takes a second, counts what begins and what is cancelled."""

    def __init__(self, error: Exception | None = None) -> None:
        self.began: list[tuple[str, float]] = []
        self.cancelled = 0
        self.error = error

    async def __call__(self, request: Request[str]) -> str:
        self.began.append((request.body, request.deadline))
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return request.body.upper()


def asking(
    layer: Coalesce[str, str], model: Model, *requests: Request[str]
) -> list[asyncio.Task[str]]:
    call = stack(model, layer)

    async def ask(request: Request[str]) -> str:
        return await call(request)

    return [asyncio.create_task(ask(request)) for request in requests]


def new() -> tuple[Coalesce[str, str], Model]:
    return Coalesce(key=str.casefold, weight=WEIGHTS.__getitem__, detached=Detached()), Model()


def test_equal_questions_at_the_same_time_are_one_call() -> None:
    async def scenario() -> None:
        layer, model = new()
        tasks = asking(layer, model, *(Request(body) for body in "aAab"))
        await asyncio.sleep(0.5)
        assert layer.statistics() == CoalesceStatistics(flights=2, waiting=4, joined=2)
        assert await asyncio.gather(*tasks) == ["A", "A", "A", "B"]
        assert [body for body, _ in model.began] == ["a", "b"]
        assert layer.statistics() == CoalesceStatistics(flights=0, waiting=0, joined=2)

    run_virtual(scenario())


def test_a_flight_that_has_landed_is_not_joined() -> None:
    async def scenario() -> int:
        layer, model = new()
        for _ in range(2):
            await asking(layer, model, Request("a"))[0]
        return len(model.began)

    assert run_virtual(scenario()) == 2


@pytest.mark.parametrize(("second", "calls"), [(5000.0, 1), (4000.0, 1), (6000.0, 2), (inf, 2)])
def test_a_follower_joins_only_a_flight_that_may_last_as_long_as_itself(
    second: float, calls: int
) -> None:
    async def scenario() -> int:
        layer, model = new()
        await asyncio.gather(*asking(layer, model, Request("a", 5000.0), Request("a", second)))
        assert layer.statistics().flights == 0
        return len(model.began)

    assert run_virtual(scenario()) == calls


def test_later_ones_join_the_flight_with_the_later_deadline() -> None:
    async def scenario() -> None:
        layer, model = new()
        requests = [Request("a", 5000.0), Request("a", 6000.0), Request("a", 5500.0)]
        await asyncio.gather(*asking(layer, model, *requests))
        assert [deadline for _, deadline in model.began] == [5000.0, 6000.0]

    run_virtual(scenario())


@pytest.mark.parametrize(
    ("first", "second", "calls"),
    [
        ("bulk", "interactive", 2),
        ("training", "interactive", 2),
        ("interactive", "bulk", 1),
        ("bulk", "bulk", 1),
    ],
)
def test_a_request_joins_no_flight_in_a_lighter_lane(first: str, second: str, calls: int) -> None:
    async def scenario() -> int:
        layer, model = new()
        requests = [Request("a", lane=first), Request("a", lane=second)]
        await asyncio.gather(*asking(layer, model, *requests))
        assert layer.statistics() == CoalesceStatistics(flights=0, waiting=0, joined=2 - calls)
        return len(model.began)

    assert run_virtual(scenario()) == calls


def test_an_interactive_flight_in_a_hurry_does_not_hide_the_bulk_flight() -> None:
    """Each joins the heaviest flight that may last as long as itself."""

    async def scenario() -> None:
        layer, model = new()
        flights = [Request("a", 9000.0, "bulk"), Request("a", 2000.0, "interactive")]
        followers = [Request("a", 8000.0, "bulk"), Request("a", 1900.0, "bulk")]
        tasks = asking(layer, model, *flights, *followers)
        await asyncio.sleep(0.5)
        assert layer.statistics() == CoalesceStatistics(flights=2, waiting=4, joined=2)
        tasks[1].cancel()  # the interactive flight goes on for the hurried bulk request
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [deadline for _, deadline in model.began] == [9000.0, 2000.0]
        assert (model.cancelled, tasks[3].result()) == (0, "A")

    run_virtual(scenario())


def test_a_flight_that_is_outdone_in_lane_and_deadline_is_joined_no_more() -> None:
    async def scenario() -> None:
        layer, model = new()
        tasks = asking(
            layer, model, Request("a", 5000.0, "bulk"), Request("a", 6000.0, "interactive")
        )
        await asyncio.sleep(0.5)
        assert layer.statistics().flights == 1
        tasks += asking(layer, model, Request("a", 4000.0, "bulk"))
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.wait(tasks)
        assert model.cancelled == 1  # the bulk flight, which had one waiter
        assert tasks[2].result() == "A"

    run_virtual(scenario())


def test_the_flight_outlives_its_leader_while_somebody_waits() -> None:
    async def scenario() -> None:
        layer, model = new()
        leader, follower = asking(layer, model, Request("a"), Request("a"))
        await asyncio.sleep(0.5)
        leader.cancel()
        assert await follower == "A"
        assert leader.cancelled()
        assert model.cancelled == 0

    run_virtual(scenario())


def test_the_flight_ends_with_its_last_waiter_who_waits_for_that() -> None:
    async def scenario() -> None:
        layer, model = new()
        tasks = asking(layer, model, Request("a"), Request("a"))
        await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert model.cancelled == 1
        assert layer.statistics() == CoalesceStatistics(flights=0, waiting=0, joined=1)
        assert len(asyncio.all_tasks()) == 1  # this one

    run_virtual(scenario())


def test_a_flight_that_lands_does_not_hide_the_one_that_took_its_place() -> None:
    async def scenario() -> list[float]:
        layer, model = new()
        tasks = asking(layer, model, Request("a", 5000.0))
        await asyncio.sleep(0.5)
        tasks += asking(layer, model, Request("a", 6000.0))
        await asyncio.sleep(0.7)  # the first has landed, the second is under way
        tasks += asking(layer, model, Request("a", 5500.0))
        await asyncio.gather(*tasks)
        return [deadline for _, deadline in model.began]

    assert run_virtual(scenario()) == [5000.0, 6000.0]


def test_the_last_waiter_leaves_when_the_flight_has_ended() -> None:
    async def slow_to_end(request: Request[str]) -> str:
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(3)
        return ""

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(
            Coalesce[str, str](key=str, weight=len, detached=Detached())(Request("a"), slow_to_end)
        )
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait((task,))
        return loop.time() - START_S

    assert run_virtual(scenario()) == 4


def test_nobody_joins_a_flight_that_is_being_cancelled() -> None:
    async def scenario() -> None:
        layer, model = new()
        first = asking(layer, model, Request("a"))[0]
        await asyncio.sleep(0.5)
        first.cancel()
        second = asking(layer, model, Request("a"))[0]
        assert await second == "A"
        assert first.cancelled()

    run_virtual(scenario())


def test_a_waiter_cancelled_as_the_flight_lands_harms_nobody() -> None:
    async def scenario() -> None:
        layer, model = new()
        one, other = asking(layer, model, Request("a"), Request("a"))
        asyncio.get_running_loop().call_later(1, one.cancel)
        assert await other == "A"
        assert one.done()
        assert layer.statistics().waiting == 0

    run_virtual(scenario())


def test_a_waiter_cancelled_between_the_answer_and_its_delivery_harms_nobody() -> None:
    tasks: list[asyncio.Task[str]] = []

    async def model(request: Request[str]) -> str:
        await asyncio.sleep(1)
        asyncio.get_running_loop().call_soon(tasks[0].cancel)  # runs before the waiters are told
        return "answer"

    async def scenario() -> None:
        layer = Coalesce[str, str](key=str, weight=len, detached=Detached())
        tasks.extend(asyncio.create_task(layer(Request("a"), model)) for _ in range(2))
        assert await tasks[1] == "answer"
        assert tasks[0].cancelled()

    run_virtual(scenario())


def test_a_failure_reaches_every_waiter_as_an_error_of_its_own() -> None:
    async def scenario() -> None:
        layer, model = (
            Coalesce[str, str](key=str, weight=len, detached=Detached()),
            Model(Throttled("full", retry_after_s=7)),
        )
        tasks = asking(layer, model, Request("a"), Request("a"))
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert [(str(e), e.retry_after_s) for e in errors if isinstance(e, Throttled)] == [
            ("full", 7)
        ] * 2
        assert errors[0] is not errors[1]

    run_virtual(scenario())


def test_a_failure_that_nobody_waits_for_makes_no_noise() -> None:
    async def stubborn(request: Request[str]) -> str:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            raise ZeroDivisionError from None
        return ""

    async def scenario() -> None:
        layer = Coalesce[str, str](key=str, weight=len, detached=Detached())
        task = asyncio.create_task(layer(Request("a"), stubborn))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()
        del task
        gc.collect()

    run_virtual(scenario())  # fails as Unhandled if the error was never retrieved


def test_its_line_is_short() -> None:
    assert repr(Coalesce(key=str, weight=len, detached=Detached())) == "Coalesce()"
