import asyncio
import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from judge_service.simulator import FAULTS, SimulatorConfig, simulate
from judge_service.simulator.chance import Chance
from judge_service.simulator.config import fault_rates
from judge_service.simulator.faults import AFTER_LATENCY, AT_THE_DOOR, names
from tests.simulator.raw_client import Reply, asking, connect, eventually, request, with_tool

CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}


async def meet(fault: Any, body: Any = None) -> Reply:
    async with (
        simulate(SimulatorConfig(faults=(fault,))) as simulator,
        connect(simulator) as client,
    ):
        reply = await client.ask(body or asking())
        assert (await client.ask(asking())).status == 200, "the next call is fine"
        assert simulator.statistics().by_fault == {fault: 1}
        assert simulator.statistics().answered == 1
        return reply


@pytest.mark.parametrize("fault", [*AT_THE_DOOR, *AFTER_LATENCY])
async def test_errors_have_bedrocks_status_and_name(fault: str) -> None:
    refusal = {**AT_THE_DOOR, **AFTER_LATENCY}[fault]
    reply = await meet(fault)

    assert reply.status == refusal.status
    assert reply.headers["x-amzn-errortype"].split(":")[0] == refusal.code.lower()
    assert reply.json == {"message": refusal.message, **refusal.extra}


@pytest.mark.parametrize(
    ("fault", "stop"),
    [
        ("max_tokens", "max_tokens"),
        ("content_filtered", "content_filtered"),
        ("guardrail", "guardrail_intervened"),
        ("malformed_output", "malformed_model_output"),
        ("context_full", "model_context_window_exceeded"),
    ],
)
async def test_stop_reasons_come_with_status_200(fault: str, stop: str) -> None:
    reply = await meet(fault)

    assert (reply.status, reply.json["stopReason"]) == (200, stop)


@pytest.mark.parametrize("fault", ["content_filtered", "guardrail"])
async def test_a_filters_words_longer_than_the_limit_keep_its_stop_reason(fault: str) -> None:
    reply = await meet(fault, asking(inferenceConfig={"maxTokens": 3}))

    assert reply.json["stopReason"] == {"guardrail": "guardrail_intervened"}.get(fault, fault)
    assert reply.json["usage"]["outputTokens"] == 3


async def test_a_spoiled_tool_call_is_spoiled_as_a_tool_call() -> None:
    garbage = await meet("garbage", asking(**with_tool(CLOSED)))
    malformed = await meet("malformed_output", asking(**with_tool(CLOSED)))

    assert "weather" in garbage.json["output"]["message"]["content"][0]["toolUse"]["input"]
    assert malformed.json["stopReason"] == "malformed_tool_use"


async def test_contents_without_a_verdict() -> None:
    assert "weather" in (await meet("garbage")).text
    assert (await meet("empty_content")).json["output"]["message"]["content"] == []
    (block,) = (await meet("reasoning_only")).json["output"]["message"]["content"]
    assert list(block) == ["reasoningContent"]


async def test_bodies_that_are_no_answer() -> None:
    with pytest.raises(json.JSONDecodeError):
        _ = (await meet("malformed_json")).json
    assert (await meet("html")).body.startswith(b"<html>")
    assert (await meet("empty_body")).body == b""


async def bytes_of(fault: Any, **config: Any) -> tuple[bytes, type[Exception] | None]:
    """Everything the client can read, and the error that ended it."""
    told = SimulatorConfig(faults=(fault,), **config)
    async with simulate(told) as simulator, connect(simulator) as client:
        client.send(request(asking()))
        got = b""
        try:
            while piece := await asyncio.wait_for(client.reader.read(65_536), 0.2):
                got += piece
        except (ConnectionError, TimeoutError) as problem:
            return got, type(problem)
        finally:
            client.writer.close()
            await eventually(lambda: simulator.statistics().in_flight == 0)
            assert simulator.statistics().by_fault == {fault: 1}
        return got, None


def split(reply: bytes) -> tuple[int, bytes]:
    """The promised length and the body."""
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.rpartition(b"content-length: ")[2].partition(b"\r\n")[0]), body


async def test_a_reset_before_the_headers() -> None:
    assert await bytes_of("reset") == (b"", ConnectionResetError)


async def test_a_reset_in_the_middle_of_the_body() -> None:
    _, ended = await bytes_of("reset_body")

    assert ended is ConnectionResetError  # which may overtake the bytes before it


async def test_half_a_body_ends_in_order() -> None:
    reply, ended = await bytes_of("half_body")
    length, body = split(reply)

    assert ended is None
    assert len(body) == length // 2


async def test_a_length_that_is_too_short_leaves_bytes_behind() -> None:
    reply, ended = await bytes_of("short_length")
    length, body = split(reply)

    assert ended is TimeoutError
    assert len(body) // 2 == length
    json.loads(body)


async def test_chunks_whose_size_is_no_number() -> None:
    reply, _ = await bytes_of("bad_chunks")

    assert b"transfer-encoding: chunked\r\n" in reply
    assert b"\r\n\r\nbanana\r\n" in reply


async def test_silence_with_and_without_headers() -> None:
    assert await bytes_of("hang") == (b"", TimeoutError)
    reply, ended = await bytes_of("headers_only")
    assert ended is TimeoutError
    assert split(reply)[1] == b""
    assert split(reply)[0] > 0


async def test_a_slow_body_comes_byte_by_byte_and_stops_when_the_client_leaves() -> None:
    reply, ended = await bytes_of("slow_body", slow_byte_s=0.5)

    assert ended is TimeoutError
    assert len(split(reply)[1]) == 1


async def test_a_slow_body_is_not_sent_on_when_the_client_has_left() -> None:
    config = SimulatorConfig(faults=("slow_body",), slow_byte_s=1e-4)
    async with simulate(config) as simulator:
        async with connect(simulator) as client:
            client.send(request(asking()))
            await client.reader.readexactly(1)
            client.writer.transport.abort()
        await eventually(lambda: simulator.statistics().in_flight == 0)
        await asyncio.sleep(0.4)  # enough for all bytes

        assert len(simulator.events()) == 1


async def test_a_slow_body_is_whole_in_the_end_and_the_connection_goes_on() -> None:
    config = SimulatorConfig(faults=("slow_body",), slow_byte_s=1e-5)
    async with simulate(config) as simulator, connect(simulator) as client:
        assert (await client.ask(asking())).json["stopReason"] == "end_turn"
        assert (await client.ask(asking())).status == 200
        assert simulator.statistics().in_flight == 0


async def test_a_failed_call_is_charged_its_input_and_a_refused_one_nothing() -> None:
    config = SimulatorConfig(faults=("unavailable", "throttle", None))
    async with simulate(config) as simulator, connect(simulator) as client:
        charged = []
        for _ in range(3):
            await client.ask(asking("x" * 40))
            quotas = simulator.statistics().quotas.values()
            charged.append(sum(quota.charged_tokens for quota in quotas))

    assert charged == [10, 10, 21]


async def test_faults_can_be_scripted_while_it_runs() -> None:
    async with simulate() as simulator, connect(simulator) as client:
        simulator.script("throttle", None, "unavailable")

        assert [(await client.ask(asking())).status for _ in range(4)] == [429, 200, 503, 200]


def test_every_fault_is_told_where_it_acts_has_a_rate_and_is_documented() -> None:
    rates = fault_rates(SimulatorConfig(**{f"{name}_rate": 1 / 64 for name in names()}))
    page = Path(__file__).parents[2] / "docs" / "simulator.md"

    assert list(rates) == list(names()) == list(FAULTS)
    for name, what in FAULTS.items():
        assert f"| `{name}` | {what} |" in page.read_text()


def test_faults_come_at_their_rates_and_are_the_same_for_the_same_seed() -> None:
    config = SimulatorConfig(throttle_rate=0.05, error_5xx_rate=0.2, reset_rate=0.01)
    chance, again = Chance(config), Chance(config)
    drawn = [chance.draw().fault for _ in range(20_000)]

    assert drawn == [again.draw().fault for _ in range(20_000)]
    assert drawn.count("throttle") / 20_000 == pytest.approx(0.05, abs=0.01)
    assert drawn.count("internal_error") / 20_000 == pytest.approx(0.1, abs=0.01)
    assert drawn.count("unavailable") / 20_000 == pytest.approx(0.1, abs=0.01)
    assert drawn.count("reset") / 20_000 == pytest.approx(0.01, abs=0.005)
    assert drawn.count(None) / 20_000 == pytest.approx(0.74, abs=0.02)


def test_latency_is_log_normal_with_a_heavy_tail() -> None:
    config = SimulatorConfig(latency_median_s=0.3, latency_sigma=0.5, tail_probability=0.01)
    chance = Chance(config)
    drawn = [chance.draw().latency_s for _ in range(20_000)]

    assert statistics.median(drawn) == pytest.approx(0.3, rel=0.03)
    logs = sorted(math.log(latency_s) for latency_s in drawn)
    assert logs[16_827] - logs[10_000] == pytest.approx(0.5, abs=0.05)  # one sigma
    assert sum(latency_s > 2.0 for latency_s in drawn) == pytest.approx(130, abs=60)


def test_a_rate_does_not_reshuffle_the_latencies() -> None:
    calm = Chance(SimulatorConfig(latency_median_s=1))
    rough = Chance(SimulatorConfig(latency_median_s=1, error_5xx_rate=0.5, faults=("hang",)))

    assert [calm.draw().latency_s for _ in range(50)] == [rough.draw().latency_s for _ in range(50)]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"throttle_rate": 1.5}, "throttle_rate is 1.5"),
        ({"throttle_rate": 0.6, "reset_rate": 0.6}, "sum to more than 1"),
        ({"requests_per_minute": 0}, "requests_per_minute is 0"),
        ({"tokens_per_minute": math.nan}, "tokens_per_minute is nan"),
        ({"latency_median_s": -1}, "latency_median_s is -1"),
        ({"burst_s": 61}, "burst_s is 61"),
        ({"verify_sigv4": True}, "needs access_key"),
        ({"faults": ("tornado",)}, "tornado is no fault"),
    ],
)
def test_a_configuration_without_sense_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        SimulatorConfig(**fields)
