import asyncio
import json
from typing import Any

import pytest

from judge_service.telemetry.events import (
    AlarmChanged,
    BreakerChanged,
    CacheLooked,
    CallEnded,
    ChannelChanged,
    Event,
    FailedOver,
    RequestChanged,
    StoreBack,
    StoreLost,
)
from judge_service.telemetry.logs import FIELDS, LEVELS, REPEAT_S, Logs, field_of
from judge_service.telemetry.trace import carry
from judge_service.values import Usage
from tests.telemetry.conftest import Written, graded


def test_a_sample_has_one_flat_line_with_the_fields_that_the_queries_use(written: Written) -> None:
    logs = Logs(written.lines, service="rewards", now=lambda: 1_790_000_000.25)

    with carry(request_id="r-1", trace_id="1-5f-6"):
        logs(
            graded(
                "row-7",
                0.75,
                parts={"helpful": 1.0, "polite": 0.5},
                usage=Usage(input_tokens=90, cache_read_tokens=10, output_tokens=5, calls=2),
                cost_usd=0.001,
                model="nova",
            )
        )

    assert written.records() == [
        {
            "timestamp": "2026-09-21T14:13:20.250Z",
            "level": "INFO",
            "service": "rewards",
            "message": "sample",
            "function_request_id": "r-1",
            "xray_trace_id": "1-5f-6",
            "id": "row-7",
            "aggregate_reward_score": 0.75,
            "helpful": 1.0,
            "polite": 0.5,
            "duration": 250.0,
            "unscored": 0,
            "calls": 2,
            "input_tokens": 100,
            "output_tokens": 5,
            "cache_read_tokens": 10,
            "cache_write_tokens": 0,
            "cost_usd": 0.001,
            "model": "nova",
            "cached": False,
            "rubric": "helpfulness@0123456789abcdef",
        }
    ]


def test_an_unscored_sample_has_no_score_field_that_a_query_could_take_for_a_zero(
    written: Written,
) -> None:
    Logs(written.lines)(
        graded(score=None, parts={"helpful": None}, detail="no room before the end")
    )

    [line] = written.records()
    assert "aggregate_reward_score" not in line
    assert "helpful" not in line
    assert line["unscored"] == 1
    assert line["unscored_reason"] == "throttled"
    assert line["detail"] == "no room before the end"
    assert line["level"] == "WARNING"


def test_scores_are_written_as_they_are_sent(written: Written) -> None:
    Logs(written.lines, lowest=-1.0)(graded(score=0.25, parts={"helpful": 0.0}))

    [line] = written.records()
    assert line["aggregate_reward_score"] == -0.5
    assert line["helpful"] == -1.0


@pytest.mark.parametrize("taken", FIELDS)
def test_a_criterion_with_a_field_of_ours_for_a_name_is_moved_aside(
    written: Written, taken: str
) -> None:
    Logs(written.lines)(graded("a", 0.5, parts={taken: 0.125}))

    [line] = written.records()
    assert line[f"criterion_{taken}"] == 0.125
    assert line.get(taken) != 0.125


def test_two_criteria_never_share_a_field() -> None:
    names = ["id", "criterion_id", "criterion_criterion_id", "criterion_helpful", "helpful"]

    assert len({field_of(name) for name in names}) == len(names)


def test_sampling_never_drops_an_unscored_or_a_slow_sample(written: Written) -> None:
    logs = Logs(written.lines, sample_rate=0.0, slow_s=5.0)

    for event in (graded("fast"), graded("none", None), graded("slow", duration_s=5.001)):
        logs(event)

    assert [line["id"] for line in written.records()] == ["none", "slow"]


def test_the_share_of_samples_with_a_line_is_the_setting(written: Written) -> None:
    dice = iter([0.0, 0.2, 0.2999, 0.3, 0.9])
    logs = Logs(written.lines, sample_rate=0.3, chance=lambda: next(dice))

    for number in range(5):
        logs(graded(number))

    assert [line["id"] for line in written.records()] == [0, 1, 2]


def test_candidate_text_is_written_only_when_that_was_asked_for(written: Written) -> None:
    Logs(written.lines)(graded(response="secret"))
    Logs(written.lines, candidate_text=True)(graded(response="s" * 5000))

    without, with_text = written.records()
    assert "secret" not in json.dumps(without)
    assert with_text["response"] == "s" * 2000


@pytest.mark.parametrize(
    "hostile",
    [
        'a\n{"id": "forged"}',
        "a\r\nb",
        "\x1b[31mred\x1b[0m",
        "a\u202egnp.exe",
        "a\u2066b\u2069",
        "a\u2028b\u2029c\x85d",
        "\x00\x07\x7f",
        "\ud800 alone",
        "\U000e0041 tag",
    ],
)
def test_hostile_text_neither_breaks_a_line_nor_rules_a_terminal(
    written: Written, hostile: str
) -> None:
    Logs(written.lines, candidate_text=True)(
        graded(hostile, None, reason=hostile, detail=hostile, response=hostile, model=hostile)
    )

    [line] = written.records()
    for name in ("id", "unscored_reason", "detail", "response", "model"):
        assert line[name].isprintable()
        assert len(line[name]) == len(hostile)


@pytest.mark.parametrize(
    ("ident", "shown"),
    [
        ("x" * 10_000, "x" * 128),
        (7, 7),
        (2.5, 2.5),
        (None, None),
        (True, True),
        (2**70, "1180591620717411303424"),
        pytest.param(10**5000, "(int)", id="5,000 digits"),
        (["a", 1], '["a",1]'),
        ({"k": "\u202e"}, '{"k":" "}'),
        ({1, 2}, "[1,2]"),
        (object(), "(object)"),
    ],
)
def test_an_id_of_any_kind_makes_a_bounded_line(written: Written, ident: Any, shown: Any) -> None:
    Logs(written.lines)(graded(ident))

    [line] = written.records()
    assert line["id"] == shown


OPERATORS_EVENTS: list[Event] = [
    AlarmChanged(alarm="judge_drift", is_raised=True, value=0.3, limit=0.2),
    BreakerChanged(target="bedrock us-east-1 nova", state="open"),
    ChannelChanged(model="nova", refused="schema", now="tool"),
    FailedOver(position=1, reason="unavailable"),
    RequestChanged(model="nova", changes="no temperature"),
    StoreLost(quota="nova", clients=12, reason="no answer in 0.2 s"),
    StoreBack(quota="nova", lost_s=3.5),
]


@pytest.mark.parametrize("event", OPERATORS_EVENTS, ids=lambda event: type(event).__name__)
def test_what_an_operator_must_know_is_one_line_with_the_events_fields(
    written: Written, event: Event
) -> None:
    Logs(written.lines)(event)

    [line] = written.records()
    assert line["level"] == ("INFO" if isinstance(event, StoreBack) else "WARNING")
    assert {name: line[name] for name in event.__struct_fields__} == {
        name: getattr(event, name) for name in event.__struct_fields__
    }


def test_every_operators_event_is_in_that_test() -> None:
    assert {type(event) for event in OPERATORS_EVENTS} == set(LEVELS)


def test_an_event_that_comes_with_every_call_is_written_now_and_then(written: Written) -> None:
    now = [1000.0]
    logs = Logs(written.lines, now=lambda: now[0])
    for _ in range(500):
        logs(FailedOver(position=1, reason="unavailable"))
    now[0] += REPEAT_S
    logs(FailedOver(position=1, reason="unavailable"))
    logs(FailedOver(position=2, reason="unavailable"))

    assert [(line["position"], line.get("repeated")) for line in written.records()] == [
        (1, None),
        (1, 499),
        (2, None),
    ]


def test_single_calls_have_no_line(written: Written) -> None:
    logs = Logs(written.lines)
    logs(CallEnded(target="t", outcome="ok", queue_s=0.0, backend_s=0.1))
    logs(CacheLooked(hit=True))

    assert written.records() == []


async def test_the_ids_of_a_request_reach_the_tasks_that_work_for_it_and_no_others(
    written: Written,
) -> None:
    logs = Logs(written.lines)

    async def serve(request_id: str) -> None:
        with carry(request_id=request_id):
            async with asyncio.TaskGroup() as group:
                for position in range(3):
                    group.create_task(grade(request_id, position))

    async def grade(request_id: str, position: int) -> None:
        await asyncio.sleep(0)
        logs(graded(f"{request_id}/{position}"))

    await asyncio.gather(serve("r1"), serve("r2"))
    logs(graded("outside"))

    *inside, outside = await asyncio.to_thread(written.records)
    assert len(inside) == 6
    assert all(line["id"].startswith(line["function_request_id"]) for line in inside)
    assert "function_request_id" not in outside
