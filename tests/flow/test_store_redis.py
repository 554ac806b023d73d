import asyncio
import json
import random
import signal
import time
import uuid
from collections.abc import AsyncIterator
from importlib.resources import files

import pytest
from msgspec.structs import replace

from judge_service.flow.share import ShareController
from judge_service.flow.stores import Ask, Lease, Rules, StoreFailed
from judge_service.flow.stores.memory import TimeLine
from judge_service.flow.stores.redis import VERSION, RedisStore, _keys
from tests.flow.conftest import RedisServer

QUICK_S = 0.25
"""An answer on this machine takes under 1 ms; generous, since tests share their cores."""

PER_MINUTE = {"requests": 6000.0, "tokens": 600_000.0}


def ask(client: str = "a", **fields: object) -> Ask:
    return Ask(client=client, per_minute=PER_MINUTE, **fields)  # type: ignore[arg-type]  # test table


def new_quota() -> str:
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    store = RedisStore(redis_server.url, timeout_s=QUICK_S)
    yield store
    await store.aclose()


SCRIPT: list[Ask] = [
    ask("a", want={"requests": 1000, "tokens": 2000}, least={"requests": 1, "tokens": 2}),
    ask("b", want={"requests": 10, "tokens": 90_000}, least={"requests": 1, "tokens": 9000}),
    ask("c", want={"requests": 3}, least={"requests": 1}),
    ask("a", want={"tokens": 500_000}, least={"tokens": 200_000}),
    ask("b", returned={"requests": 2, "tokens": 40_000}),
    ask("c", want={"requests": 1000, "tokens": 1000}, sent=30, refused=12),
    ask("a", want={"requests": 1000, "tokens": 1000}, sent=30, refused=15),
    ask("d", want={"requests": 1000}, lost_clients=40),
    ask("e", want={"requests": 1000}, lost_clients=40),
    ask("b", leaving=True),
    ask("f", want={"requests": 1000}),
]


async def forget(store: RedisStore, quota: str) -> None:
    await store._client.delete(*_keys(quota))


@pytest.mark.parametrize("forgets_before", [None, 3, 6], ids=["never", "step 3", "step 6"])
async def test_the_script_does_what_the_readable_form_does(
    store: RedisStore, forgets_before: int | None
) -> None:
    quota, line = new_quota(), TimeLine(Rules())
    last: dict[str, tuple[Lease, Lease]] = {}

    for number, step in enumerate(SCRIPT):
        if number == forgets_before:
            await forget(store, quota)
            line = TimeLine(Rules())
        asks = [
            replace(step, seen=known.seen, taken_s=known.taken_s, clients=known.clients)
            for known in last.get(step.client, ())
        ] or [step, step]
        lease, expected = await store.lease(quota, asks[0]), line.lease(asks[1], time.monotonic())
        last[step.client] = lease, expected

        assert lease.granted == expected.granted, step
        assert lease.clients == expected.clients, step
        assert lease.delay_s == pytest.approx(expected.delay_s, abs=0.1), step
        assert lease.taken_s == pytest.approx(expected.taken_s, abs=1e-6), step
        assert lease.valid_for_s == expected.valid_for_s
        assert lease.pace == pytest.approx(expected.pace, abs=1e-6), step


SHARE_ALONE = """
share = new_share()
local levels = {}
for _, step in ipairs(cjson.decode(ARGV[1])) do
  note(step[1], step[2], step[3])
  levels[#levels + 1] = string.format('%.17g', share.level)
end
return levels
"""


@pytest.mark.parametrize("seed", range(20))
async def test_the_scripts_share_controller_is_the_readable_one(
    store: RedisStore, seed: int
) -> None:
    """A judge that refuses at random, or what is above a quota, or everything; `seed` plays it again."""
    chance, readable = random.Random(seed), ShareController()
    now_s, background, room = (
        1000.0,
        chance.choice([0, 0.01, 0.1]),
        chance.choice([2.0, 0.9, 0.3, 0]),
    )
    steps, levels = [], []
    for _ in range(600):
        now_s += chance.choice([0.125, 0.25])
        sent = chance.randint(1, 60)
        part = min(1.0, background + max(0.0, 1 - room / readable.level))
        refused = sum(chance.random() < part for _ in range(sent))
        readable.note(now_s, sent=sent, refused=refused)
        steps.append([now_s, sent, refused])
        levels.append(readable.level)

    script = files("judge_service.flow.stores").joinpath("share.lua").read_text() + SHARE_ALONE
    found = await store._client.eval(script, 0, json.dumps(steps))

    assert [float(level) for level in found] == pytest.approx(levels, rel=1e-12)
    assert min(levels) < 1 or room > 1


async def test_a_copy_that_lags_behind_is_told_what_it_has_missed(store: RedisStore) -> None:
    quota = new_quota()
    lease = await store.lease(quota, ask("a", want={"requests": 50}))
    line = _keys(quota)[0]
    for field in ("at", "since"):  # as if this memory had ended before that answer
        await store._client.hincrby(line, field, -10_000_000)
    await store._client.hdel(line, "next:requests")

    known = {"seen": lease.seen, "taken_s": lease.taken_s, "clients": 4}
    second = await store.lease(quota, ask("a", want={"requests": 50}, **known))
    third = await store.lease(quota, ask("b", want={"requests": 50}))

    assert second.delay_s == pytest.approx(0.5, abs=0.1)
    assert third.clients == 4


async def test_grants_a_chunk_of_each_resource_at_most(store: RedisStore) -> None:
    lease = await store.lease(new_quota(), ask(want={"requests": 25, "tokens": 50_000}))

    assert lease.granted == {"requests": 25, "tokens": 5000}  # 0.5 s of 10,000 tokens a second


async def test_a_second_chunk_begins_where_the_first_ends(store: RedisStore) -> None:
    quota = new_quota()
    first = await store.lease(quota, ask("a", want={"requests": 50}))
    second = await store.lease(quota, ask("b", want={"requests": 50}))

    assert (first.granted, first.delay_s) == ({"requests": 50}, 0)
    assert second.granted == {"requests": 25}
    assert second.delay_s == pytest.approx(0.5, abs=0.1)


async def test_what_comes_back_moves_the_line_back(store: RedisStore) -> None:
    quota = new_quota()
    await store.lease(quota, ask(want={"requests": 50}))

    lease = await store.lease(quota, ask(want={"requests": 1}, returned={"requests": 40}))

    assert lease.delay_s == pytest.approx(0.1, abs=0.1)


async def test_a_store_that_knows_nothing_gives_no_more_than_a_chunk(store: RedisStore) -> None:
    lease = await store.lease(new_quota(), ask(want={"requests": 100_000}))

    assert lease.granted == {"requests": 50}


async def test_keys_are_versioned_share_a_slot_and_expire(store: RedisStore) -> None:
    quota = new_quota()
    await store.lease(quota, ask(want={"requests": 1}))

    keys = sorted(await store._client.keys(f"*{quota}*"))
    lives_ms = [await store._client.pttl(key) for key in keys]

    tag = f"judge:{{{quota}}}:v{VERSION}".encode()
    assert keys == [tag + b":clients", tag + b":line"]
    assert all(0 < life_ms <= 62_000 for life_ms in lives_ms)


async def test_a_clock_that_goes_back_does_not_stop_the_line(store: RedisStore) -> None:
    quota = new_quota()
    await store.lease(quota, ask(want={"requests": 50}))
    line = f"judge:{{{quota}}}:v{VERSION}:line"
    for field in ("at", "next:requests", "next:tokens"):  # as if written when it was 10 min later
        await store._client.hincrby(line, field, 600_000_000)

    lease = await store.lease(quota, ask(want={"requests": 1}))

    assert lease.delay_s == pytest.approx(0.5, abs=0.1)


async def test_a_forgotten_script_is_loaded_again(store: RedisStore) -> None:
    quota = new_quota()
    await store.lease(quota, ask())
    await store._client.script_flush()

    lease = await store.lease(quota, ask(want={"requests": 1}))

    assert lease.granted == {"requests": 1}
    assert store.statistics().failures == 0


async def test_a_key_of_another_type_is_a_store_that_failed(store: RedisStore) -> None:
    quota = new_quota()
    await store._client.set(f"judge:{{{quota}}}:v{VERSION}:line", "x")

    with pytest.raises(StoreFailed, match="WRONGTYPE"):
        await store.lease(quota, ask(want={"requests": 1}))


async def test_a_refused_connection_is_a_store_that_failed(own_redis_server: RedisServer) -> None:
    store = RedisStore(own_redis_server.url)
    await store.lease("q", ask())
    own_redis_server.kill()

    with pytest.raises(StoreFailed, match="gave no lease"):
        await store.lease("q", ask())

    own_redis_server.start()
    assert (await store.lease("q", ask(want={"requests": 1}))).granted == {"requests": 1}
    assert (store.statistics().operations, store.statistics().failures) == (3, 1)
    await store.aclose()


async def test_a_server_that_stands_still_costs_the_timeout(own_redis_server: RedisServer) -> None:
    store = RedisStore(own_redis_server.url, timeout_s=0.05)
    own_redis_server.send(signal.SIGSTOP)
    started = time.monotonic()

    with pytest.raises(StoreFailed):
        await store.lease("q", ask())

    assert time.monotonic() - started < 0.5
    own_redis_server.send(signal.SIGCONT)
    assert isinstance(await lease_soon(store), Lease)
    await store.aclose()


async def lease_soon(store: RedisStore) -> Lease | None:
    for _ in range(50):
        try:
            return await store.lease("q", ask())
        except StoreFailed:
            await asyncio.sleep(0.02)
    return None


def test_shows_where_it_is_but_no_password() -> None:
    store = RedisStore("redis://user:secret@cache.example:6380/0", timeout_s=0.2)

    assert repr(store) == "RedisStore(cache.example:6380, timeout 0.2 s)"
