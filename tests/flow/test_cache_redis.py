"""The Redis cache: with a real server, and in virtual time with a server that fails."""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from judge_service.flow import Request, stack
from judge_service.flow import cache_redis as module
from judge_service.flow.cache import Cache
from judge_service.flow.cache_redis import MAX_BATCH, PREFIX, RedisCache, connect
from judge_service.testing import RecordingSink, run_virtual


@pytest.fixture
async def store(redis_server: Any) -> Any:
    client = connect(redis_server.url)
    if old := await client.keys(f"{PREFIX}*"):
        await client.delete(*old)
    store = make(client)
    yield store
    await store.aclose()


def make(client: Any, **options: Any) -> RedisCache[str]:
    return RedisCache(client, ttl_s=60, encode=str.encode, decode=bytes.decode, **options)


async def sent(store: RedisCache[str]) -> None:
    if store._pump is not None:
        await store._pump


async def test_an_answer_is_there_for_another_process(store: Any, redis_server: Any) -> None:
    assert await store.get("a") is None
    store.put("a", "Antwort")
    await sent(store)
    other = make(connect(redis_server.url))
    assert await other.get("a") == "Antwort"
    await other.aclose()
    statistics = store.statistics()
    assert (statistics.hits, statistics.misses, statistics.stored) == (0, 1, 1)
    assert (other.statistics().hits, other.statistics().misses) == (1, 0)
    assert repr(store) == "RedisCache(ttl_s=60, timeout_s=0.05)"


async def test_the_key_carries_its_version_and_an_answer_its_time_to_live(store: Any) -> None:
    store.put("a", "Antwort")
    await sent(store)
    assert await store._client.keys(f"{PREFIX}*") == [f"{PREFIX}a".encode()]
    assert PREFIX == "judge:cache:v1:"
    assert 59_000 < await store._client.pttl(f"{PREFIX}a") <= 60_000


async def test_what_comes_together_travels_together(store: Any) -> None:
    async def commands() -> int:
        return (await store._client.info("stats"))["total_commands_processed"]

    await store.get("warm")
    before = await commands()
    found = await asyncio.gather(*(store.get(str(number)) for number in range(2 * MAX_BATCH)))
    assert found == [None] * (2 * MAX_BATCH)
    assert await commands() - before <= 4


@pytest.mark.parametrize("wrong", [b"\xff\xfe", None])
async def test_what_cannot_be_read_is_a_miss(store: Any, wrong: bytes | None) -> None:
    if wrong is None:
        await store._client.lpush(f"{PREFIX}a", "a list")
    else:
        await store._client.set(f"{PREFIX}a", wrong)
    assert await store.get("a") is None
    assert store.statistics().failures == 0
    assert store.statistics().unreadable == (wrong is not None)


async def test_a_full_server_stores_nothing_and_goes_on_answering(own_redis_server: Any) -> None:
    store = make(connect(own_redis_server.url))
    store.put("a", "old")
    await sent(store)
    await store._client.config_set("maxmemory", "1")
    store.put("b", "new")
    assert await store.get("a") == "old"
    await store.aclose()
    statistics = store.statistics()
    assert (statistics.dropped, statistics.stored, statistics.failures) == (1, 1, 0)


async def test_a_server_that_hangs_costs_one_short_wait_and_is_back_by_itself(
    own_redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(connect(own_redis_server.url))
    monkeypatch.setattr(module, "REST_S", 0.3)
    store.put("a", "Antwort")
    assert await store.get("a") == "Antwort"  # and the connection is open
    own_redis_server.send(signal.SIGSTOP)
    try:
        started = time.perf_counter()
        assert await asyncio.gather(*(store.get("a") for _ in range(100))) == [None] * 100
        assert 0.04 < time.perf_counter() - started < 1
        assert await store.get("a") is None
        assert (store.statistics().failures, store.statistics().skipped) == (1, 2)
    finally:
        own_redis_server.send(signal.SIGCONT)
    await asyncio.sleep(0.3)
    assert await store.get("a") == "Antwort"
    assert store.statistics().failures == 1
    await store.aclose()


async def test_a_server_that_was_started_again_is_asked_again(own_redis_server: Any) -> None:
    store = make(connect(own_redis_server.url))
    store.put("a", "Antwort")
    assert await store.get("a") == "Antwort"
    own_redis_server.kill()
    own_redis_server.start()
    assert await store.get("a") is None  # it starts empty
    assert store.statistics().failures == 0
    await store.aclose()


async def test_a_server_that_is_not_there_is_a_miss() -> None:
    store = make(connect("redis://127.0.0.1:1/0"))
    assert await store.get("a") is None
    store.put("a", "b")
    assert (store.statistics().failures, store.statistics().dropped) == (1, 1)
    await store.aclose()


async def test_closing_sends_what_is_unsent(redis_server: Any) -> None:
    store = make(connect(redis_server.url))
    for number in range(2 * MAX_BATCH):
        store.put(f"closing {number}", "x")
    await store.aclose()
    assert (store.statistics().stored, store.statistics().unsent) == (2 * MAX_BATCH, 0)


async def test_behind_the_memory_a_question_of_another_process_is_a_hit(redis_server: Any) -> None:
    asked: list[str] = []

    async def model(request: Request[str]) -> str:
        asked.append(request.body)
        return request.body.upper()

    async def ask(layer: Cache[str, str], *questions: str) -> list[str]:
        return [await stack(model, layer)(Request(question)) for question in questions]

    first, second = (make(connect(redis_server.url)) for _ in range(2))
    assert await ask(memory(first), "paris", "paris", "no") == ["PARIS", "PARIS (cached)", "NO"]
    await first.aclose()
    layer = memory(second)
    assert await ask(layer, "paris", "paris", "no") == ["PARIS (cached)", "PARIS (cached)", "NO"]
    assert asked == ["paris", "no", "no"]
    statistics = layer.statistics()
    assert (statistics.hits, statistics.shared, statistics.misses) == (2, 1, 1)
    assert statistics.hit_ratio == pytest.approx(2 / 3)
    assert second.statistics().hits == 1
    await second.aclose()


def memory(store: RedisCache[str], max_entries: int = 10) -> Cache[str, str]:
    return Cache(
        max_entries=max_entries,
        ttl_s=60,
        key=str,
        keep=lambda question, _: question != "no",
        mark=lambda answer: f"{answer} (cached)",
        sink=RecordingSink(),
        store=store,
    )


class Client:
    """A Redis that answers after `latency_s`, or fails."""

    def __init__(self, latency_s: float = 0.001, error: BaseException | None = None) -> None:
        self.latency_s = latency_s
        self.error = error
        self.values: dict[str, bytes] = {}
        self.round_trips: list[int] = []
        self.closed = False

    def pipeline(self, *, transaction: bool) -> "Client":
        assert not transaction
        self._commands: list[Callable[[], Any]] = []
        return self

    def mget(self, keys: list[str]) -> None:
        self._commands.append(lambda: [self.values.get(key) for key in keys])

    def set(self, key: str, value: bytes, px: int) -> None:
        assert px == 60_000
        self._commands.append(lambda: self.values.update({key: value}))

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        self.round_trips.append(len(self._commands))
        await asyncio.sleep(self.latency_s)
        if self.error is not None:
            raise self.error
        return [command() for command in self._commands]

    async def aclose(self) -> None:
        self.closed = True


async def elapsed(call: Any) -> tuple[Any, float]:
    loop = asyncio.get_running_loop()
    started = loop.time()
    return await call, round(loop.time() - started, 6)


@pytest.mark.parametrize(
    ("client", "wait_s"),
    [
        (Client(latency_s=9), 0.05),
        (Client(error=OSError("gone")), 0.001),
        (Client(error=asyncio.CancelledError("nobody asked for it")), 0.001),
    ],
)
def test_a_store_that_failed_is_left_alone_for_a_second(client: Client, wait_s: float) -> None:
    async def scenario() -> None:
        store = make(client)
        assert await elapsed(store.get("a")) == (None, wait_s)
        assert await elapsed(store.get("a")) == (None, 0)
        store.put("a", "b")
        await asyncio.sleep(0.99)
        assert await elapsed(store.get("a")) == (None, 0)
        await asyncio.sleep(0.01)
        client.latency_s, client.error = 0.001, None
        assert await elapsed(store.get("a")) == (None, 0.001)
        statistics = store.statistics()
        assert (statistics.failures, statistics.skipped, statistics.misses) == (1, 3, 1)
        assert statistics.dropped == 1
        await store.aclose()

    run_virtual(scenario())
    assert client.round_trips == [1, 1]
    assert client.closed


def test_nobody_is_left_waiting_when_a_round_trip_fails() -> None:
    async def scenario() -> None:
        store = make(Client(latency_s=9))
        early = asyncio.create_task(store.get("a"))
        await asyncio.sleep(0.03)
        late = asyncio.create_task(store.get("b"))
        store.put("c", "d")
        assert await elapsed(asyncio.gather(early, late)) == ([None, None], 0.02)
        assert (store.statistics().dropped, store.statistics().unsent) == (1, 0)

    run_virtual(scenario())


def test_who_leaves_takes_nothing_from_another_with_the_same_question() -> None:
    async def scenario() -> None:
        client = Client()
        client.values[f"{PREFIX}a"] = b"Antwort"
        store = make(client)
        gone, stays = (asyncio.create_task(store.get("a")) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == "Antwort"
        assert gone.cancelled()
        assert client.round_trips == [1]

    run_virtual(scenario())


def test_what_waits_to_be_stored_is_bounded_in_number_and_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        client = Client()
        store = make(client)
        for key in ("a", "b", "c"):
            store.put(key, key)
        store.put("large", "x" * (module.MAX_VALUE_BYTES + 1))
        assert (store.statistics().unsent, store.statistics().dropped) == (2, 2)
        await store.aclose()
        assert sorted(client.values) == [f"{PREFIX}a", f"{PREFIX}b"]

    monkeypatch.setattr(module, "MAX_UNSENT", 2)
    run_virtual(scenario())


def test_without_memory_the_store_alone_answers() -> None:
    async def scenario() -> list[str]:
        store = make(Client())
        call = stack(model, layer := memory(store, max_entries=0))
        answers = [await call(Request("a")), await call(Request("a"))]
        assert layer.statistics().entries == layer.statistics().evicted == 0
        return answers

    async def model(request: Request[str]) -> str:
        return "A"

    assert run_virtual(scenario()) == ["A", "A (cached)"]
