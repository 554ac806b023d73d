"""Well-formed replies of every backend, from which `replies_mutations` makes others."""

import json
import random
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from judge_service.values import Channel

KEEPS, MAY, KILLS = 0, 1, 2
LIMIT = 64
"""Output tokens that each prompt allows."""

TOOL = "verdict"
ODD = (None, True, False, -1, 1.5, "x", "", [], {}, [1], {"a": 1}, 10**30, "1e9", float("nan"))


class Case(Struct):
    """A reply under mutation.

    backend: `openai`, `sagemaker`, `nova`, `bedrock` or `sdk`. channel, reason: how it was asked.
    verdict: the values of the judge's verdict. is_number: the answer is one bare number.
    said: the answer's text, or the tool's input as JSON text. reply: the reply around it.
    effect: of all mutations so far. names: of the mutations.
    encode: makes bytes of the reply.
    """

    backend: str
    channel: Channel
    reason: bool
    verdict: dict[str, float]
    is_number: bool
    said: str
    reply: Any = None
    effect: int = KEEPS
    names: list[str] = []
    encode: Callable[[Any], bytes] = lambda reply: json.dumps(reply).encode()

    @property
    def is_chat(self) -> bool:
        return self.backend in ("openai", "sagemaker", "nova")

    def did(self, name: str, effect: int) -> None:
        self.names.append(name)
        self.effect = max(self.effect, effect)


def case_of(chance: random.Random) -> Case:
    """A well-formed reply with a verdict."""
    backend = chance.choice(["openai", "sagemaker", "nova", "bedrock", "sdk"])
    channels: list[Channel] = ["text"] if backend == "nova" else ["schema", "tool", "text"]
    channel = chance.choice(channels)
    pair, reason = chance.random() < 0.5, chance.random() < 0.3
    verdict: dict[str, float] = {"good": chance.randint(1, 5)}
    if pair:
        verdict["safe"] = chance.choice([0.25, 0.5, 0.75])
    is_number = channel == "text" and not pair and not reason
    said = json.dumps(verdict)
    if is_number:
        said = str(verdict["good"])
    elif reason:
        text = chance.choice(
            ["It is half right.", 'It says "{x}" and </b>.', "Ein Satz \u2014 mehr nicht."]
        )
        said = f"{text}\n{said}" if channel == "text" else json.dumps({"reason": text, **verdict})
    case = Case(backend, channel, reason, verdict, is_number, said, names=[])
    case.reply = _chat(case) if case.is_chat else _converse(case)
    return case


def _chat(case: Case) -> Any:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if case.channel == "tool":
        function = {"name": TOOL, "arguments": None}
        message["tool_calls"] = [{"id": "c1", "type": "function", "index": 0, "function": function}]
    finish = "tool_calls" if case.channel == "tool" else "stop"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "m-2026",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": 40,
            "completion_tokens": 12,
            "total_tokens": 52,
            "prompt_tokens_details": {"cached_tokens": 8},
        },
        "system_fingerprint": "fp",
    }


def _converse(case: Case) -> Any:
    block: dict[str, Any] = {"text": None}
    if case.channel == "tool":
        block = {"toolUse": {"toolUseId": "t1", "name": TOOL, "input": None}}
    return {
        "metrics": {"latencyMs": 300},
        "output": {"message": {"role": "assistant", "content": [block]}},
        "stopReason": "tool_use" if case.channel == "tool" else "end_turn",
        "usage": {"inputTokens": 40, "outputTokens": 12, "totalTokens": 52},
    }


def assembled(case: Case) -> Any:
    """The reply with the answer in its place."""
    reply = case.reply
    if case.is_chat:
        message = reply["choices"][0]["message"]
        if case.channel == "tool":
            message["tool_calls"][0]["function"]["arguments"] = case.said
        else:
            message["content"] = case.said
        return reply
    block = reply["output"]["message"]["content"][0]
    if case.channel == "tool":
        block["toolUse"]["input"] = tool_input(case.said)
    else:
        block["text"] = case.said
    return reply


def tool_input(said: str) -> Any:
    """The tool's input as an object; as text where it is not one, or has a key twice."""
    try:
        pairs = json.loads(said, object_pairs_hook=list)
    except ValueError:
        return said
    return said if len(dict(pairs)) != len(pairs) else dict(pairs)
