"""The function after a freeze or a snapshot between two invocations."""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from judge_service.simulator import SimulatorConfig, simulate
from lambda_adapter import snapshot
from lambda_adapter.environment import Environment
from lambda_adapter.freeze import QUIET_S, FreezeDetector
from tests.lambda_adapter.runtime_api import function
from tests.lambda_adapter.test_handler import row
from tests.lambda_adapter.validator import assert_valid


class Clock:
    """A clock that goes as far as it is told to."""

    def __init__(self, now_s: float = 1_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize("jump_s", [QUIET_S, 600.0, -600.0])
@pytest.mark.parametrize("stopped", [(0,), (1,), (0, 1), ()])
def test_a_freeze_is_seen_by_whichever_clock_went_on(
    stopped: tuple[int, ...], jump_s: float
) -> None:
    clocks = (Clock(), Clock(1e9))
    detector = FreezeDetector(clocks)
    assert not detector.begin()  # the first invocation follows no other
    detector.end()
    for position, clock in enumerate(clocks):
        clock.now_s += 0.0 if position in stopped else jump_s

    assert detector.begin() == (len(stopped) < 2)


def test_a_short_pause_and_another_invocation_at_work_are_no_freeze() -> None:
    clock = Clock()
    detector = FreezeDetector((clock,))
    detector.begin()
    detector.end()
    clock.now_s += QUIET_S / 2
    assert not detector.begin()
    clock.now_s += 600.0  # a long invocation
    assert not detector.is_last or not detector.begin()
    assert not detector.is_last
    detector.end()
    detector.end()
    assert not detector.begin()


def bedrock(url: str, **more: str) -> dict[str, str]:
    return {
        "JUDGE_BACKEND": "bedrock",
        "JUDGE_MODEL": "us.amazon.nova-lite-v1:0",
        "JUDGE_BEDROCK_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        **more,
    }


def rows(first: int, count: int) -> list[Any]:
    return [row(n) for n in range(first, first + count)]


async def test_after_a_freeze_the_next_call_answers_and_does_not_burst_over_the_quota() -> None:
    """The real runtime client, stopped and continued; meanwhile the judge closes the connections."""
    per_minute = 600
    config = SimulatorConfig(latency_median_s=0.02, idle_timeout_s=0.5, requests_per_minute=None)
    async with simulate(config) as simulator:
        environment = bedrock(
            simulator.url,
            JUDGE_LIMITS_REQUESTS_PER_MINUTE=str(per_minute),
            JUDGE_HTTP_IDLE_TIMEOUT_S="600",
        )

        def freeze_between_two() -> tuple[Any, float]:
            with function(**environment) as api:
                api.invoke(rows(0, 8))
                os.kill(api.pid, signal.SIGSTOP)
                time.sleep(2.0)
                os.kill(api.pid, signal.SIGCONT)
                calls, began_s = simulator.statistics().calls, time.monotonic()
                answer = api.invoke(rows(100, 16))
                spent_s = time.monotonic() - began_s
                allowed = per_minute / 60 * (spent_s + 0.5) * 1.01 + 1
                assert simulator.statistics().calls - calls <= allowed
                return answer, spent_s

        (kind, reply), _ = await asyncio.to_thread(freeze_between_two)

    assert kind == "response", reply
    assert_valid(rows(100, 16), reply)
    assert not any("unscored_reason" in item for item in reply)


def test_what_a_freeze_spoils_is_ended_before_it_and_given_up_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = Environment(environ={"JUDGE_LOGS_ENABLED": "false"})
    environment.answer([row(1)])
    told: list[str] = []
    judge = judge_of(environment)
    monkeypatch.setattr(judge, "thaw", lambda: told.append("thaw"))
    rest = judge.rest

    async def rested() -> None:
        told.append("rest")
        await rest()

    monkeypatch.setattr(judge, "rest", rested)

    environment.answer([row(2)])
    assert told == ["rest"]
    environment._freeze._seen = [seen - 600 for seen in environment._freeze._seen or ()]
    environment.answer([row(3)])
    environment.close()

    assert told == ["rest", "thaw", "rest"]


def judge_of(environment: Environment) -> Any:
    assert environment._renewal is not None
    assert environment._renewal._edition is not None
    return environment._renewal._edition.value.judge


# SnapStart


def test_nothing_is_open_before_a_snapshot_is_restored_and_then_it_answers() -> None:
    """The restore path of the real runtime client."""
    with function(AWS_LAMBDA_INITIALIZATION_TYPE="snap-start", JUDGE_LOGS_ENABLED="false") as api:
        assert api.snapshot_taken.wait(20)
        assert len(list(Path(f"/proc/{api.pid}/task").iterdir())) == 1  # no loop, no thread
        assert sockets_of(api.pid) <= 1  # the runtime client's own
        api.restored.set()
        kind, reply = api.invoke([row(1)])

    assert kind == "response", reply
    assert_valid([row(1)], reply)


def sockets_of(pid: int) -> int:
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(link.startswith("socket:") for link in links)


def test_random_numbers_differ_after_a_restore_and_the_judge_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hooks: list[tuple[str, Callable[..., None], tuple[Any, ...]]] = []
    stub = SimpleNamespace(
        register_before_snapshot=lambda call, *more: hooks.append(("before", call, more)),
        register_after_restore=lambda call, *more: hooks.append(("after", call, more)),
    )
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", stub)
    monkeypatch.setenv(snapshot.INITIALIZATION, "snap-start")
    done: list[str] = []

    snapshot.register(lambda: done.append("closed"), lambda: done.append("opened"))
    random.seed(7)
    shared = random.getstate()
    drawn = []
    for _ in range(2):  # two processes that come from one snapshot
        random.setstate(shared)
        for _when, call, more in hooks:
            call(*more)
        drawn.append(random.random())

    assert [when for when, *_ in hooks] == ["before", "after"]
    assert done == ["closed", "opened"] * 2
    assert drawn[0] != drawn[1]


def test_without_snapstart_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", None)

    snapshot.register(lambda: None, lambda: None)


def test_a_mistake_in_the_settings_does_not_fail_the_restore_but_the_invocation() -> None:
    environment = Environment(environ={"JUDGE_MODLE": "x"})

    environment.open()

    with pytest.raises(Exception, match="JUDGE_MODEL"):
        environment.answer([row(1)])
    environment.close()
