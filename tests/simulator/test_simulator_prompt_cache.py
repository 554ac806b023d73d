"""What the simulator's prompt cache reads, writes, forgets and refuses."""

from typing import Any

import pytest

from judge_service.simulator import SimulatorConfig, simulate
from judge_service.simulator.answers import Question
from judge_service.simulator.prompt_cache import PromptCache
from tests.simulator.raw_client import RawClient, asking, connect

SHARED = "What all share. " * 256  # 1,024 tokens
POINT: dict[str, Any] = {"cachePoint": {"type": "default"}}
CHAT = "/v1/chat/completions"


def marked(own: str, shared: str = SHARED) -> dict[str, Any]:
    """A Converse body with a cache point behind what is shared."""
    content = [{"text": shared}, POINT, {"text": own}]
    return asking(messages=[{"role": "user", "content": content}])


def chat(own: str, **members: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": SHARED + own}], **members}


async def usage(client: RawClient, body: dict[str, Any]) -> tuple[int, int, int]:
    """Tokens that were plain input, read and written."""
    told = (await client.ask(body)).json["usage"]
    names = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    assert told["totalTokens"] == sum(told[name] for name in names) + told["outputTokens"]
    return told[names[0]], told[names[1]], told[names[2]]


async def test_the_first_call_writes_and_the_next_ones_read() -> None:
    async with simulate(SimulatorConfig(cache_min_tokens=1024)) as sim, connect(sim) as client:
        assert await usage(client, marked("one of 16 chars")) == (4, 0, 1024)
        assert await usage(client, marked("another, of some more characters")) == (8, 1024, 0)
        assert await usage(client, marked("one of 16 chars", SHARED.upper())) == (4, 0, 1024)
        told = sim.statistics()
    assert (told.cache_read_tokens, told.cache_write_tokens) == (1024, 2048)


async def test_a_cache_point_changes_no_answer() -> None:
    async with simulate(SimulatorConfig(cache_min_tokens=1024)) as sim, connect(sim) as client:
        plain = await client.ask(asking(SHARED + "own"))
        cached = await client.ask(marked("own"))
    assert cached.text == plain.text
    assert plain.json["usage"]["cacheWriteInputTokens"] == 0


@pytest.mark.parametrize(("minimum", "written"), [(None, 0), (1025, 0), (1024, 1024)])
async def test_under_the_minimum_nothing_is_cached_in_silence(
    minimum: int | None, written: int
) -> None:
    async with simulate(SimulatorConfig(cache_min_tokens=minimum)) as sim, connect(sim) as client:
        assert (await usage(client, marked("own")))[2] == written


def test_a_beginning_is_kept_for_five_minutes_after_its_last_use() -> None:
    cache = PromptCache(SimulatorConfig(cache_min_tokens=1024))
    question = Question(model="m", prompt=SHARED + "own", cache_points=(len(SHARED),))
    cache.keep(cache.look(question, 0.0), 0.0)
    assert cache.look(question, 299.0).read == 1024
    cache.keep(cache.look(question, 299.0), 299.0)
    assert cache.look(question, 598.0).read == 1024
    assert cache.look(question, 600.0) == cache.look(question, 0.0)._replace(read=0, write=1024)


def test_what_is_not_answered_yet_cannot_be_read() -> None:
    cache = PromptCache(SimulatorConfig(cache_min_tokens=1024))
    question = Question(model="m", prompt=SHARED, cache_points=(len(SHARED),))
    assert [cache.look(question, 0.0).read for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("changes", [{"tool": "verdict"}, {"schema": {}}, {"cache_key": "other"}])
def test_tools_schema_and_key_are_parts_of_the_beginning(changes: dict[str, Any]) -> None:
    cache = PromptCache(SimulatorConfig(cache_min_tokens=1024))
    points = (len(SHARED),)
    cache.keep(cache.look(Question(model="m", prompt=SHARED, cache_points=points), 0.0), 0.0)
    other = Question(model="m", prompt=SHARED, cache_points=points, **changes)
    assert cache.look(other, 1.0).read == 0


async def test_reads_take_nothing_of_bedrocks_quota() -> None:
    config = SimulatorConfig(cache_min_tokens=1024, tokens_per_minute=2_200, burst_s=60)
    async with simulate(config) as sim, connect(sim) as client:
        replies = [await client.ask(marked(f"own {number}")) for number in range(9)]
        assert [reply.status for reply in replies] == [200] * 9
        assert (await client.ask(asking(SHARED + "own"))).status == 200
        assert (await client.ask(asking(SHARED + "own"))).status == 429
        (quota,) = sim.statistics().quotas.values()
    assert quota.charged_tokens < 2_200


async def test_chat_completions_cache_by_themselves_and_count_all_against_the_quota() -> None:
    config = SimulatorConfig(cache_min_tokens=1024, tokens_per_minute=2_200, burst_s=60)
    async with simulate(config) as sim, connect(sim) as client:
        replies = [
            await client.ask(chat(own, max_tokens=10, prompt_cache_key="group"), CHAT)
            for own in ("one", "another", "third")
        ]
    told = [reply.json["usage"]["prompt_tokens_details"] for reply in replies[:2]]
    assert told == [{"cached_tokens": 0}, {"cached_tokens": 1024}]
    assert [reply.status for reply in replies] == [200, 200, 429]


async def test_models_without_a_cache_refuse() -> None:
    async with simulate(SimulatorConfig(refuses_caching=True)) as sim, connect(sim) as client:
        assert (await client.ask(marked("own"))).status == 403
        assert (await client.ask(asking("own"))).status == 200
        refused = await client.ask(chat("own", prompt_cache_key="group"), CHAT)
        assert (refused.status, b"prompt_cache_key" in refused.body) == (400, True)


async def test_a_fifth_cache_point_is_refused() -> None:
    content = [piece for _ in range(5) for piece in ({"text": "a"}, POINT)]
    async with simulate(SimulatorConfig()) as sim, connect(sim) as client:
        reply = await client.ask(asking(messages=[{"role": "user", "content": content}]))
    assert reply.status == 400
