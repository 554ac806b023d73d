import asyncio
import logging
import random
import signal
from bisect import bisect_left
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from judge_service.errors import Throttled
from judge_service.flow import Request
from judge_service.flow.admission.bucket import Limit
from judge_service.flow.admission.gate import Gate
from judge_service.flow.admission.lease import ALONE_SHARE, QuotaLease
from judge_service.flow.stores import Ask, Lease, QuotaStore, StoreFailed
from judge_service.flow.stores.dynamodb import DynamoDBStore
from judge_service.flow.stores.memory import MemoryStore
from judge_service.flow.stores.redis import RedisStore
from judge_service.telemetry.events import StoreBack, StoreLost
from judge_service.testing import RecordingSink, VirtualTimeLoop, run_virtual
from tests.flow.conftest import RedisServer
from tests.flow.gates import new_gate

QUOTA = "judge"
JUDGE_S = 0.05


class FlakyStore:
    """A store in memory that can be lost, forget everything, and tell what it was asked and when."""

    def __init__(self) -> None:
        self.inner = MemoryStore()
        self.problem: BaseException | None = None
        self.asks: list[tuple[float, Ask]] = []

    async def lease(self, quota: str, ask: Ask) -> Lease:
        self.asks.append((asyncio.get_running_loop().time(), ask))
        await asyncio.sleep(0.001)
        if self.problem:
            await asyncio.sleep(0.1)
            raise self.problem
        return await self.inner.lease(quota, ask)

    async def aclose(self) -> None:
        await self.inner.aclose()

    def come_back(self, *, empty: bool) -> None:
        self.problem = None
        if empty:
            self.inner = MemoryStore()


class Process:
    """One of those who share: a gate, its part in the quota, and a judge that takes 50 ms."""

    def __init__(self, store: QuotaStore, per_minute: float, name: str, **options: Any) -> None:
        self.limit = new_gate({"requests": Limit(per_minute)})
        quota = {"requests": per_minute}
        self.shared = QuotaLease(
            self.limit, store=store, quota=QUOTA, per_minute=quota, client=name, **options
        )
        self.began_s: list[float] = []
        self.is_throttled = False
        self.lost = 0
        self._working: list[asyncio.Task[None]] = []

    async def judge(self, request: Request[Any]) -> None:
        self.began_s.append(asyncio.get_running_loop().time())
        await asyncio.sleep(JUDGE_S)
        if self.is_throttled and random.random() < 0.5:  # all of them would be a storm
            raise Throttled("slow down")

    async def call(self) -> None:
        await self.limit(Request(None), self.judge)

    async def _work(self) -> None:
        while True:
            try:
                await self.call()
            except Throttled:
                await asyncio.sleep(0.5)

    def saturate(self, workers: int = 16) -> None:
        self._working = [asyncio.create_task(self._work()) for _ in range(workers)]

    async def stop(self) -> None:
        for worker in self._working:
            worker.cancel()
        ended = await asyncio.gather(*self._working, return_exceptions=True)
        self.lost += sum(not isinstance(end, asyncio.CancelledError) for end in ended)
        await self.shared.aclose()


class Fleet:
    """Many processes on one store, started together."""

    def __init__(self, number: int, per_minute: float, store: QuotaStore, **options: Any) -> None:
        self.per_minute = per_minute
        self.started_s = asyncio.get_running_loop().time()
        self.processes = [Process(store, per_minute, f"p{n}", **options) for n in range(number)]
        for process in self.processes:
            process.shared.start()

    def saturate(self) -> None:
        for process in self.processes:
            process.saturate()

    async def stop(self) -> None:
        for process in self.processes:
            await process.stop()

    def began_s(self) -> list[float]:
        return sorted(at_s for process in self.processes for at_s in process.began_s)

    def between(self, from_s: float, to_s: float) -> int:
        """Calls that began between these times since the start."""
        began_s = self.began_s()
        return bisect_left(began_s, self.started_s + to_s) - bisect_left(
            began_s, self.started_s + from_s
        )

    def worst_window(self) -> float:
        """The fullest 60 s as a part of the quota."""
        began_s = self.began_s()
        most = max(bisect_left(began_s, at_s + 60) - n for n, at_s in enumerate(began_s))
        return most / self.per_minute


def jain(amounts: list[int]) -> float:
    return sum(amounts) ** 2 / (len(amounts) * sum(amount**2 for amount in amounts))


@pytest.fixture(autouse=True)
def _same_jitter() -> None:
    random.seed(7)


def virtually(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_virtual(scenario())


def test_forty_processes_use_the_quota_fairly_for_ten_minutes() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        fleet = Fleet(40, 3000, store)
        fleet.saturate()
        await asyncio.sleep(600)
        operations = store.statistics().operations
        await fleet.stop()

        evaluations = len(fleet.began_s())
        assert evaluations >= 0.98 * 30_000
        assert fleet.worst_window() <= 1.01
        assert jain([len(process.began_s) for process in fleet.processes]) >= 0.97
        assert operations <= 0.1 * evaluations

    virtually(scenario)


def test_idle_processes_leave_their_share_to_the_others() -> None:
    async def scenario() -> None:
        fleet = Fleet(40, 6000, MemoryStore())
        await asyncio.gather(*(process.call() for process in fleet.processes))
        fleet.processes[0].saturate(workers=64)
        await asyncio.sleep(30)
        await fleet.stop()

        assert fleet.between(5, 30) >= 0.99 * 2500

    virtually(scenario)


def test_two_resources_are_leased_together() -> None:
    async def scenario() -> None:
        store, used = MemoryStore(), [0, 0]
        per_minute = {"requests": 6000.0, "tokens": 600_000.0}
        limit: Gate[int, None] = new_gate(
            {name: Limit(amount) for name, amount in per_minute.items()},
            reserve=lambda tokens: (1, 2 * tokens),  # half is given back in the end
            charge=lambda tokens, _none: (1, tokens),
        )
        shared = QuotaLease(limit, store=store, quota=QUOTA, per_minute=per_minute)
        shared.start()

        async def judge(request: Request[int]) -> None:
            await asyncio.sleep(JUDGE_S)
            used[0] += 1
            used[1] += request.body

        async def work(tokens: int) -> None:
            while True:
                await limit(Request(tokens), judge)

        workers = [asyncio.create_task(work(tokens)) for tokens in (50, 1000) * 16]
        await asyncio.sleep(60)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await shared.aclose()

        assert 0.97 * 600_000 <= used[1] <= 1.01 * 600_000
        assert used[0] < 6000

    virtually(scenario)


@pytest.mark.parametrize("empty", [False, True], ids=["with its memory", "empty"])
@pytest.mark.parametrize("lost_s", [1, 10])
def test_a_lost_store_costs_little_and_frees_nothing(lost_s: float, empty: bool) -> None:
    async def scenario() -> None:
        store, sink = FlakyStore(), RecordingSink()
        fleet = Fleet(20, 12_000, store, sink=sink)
        fleet.saturate()
        await asyncio.sleep(10)
        store.problem = StoreFailed("gone")
        await asyncio.sleep(lost_s)
        store.come_back(empty=empty)
        await asyncio.sleep(2)
        alone = [process.shared.statistics().is_alone for process in fleet.processes]
        await asyncio.sleep(50)
        await fleet.stop()

        assert not any(alone)
        assert fleet.worst_window() <= 1.01
        if lost_s == 10:
            assert fleet.between(13, 20) == pytest.approx(ALONE_SHARE * 7 * 200, rel=0.03)
            assert len(sink.of(StoreLost)) == len(sink.of(StoreBack)) == 20
            assert sink.of(StoreLost)[0].clients == 20
        assert fleet.between(10 + lost_s + 4, 10 + lost_s + 14) >= 0.98 * 2000
        assert sum(process.lost for process in fleet.processes) == 0

    virtually(scenario)


@pytest.mark.parametrize("seed", range(5))
def test_a_store_that_forgets_again_and_again_frees_nothing(seed: int) -> None:
    """At random moments; `seed` is the whole way to play it again."""

    async def scenario() -> None:
        random.seed(seed)
        store = FlakyStore()
        per_minute = random.choice([3000, 6000, 24_000])
        mean_s = random.choice([0.5, 2.0, 8.0])
        fleet = Fleet(40, per_minute, store)
        fleet.saturate()
        await asyncio.sleep(12)  # a round of all: before, nobody knows how many there are
        for _ in range(int(80 / mean_s)):
            await asyncio.sleep(random.expovariate(1 / mean_s))
            store.come_back(empty=True)
        seconds = asyncio.get_running_loop().time() - fleet.started_s
        await fleet.stop()

        assert fleet.worst_window() <= 1.01
        assert fleet.between(10, seconds) >= 0.95 * (seconds - 10) * per_minute / 60

    virtually(scenario)


@pytest.mark.parametrize(("clients", "per_minute"), [(1, 6000), (8, 12_000)])
def test_a_store_that_forgets_each_half_second_from_the_start_frees_nothing(
    clients: int, per_minute: int
) -> None:
    async def scenario() -> None:
        store = FlakyStore()
        fleet = Fleet(clients, per_minute, store)
        fleet.saturate()
        for _ in range(150):
            await asyncio.sleep(0.5)
            store.come_back(empty=True)
        await fleet.stop()

        assert fleet.worst_window() <= 1.01
        assert fleet.between(5, 75) >= 0.95 * 70 * per_minute / 60

    virtually(scenario)


def test_says_so_in_one_line_each_way(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        store = FlakyStore()
        process = Process(store, 6000, "a")
        process.shared.start()
        process.saturate()
        await asyncio.sleep(5)
        store.problem = StoreFailed("gone")
        await asyncio.sleep(5)
        store.come_back(empty=False)
        await asyncio.sleep(2)
        await process.stop()

    with caplog.at_level(logging.WARNING, logger="judge_service"):
        virtually(scenario)

    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "lost the store of quota judge, using a share: gone"
    assert lines[1].startswith("the store of quota judge is back after ")
    assert len(lines) == 2


@pytest.mark.parametrize(
    "problem",
    [StoreFailed("gone"), ZeroDivisionError("a bug of the store"), asyncio.CancelledError("stray")],
)
def test_without_a_store_from_the_start_it_spends_the_expected_share(problem: Exception) -> None:
    async def scenario() -> None:
        store = FlakyStore()
        store.problem = problem
        fleet = Fleet(1, 6000, store, expected_clients=4)
        fleet.saturate()
        await asyncio.sleep(64)
        await fleet.stop()

        assert fleet.between(4, 64) == pytest.approx(6000 / 4 * ALONE_SHARE, rel=0.01)

    virtually(scenario)


def test_after_a_freeze_what_was_leased_is_dropped() -> None:
    async def scenario() -> None:
        store = FlakyStore()
        process = Process(store, 6000, "a")
        process.shared.start()
        await asyncio.gather(*(process.call() for _ in range(100)))
        await asyncio.sleep(0.6)
        assert process.limit.statistics().level["requests"] > 1

        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.stall(600)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert process.limit.statistics().level["requests"] == 0
        await process.stop()
        assert store.asks[-1][1].returned == {}  # its time has passed

    virtually(scenario)


def test_a_lease_that_began_while_frozen_is_not_spent() -> None:
    async def scenario() -> None:
        store = FlakyStore()
        process = Process(store, 6000, "a")
        process.shared.start()
        process.saturate()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        await asyncio.sleep(5.1)
        before = len(process.began_s)
        loop.stall(600)
        await asyncio.sleep(0.0005)

        assert len(process.began_s) - before <= 1
        await asyncio.sleep(5)
        assert len(process.began_s) - before <= 550
        await process.stop()

    virtually(scenario)


def test_four_hundred_instances_do_not_ask_at_once() -> None:
    async def scenario() -> None:
        store = FlakyStore()
        fleet = Fleet(400, 24_000, store)
        calls = [asyncio.create_task(process.call()) for process in fleet.processes]
        await asyncio.gather(*calls)
        await fleet.stop()

        first_s = sorted(at_s for at_s, ask in store.asks if ask.want)
        most_in_10_ms = max(bisect_left(first_s, at_s + 0.01) - n for n, at_s in enumerate(first_s))
        assert len(first_s) >= 400
        assert most_in_10_ms <= 25

    virtually(scenario)


def test_who_needs_nothing_asks_nothing() -> None:
    async def scenario() -> None:
        store = FlakyStore()
        process = Process(store, 6000, "a")
        process.shared.start()
        await asyncio.sleep(3600)
        assert store.asks == []

        await process.call()
        await asyncio.sleep(3600)
        assert len(store.asks) <= 2
        await process.stop()

    virtually(scenario)


@pytest.mark.parametrize("later_s", [0.9, 5], ids=["soon", "when its time is long over"])
def test_what_was_not_spent_goes_back_with_the_next_ask(later_s: float) -> None:
    async def scenario() -> None:
        store = FlakyStore()
        process = Process(store, 6000, "a")
        process.shared.start()
        await asyncio.gather(*(process.call() for _ in range(100)))
        await asyncio.sleep(0.6)
        held = int(process.limit.statistics().level["requests"])
        await asyncio.sleep(later_s)
        assert process.limit.statistics().level["requests"] == 0

        await process.call()
        assert held > 1
        back = [ask.returned for _, ask in store.asks if ask.returned]
        assert back == ([{"requests": held}] if later_s < 1 else [])
        await process.stop()

    virtually(scenario)


def test_closing_gives_back_and_leaves() -> None:
    async def scenario() -> None:
        store = FlakyStore()
        first, second = (Process(store, 6000, name) for name in "ab")
        for process in (first, second):
            process.shared.start()
            process.saturate()
        await asyncio.sleep(5.1)
        await first.stop()

        assert store.asks[-1][1].leaving
        assert sum(store.asks[-1][1].returned.values()) > 0
        assert store.inner.statistics().clients == {QUOTA: 1}
        await second.stop()

    virtually(scenario)


@pytest.mark.parametrize("after_s", [0.0, 0.0005, 0.3, 0.9, 1.3, 2.0])
def test_can_be_closed_at_any_moment(after_s: float) -> None:
    async def scenario() -> None:
        store = FlakyStore()
        process = Process(store, 600, "a")
        process.shared.start()
        process.saturate()
        await asyncio.sleep(after_s)
        store.problem = StoreFailed("gone")
        await process.stop()
        await process.shared.aclose()

        assert len(asyncio.all_tasks()) == 1

    virtually(scenario)


def test_throttles_seen_by_one_slow_all() -> None:
    async def scenario() -> None:
        store = FlakyStore()
        fleet = Fleet(2, 6000, store)
        fleet.saturate()
        await asyncio.sleep(10)
        fleet.processes[0].is_throttled = True
        paces = []
        for _ in range(100):
            await asyncio.sleep(0.1)
            paces.append(fleet.processes[1].shared.statistics().pace)

        assert min(paces) < 0.9
        assert any(ask.refused for _, ask in store.asks)
        await fleet.stop()

    virtually(scenario)


class Table:
    """DynamoDB's conditional update, as far as the store uses it; takes 5 to 20 ms."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.updates = 0

    async def __call__(self, request: Mapping[str, Any]) -> tuple[int, bytes]:
        await asyncio.sleep(random.uniform(0.005, 0.02))
        self.updates += 1
        item = self.items.setdefault(request["Key"]["slice"]["S"], {"marks": {"NS": []}})
        values = request["ExpressionAttributeValues"]
        used = int(item.get("requests", {"N": "0"})["N"])
        if "requests" in item and used > int(values[":room0"]["N"]):
            full = {"__type": "com.amazon#ConditionalCheckFailedException", "Item": item}
            return 400, msgspec.json.encode(full)
        item["requests"] = {"N": str(used + int(values[":n0"]["N"]))}
        item["marks"] = {"NS": sorted({*item["marks"]["NS"], *values[":mark"]["NS"]})}
        return 200, msgspec.json.encode({"Attributes": item})


def test_forty_processes_share_through_a_table_with_few_updates() -> None:
    async def scenario() -> None:
        loop, table = asyncio.get_running_loop(), Table()
        stores = [
            DynamoDBStore("t", send=table, clock=lambda: 1_795_000_000 + loop.time())
            for _ in range(40)
        ]
        fleet = Fleet(40, 24_000, OneEach(stores))
        fleet.saturate()
        await asyncio.sleep(30)
        updates = table.updates
        await fleet.stop()

        assert 0.98 * 10_000 <= fleet.between(5, 30) <= 1.02 * 10_000
        assert jain([len(process.began_s) for process in fleet.processes]) >= 0.97
        assert updates <= 0.1 * len(fleet.began_s())

    virtually(scenario)


class OneEach:
    """Gives every client a store of its own, as if they were in different processes."""

    def __init__(self, stores: list[DynamoDBStore]) -> None:
        self._stores = stores

    async def lease(self, quota: str, ask: Ask) -> Lease:
        return await self._stores[int(ask.client[1:])].lease(quota, ask)

    async def aclose(self) -> None: ...


async def test_eight_limiters_share_a_real_redis(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, timeout_s=0.25)
    fleet = Fleet(8, 24_000, store)
    fleet.saturate()
    await asyncio.sleep(2.5)
    await fleet.stop()
    await store.aclose()

    assert fleet.between(1, 2) == pytest.approx(400, rel=0.1)
    assert jain([len(process.began_s) for process in fleet.processes]) >= 0.8  # 4 turns each
    assert store.statistics().operations <= 0.1 * len(fleet.began_s())


async def test_a_real_redis_that_is_flushed_each_half_second_frees_nothing(
    own_redis_server: RedisServer,
) -> None:
    store = RedisStore(own_redis_server.url, timeout_s=0.25)
    fleet = Fleet(8, 24_000, store)
    fleet.saturate()
    for _ in range(8):
        await asyncio.sleep(0.5)
        await store._client.flushall()
    await fleet.stop()
    await store.aclose()

    assert 0.8 * 1200 <= fleet.between(1, 4) <= 1.1 * 1200


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_real_redis_is_lost_and_comes_back(
    own_redis_server: RedisServer, how: signal.Signals
) -> None:
    store, sink = RedisStore(own_redis_server.url, timeout_s=0.05), RecordingSink()
    fleet = Fleet(8, 24_000, store, sink=sink)
    fleet.saturate()
    await asyncio.sleep(0.7)
    own_redis_server.send(how)
    await asyncio.sleep(1)
    if how == signal.SIGSTOP:
        own_redis_server.send(signal.SIGCONT)
    else:
        own_redis_server.kill()
        own_redis_server.start()
    await asyncio.sleep(1.3)
    alone = [process.shared.statistics().is_alone for process in fleet.processes]
    await fleet.stop()
    await store.aclose()

    assert not any(alone)
    assert len(sink.of(StoreLost)) == len(sink.of(StoreBack)) == 8
    assert 0.5 * 400 <= fleet.between(1.5, 2.5) <= 1.1 * 400
    assert sum(process.lost for process in fleet.processes) == 0


def test_shows_itself() -> None:
    async def scenario() -> None:
        process = Process(MemoryStore(), 6000, "a")
        assert repr(process.shared) == "QuotaLease(judge through MemoryStore())"
        process.shared.start()
        await process.call()
        statistics = process.shared.statistics()
        await process.stop()

        assert (statistics.asked, statistics.failed, statistics.leased) == (2, 0, 2)  # one ahead
        assert (statistics.is_alone, statistics.clients, statistics.pace) == (False, 1, 1.0)

    virtually(scenario)


# A freeze that no clock of the process has seen


def test_after_a_thaw_nothing_that_was_leased_before_is_spent() -> None:
    async def scenario() -> None:
        store = FlakyStore()
        process = Process(store, 6_000, "p")
        process.shared.start()
        for _ in range(20):
            await process.call()
        assert process.limit.statistics().level["requests"] > 0
        asked = len(store.asks)

        process.shared.thaw()

        assert process.limit.statistics().level["requests"] == 0
        await process.call()
        assert len(store.asks) > asked
        await process.stop()

    run_virtual(scenario())


class DistantStore(FlakyStore):
    """Takes its time to answer."""

    away_s = 0.2

    async def lease(self, quota: str, ask: Ask) -> Lease:
        lease = await super().lease(quota, ask)
        await asyncio.sleep(self.away_s)
        return lease


def test_an_answer_of_the_store_that_was_on_its_way_at_the_freeze_is_not_taken() -> None:
    async def scenario() -> None:
        store = DistantStore()
        process = Process(store, 6_000, "p")
        process.shared.start()
        await process.call()
        await asyncio.sleep(2)  # what was leased has expired
        call = asyncio.create_task(process.call())
        await asyncio.sleep(DistantStore.away_s / 2)
        thawed_s = asyncio.get_running_loop().time()

        process.shared.thaw()
        await call

        assert process.began_s[-1] - thawed_s >= DistantStore.away_s  # it was asked anew
        await process.stop()

    run_virtual(scenario())


def test_a_thaw_while_the_store_is_lost_leaves_the_share_of_its_own() -> None:
    async def scenario() -> None:
        store = FlakyStore()
        process = Process(store, 6_000, "p")
        process.shared.start()
        store.problem = StoreFailed("gone")
        call = asyncio.create_task(process.call())
        await asyncio.sleep(4)
        assert process.shared.statistics().is_alone

        process.shared.thaw()

        await process.call()
        await call
        await process.stop()

    run_virtual(scenario())


def test_what_was_earned_alone_is_not_handed_in_as_if_it_had_been_leased() -> None:
    async def scenario() -> None:
        store = FlakyStore()
        process = Process(store, 6_000, "p")
        process.shared.start()
        await process.call()
        await asyncio.sleep(2)
        leased = sum(process.limit.statistics().level.values())
        store.problem = StoreFailed("gone")
        await asyncio.gather(*(process.call() for _ in range(20)))
        assert process.shared.statistics().is_alone
        await asyncio.sleep(5)  # alone, at 80 a second, while nobody calls
        store.come_back(empty=False)
        await asyncio.sleep(3)
        await process.call()
        await asyncio.sleep(3)
        await process.call()
        await process.stop()

        assert leased == 0
        back = [ask.returned["requests"] for _, ask in store.asks if ask.returned]
        granted = [
            ask.want["requests"] for _, ask in store.asks if ask.want and not ask.lost_clients
        ]
        assert sum(back) <= sum(granted)

    run_virtual(scenario())


def test_a_process_that_starts_waits_a_while_for_its_first_answer() -> None:
    async def scenario() -> None:
        store = FlakyStore()
        store.problem = StoreFailed("not connected yet")
        process = Process(store, 6_000, "p")
        process.shared.start()
        call = asyncio.create_task(process.call())
        await asyncio.sleep(1)
        store.come_back(empty=False)
        await call

        assert process.shared.statistics().failed > 0
        assert store.asks[-1][1].lost_clients == 0  # it never went on alone
        await process.stop()

    run_virtual(scenario())


def test_what_was_to_be_handed_in_is_forgotten_in_a_freeze() -> None:
    async def scenario() -> None:
        store = FlakyStore()
        process = Process(store, 6000, "a")
        process.shared.start()
        await asyncio.gather(*(process.call() for _ in range(100)))
        await asyncio.sleep(1.5)
        assert process.limit.statistics().level["requests"] == 0  # its time is over, unspent

        process.shared.thaw()
        await process.call()

        assert not [ask.returned for _, ask in store.asks if ask.returned]
        await process.stop()

    virtually(scenario)


@pytest.mark.parametrize("idle_s", [1.5, 60])
def test_many_that_are_thawed_at_once_take_no_more_than_the_quota(idle_s: float) -> None:
    """A training step begins: every environment was frozen, held a little, and is asked in one instant."""

    async def scenario() -> None:
        store = FlakyStore()
        fleet = Fleet(50, 4800, store)
        for process in fleet.processes:  # cold starts, one after the other: each sees few of them
            await process.call()
        await asyncio.sleep(idle_s)
        thawed_s = asyncio.get_running_loop().time() - fleet.started_s
        for process in fleet.processes:
            process.shared.thaw()
        store.problem = StoreFailed("busy with all the others")
        fleet.saturate()
        await asyncio.sleep(0.5)
        store.come_back(empty=False)
        await asyncio.sleep(10)
        await fleet.stop()

        assert fleet.between(thawed_s, thawed_s + 10) <= 1.02 * 800

    virtually(scenario)


class DeafStore(FlakyStore):
    """Hides a cancellation, as `asyncio.wait_for` of Python 3.11 does when it comes with the result."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self.fails = fails

    async def lease(self, quota: str, ask: Ask) -> Lease:
        if not ask.leaving:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(10)
            if self.fails:
                raise StoreFailed("timed out")
        return await super().lease(quota, ask)


@pytest.mark.parametrize("fails", [False, True], ids=["answers", "fails"])
@pytest.mark.parametrize("ending", ["close", "thaw and close"])
def test_it_ends_also_when_the_stores_client_hides_the_cancellation(
    fails: bool, ending: str
) -> None:
    async def scenario() -> None:
        process = Process(DeafStore(fails=fails), 6_000, "p")
        process.shared.start()
        process.saturate(workers=1)
        await asyncio.sleep(2)
        if "thaw" in ending:
            process.shared.thaw()
            await asyncio.sleep(0.1)
            leasing = [task for task in asyncio.all_tasks() if "lease" in task.get_name()]
            assert len(leasing) == 1  # not the one from before beside the new one

        began_s = asyncio.get_running_loop().time()
        await process.stop()

        assert asyncio.get_running_loop().time() - began_s < 1

    run_virtual(scenario())
