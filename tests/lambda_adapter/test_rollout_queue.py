"""The queue form against moto's SQS and DynamoDB: each message answered, redelivery, poison, failures."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import msgspec
import pytest
from moto.server import ThreadedMotoServer

from judge_service.backends.scripted import Scripted
from judge_service.errors import Denied, SettingsError
from judge_service.service import open_service
from judge_service.settings import load_settings
from lambda_adapter.environment import Environment
from lambda_adapter.queue.reply_queue import Reply, _batches
from lambda_adapter.rollout_queue import answer_queue, is_queue_event

KEYS = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret"}


class Aws:
    """A table and a queue on this machine."""

    def __init__(self, url: str, *, fifo: bool = False) -> None:
        place: dict[str, Any] = {"endpoint_url": url, "region_name": "us-east-1", **KEYS}
        self.sqs, self.dynamodb = boto3.client("sqs", **place), boto3.client("dynamodb", **place)
        self.environ = {
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_SQS": url,
            "AWS_ENDPOINT_URL_DYNAMODB": url,
        }
        self.table = f"rollouts-{uuid.uuid4().hex}"
        self.dynamodb.create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": "sample_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "sample_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        name, attributes = f"replies-{uuid.uuid4().hex}", {}
        if fifo:
            name, attributes = f"{name}.fifo", {"FifoQueue": "true"}
        self.queue = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def settings(self, **more: str) -> Any:
        environ = {
            "JUDGE_FUNCTION_REPLY_QUEUE_URL": self.queue,
            "JUDGE_FUNCTION_ROLLOUT_TABLE": self.table,
            **more,
        }
        return load_settings(None, environ)

    def received(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while messages := self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                found.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return sorted(found, key=lambda one: one["sample_id"])

    def item(self, sample_id: str) -> dict[str, Any]:
        key = {"sample_id": {"S": sample_id}}
        return self.dynamodb.get_item(TableName=self.table, Key=key).get("Item", {})


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(url: str) -> Aws:
    return Aws(url)


def request(sample_id: str, **more: Any) -> dict[str, Any]:
    return {
        "version": "v0",
        "timestamp": "2026-01-01T00:00:00Z",
        "sample_id": sample_id,
        "max_length": 10240,
        "rewards": {"range": [0.0, 1.0]},
        "data": {"problem": "What is 1 + 1?", "answer": "2"},
        **more,
    }


def response(sample_id: str, text: str = "It is 2.") -> dict[str, Any]:
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    return {
        "version": "v0",
        "sample_id": sample_id,
        "step_id": f"{sample_id}_0",
        "data": {"choices": [choice], "serving_model_num": 0},
        "finish_reason": "stop",
    }


def event_of(*messages: Any) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": f"message-{position}",
                "receiptHandle": "handle",
                "body": message if isinstance(message, str) else json.dumps(message),
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:111122223333:rollouts",
                "awsRegion": "us-east-1",
            }
            for position, message in enumerate(messages)
        ]
    }


def failed(reply: dict[str, Any]) -> list[str]:
    assert reply.keys() == {"batchItemFailures"}
    return [one["itemIdentifier"] for one in reply["batchItemFailures"]]


async def run(aws: Aws, *events: Any, model: Any = None, **settings: str) -> list[list[str]]:
    """The ids that each of the events leaves unanswered; an environment of its own for each."""
    outcomes = []
    for event in events:
        opened = open_service(aws.settings(**settings), model=model or Scripted("0.8"))
        async with opened as judge:
            outcomes.append(failed(await answer_queue(judge, event, environ=aws.environ)))
    return outcomes


async def test_a_rollout_is_generated_and_rewarded_by_two_environments(aws: Aws) -> None:
    assert await run(aws, event_of(request("s_0"))) == [[]]
    [asked] = aws.received()
    assert asked["step_id"] == "s_0_0"
    assert asked["messages"] == [{"role": "user", "content": "What is 1 + 1?"}]

    assert await run(aws, event_of(response("s_0"))) == [[]]
    assert aws.received() == [
        {
            "version": "v0",
            "sample_id": "s_0",
            "stop_reason": "end_of_conversation",
            "rewards": {"aggregate_score": 0.8},
        }
    ]


def test_the_function_takes_messages_of_a_queue_and_rows_alike(aws: Aws) -> None:
    names = {"FUNCTION_REPLY_QUEUE_URL": aws.queue, "FUNCTION_ROLLOUT_TABLE": aws.table}
    variables = {f"JUDGE_{name}": text for name, text in names.items()} | {
        "JUDGE_LOGS_ENABLED": "false"
    }
    environment = Environment(environ={**variables, **aws.environ})
    row = {"id": 1, "prompt": "?", "completion": "It is 2.", "answer": "2"}
    try:
        assert environment.answer(event_of(request("s_0"))) == {"batchItemFailures": []}
        assert environment.answer(event_of(response("s_0"), "{"))["batchItemFailures"] == [
            {"itemIdentifier": "message-1"}
        ]
        [item] = environment.answer([row])
    finally:
        environment.close()

    [reward] = [one for one in aws.received() if "rewards" in one]
    assert reward["rewards"]["aggregate_score"] == pytest.approx(item["aggregate_reward_score"])


@pytest.mark.parametrize("wire", ["0..1", "-1..1"])
async def test_the_reward_is_in_the_requests_range_whatever_the_wires(aws: Aws, wire: str) -> None:
    asked = request("s_0", rewards={"range": [-2.0, 3.0]})
    await run(aws, event_of(asked), event_of(response("s_0")), JUDGE_WIRE_SCORE_RANGE=wire)

    assert aws.received()[1]["rewards"]["aggregate_score"] == pytest.approx(2.0)


async def test_the_judge_sees_task_answer_and_reference(aws: Aws) -> None:
    model = Scripted("0.8")
    await run(aws, event_of(request("s_0")), event_of(response("s_0")), model=model)

    [prompt] = model.prompts
    assert (prompt.question.response, prompt.question.reference) == ("It is 2.", "2")


async def test_a_message_that_cannot_be_read_does_not_block_the_others(
    aws: Aws, caplog: pytest.LogCaptureFixture
) -> None:
    poison = ["{", json.dumps(["x"]), json.dumps(request("", data=7)), response("never-asked")]
    [left] = await run(aws, event_of(request("s_0"), *poison, request("s_1")))

    assert left == ["message-1", "message-2", "message-3", "message-4"]
    assert [one["sample_id"] for one in aws.received()] == ["s_0", "s_1"]
    assert "'message-1' is not answered: $: is not JSON" in caplog.text
    assert "names a rollout that was not requested" in caplog.text


async def test_a_record_without_a_body_or_an_id_is_reported_and_not_a_crash(aws: Aws) -> None:
    event = event_of(request("s_0"), request("s_1"))
    event["Records"][1] = {"eventSource": "aws:sqs", "body": 7}

    assert await run(aws, event) == [[""]]


async def test_what_is_delivered_twice_is_judged_once_and_answered_alike(aws: Aws) -> None:
    model = Scripted(["0.8"])  # asked once more, it fails
    twice = [event_of(request("s_0"))] * 2 + [event_of(response("s_0"))] * 2

    assert await run(aws, *twice, model=model) == [[]] * 4
    first, second, *rewards = aws.received()
    assert first == second
    assert [one["rewards"]["aggregate_score"] for one in rewards] == [0.8, 0.8]


async def test_of_two_deliveries_at_once_the_first_reward_kept_is_the_one_both_send(
    aws: Aws,
) -> None:
    model = Scripted(["0.2", "0.9"])
    both_asked = asyncio.Barrier(2)

    class Together(Scripted):
        async def __call__(self, asked: Any) -> Any:
            await both_asked.wait()
            return await model(asked)

    await run(aws, event_of(request("s_0")))
    aws.received()
    said = event_of(response("s_0"))
    judge = Together("unused")
    left = await asyncio.gather(*(run(aws, said, model=judge) for _ in range(2)))

    scores = [one["rewards"]["aggregate_score"] for one in aws.received()]
    assert left == [[[]], [[]]]
    assert len(scores) == 2
    assert len(set(scores)) == 1


async def test_a_request_that_comes_again_does_not_forget_the_answer(aws: Aws) -> None:
    model = Scripted(["0.8"])
    asked, said = event_of(request("s_0")), event_of(response("s_0"))

    assert await run(aws, asked, said, asked, said, model=model) == [[]] * 4


async def test_the_next_epochs_rollout_of_the_same_id_is_judged_anew(aws: Aws) -> None:
    model = Scripted(["0.8", "0.2"])
    later = request(
        "s_0", timestamp="2026-01-02T00:00:00Z", data={"problem": "2 + 2?", "answer": "4"}
    )
    said = event_of(response("s_0"))

    await run(aws, event_of(request("s_0")), said, event_of(later), said, model=model)

    scores = [one["rewards"]["aggregate_score"] for one in aws.received() if "rewards" in one]
    assert sorted(scores) == [0.2, 0.8]


async def test_a_rollout_replaced_while_its_answer_is_judged_does_not_inherit_the_reward(
    aws: Aws,
) -> None:
    class Replacing(Scripted):
        async def __call__(self, asked: Any) -> Any:
            item = {"sample_id": {"S": "s_0"}, "request": {"S": "the next epoch's"}}
            await asyncio.to_thread(aws.dynamodb.put_item, TableName=aws.table, Item=item)
            return await super().__call__(asked)

    said = event_of(response("s_0"))
    assert await run(aws, event_of(request("s_0")), said, model=Replacing("0.8")) == [[], []]

    assert "reply" not in aws.item("s_0")


async def test_a_row_that_cannot_be_judged_comes_again_and_its_neighbour_does_not(aws: Aws) -> None:
    def play(prompt: Any) -> Any:
        return Denied("no") if "bad" in prompt.question.response else "0.8"

    said = event_of(response("s_0", "bad"), response("s_1"), response("s_2"))
    left = await run(
        aws, event_of(*map(request, ("s_0", "s_1", "s_2"))), said, model=Scripted(play)
    )

    assert left == [[], ["message-0"]]
    rewarded = [one["sample_id"] for one in aws.received() if "rewards" in one]
    assert rewarded == ["s_1", "s_2"]


async def test_at_the_deadline_what_is_judged_is_sent_and_the_rest_comes_again(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_adapter.rollout_queue.SENDING_S", 0.0)

    class Slow(Scripted):
        async def __call__(self, asked: Any) -> Any:
            if "slow" in asked.body.question.response:
                await asyncio.sleep(30)
            return await super().__call__(asked)

    await run(aws, event_of(request("s_0"), request("s_1")))
    aws.received()
    before = time.monotonic()
    async with open_service(aws.settings(), model=Slow("0.8")) as judge:
        event = event_of(response("s_0", "slow"), response("s_1"))
        reply = await answer_queue(judge, event, deadline_s=0.5, environ=aws.environ)

    assert failed(reply) == ["message-0"]
    assert [one["sample_id"] for one in aws.received()] == ["s_1"]
    assert time.monotonic() - before < 5


async def test_a_full_batch_is_answered_in_messages_of_ten(aws: Aws) -> None:
    [left] = await run(aws, event_of(*[request(f"s_{n:03}") for n in range(25)]))

    assert left == []
    assert [one["sample_id"] for one in aws.received()] == [f"s_{n:03}" for n in range(25)]


async def test_a_fifo_queue_gets_groups_and_ids_that_sort_out_repeats(url: str) -> None:
    aws = Aws(url, fifo=True)
    assert (
        await run(aws, event_of(request("s_0"), request("s_1")), event_of(request("s_0")))
        == [[]] * 2
    )

    assert [one["sample_id"] for one in aws.received()] == ["s_0", "s_1"]


async def test_a_queue_that_is_not_there_leaves_every_message_and_says_why(
    aws: Aws, caplog: pytest.LogCaptureFixture
) -> None:
    aws.queue += "-gone"
    [left] = await run(aws, event_of(request("s_0"), request("s_1")))

    assert left == ["message-0", "message-1"]
    assert "sqs:SendMessage is refused for `function.reply_queue_url`" in caplog.text


async def test_a_table_that_is_not_there_leaves_every_message_and_says_why(
    aws: Aws, caplog: pytest.LogCaptureFixture
) -> None:
    aws.table += "-gone"
    [left] = await run(aws, event_of(request("s_0")))

    assert left == ["message-0"]
    assert "dynamodb:PutItem is refused for `function.rollout_table`" in caplog.text
    assert aws.received() == []


async def test_without_queue_or_table_the_function_says_which_setting_is_missing(aws: Aws) -> None:
    settings = msgspec.structs.replace(
        aws.settings(), function=load_settings(None, {"JUDGE_FUNCTION_ROLLOUT_TABLE": "t"}).function
    )
    async with open_service(settings, model=Scripted("0.5")) as judge:
        with pytest.raises(SettingsError, match=r"`function\.reply_queue_url` is empty"):
            await answer_queue(judge, event_of(request("s_0")), environ=aws.environ)


async def test_a_cancelled_invocation_leaves_no_task_behind(aws: Aws) -> None:
    await run(aws, event_of(request("s_0")))
    async with open_service(aws.settings(), model=Scripted("0.8", latency_s=30)) as judge:
        work = asyncio.create_task(
            answer_queue(judge, event_of(response("s_0")), environ=aws.environ)
        )
        await asyncio.sleep(0.2)
        work.cancel()
        await asyncio.wait([work], timeout=5)
        assert work.cancelled()

    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_table_forgets_by_itself(aws: Aws) -> None:
    await run(aws, event_of(request("s_0")))

    assert int(aws.item("s_0")["expires_at"]["N"]) == pytest.approx(time.time() + 86_400, abs=60)


def test_batches_keep_to_the_queues_limits() -> None:
    large = [Reply(str(n), "s", "x" * 100_000) for n in range(5)]
    small = [Reply(str(n), "s", "x") for n in range(21)]

    assert [len(batch) for batch in _batches(large)] == [2, 2, 1]
    assert [len(batch) for batch in _batches(small)] == [10, 10, 1]
    assert list(_batches([])) == []


@pytest.mark.parametrize(
    "event",
    [
        [],
        {},
        None,
        {"Records": []},
        {"Records": 7},
        {"Records": [7]},
        {"Records": [{"eventSource": "aws:s3"}]},
        {"messages": []},
    ],
)
def test_other_events_are_not_taken_for_a_queues(event: Any) -> None:
    assert not is_queue_event(event)
    assert is_queue_event(event_of("x"))
