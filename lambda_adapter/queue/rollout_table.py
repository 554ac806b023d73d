"""Stores the tasks that wait for the policy's answer, in a DynamoDB table."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from judge_service.aws.client import AwsClient
from judge_service.errors import WireError
from judge_service.wire.trainers.rollout_queue import RolloutRequest
from lambda_adapter.queue.aws_reply import require

KEEP_S = 86_400
"""Life of a task in the table, seconds. A rollout takes minutes; a dead-letter queue may be processed the
next day."""

MAX_CALLS = 16
"""Most concurrent calls to the table: the client's number of connections."""


class Remembered(Struct, frozen=True):
    """An item of the table. `answered` is the digest of the message that `reply` answered."""

    sample_id: str
    request: str
    answered: str = ""
    reply: str = ""


class Rollouts:
    """The table of the tasks whose answers are not generated yet."""

    def __init__(self, client: AwsClient, table: str) -> None:
        self._client = client
        self._table = table
        self._room = asyncio.Semaphore(MAX_CALLS)

    def __repr__(self) -> str:
        return f"Rollouts({self._table})"

    async def remember(self, request: RolloutRequest) -> None:
        """Stores a task. The same task again changes nothing; another task with the same id replaces it."""
        item = {"sample_id": request.sample_id, "request": request.text}
        await self._call(
            "PutItem",
            {
                "Item": _item(item) | _expiry(),
                "ConditionExpression": "attribute_not_exists(sample_id) OR #r <> :request",
                "ExpressionAttributeNames": {"#r": "request"},
                "ExpressionAttributeValues": _item({":request": request.text}),
            },
        )

    async def find(self, sample_id: str) -> Remembered:
        """Finds a task. Raises WireError if there is none."""
        asked = {"Key": _item({"sample_id": sample_id}), "ConsistentRead": True}
        found = (await self._call("GetItem", asked)).get("Item")
        if found is None:
            raise WireError("$.sample_id", "names a rollout that was not requested, or is too old")
        return msgspec.convert({name: one.get("S") for name, one in found.items()}, Remembered)

    async def keep(self, known: Remembered, digest: str, reply: str) -> str:
        """Stores a reply, and returns the one to send: of two replies to one message the first one stored.

        SQS may deliver a message twice at the same time, and a judge may answer differently each time.
        Nothing is stored if the task has been replaced in the meantime.
        """
        kept = await self._call(
            "UpdateItem",
            {
                "Key": _item({"sample_id": known.sample_id}),
                "UpdateExpression": "SET answered = :digest, reply = :reply",
                "ConditionExpression": (
                    "#r = :request AND (attribute_not_exists(answered) OR answered <> :digest)"
                ),
                "ExpressionAttributeNames": {"#r": "request"},
                "ExpressionAttributeValues": _item(
                    {":digest": digest, ":reply": reply, ":request": known.request}
                ),
            },
        )
        if kept is not None:
            return reply
        first = await self.find(known.sample_id)
        return first.reply if first.answered == digest else reply

    async def _call(self, operation: str, body: Mapping[str, Any]) -> Any:
        """The reply; `None` if the condition does not hold."""
        async with self._room:
            reply = await self._client.call(
                "dynamodb", f"DynamoDB_20120810.{operation}", {"TableName": self._table, **body}
            )
        if reply.status == 400 and b"ConditionalCheckFailedException" in reply.body:
            return None
        return require(reply, f"dynamodb:{operation}", f"`function.rollout_table` {self._table}")


def _item(texts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    return {name: {"S": text} for name, text in texts.items()}


def _expiry() -> dict[str, dict[str, str]]:
    return {"expires_at": {"N": str(int(time.time()) + KEEP_S)}}
