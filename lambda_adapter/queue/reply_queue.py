"""Sends replies to an SQS queue."""

import hashlib
import logging
from collections.abc import Iterator, Sequence

from msgspec import Struct

from judge_service.aws.client import AwsClient
from judge_service.errors import JudgeServiceError
from judge_service.settings import FunctionSettings
from lambda_adapter.queue.aws_reply import require

MAX_SENT, MAX_SENT_BYTES = 10, 250_000
"""Most messages and bytes of one SendMessageBatch; every queue accepts this size."""

logger = logging.getLogger("judge_service")


class Reply(Struct, frozen=True):
    """The reply to a message. `sample_id` orders the messages of a FIFO queue."""

    message_id: str
    sample_id: str
    text: str


class Outbox:
    """The SQS queue of the replies."""

    def __init__(self, client: AwsClient, function: FunctionSettings) -> None:
        self._client = client
        self._url = function.reply_queue_url

    def __repr__(self) -> str:
        return f"Outbox({self._url})"

    async def send(self, replies: Sequence[Reply]) -> set[str]:
        """Sends replies. Returns the ids of the messages whose replies SQS has accepted."""
        sent: set[str] = set()
        for batch in _batches(replies):
            try:
                sent |= await self._send(batch)
            except JudgeServiceError as problem:
                for reply in batch:
                    log_unanswered(reply.message_id, str(problem))
        return sent

    async def _send(self, batch: Sequence[Reply]) -> set[str]:
        entries = [self._entry(str(position), reply) for position, reply in enumerate(batch)]
        body = {"QueueUrl": self._url, "Entries": entries}
        reply = await self._client.call("sqs", "AmazonSQS.SendMessageBatch", body)
        outcome = require(reply, "sqs:SendMessage", f"`function.reply_queue_url` {self._url}")
        for failure in outcome.get("Failed", ()):
            message_id = batch[int(failure["Id"])].message_id
            log_unanswered(message_id, f"SQS did not accept the reply ({failure.get('Code')})")
        return {batch[int(entry["Id"])].message_id for entry in outcome.get("Successful", ())}

    def _entry(self, name: str, reply: Reply) -> dict[str, str]:
        entry = {"Id": name, "MessageBody": reply.text}
        if self._url.endswith(".fifo"):
            entry["MessageGroupId"] = digest_of(reply.sample_id)
            entry["MessageDeduplicationId"] = digest_of(reply.text)
        return entry


def _batches(replies: Sequence[Reply]) -> Iterator[list[Reply]]:
    batch: list[Reply] = []
    size = 0
    for reply in replies:
        if batch and (len(batch) == MAX_SENT or size + len(reply.text) > MAX_SENT_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(reply)
        size += len(reply.text)
    if batch:
        yield batch


def digest_of(text: str) -> str:
    """The SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def log_unanswered(message_id: str, why: str) -> None:
    """Logs one line for the operator, without the text of the message."""
    line = "".join(char if char.isprintable() else " " for char in why[:1000])
    logger.warning("the message %s is not answered: %s", ascii(message_id), line)
