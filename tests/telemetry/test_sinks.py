import logging
from typing import Any

import pytest

from judge_service.backends.scripted import Scripted
from judge_service.service import open_service
from judge_service.settings import LogSettings, Settings
from judge_service.telemetry.events import CacheLooked, Event, tell
from judge_service.telemetry.sinks import open_sinks
from judge_service.testing import RecordingSink
from judge_service.values import Sample
from tests.telemetry.conftest import Page, graded

LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "SageMaker-judge"}


def test_a_sink_that_raises_costs_neither_the_reward_nor_the_other_sinks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_event: Event) -> None:
        raise RuntimeError("no disk")

    other = RecordingSink()
    sink = tell(broken, other)
    with caplog.at_level(logging.ERROR, "judge_service"):
        for _ in range(3):
            sink(CacheLooked(hit=True))

    assert len(other.events) == 3
    assert sink.failed == 3
    assert len(caplog.records) == 1
    assert "no disk" in caplog.text


async def test_a_judge_that_is_told_on_writes_a_line_for_each_sample() -> None:
    page = Page()
    sinks = open_sinks(LogSettings(candidate_text=True), environ=LAMBDA, write=page)
    settings = Settings(backend="bedrock", model="amazon.nova-lite-v1:0")
    async with open_service(settings, environ={}, sink=sinks.sink, model=Scripted("0.5")) as judge:
        await judge.score([Sample(id=n, response="yes", reference="yes") for n in range(3)])
    await sinks.aclose()

    *lines, metrics = page.records()
    assert sorted(line["id"] for line in lines) == [0, 1, 2]
    assert {line["rubric"] for line in lines} == {f"similarity@{judge.rubric.version}"}
    assert {line["response"] for line in lines} == {"yes"}
    assert metrics["Samples"] == 3
    assert metrics["FunctionName"] == "SageMaker-judge"


@pytest.mark.parametrize(
    ("emf", "environ", "dimension"),
    [
        ("auto", LAMBDA, "FunctionName"),
        ("auto", {}, None),
        ("on", {}, "Service"),
        ("off", LAMBDA, None),
    ],
)
async def test_metrics_for_cloudwatch_are_written_where_cloudwatch_reads(
    emf: Any, environ: dict[str, str], dimension: str | None
) -> None:
    page = Page()
    sinks = open_sinks(LogSettings(emf=emf), environ=environ, write=page)
    sinks.sink(graded())
    await sinks.aclose()

    metrics = [record for record in page.records() if "_aws" in record]
    assert [list(m["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0]) for m in metrics] == (
        [[dimension]] if dimension else []
    )


async def test_nothing_is_written_when_that_is_set_and_the_others_are_still_told() -> None:
    page, other = Page(), RecordingSink()
    sinks = open_sinks(LogSettings(enabled=False), environ=LAMBDA, write=page, others=(other,))
    sinks.sink(graded())
    await sinks.aclose()

    assert page.blocks == []
    assert len(other.events) == 1


async def test_after_an_invocation_everything_is_written_and_the_next_one_can_write_too() -> None:
    page = Page()
    sinks = open_sinks(LogSettings(), environ=LAMBDA, write=page)
    for number in range(3):
        sinks.sink(graded(number))
        await sinks.aclose()
        assert len(page.records()) == 2 * (number + 1)


async def test_the_wire_range_reaches_lines_and_metrics() -> None:
    page = Page()
    sinks = open_sinks(LogSettings(), score_range="-1..1", environ=LAMBDA, write=page)
    sinks.sink(graded(score=0.0))
    await sinks.aclose()

    line, metrics = page.records()
    assert line["aggregate_reward_score"] == -1.0
    assert metrics["Reward"] == [-1.0]
