import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from judge_service.aws.client import AwsClient
from judge_service.flow.stores import Ask, StoreFailed
from judge_service.flow.stores.dynamodb import MAX_CHUNK_S, TIMEOUT_S, DynamoDBStore, Send
from judge_service.testing import run_virtual

SLICE_AT_S = 1_795_000_000.0


class Clock:
    """The clients' clock, which stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = SLICE_AT_S

    def __call__(self) -> float:
        return self.now_s


def ask(client: str = "a", per_minute: float = 6000, want: int = 1000, **fields: object) -> Ask:
    return Ask(
        client=client, per_minute={"requests": per_minute}, want={"requests": want}, **fields
    )  # type: ignore[arg-type]  # table


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def sender(endpoint: str) -> tuple[AwsClient, Send]:
    client = AwsClient(
        {
            "AWS_ENDPOINT_URL_DYNAMODB": endpoint,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
    )

    async def send(request: Mapping[str, Any]) -> tuple[int, bytes]:
        reply = await client.call("dynamodb", "DynamoDB_20120810.UpdateItem", request)
        return reply.status, reply.body

    return client, send


@pytest.fixture
async def stores(endpoint: str, clock: Clock) -> AsyncIterator[list[DynamoDBStore]]:
    """Two processes on one table."""
    client, send = sender(endpoint)
    table = f"quota-{uuid.uuid4().hex}"
    made = await client.call(
        "dynamodb",
        "DynamoDB_20120810.CreateTable",
        {
            "TableName": table,
            "KeySchema": [{"AttributeName": "slice", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "slice", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    )
    assert made.status == 200, made.body
    yield [DynamoDBStore(table, send=send, clock=clock) for _ in range(2)]
    await client.aclose()


async def test_one_update_leases_from_the_slice_of_now(stores: list[DynamoDBStore]) -> None:
    lease = await stores[0].lease("q", ask())

    assert (lease.granted, lease.delay_s, lease.clients) == ({"requests": 50}, 0.0, 1)
    assert stores[0].statistics().updates == 1


async def test_a_full_slice_sends_the_next_client_to_the_next(stores: list[DynamoDBStore]) -> None:
    await stores[0].lease("q", ask("a"))
    lease = await stores[1].lease("q", ask("b"))

    assert (lease.granted, lease.delay_s) == ({"requests": 50}, 0.5)
    assert (stores[1].statistics().updates, stores[1].statistics().full) == (2, 1)


async def test_what_is_left_of_a_slice_is_taken_if_worth_a_write(
    stores: list[DynamoDBStore],
) -> None:
    await stores[0].lease("q", ask("a", want=20))
    lease = await stores[1].lease("q", ask("b"))

    assert (lease.granted, lease.delay_s) == ({"requests": 30}, 0.0)


async def test_no_slice_ever_holds_more_than_its_part(stores: list[DynamoDBStore]) -> None:
    # One after the other: DynamoDB checks and writes an item in one step, the double does not.
    leases = [await stores[n % 2].lease("q", ask(str(n), want=7 + n)) for n in range(12)]

    by_slice: dict[float, int] = {}
    for lease in leases:
        if lease.granted:
            by_slice[lease.delay_s] = by_slice.get(lease.delay_s, 0) + lease.granted["requests"]
    assert max(by_slice.values()) <= 50
    assert sum(by_slice.values()) >= 50  # some may come away empty: nobody hunts for ever


async def test_all_resources_or_none(stores: list[DynamoDBStore]) -> None:
    both = Ask(
        client="a",
        per_minute={"requests": 6000, "tokens": 60_000},
        want={"requests": 10, "tokens": 500},
    )
    first = await stores[0].lease("q", both)
    second = await stores[1].lease("q", both)

    assert first.granted == second.granted == {"requests": 10, "tokens": 500}
    assert (first.delay_s, second.delay_s) == (0.0, 0.5)  # the tokens of the first slice are gone


async def test_full_slices_are_not_hunted_for_ever(
    stores: list[DynamoDBStore], clock: Clock
) -> None:
    for _ in range(6):
        await stores[0].lease("q", ask("a"))
    lost = await stores[1].lease("q", ask("b"))
    found = await stores[1].lease("q", ask("b"))

    assert lost.granted == {}
    assert 0.5 <= lost.delay_s <= 1.0
    assert found.granted
    assert found.delay_s == 3.0


async def test_clients_learn_of_each_other_and_share(
    stores: list[DynamoDBStore], clock: Clock
) -> None:
    for _ in range(3):
        for client, store in zip("ab", stores, strict=True):
            await store.lease("q", ask(client, want=25))
        clock.now_s += 0.5

    lease = await stores[1].lease("q", ask("b"))

    assert lease.clients == 2
    assert lease.granted == {"requests": 30}  # a batch; alone it were 50


async def test_calls_refused_to_one_slow_the_other(
    stores: list[DynamoDBStore], clock: Clock
) -> None:
    for _ in range(8):
        told = await stores[0].lease("q", ask("a", want=5))
        await stores[0].lease("q", ask("a", want=5, sent=20, refused=10, pace=told.pace))
        seen = await stores[1].lease("q", ask("b", want=5))
        clock.now_s += 0.5

    assert seen.pace < 0.8


async def test_nothing_wanted_is_no_operation(stores: list[DynamoDBStore]) -> None:
    leaving = Ask(client="a", per_minute={"requests": 60}, leaving=True)

    assert (await stores[0].lease("q", leaving)).granted == {}
    assert stores[0].statistics().updates == 0


class Overloaded:
    """A table that refuses the first so many updates."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.calls = 0

    async def __call__(self, _request: Mapping[str, Any]) -> tuple[int, bytes]:
        self.calls += 1
        if self.calls <= self.refusals:
            return 400, b'{"__type": "com.amazon#ThrottlingException", "message": "slow down"}'
        return 200, b'{"Attributes": {"marks": {"NS": ["7"]}}}'


async def test_an_overloaded_table_gets_fewer_and_longer_leases(clock: Clock) -> None:
    store = DynamoDBStore("t", send=Overloaded(refusals=2), clock=clock)

    await store.lease("q", ask())

    assert (store.statistics().overloaded, store.statistics().chunk_s) == (2, 2.0)
    for chunk_s in (1.0, 0.5, 0.5):
        clock.now_s += 11
        await store.lease("q", ask())
        assert store.statistics().chunk_s == chunk_s


async def test_a_table_overloaded_for_long_has_failed_without_a_hot_loop(clock: Clock) -> None:
    table = Overloaded(refusals=99)
    store = DynamoDBStore("t", send=table, clock=clock)

    with pytest.raises(StoreFailed, match="slow down"):
        await store.lease("q", ask())

    assert table.calls == 3
    assert store.statistics().chunk_s <= MAX_CHUNK_S


async def test_a_table_that_is_not_there_has_failed(endpoint: str) -> None:
    client, send = sender(endpoint)
    store = DynamoDBStore("another", send=send)

    with pytest.raises(StoreFailed, match="ResourceNotFoundException"):
        await store.lease("q", ask())
    await client.aclose()


async def test_no_connection_has_failed() -> None:
    client, send = sender("http://127.0.0.1:1")
    store = DynamoDBStore("t", send=send)

    with pytest.raises(StoreFailed, match=r"gave no lease: Unavailable\("):
        await store.lease("q", ask())
    await client.aclose()


def test_a_table_that_does_not_answer_has_failed_in_time() -> None:
    async def silent(_request: Mapping[str, Any]) -> tuple[int, bytes]:
        await asyncio.sleep(60)
        return 200, b"{}"

    async def scenario() -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(StoreFailed, match="TimeoutError"):
            await DynamoDBStore("t", send=silent).lease("q", ask())
        assert asyncio.get_running_loop().time() - began == TIMEOUT_S

    run_virtual(scenario())


async def test_an_answer_that_is_no_json_has_failed() -> None:
    async def garbage(_request: Mapping[str, Any]) -> tuple[int, bytes]:
        return 502, b"<html>"

    with pytest.raises(StoreFailed, match="DecodeError"):
        await DynamoDBStore("t", send=garbage).lease("q", ask())


def test_shows_its_table() -> None:
    assert repr(DynamoDBStore("t", send=Overloaded(0))) == "DynamoDBStore(t)"
