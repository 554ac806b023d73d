"""Completions that a server sends as a stream although no stream was requested."""

import json
from typing import Any

import pytest

from judge_service.backends.chat.stream import read_reply
from judge_service.backends.chat.wire import choices_in
from judge_service.backends.chat.wire import completion_of as completion_with
from judge_service.errors import Unavailable
from judge_service.values import Completion, Message, Prompt, Question, Usage

PROMPT = Prompt(
    question=Question(criteria=(), task="", response=""), messages=(Message("user", "q"),)
)


def completion_of(reply: Any, model: str) -> Completion:
    return completion_with(reply, PROMPT, model)


def events(*chunks: Any, end: str = "data: [DONE]\n\n") -> bytes:
    return ("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + end).encode()


def piece(finish: str | None = None, logprobs: Any = None, **delta: Any) -> Any:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
    return {"model": "m", "choices": [choice]}


COUNTED = {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 3}}


def test_the_pieces_are_joined_and_the_last_usage_counts() -> None:
    body = events(piece(role="assistant", content=""), piece(content="0."), piece(content="8"),
                  piece("stop"), COUNTED)  # fmt: skip
    completion = completion_of(read_reply(body), "other")

    assert (completion.text, completion.stop_reason) == ("0.8", "complete")
    assert (completion.usage, completion.model) == (Usage(20, 3, calls=1), "m")


def test_a_tools_arguments_are_joined_by_their_index() -> None:
    def call(index: int, **function: Any) -> Any:
        return {"index": index, "function": function}

    body = events(
        piece(tool_calls=[call(0, name="other", arguments="{")]),
        piece(tool_calls=[call(1, name="verdict", arguments='{"score"')]),
        piece(tool_calls=[call(0, name=None, arguments="}"), call(1, arguments=": 1}")]),
        piece("tool_calls"),
    )
    assert completion_of(read_reply(body), "m").data == {"score": 1}


def test_probabilities_are_joined_too() -> None:
    token = {"token": "4", "logprob": 0.0, "bytes": [52], "top_logprobs": []}
    body = events(
        piece(content="4", logprobs={"content": [token]}), piece("stop", logprobs={"content": None})
    )
    (choice,) = choices_in(read_reply(body), "4") or ()

    assert (choice.start, choice.text) == (0, "4")


def test_a_stream_that_broke_off_has_no_verdict() -> None:
    body = events(piece(content="0.8"), end="")

    assert completion_of(read_reply(body), "m").stop_reason == "malformed"


@pytest.mark.parametrize(
    "body",
    [
        events(),
        events(COUNTED),
        b"data: {broken\n\n",
        events(piece(content="4"), {"error": {"message": "died"}}, piece("stop")),
        b"data: " + b"[" * 200_000,
    ],
)
def test_a_stream_without_an_answer_cannot_be_read(body: bytes) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        completion_of(read_reply(body), "m")
