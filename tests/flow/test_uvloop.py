"""The layers' timers on uvloop, which has another type of handle for a time in the past."""

import ast
import asyncio
import time
from pathlib import Path

import pytest

import judge_service
from judge_service.flow import Request
from judge_service.flow.admission.bucket import Limit
from judge_service.http.connection import Connection
from tests.flow.gates import new_gate

uvloop = pytest.importorskip("uvloop")


def run(scenario: object) -> object:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(scenario)  # type: ignore[arg-type]


def keep_the_loop(seconds: float) -> None:
    """A loop that is late sets its timers for times that have passed."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def test_calls_wait_for_units_while_the_loop_is_late() -> None:
    gate = new_gate({"requests": Limit(6_000.0)})

    async def judge(_: Request[None]) -> int:
        keep_the_loop(0.002)
        return 1

    async def scenario() -> list[int]:
        return await asyncio.gather(*(gate(Request(None), judge) for _ in range(120)))

    assert run(scenario()) == [1] * 120


def test_slots_change_while_the_loop_is_late() -> None:
    gate = new_gate(max_in_flight=4, adaptive=True)

    async def judge(_: Request[None]) -> int:
        keep_the_loop(0.002)
        await asyncio.sleep(0.001)
        return 1

    async def scenario() -> list[int]:
        return await asyncio.gather(*(gate(Request(None), judge) for _ in range(60)))

    assert run(scenario()) == [1] * 60


def test_a_connection_moves_a_timer_whose_time_has_passed() -> None:
    async def scenario() -> None:
        connection = Connection(memoryview(bytearray(8)), 100, 1.0)
        now_s = asyncio.get_running_loop().time()
        connection._set_timer(now_s - 1)
        connection._set_timer(now_s - 2)
        connection.abort()

    run(scenario())


def test_no_timer_is_asked_when_it_is_due() -> None:
    """uvloop gives a handle without `when` for a time that has passed."""
    asking = [
        f"{path.name}:{node.lineno}"
        for path in Path(judge_service.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr == "when"
        and getattr(node.value, "attr", getattr(node.value, "id", "")) != "vote"  # a setting
    ]

    assert not asking
