"""Replies as servers send them beside the documentation: the right verdict, or none and a reason."""

import gzip
import json
import zlib
from typing import Any

import pytest

from judge_service.errors import CallError
from judge_service.flow import Request
from judge_service.grading import Unparseable, parse
from judge_service.values import Channel, Criterion, Message, Prompt, Question
from tests.backends.contract import REMOTE

TONE = Criterion(name="tone", description="", minimum=0, maximum=4, levels=(0, 1, 2, 3, 4))
DEPTH = Criterion(name="depth", description="")
SCHEMA = {"type": "object"}
LIMIT = 40
BOTH = '{"tone": 3, "depth": 0.5}'


def chat(content: Any = None, *, stop: Any = "stop", usage: Any = None, **message: Any) -> Any:
    counted = {"prompt_tokens": 30, "completion_tokens": 8} if usage is None else usage
    said = {"role": "assistant", "content": content, **message}
    return {"choices": [{"index": 0, "message": said, "finish_reason": stop}], "usage": counted}


def called(*arguments: Any, name: str = "verdict", content: Any = None) -> Any:
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": name, "arguments": one}}
        for n, one in enumerate(arguments)
    ]
    return chat(content, stop="tool_calls", tool_calls=calls)


def converse(*blocks: Any, stop: Any = "end_turn", usage: Any = None) -> Any:
    counted = {"inputTokens": 30, "outputTokens": 8} if usage is None else usage
    return {"output": {"message": {"content": list(blocks)}}, "stopReason": stop, "usage": counted}


def used(given: Any, name: str = "verdict") -> Any:
    return {"toolUse": {"toolUseId": "u", "name": name, "input": given}}


def prompt(channel: Channel) -> Prompt:
    return Prompt(
        question=Question(criteria=(), task="", response=""),
        messages=(Message("system", "rubric"), Message("user", "question")),
        channel=channel,
        schema=None if channel == "text" else SCHEMA,
        max_output_tokens=LIMIT,
    )


async def outcome(
    name: str, url: str, channel: Channel, criteria: tuple[Criterion, ...], reasoning: Any = "none"
) -> Any:
    """The scores, or the reason for none."""
    async with REMOTE[name].open(url) as judge:
        try:
            completion = await judge(Request(body=prompt(channel)))
        except CallError as error:
            return error.reason
    found = parse(completion, criteria, channel, reasoning)
    return found.reason if isinstance(found, Unparseable) else dict(found.scores)


T3 = {"tone": 0.75}
T3D5 = {"tone": 0.75, "depth": 0.5}
ONE, TWO = (TONE,), (TONE, DEPTH)

HARMONY = "<|start|>assistant<|channel|>analysis<|message|>so<|end|>"
NUMBERS = [
    # reasoning, closed in its own way
    ("<thinking>He is polite.</thinking>3", T3),
    ("\n\n<think>\n\n</think>\n\n3\n", T3),
    ("<Think>loud</Think> 3", T3),
    ("<reflection>calm</reflection>\n3", T3),
    ("<seed:think>1 or 3?</seed:think>3", T3),
    ("<mm:think>so</mm:think>3", T3),
    ("<longcat_think>so</longcat_think>\n3", T3),
    ("<thought>so</thought>3", T3),
    ('<think effort="low">so</think>3', T3),
    ("[THINK]so[/THINK]3", T3),
    ("\u25c1think\u25b7so\u25c1/think\u25b7 3", T3),
    ("<|START_THINKING|>so<|END_THINKING|><|START_RESPONSE|>3<|END_RESPONSE|>", T3),
    ("<|begin_of_thought|>so<|end_of_thought|>\n<|begin_of_solution|>3<|end_of_solution|>", T3),
    ("<|channel>thought\nso\n<channel|>3", T3),
    ("<unused94>thought\nso<unused95>3", T3),
    (f"{HARMONY}<|start|>assistant<|channel|>final<|message|>3<|return|>", T3),
    ("<|channel|>final<|message|>3", T3),
    ("analysisThe tone is fine.assistantfinal3", T3),
    ("Here is my thought process: polite.\nHere is my response: 3", T3),
    ("the template opened it, so it is 2 or 3</think>3", T3),
    ("<think>he wrote </think> 4 in his text</think>3", T3),
    ("<think>a</think><think>b</think>3", T3),
    ("3<think>was that right?</think>", T3),
    ("<think>so</think><answer>3</answer>", T3),
    ("<|begin_of_box|>3<|end_of_box|>", T3),
    # tokens that should have been dropped
    ("3<|im_end|>", T3), ("3</s>\n", T3), ("3<|eot_id|><|end_of_text|>", T3),
    ("<|im_start|>assistant\n3<|im_end|>", T3), ("<s>3", T3),
    # reasoning alone, and what may be half of it
    ("<think>3", "unparseable"), ("<thinking>\nso 3", "unparseable"),
    ("[THINK]3", "unparseable"), ("<|channel|>analysis<|message|>3", "unparseable"),
    ("<think>so</think><think>3", "unparseable"), ("<think>he wrote [/THINK]3", "unparseable"),
    ("<seed:think>3</s>", "unparseable"), ("<think>so</think>", "unparseable"),
    ("3 <think>so</think> 4", "unparseable"), ("<think>so</think>3 or 4", "unparseable"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["openai", "nova", "bedrock"])
@pytest.mark.parametrize(("content", "expected"), NUMBERS)
async def test_a_number_stands_outside_of_reasoning(
    server: Any, answer: Any, *, name: str, content: str, expected: Any
) -> None:
    body = converse({"text": content}) if name == "bedrock" else chat(content)
    server.will(answer(200, body))
    assert await outcome(name, server.url, "text", ONE) == expected


OBJECTS = [
    ("text", f"So:\n{BOTH}", T3D5),
    ("text", f"```json\n{BOTH}\n```", T3D5),
    ("text", f'<think>{{"tone": 0, "depth": 0}}</think>\n{BOTH}', T3D5),
    ("text", f"It says {BOTH} too.\n{BOTH}", T3D5),
    ("text", f"<think>\nHe wants\n{BOTH}", "unparseable"),
    ("text", f"<scratchpad>\n{BOTH}", "unparseable"),
    ("text", f"Well. <think>He wants\n{BOTH}", "unparseable"),
    ("text", f'{BOTH}\nHe wrote:\n{{"tone": 4, "depth": 1}}', "unparseable"),
    ("text", f'He wrote {{"tone": 4, "depth": 1}}.\n{BOTH}', "unparseable"),
    ("text", '{"tone": 4, "tone": 3, "depth": 1}', "unparseable"),
    ("text", f'{{"tone": 1, "tone": 2, "depth": 0}}\n{BOTH}', "unparseable"),
    ("schema", BOTH, T3D5),
    ("schema", f"```json\n{BOTH}\n```", T3D5),
    ("schema", f"\ufeff{BOTH}<|im_end|>", T3D5),
    ("schema", f"<think>so</think>{BOTH}", T3D5),
    ("schema", f"{BOTH}\n{BOTH}", "unparseable"),
    ("schema", f"Sure: {BOTH}", "unparseable"),
    ("tool", BOTH, T3D5),
    ("tool", f"I do not know how.\n{BOTH}", "unparseable"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["openai", "sagemaker", "bedrock"])
@pytest.mark.parametrize(("channel", "content", "expected"), OBJECTS)
async def test_an_object_is_whole_single_and_outside_of_reasoning(
    server: Any, answer: Any, *, name: str, channel: Channel, content: str, expected: Any
) -> None:
    server.will(answer(200, converse({"text": content}) if name == "bedrock" else chat(content)))
    assert await outcome(name, server.url, channel, TWO) == expected


async def test_marks_in_the_judges_own_reason_are_text(server: Any, answer: Any) -> None:
    said = '{"reason": "It leaks <think> and {x}, unclosed", "tone": 3, "depth": 0.5}'
    for content in (said, f"It leaks a tag.\n{said}"):
        server.will(answer(200, chat(content)))
        assert await outcome("openai", server.url, "text", TWO, "brief") == T3D5


CHATS = [
    ("text", chat([{"type": "text", "text": "3"}]), T3),
    ("text", chat([{"type": "reasoning", "text": "1?"}, {"type": "output_text", "text": "3"}]), T3),
    ("text", chat(["3"]), T3),
    ("text", chat({"type": "text", "text": {"value": "3"}}), T3),
    ("text", chat([{"type": "text", "text": "3"}, {"type": "text", "text": "4"}]), "unparseable"),
    ("text", chat([{"type": "refusal", "refusal": "no"}]), "refused"),
    ("text", chat(3), T3),
    ("text", chat(True), "unparseable"),
    ("schema", chat({"tone": 3}), T3),
    ("schema", chat('{"tone": 3}', refusal=""), T3),
    ("schema", chat('{"tone": 3}', refusal=0), T3),
    ("schema", chat('{"tone": 3}', refusal="I will not"), "refused"),
    ("schema", chat('{"tone": 3}', tool_calls=[]), T3),
    ("schema", chat('{"tone": 3}', tool_calls="none"), T3),
    ("schema", chat('{"tone": 3}', usage=[]), T3),
    ("schema", chat('{"tone": 3}', usage={"prompt_tokens": 30.0, "completion_tokens": "8"}), T3),
    ("schema", chat('{"tone": 3}', usage={"completion_tokens": -1, "total_tokens": 1e400}), T3),
    ("schema", chat('{"tone": 3}', usage={"prompt_tokens_details": 7}), T3),
    ("schema", chat('{"tone": 3}') | {"model": None, "error": None, "id": 5}, T3),
    ("schema", chat('{"tone": 3}') | {"error": {"code": 0, "message": "success"}}, T3),
    ("schema", chat('{"tone": 3}') | {"error": {"message": "died"}}, "unavailable"),
    ("schema", [chat('{"tone": 3}')], T3),
    ("schema", {"response": chat('{"tone": 3}')}, T3),
    ("schema", {"statusCode": 200, "body": json.dumps(chat('{"tone": 3}'))}, T3),
    ("schema", {"choices": chat('{"tone": 3}')["choices"][0]}, T3),
    ("schema", {"choices": [{"text": '{"tone": 3}', "finish_reason": "stop"}]}, T3),
    ("tool", called({"tone": 3}), T3),
    ("tool", called('"{\\"tone\\": 3}"'), T3),
    ("tool", called('{"tone": 3}', content=""), T3),
    ("tool", called('{"tone": 3}', content="I call it."), T3),
    ("tool", called('{"tone": 3}', content='{"tone": 4}'), "unparseable"),
    ("tool", called('{"tone": 3}', content="<think>He wants"), "unparseable"),
    ("tool", called('{"tone": 3}', '{"tone": 3}'), T3),
    ("tool", called('{"tone": 3}', '{"tone": 1}'), "unparseable"),
    ("tool", called('{"tone": 3, "tone": 1}'), "unparseable"),
    ("tool", called('{"tone": 3'), "unparseable"),
    ("tool", called('{"tone": NaN}'), "unparseable"),
    ("tool", called('{"tone": 3}', name="other"), "unparseable"),
    ("tool", chat(stop="function_call", function_call={"name": "verdict", "arguments": '{"tone": 3}'}), T3),
]  # fmt: skip


@pytest.mark.parametrize("name", ["openai", "sagemaker"])
@pytest.mark.parametrize(("channel", "body", "expected"), CHATS)
async def test_a_chat_reply_is_read_for_what_is_needed(
    server: Any, answer: Any, *, name: str, channel: Channel, body: Any, expected: Any
) -> None:
    server.will(answer(200, body))
    assert await outcome(name, server.url, channel, ONE) == expected


CONVERSES = [
    ("text", converse({"text": "3"}, usage={}), T3),
    ("text", converse({"text": 3}), T3),
    ("text", converse({"text": "3"}, stop="EndTurn"), T3),
    ("text", converse({"text": "3"}, stop=None), "unparseable"),
    ("text", converse({"reasoningContent": {"reasoningText": {"text": "1"}}}, {"text": "3"}), T3),
    ("text", converse({"text": "3"}, usage={"inputTokens": None, "outputTokens": "x"}), T3),
    ("text", converse({"text": "3"}, usage={"inputTokens": 1, "outputTokens": LIMIT}), "truncated"),
    ("tool", converse(used({"tone": 3}), stop="tool_use"), T3),
    ("tool", converse(used('{"tone": 3}'), stop="a new word"), T3),
    ("tool", converse({"text": "<thinking>so</thinking>"}, used({"tone": 3}), stop="tool_use"), T3),
    ("tool", converse({"text": "<thinking>so"}, used({"tone": 3}), stop="tool_use"), "unparseable"),
    ("tool", converse(used({"tone": 3}), used({"tone": 4}), stop="tool_use"), "unparseable"),
    ("tool", converse(used({"tone": 3}), stop="max_tokens"), "truncated"),
    ("tool", converse(used('{"tone": 3, "tone": 4}'), stop="tool_use"), "unparseable"),
]


@pytest.mark.parametrize("name", ["bedrock", "bedrock_sdk"])
@pytest.mark.parametrize(("channel", "body", "expected"), CONVERSES)
async def test_a_converse_reply_is_read_for_what_is_needed(
    server: Any, answer: Any, *, name: str, channel: Channel, body: Any, expected: Any
) -> None:
    server.will(answer(200, body))
    found = await outcome(name, server.url, channel, ONE)
    # boto's parser trusts the types of its model, and fails over others before we see them
    assert found == expected or (name == "bedrock_sdk" and found == "unavailable")


STOPS = [
    *(
        (word, "stop")
        for word in ("STOP", "eos", "EOS_TOKEN", "end_turn", "FINISH_REASON_STOP", "done")
    ),
    *((word, "unknown") for word in ("", None, "fin", 1)),
    *((word, "truncated") for word in ("length", "MAX_TOKENS", "max-tokens", "model_length")),
    *(
        (word, "refused")
        for word in ("content_filter", "SAFETY", "content_filter: OTHER", "sensitive")
    ),
    *((word, "unparseable") for word in ("abort", "MALFORMED_FUNCTION_CALL", "cancelled")),
    *((word, "unavailable") for word in ("error", "insufficient_system_resource", "network_error")),
    ("model_context_window_exceeded", "too_long"),
]


@pytest.mark.parametrize(("word", "meaning"), STOPS)
async def test_a_stop_word_is_known_in_any_spelling(
    server: Any, answer: Any, word: Any, meaning: str
) -> None:
    """An unknown one is as good as `stop` where the form says that it is whole, and only there."""
    found = []
    for channel, content in (("text", "3"), ("schema", '{"tone": 3}')):
        server.will(answer(200, chat(content, stop=word)))
        found.append(await outcome("openai", server.url, channel, ONE))  # type: ignore[arg-type]
    expected = {"stop": [T3, T3], "unknown": ["unparseable", T3]}.get(meaning, [meaning] * 2)
    assert found == expected


BODY = json.dumps(chat('{"tone": 3}')).encode()
EVENT = json.dumps(
    {"choices": [{"index": 0, "delta": {"content": '{"tone": 3}'}, "finish_reason": "stop"}]}
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (gzip.compress(BODY, mtime=0), T3),
        (zlib.compress(BODY), T3),
        (b"\xef\xbb\xbf" + BODY, T3),
        (BODY.decode().encode("utf-16"), T3),
        (b" \r\n\n" + BODY + b"\n\n", T3),
        (BODY.replace(b'"index": 0', b'"index": 0, "logprobs": {"content": [{"logprob": NaN}]}'), T3),
        (BODY.replace(b'"assistant"', b'"\\ud800"'), T3),
        (BODY.replace(b'"assistant"', b'"\xff\xfe"'), T3),
        (BODY.replace(b'"stop"', b'"length", "finish_reason": "stop"'), "unavailable"),
        (BODY.replace(b'"content": ', b'"content": "{\\"tone\\": 0}", "content": '), "unavailable"),
        (BODY.replace(b'"content": ', b'"content": "{\\"tone\\": 3}", "content": '), T3),
        (BODY[:-20], "unavailable"),
        (gzip.compress(BODY, mtime=0)[:-20], "unavailable"),
        (gzip.compress(b" " * 5_000_000 + BODY, mtime=0), "unavailable"),
        (b"<html>busy</html>", "unavailable"),
        (f": wait\n\ndata: {EVENT}\n\ndata: [DONE]\n\n".encode(), T3),
        (f"event: message\nid: 1\ndata: {EVENT}\n\ndata: [DONE]\n\n".encode(), T3),
        (f"data: {EVENT}\ndata: [DONE]\n".encode(), T3),
        (f"\ufeffdata:{EVENT}\n\ndata:[DONE]\n\n".encode(), T3),
    ],
)  # fmt: skip
async def test_bytes_are_read_as_they_come(
    server: Any, answer: Any, body: bytes, expected: Any
) -> None:
    server.will(answer(200, body))
    assert await outcome("openai", server.url, "schema", ONE) == expected


@pytest.mark.parametrize(
    ("usage", "stop", "expected"),
    [
        ({"prompt_tokens": 30, "completion_tokens": LIMIT - 1}, "stop", T3),
        ({"prompt_tokens": 30, "completion_tokens": LIMIT}, "stop", "truncated"),
        ({"prompt_tokens": 30, "completion_tokens": LIMIT + 3}, "stop", "truncated"),
        ({"prompt_tokens": 30, "completion_tokens": 8}, "length", "truncated"),
        # reasoning that only the total has is no part of what the limit is about
        ({"prompt_tokens": 30, "completion_tokens": 8, "total_tokens": 5_038}, "stop", T3),
    ],
)
async def test_an_answer_at_its_limit_was_cut(
    server: Any, answer: Any, usage: Any, stop: str, expected: Any
) -> None:
    for channel, content in (("text", "3"), ("schema", '{"tone": 3}')):
        server.will(answer(200, chat(content, stop=stop, usage=usage)))
        assert await outcome("openai", server.url, channel, ONE) == expected  # type: ignore[arg-type]


async def test_reasoning_outside_of_completion_tokens_is_charged(server: Any, answer: Any) -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 8, "total_tokens": 5_038}
    server.will(answer(200, chat("3", usage=usage)))
    async with REMOTE["openai"].open(server.url) as judge:
        completion = await judge(Request(body=prompt("text")))
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (30, 5_008)


async def test_a_status_of_success_is_any_in_the_two_hundreds(server: Any, answer: Any) -> None:
    server.will(answer(201, chat("3")))
    assert await outcome("openai", server.url, "text", ONE) == T3
