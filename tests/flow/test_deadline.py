import asyncio
from math import inf

import pytest

from judge_service.errors import DeadlineExceeded
from judge_service.flow import Request
from judge_service.flow.deadline import GRACE_S, Deadline
from judge_service.testing import VirtualTimeLoop, run_virtual


def now() -> float:
    return asyncio.get_running_loop().time()


async def slow(request: Request[float]) -> str:
    await asyncio.sleep(request.body)
    return "done"


def test_a_request_in_time_goes_through() -> None:
    async def scenario() -> str:
        return await Deadline()(Request(1.0, now() + 2), slow)

    assert run_virtual(scenario()) == "done"


def test_a_past_deadline_is_refused_before_anything_is_called() -> None:
    async def scenario() -> Deadline:
        layer = Deadline()
        called: list[object] = []
        with pytest.raises(DeadlineExceeded, match=r"had passed 0\.500 s before"):
            await layer(Request(0.0, now() - 0.5), called.append)  # type: ignore[arg-type] # never called
        assert called == []
        return layer

    layer = run_virtual(scenario())
    assert (layer.statistics().refused, layer.statistics().cut_off) == (1, 0)
    assert repr(layer) == "Deadline()"


def test_work_is_cut_off_exactly_at_the_deadline() -> None:
    async def scenario() -> float:
        start, layer = now(), Deadline()
        with pytest.raises(DeadlineExceeded):
            await layer(Request(10.0, start + 3), slow)
        assert layer.statistics().cut_off == 1
        return now() - start

    assert run_virtual(scenario()) == pytest.approx(3)


def test_after_a_stall_work_without_an_answer_is_cut_off_a_moment_later() -> None:
    async def scenario() -> float:
        loop, start = asyncio.get_running_loop(), now()
        assert isinstance(loop, VirtualTimeLoop)
        loop.call_later(1, loop.stall, 5)
        with pytest.raises(DeadlineExceeded):
            await Deadline()(Request(100.0, start + 3), slow)
        return now() - start

    assert run_virtual(scenario()) == pytest.approx(6 + GRACE_S)


def test_no_deadline_sets_no_timer() -> None:
    async def scenario() -> str:
        return await Deadline()(Request(1e6, inf), slow)

    assert run_virtual(scenario()) == "done"


def test_a_time_out_of_the_handlers_own_is_not_taken_for_the_deadline() -> None:
    async def times_out(request: Request[float]) -> str:
        async with asyncio.timeout(1):
            return await slow(request)

    async def scenario() -> None:
        await Deadline()(Request(5.0, now() + 100), times_out)

    with pytest.raises(TimeoutError):
        run_virtual(scenario())


@pytest.mark.parametrize("cancel_after_s", [1.0, 3.0])
def test_a_cancellation_stays_one_even_at_the_deadline_itself(cancel_after_s: float) -> None:
    async def scenario() -> bool:
        task = asyncio.create_task(Deadline()(Request(10.0, now() + 3), slow))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_at(now() + cancel_after_s, task.cancel)
        await asyncio.wait((task,))
        return task.cancelled()

    assert run_virtual(scenario())
