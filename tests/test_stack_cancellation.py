"""A caller cancelled after any callback of the loop leaves nothing behind, and the others go on at once."""

from typing import Any

import pytest
from msgspec.structs import replace

from judge_service.errors import Throttled, Unavailable
from judge_service.testing import run_virtual
from tests.flow.gates import assert_nothing_held
from tests.stack_steps import Attempt, Call, Outcome, Script, play

ONE_SLOT: dict[str, Any] = {
    "limits": {
        "requests_per_minute": 6000,
        "tokens_per_minute": 600_000,
        "max_in_flight": 1,
        "adaptive": False,
    },
    "cache": {"max_entries": 0},
}
FEW_TOKENS: dict[str, Any] = {
    "limits": {"requests_per_minute": 120, "max_in_flight": 8, "adaptive": False},
    "cache": {"max_entries": 0},
}
DEAR_HEAD: dict[str, Any] = {
    "limits": {"tokens_per_minute": 30_000, "burst_s": 3, "max_in_flight": 8, "adaptive": False},
    "cache": {"max_entries": 0},
}
NO_QUOTA: dict[str, Any] = {"limits": {"max_in_flight": 8}, "cache": {"max_entries": 0}}
HEDGED = {**NO_QUOTA, "hedge": {"enabled": True, "budget": 0.5}}
TWO_REGIONS = {
    **ONE_SLOT,
    "bedrock": {"region": "us-east-1"},
    "failover": {"regions": ["us-west-2"]},
}

A, B = Call(("a",)), Call(("b",))
SAME = Call(("same",), deadline_s=300.0)  # earlier than the flight's, or it would not join
LONG = " ".join(f"word{number}" for number in range(300))
FAILS = Attempt(error=Unavailable("503", charged=False))
FAILS_CHARGED = Attempt(error=Unavailable("reset", charged=True))
REFUSED = Attempt(takes_s=0.01, error=Throttled("429"))

SCRIPTS = [
    Script(
        name="gate, slots bind",
        passes=frozenset({"Turn.wait", "Judge.__call__"}),
        victim=Call(("v",)),
        others=(A, B, Call(("later",), begins_s=0.01)),
        settings=ONE_SLOT,
        attempts=({"v": [Attempt()], "a": [Attempt()]},),
    ),
    Script(
        name="gate, tokens bind",
        passes=frozenset({"Turn.wait", "Judge.__call__"}),
        victim=Call(("v",)),
        others=(A, B, Call(("later",), begins_s=0.01)),
        settings=FEW_TOKENS,
        attempts=({"v": [Attempt()]},),
    ),
    Script(
        name="gate, the head is dearer than the others",
        passes=frozenset({"Turn.wait", "Judge.__call__"}),
        victim=Call((LONG,)),
        others=(Call(("a", "b", "c", "d", "e")), Call(("later",), begins_s=0.01)),
        settings=DEAR_HEAD,
        attempts=({LONG: [Attempt()]},),
    ),
    Script(
        name="a batch, which has workers",
        passes=frozenset({"Turn.wait", "Judge.__call__", "Coalesce.__call__"}),
        victim=Call(("v", "w", "x")),
        others=(A, Call(("later",), begins_s=0.1)),
        settings=ONE_SLOT,
        attempts=({text: [Attempt()] for text in "vwx"},),
    ),
    Script(
        name="coalesce, the leader",
        passes=frozenset({"Coalesce.__call__", "Turn.wait"}),
        victim=Call(("same",)),
        others=(A, replace(SAME, begins_s=0.1), replace(SAME, begins_s=0.3), B),
        settings=ONE_SLOT,
        joins=2,
        attempts=({"a": [Attempt()], "same": [Attempt()]},),
    ),
    Script(
        name="coalesce, a follower",
        passes=frozenset({"Coalesce.__call__", "Turn.wait"}),
        victim=replace(SAME, begins_s=0.1),
        others=(A, Call(("same",)), B),
        settings=ONE_SLOT,
        joins=1,
        attempts=({"a": [Attempt()], "same": [Attempt()]},),
    ),
    Script(
        name="coalesce, the question is asked again in that moment",
        passes=frozenset({"Coalesce.__call__", "Turn.wait"}),
        victim=Call(("same",)),
        others=(A, B),
        settings=ONE_SLOT,
        attempts=({"a": [Attempt()], "same": [Attempt()]},),
        is_asked_again=True,
    ),
    Script(
        name="coalesce, an interactive caller behind a bulk flight",
        passes=frozenset({"Coalesce.__call__", "Turn.wait"}),
        victim=Call(("same",), begins_s=0.1, lane="interactive"),
        others=(A, Call(("same",), lane="bulk"), Call(("b",), lane="bulk")),
        settings=ONE_SLOT,
        attempts=({"a": [Attempt()], "same": [Attempt()]},),
    ),
    Script(
        name="hedge, both copies",
        passes=frozenset({"Hedge._wait_for_room", "Hedge._race", "Judge.__call__"}),
        victim=Call(("v",)),
        others=(A,),
        settings=HEDGED,
        attempts=({"v": [Attempt(takes_s=3.0), Attempt(takes_s=0.4)]},),
        is_warm=True,
    ),
    Script(
        name="hedge, the first copy fails",
        passes=frozenset({"Hedge._wait_for_room", "Hedge._race", "Judge.__call__"}),
        victim=Call(("v",)),
        others=(A,),
        settings=HEDGED,
        attempts=({"v": [Attempt(takes_s=0.5, error=Unavailable("503")), Attempt(takes_s=1.0)]},),
        is_warm=True,
    ),
    Script(
        name="retry, failures",
        passes=frozenset({"Retry._wait", "Turn.wait", "Judge.__call__"}),
        victim=Call(("v",)),
        others=(A, B),
        settings=ONE_SLOT,
        attempts=({"v": [FAILS, FAILS_CHARGED, Attempt()]},),
    ),
    Script(
        name="retry, refusals",
        passes=frozenset({"Retry._wait", "Judge.__call__"}),
        victim=Call(("v",)),
        others=(A, B),
        settings=FEW_TOKENS,
        attempts=({"v": [REFUSED, REFUSED, Attempt()]},),
    ),
    Script(
        name="retry, refusals without a quota",
        passes=frozenset({"Retry._wait", "Judge.__call__"}),
        victim=Call(("v",)),
        others=(A, B, Call(("later",), begins_s=0.07)),
        settings={"limits": {"max_in_flight": 2}, "cache": {"max_entries": 0}},
        attempts=({"v": [REFUSED, REFUSED, Attempt()], "a": [Attempt()]},),
    ),
    Script(
        name="a deadline that comes while the caller waits",
        passes=frozenset({"Turn.wait"}),
        victim=Call(("v",), deadline_s=0.3),
        others=(A, B, Call(("later",), begins_s=0.01)),
        settings=ONE_SLOT,
        attempts=({text: [Attempt()] for text in ("v", "a", "b")},),
    ),
    Script(
        name="failover",
        passes=frozenset({"Failover.__call__", "Turn.wait", "Judge.__call__"}),
        victim=Call(("v",)),
        others=(A, B),
        settings=TWO_REGIONS,
        attempts=(
            {"v": [FAILS], "b": [FAILS_CHARGED], "a": [Attempt()]},
            {"v": [FAILS, Attempt()], "b": [Attempt()]},
        ),
    ),
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_caller_cancelled_after_any_callback_leaves_nothing_and_holds_up_nobody(
    script: Script,
) -> None:
    whole = run_virtual(play(script, None))
    assert_left(whole)
    assert not whole.was_cancelled
    assert whole.joined == script.joins
    passed: set[str] = set()
    cancelled = 0
    for callbacks in range(whole.callbacks):
        try:
            outcome = run_virtual(play(script, callbacks), timeout_s=600)
            assert_left(outcome)
            if outcome.was_cancelled:
                assert outcome.took_s == 0, "the victim was held up"
                assert outcome.sent_after == 0, "a call was sent for a caller that had gone"
                assert outcome.held_after == 0, "the caller went before what it held was back"
        except BaseException as problem:
            problem.add_note(f"{script.name}: cancelled after {callbacks} of {whole.callbacks}")
            raise
        passed |= outcome.places
        cancelled += outcome.was_cancelled
    assert script.passes <= passed
    assert cancelled >= whole.callbacks - 4  # at the very end there is a result already


def assert_left(outcome: Outcome) -> None:
    """Nothing is held, what was sent and nothing else was charged, and nobody waited for a free place."""
    assert all(reward.score == 0.5 for rewards in outcome.others for reward in rewards)
    assert outcome.idle == []
    for gate, judge in zip(outcome.gates, outcome.judges, strict=True):
        assert_nothing_held(gate)
        assert gate.statistics().charged == {one: judge.cost[one] for one in gate._limits}
    assert (outcome.flights_left, outcome.tasks_left, outcome.timers_left) == (0, [], 0)
