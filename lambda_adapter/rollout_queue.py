"""Answers messages of an SQS queue with rewards on another queue (Nova Forge with custom orchestration).

A task arrives in one message, and the policy's answer to it in another, perhaps minutes later and in
another execution environment. The second message does not contain the task, so the task is stored in a
DynamoDB table. The reward is also stored before it is sent: a message that SQS delivers twice is judged once
and answered twice with the same reward. If both deliveries arrive at the same time, both may be judged; both
send the reward that was stored first.

Messages are independent of each other. The reply names those that could not be answered, so that SQS
delivers them again or moves them to the dead-letter queue; the others are finished.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from msgspec import Struct

from judge_service.aws.client import AwsClient
from judge_service.errors import JudgeServiceError, SettingsError, WireError
from judge_service.service import JudgeService
from judge_service.wire.trainers.rollout_queue import (
    GenerateResponse,
    RolloutRequest,
    encode_generate_request,
    encode_rollout_response,
    read_message,
)
from lambda_adapter.queue.reply_queue import Outbox, Reply, digest_of, log_unanswered
from lambda_adapter.queue.rollout_table import Rollouts

SENDING_S = 2.0
"""Time reserved before the deadline to store and send the rewards, seconds."""


class Record(Struct, frozen=True):
    """A message of the queue."""

    message_id: str
    body: str


def is_queue_event(event: Any) -> bool:
    """Whether an event is a batch of SQS messages."""
    records = event.get("Records") if isinstance(event, dict) else None
    return (
        isinstance(records, list)
        and bool(records)
        and all(isinstance(one, dict) and one.get("eventSource") == "aws:sqs" for one in records)
    )


async def answer_queue(
    judge: JudgeService,
    event: Any,
    *,
    deadline_s: float | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Answers a batch of messages, and names those that SQS must deliver again.

    event: an event for which `is_queue_event` is true.
    deadline_s: seconds until the reply is due, `settings.deadline_s` by default.
    environ: contains credentials, region and endpoints; `os.environ` by default.

    Raises SettingsError if the queue or the table is not named.
    """
    function = judge.settings.function
    for name in ("reply_queue_url", "rollout_table"):
        if not getattr(function, name):
            raise SettingsError(f"`function.{name}` is empty: messages of a queue need it; set it")
    seconds = judge.settings.deadline_s if deadline_s is None else deadline_s
    source = os.environ if environ is None else environ
    client = await asyncio.to_thread(AwsClient, source)  # it reads certificates
    async with aclosing(client):
        orchestration = Orchestration(judge, client, max(0.0, seconds - SENDING_S))
        failed = await orchestration.answer(list(_records(event)))
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _records(event: Mapping[str, Any]) -> Iterator[Record]:
    for record in event["Records"]:
        body = record.get("body")
        yield Record(str(record.get("messageId", "")), body if isinstance(body, str) else "")


class Orchestration:
    """Answers the messages of one invocation.

    seconds: time after which nothing more is judged.
    """

    def __init__(self, judge: JudgeService, client: AwsClient, seconds: float) -> None:
        self._judge = judge
        self._seconds = seconds
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._table = Rollouts(client, judge.settings.function.rollout_table)
        self._outbox = Outbox(client, judge.settings.function)

    def __repr__(self) -> str:
        return f"<Orchestration {self._table!r}, {self._outbox!r}>"

    async def answer(self, records: Sequence[Record]) -> list[str]:
        """Answers the messages. Returns the ids of those that are not answered."""
        tasks = [asyncio.create_task(self._answer_or_say_why(record)) for record in records]
        try:
            await asyncio.wait(tasks, timeout=self._seconds)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        replies = [None if task.cancelled() else task.result() for task in tasks]
        sent = await self._outbox.send([reply for reply in replies if reply is not None])
        return [record.message_id for record in records if record.message_id not in sent]

    async def _answer_or_say_why(self, record: Record) -> Reply | None:
        try:
            return await self._answer(record)
        except JudgeServiceError as problem:
            log_unanswered(record.message_id, str(problem))
        except Exception as problem:  # noqa: BLE001 - one message must not fail the others
            log_unanswered(record.message_id, f"{type(problem).__name__}: {problem}")
        return None

    async def _answer(self, record: Record) -> Reply:
        limit = self._judge.settings.wire.max_event_bytes
        message = read_message(record.body, max_bytes=limit)
        if isinstance(message, GenerateResponse):
            text = await self._reward(message, record.body)
        else:
            await self._table.remember(message)
            text = encode_generate_request(message)
        return Reply(record.message_id, message.sample_id, text)

    async def _reward(self, message: GenerateResponse, body: str) -> str:
        digest = digest_of(body)
        known = await self._table.find(message.sample_id)
        if known.answered == digest:
            return known.reply
        request = read_message(known.request, max_bytes=len(known.request) * 4)
        if not isinstance(request, RolloutRequest):
            raise WireError("$", "is stored as something that is not a rollout request")
        text = encode_rollout_response(message.sample_id, await self._score(request, message))
        return await self._table.keep(known, digest, text)

    async def _score(self, request: RolloutRequest, message: GenerateResponse) -> float:
        """The reward in the requested range. It is scored alone, so that other samples have no effect."""
        left_s = max(0.0, self._deadline - asyncio.get_running_loop().time())
        sample = request.sample(message.response, message.unseen)
        [answer] = await self._judge.answers([sample], deadline_s=left_s)
        low = -1.0 if self._judge.settings.wire.score_range == "-1..1" else 0.0
        return request.scaled((answer.score - low) / (1.0 - low))
