import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

from judge_service.errors import Unavailable
from judge_service.flow import Request, stack
from judge_service.flow.cache import Cache, CacheStatistics
from judge_service.telemetry.events import CacheLooked
from judge_service.testing import RecordingSink, run_virtual

T = TypeVar("T")


class Model:
    """Answers with the question in capitals, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, request: Request[str]) -> str:
        self.asked.append(request.body)
        if request.body == "broken":
            raise Unavailable("broken")
        return request.body.upper()


def cache(
    *,
    max_entries: int = 2,
    keep: Callable[[str, str], bool] = lambda _, answer: bool(answer),
    sink: RecordingSink | None = None,
) -> Cache[str, str]:
    return Cache(
        max_entries=max_entries,
        ttl_s=60,
        key=str.casefold,
        keep=keep,
        mark=lambda answer: answer + " (cached)",
        sink=sink or RecordingSink(),
    )


async def ask(layer: Cache[str, str], model: Model, *questions: str) -> list[str]:
    call = stack(model, layer)
    return [await call(Request(question)) for question in questions]


def test_an_equal_question_is_answered_without_a_call_and_marked() -> None:
    model, sink = Model(), RecordingSink()
    layer = cache(sink=sink)
    assert run_virtual(ask(layer, model, "a", "A", "b")) == ["A", "A (cached)", "B"]
    assert model.asked == ["a", "b"]
    assert [event.hit for event in sink.of(CacheLooked)] == [False, True, False]
    assert layer.statistics() == CacheStatistics(entries=2, hits=1, misses=2, evicted=0)
    assert repr(layer) == "Cache(max_entries=2, ttl_s=60)"


def test_the_least_recently_used_goes_first_and_the_size_is_bounded() -> None:
    model, layer = Model(), cache()
    run_virtual(ask(layer, model, "a", "b", "a", "c", "a", "b"))
    assert model.asked == ["a", "b", "c", "b"]
    assert (layer.statistics().entries, layer.statistics().evicted) == (2, 2)


def test_an_answer_is_too_old_when_its_time_is_over() -> None:
    async def scenario() -> list[str]:
        model, layer = Model(), cache()
        await ask(layer, model, "a")
        await asyncio.sleep(59.9)
        await ask(layer, model, "a")
        await asyncio.sleep(0.1)
        await ask(layer, model, "a")
        return model.asked

    assert run_virtual(scenario()) == ["a", "a"]


def test_what_is_not_to_be_kept_is_asked_again() -> None:
    model = Model()
    assert run_virtual(ask(cache(keep=lambda _, __: False), model, "a", "a")) == ["A", "A"]
    assert model.asked == ["a", "a"]


def test_an_error_is_not_kept() -> None:
    model, layer = Model(), cache()
    for _ in range(2):
        with pytest.raises(Unavailable):
            run_virtual(ask(layer, model, "broken"))
    assert model.asked == ["broken", "broken"]
    assert layer.statistics().entries == 0


def test_no_entries_means_no_cache_and_no_events() -> None:
    model, sink = Model(), RecordingSink()
    assert run_virtual(ask(cache(max_entries=0, sink=sink), model, "a", "a")) == ["A", "A"]
    assert sink.events == []
