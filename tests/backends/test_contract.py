"""All backends keep the contract of `backends.Backend`."""

import asyncio
from typing import Any

import pytest

from judge_service.backends import Backend
from judge_service.errors import CallError, DeadlineExceeded, Denied, Throttled, Unavailable
from judge_service.flow import Request
from judge_service.grading.prompting.parse import Unparseable, parse
from judge_service.simulator import FAULTS, SimulatorConfig
from judge_service.values import Message, Usage, Verdict
from tests.backends.contract import (
    HERE,
    REMOTE,
    SCORE,
    SECRET,
    SIMILARITY,
    ask,
    complaints,
    error_of,
    judging,
    measured,
    prompt,
)
from tests.simulator.raw_client import eventually

remote = pytest.mark.parametrize("name", REMOTE)

Attributes = tuple[str, bool, bool, int | None]
"""Class, throttled, charged, max_retries."""

BROKEN: Attributes = ("Unavailable", False, True, None)
UNREADABLE: Attributes = ("Unavailable", False, True, 1)
EXPECTED: dict[str, Attributes] = {
    "throttle": ("Throttled", True, False, None),
    "daily_quota": ("QuotaExhausted", False, False, None),
    "not_ready": ("Unavailable", False, False, None),
    "internal_error": ("Unavailable", False, True, None),
    "unavailable": ("Unavailable", False, False, None),
    "model_timeout": ("Unavailable", False, True, 1),
    "model_error": ("Unavailable", False, True, 1),
    "model_throttled": ("Throttled", True, False, None),
    "model_busy": ("Unavailable", False, False, None),
    "dependency_error": ("Unavailable", False, True, None),
    "access_denied": ("Denied", False, False, None),
    "validation": ("Denied", False, False, None),
    "not_found": ("Denied", False, False, None),
    "expired_token": ("CredentialsError", False, False, None),
    "reset": BROKEN,
    "reset_body": BROKEN,
    "half_body": BROKEN,
    "bad_chunks": BROKEN,
    "short_length": UNREADABLE,
    "malformed_json": UNREADABLE,
    "html": UNREADABLE,
    "empty_body": UNREADABLE,
}
DIFFERENT: dict[tuple[str, str], Attributes] = {
    ("openai", "not_ready"): ("Throttled", True, False, None),  # a 429 like any other there
    ("openai", "model_error"): BROKEN,  # a 500 like any other there
    # SageMaker has no quota of a day
    ("sagemaker", "daily_quota"): ("Throttled", True, False, None),
    ("nova", "daily_quota"): ("Throttled", True, False, None),
    ("bedrock_sdk", "short_length"): BROKEN,  # aiohttp says that the stream broke
    ("openai", "access_denied"): ("CredentialsError", False, False, None),
}
ANSWERED = {"garbage", "empty_content", "reasoning_only", "max_tokens", "content_filtered"}
ANSWERED |= {"guardrail", "malformed_output", "context_full"}
TIMED = {"hang", "headers_only", "slow_body"}


def test_every_fault_of_the_simulator_is_in_the_contract() -> None:
    assert EXPECTED.keys() | ANSWERED | TIMED | {"error_5xx"} == FAULTS.keys()


@remote
async def test_a_failed_call_is_one_attempt_and_one_classified_call_error(name: str) -> None:
    found: dict[str, Attributes] = {}
    async with judging(name) as (judge, simulator):
        simulator.script(*EXPECTED)  # type: ignore[arg-type]
        for fault in EXPECTED:
            error = await error_of(judge)
            assert error is not None, fault
            found[fault] = (
                type(error).__name__, error.throttled, error.charged, error.max_retries
            )  # fmt: skip
        assert simulator.statistics().by_fault == dict.fromkeys(sorted(EXPECTED), 1)
        assert simulator.statistics().calls == len(EXPECTED)
    for (judge_name, fault), attributes in DIFFERENT.items():
        if judge_name == name:
            assert found.pop(fault) == attributes
    assert found == {fault: EXPECTED[fault] for fault in found}


@remote
async def test_a_throttled_call_says_how_long_to_wait(name: str, server: Any, answer: Any) -> None:
    server.will(answer(429, {"message": "slow down"}, {"retry-after": "7"}))
    async with REMOTE[name].open(server.url) as judge:
        with pytest.raises(Throttled) as caught:
            await ask(judge)

    assert caught.value.retry_after_s == 7.0
    assert len(server.received) == 1


@remote
async def test_every_channel_gives_a_verdict_and_its_usage(name: str) -> None:
    async with judging(name) as (judge, simulator):
        assert judge.channels[-1] == "text"
        for channel in judge.channels:
            if (name, channel) == ("bedrock_sdk", "schema"):
                continue  # whether boto knows it depends on its version: test_bedrock_sdk
            simulator.reset()
            completion = await ask(judge, prompt(channel))
            counted = simulator.statistics()
            assert isinstance(parse(completion, [SCORE], channel), Verdict)
            assert simulator.events()[0].channel == channel
            assert completion.usage == Usage(counted.input_tokens, counted.output_tokens, calls=1)
            assert (completion.stop_reason, bool(completion.model)) == ("complete", True)


@remote
async def test_a_refused_channel_is_told_apart_from_a_refused_question(name: str) -> None:
    refusing = SimulatorConfig(refuses_schema=True, refuses_tool=True)
    async with judging(name, refusing) as (judge, _):
        for channel in judge.channels[:-1]:
            error = await error_of(judge, prompt(channel))
            assert isinstance(error, Denied)
            assert error.unsupported_channel
        assert await error_of(judge, prompt("text")) is None


@remote
async def test_answers_that_are_no_verdict_come_back_as_completions(name: str) -> None:
    stops: dict[str, str] = {}
    async with judging(name) as (judge, simulator):
        simulator.script(*sorted(ANSWERED))  # type: ignore[arg-type]
        for fault in sorted(ANSWERED):
            completion = await ask(judge)
            stops[fault] = completion.stop_reason
            assert isinstance(parse(completion, [SCORE], "text"), Unparseable), fault
            assert completion.usage.calls == 1

    assert stops["max_tokens"] == "max_tokens"
    assert stops["content_filtered"] == stops["guardrail"] == "refused"
    assert stops["context_full"] in ("context_full", "max_tokens")  # chat has one word for both


@remote
async def test_a_cancelled_call_ends_on_the_wire(name: str) -> None:
    async with judging(name) as (judge, simulator):
        simulator.script("hang")
        call = asyncio.create_task(ask(judge))
        await eventually(lambda: simulator.statistics().in_flight == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await eventually(lambda: simulator.statistics().in_flight == 0)

        assert simulator.statistics().open_connections == 0
        assert await error_of(judge) is None


@remote
async def test_a_call_ends_at_its_deadline_and_is_not_begun_after_it(name: str) -> None:
    async with judging(name) as (judge, simulator):
        await ask(judge)
        simulator.script("hang")
        now = asyncio.get_running_loop().time()
        late = Request(body=prompt(), deadline=now - 1)
        with pytest.raises(DeadlineExceeded) as caught:
            await ask(judge, deadline=now + 0.1)
        with pytest.raises(DeadlineExceeded):
            await judge(late)

        assert asyncio.get_running_loop().time() - now < 3
        assert (caught.value.charged, late.sent_at) == (True, 0.0)
        assert simulator.statistics().calls == 2


@remote
async def test_a_judge_that_does_not_finish_is_left_after_the_call_timeout(name: str) -> None:
    async with judging(name, JUDGE_HTTP_CALL_TIMEOUT_S="0.5") as (judge, simulator):
        simulator.script(*TIMED)  # type: ignore[arg-type]
        errors = await asyncio.gather(*[error_of(judge) for _ in TIMED])

        for error in errors:
            assert isinstance(error, Unavailable)
            assert (error.charged, error.max_retries) == (True, 1)
        assert simulator.statistics().calls == len(TIMED)


@remote
async def test_text_that_is_no_unicode_is_denied_and_nothing_is_sent(name: str) -> None:
    async with judging(name) as (judge, simulator):
        with pytest.raises(Denied, match="surrogate"):
            await ask(judge, prompt(messages=(Message("user", "\ud800"),)))

        assert simulator.statistics().calls == 0


@remote
async def test_calls_at_once_each_get_their_own_answer(name: str) -> None:
    prompts = [prompt(sample=str(n)) for n in range(20)]
    async with judging(name, SimulatorConfig(latency_median_s=0.01)) as (judge, simulator):
        alone = [(await ask(judge, one)).text for one in prompts]
        together = await asyncio.gather(*[ask(judge, one) for one in prompts])

        assert [completion.text for completion in together] == alone
        assert simulator.statistics().peak_in_flight > 5
        assert len(set(alone)) > 2


@remote
async def test_a_call_marks_when_its_bytes_may_have_left(name: str) -> None:
    async with judging(name) as (judge, _):
        request = Request(body=prompt())
        await judge(request)

    assert 0 < request.sent_at <= asyncio.get_running_loop().time()


@remote
@pytest.mark.parametrize(
    ("fault", "words"),
    [("access_denied", ("allow", "set")), ("not_found", ("check",)), ("expired_token", ("renew", "set"))],
)  # fmt: skip
async def test_a_refusal_says_in_one_sentence_what_is_wrong_and_what_to_do(
    name: str, fault: Any, words: tuple[str, ...]
) -> None:
    async with judging(name) as (judge, simulator):
        simulator.script(fault)
        (line,) = await complaints(judge)

        assert any(word in line for word in words)
        assert "\n" not in line + repr(judge)
        assert SECRET not in line + repr(judge)
        assert await complaints(judge) == []
        assert simulator.events()[-1].max_output_tokens == 1


@remote
async def test_it_says_that_nothing_listens(name: str) -> None:
    async with REMOTE[name].open("http://127.0.0.1:9") as judge:
        (line,) = await complaints(judge)

    assert "cannot be reached" in line


@remote
async def test_closing_leaves_no_connection_and_may_be_done_twice(name: str) -> None:
    async with judging(name) as (judge, simulator):
        await ask(judge)
        await judge.aclose()
        await judge.aclose()

        await eventually(lambda: simulator.statistics().open_connections == 0)


@pytest.fixture(params=HERE)
def embedded(request: pytest.FixtureRequest) -> Backend:
    """A judge without a network, loaded before there is a loop to block."""
    return HERE[request.param]()


async def test_a_judge_without_a_network_answers_and_survives_callers_that_leave(
    embedded: Backend,
) -> None:
    call = asyncio.create_task(ask(embedded, measured()))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    completion = await ask(embedded, measured())
    await embedded.aclose()

    assert isinstance(parse(completion, [SIMILARITY], "text"), Verdict)
    assert (completion.stop_reason, completion.usage.calls) == ("complete", 1)
    assert (bool(completion.model), embedded.channels[-1]) == (True, "text")


async def test_a_judge_without_a_network_may_be_closed_twice(embedded: Backend) -> None:
    await embedded.aclose()
    await embedded.aclose()

    assert "\n" not in repr(embedded)
    assert embedded.statistics() is not None


@remote
async def test_statistics_count_calls_and_completions(name: str) -> None:
    async with judging(name) as (judge, simulator):
        simulator.script(None, "unavailable")
        await ask(judge)
        with pytest.raises(CallError):
            await ask(judge)

        assert (judge.statistics().calls, judge.statistics().completions) == (2, 1)
