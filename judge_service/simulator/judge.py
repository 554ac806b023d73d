"""The simulated model: answers a question and counts its tokens."""

from math import ceil
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from judge_service.simulator.answers import (
    Answer,
    Question,
    SchemaError,
    digest_prompt,
    instance,
    unit,
)
from judge_service.simulator.config import SimulatorConfig
from judge_service.simulator.faults import ApiError, Fault, spoil
from judge_service.simulator.items import answer_items
from judge_service.simulator.likelihood import likelihoods
from judge_service.simulator.requested_form import requested_schema

WRITTEN_TO_THE_END = frozenset({"end_turn", "tool_use"})


class Judgement(Struct, frozen=True):
    """An answer, the identity of its prompt, and its input and output tokens."""

    answer: Answer
    digest: int
    usage: tuple[int, int]


def judge(question: Question, fault: Fault | None, config: SimulatorConfig) -> Judgement:
    """Answers a question, applies the call's fault and cuts the answer to the requested maximum.

    Raises ApiError 400 for a prompt that is too long or a schema that cannot be answered.
    """
    input_tokens = count_tokens(len(question.prompt), config)
    if input_tokens > config.max_input_tokens:
        message = "Input is too long for requested model."
        raise ApiError(400, "ValidationException", message, by_model=True)
    digest = digest_prompt(question.prompt, config.seed)
    try:
        whole = spoil(_answer(question, digest, config), fault)
    except SchemaError as problem:
        message = f"The schema cannot be answered: {problem}"
        raise ApiError(400, "ValidationException", message, by_model=True) from None
    answer = _cut(whole, question.max_output_tokens, config)
    if question.top_logprobs is not None and answer.text is not None:
        tokens = likelihoods(answer.text, digest, question.top_logprobs)
        answer = replace(answer, tokens=tokens)
    output_tokens = count_tokens(answer.characters, config)
    if answer.stop == "max_tokens" and question.max_output_tokens is not None:
        output_tokens = question.max_output_tokens  # a cut answer has used all of them
    return Judgement(answer, digest, (input_tokens, output_tokens))


def count_tokens(characters: int, config: SimulatorConfig) -> int:
    """Tokens of a text by its length in characters, at least 1."""
    return max(ceil(characters / config.chars_per_token), 1)


def _answer(question: Question, digest: int, config: SimulatorConfig) -> Answer:
    listed = answer_items(question.prompt, question.schema, config.seed)
    if question.channel == "tool":
        made = listed or instance(question.schema or {"type": "object"}, digest)
        return Answer(tool=question.tool, tool_input=made, stop="tool_use")
    if question.schema is not None:
        return Answer(text=_json(listed or instance(question.schema, digest)))
    if config.text_answer is not None:
        return Answer(text=config.text_answer(question.prompt, unit(digest)))
    made = listed or instance(requested_schema(question.prompt), digest)
    return Answer(text=f"{made:.2f}" if isinstance(made, float) else _json(made))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _cut(answer: Answer, max_output_tokens: int | None, config: SimulatorConfig) -> Answer:
    """The answer cut to its limit. An answer that a fault has stopped keeps its stop reason."""
    if max_output_tokens is None or count_tokens(answer.characters, config) <= max_output_tokens:
        return answer
    stop = "max_tokens" if answer.stop in WRITTEN_TO_THE_END else answer.stop
    if answer.tool is not None:
        return Answer(tool=answer.tool, tool_input={}, stop=stop)
    characters = int(max_output_tokens * config.chars_per_token)
    return Answer(text=(answer.text or "")[:characters], stop=stop)
