"""OpenAI chat completions: the part that a judge needs. No streaming, one choice."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from judge_service.simulator.answers import Answer, Question
from judge_service.simulator.faults import ApiError
from judge_service.simulator.prompt_cache import Tokens


class Piece(Struct, frozen=True):
    """A part of a message's content; only its text is read."""

    text: str = ""


class Turn(Struct, frozen=True):
    """A message."""

    role: str
    content: str | list[Piece] | None = None


class NamedSchema(Struct, frozen=True):
    """The schema of a structured answer."""

    name: str
    schema: dict[str, Any]


class ResponseFormat(Struct, frozen=True):
    """How the answer must look."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


class Function(Struct, frozen=True):
    """A tool's name and schema."""

    name: str
    parameters: dict[str, Any] = {}


class Tool(Struct, frozen=True):
    """A tool, or the choice of one."""

    function: Function
    type: Literal["function"] = "function"


class ChatCompletion(Struct, frozen=True):
    """A request."""

    messages: Annotated[list[Turn], Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] = []
    tool_choice: Tool | str | None = None
    model: str = ""
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    stream: bool | None = None
    n: int | None = None
    prompt_cache_key: str | None = None


_decoder = msgspec.json.Decoder(ChatCompletion)
_encode = msgspec.json.Encoder().encode

FINISH_REASONS = {
    "end_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}
"""Converse's stop reasons in chat completions' words; all others become `stop`."""


def read(body: bytes, endpoint: str) -> Question:
    """Reads a request's question. Raises ApiError 400.

    endpoint: which model answers, whatever the body names; `""` where the body must name it.
    """
    try:
        request = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise invalid(f"The request is not valid: {problem}") from None
    if request.stream or request.n not in (None, 1):
        raise invalid("The simulator answers one choice, without streaming.")
    if not (endpoint or request.model):
        raise invalid("The request is not valid: it names no model.")
    prompt = "\n".join(text for turn in request.messages for text in _texts(turn))
    question = Question(
        model=endpoint or request.model,
        prompt=prompt,
        max_output_tokens=request.max_completion_tokens or request.max_tokens,
        top_logprobs=_top_logprobs(request),
        temperature=request.temperature,
        cache_points=None,
        cache_key=request.prompt_cache_key or "",
    )
    wanted = request.response_format
    if wanted is not None and wanted.json_schema is not None:
        return replace(question, channel="schema", schema=wanted.json_schema.schema)
    function = _forced(request)
    if function is None:
        return question
    return replace(question, channel="tool", tool=function.name, schema=function.parameters)


def _top_logprobs(request: ChatCompletion) -> int | None:
    if request.logprobs:
        return request.top_logprobs or 0
    if request.top_logprobs is not None:
        raise invalid("top_logprobs needs logprobs to be true.")
    return None


def _texts(turn: Turn) -> list[str]:
    if isinstance(turn.content, str):
        return [turn.content]
    return [piece.text for piece in turn.content or ()]


def _forced(request: ChatCompletion) -> Function | None:
    functions = [tool.function for tool in request.tools]
    choice = request.tool_choice
    if isinstance(choice, Tool):
        functions = [f for f in functions if f.name == choice.function.name]
    elif choice != "required":
        return None
    if not functions:
        raise invalid("tool_choice names a tool that is not in tools.")
    return functions[0]


def refuse_schema() -> ApiError:
    """The error of a model without structured output."""
    return invalid("This model does not support response_format of type json_schema.")


def refuse_tool() -> ApiError:
    """The error of a model that cannot be forced to use a tool."""
    return invalid("This model does not support tool_choice.")


def refuse_logprobs() -> ApiError:
    """The error of a model that gives no probabilities."""
    return invalid("This model does not support logprobs.")


def refuse_temperature() -> ApiError:
    """The error of a model that reasons, as OpenAI's do."""
    return invalid("Unsupported value: 'temperature' does not support this value with this model.")


def refuse_caching() -> ApiError:
    """The error of a server that takes no `prompt_cache_key`."""
    return invalid("Unrecognized request argument supplied: prompt_cache_key")


def invalid(message: str) -> ApiError:
    """The error of a request that cannot be answered."""
    return ApiError(400, "invalid_request_error", message, by_model=True)


def write(
    answer: Answer, question: Question, tokens: Tokens, number: int, _latency_s: float
) -> bytes:
    """Writes a reply's body. number: of the call, for identifiers."""
    choice = {
        "index": 0,
        "message": _message(answer, number),
        "finish_reason": FINISH_REASONS.get(answer.stop, "stop"),
        "logprobs": None if answer.tokens is None else {"content": answer.tokens},
    }
    return _encode(
        {
            "id": f"chatcmpl-{number:024d}",
            "object": "chat.completion",
            "created": 0,
            "model": question.model,
            "choices": [choice],
            "usage": {
                "prompt_tokens": tokens.prompt,
                "completion_tokens": tokens.output,
                "total_tokens": tokens.prompt + tokens.output,
                **_details(tokens),
            },
        }
    )


def _details(tokens: Tokens) -> dict[str, Any]:
    """Servers without a cache say nothing of one."""
    if tokens.cache_read or tokens.cache_write:
        return {"prompt_tokens_details": {"cached_tokens": tokens.cache_read}}
    return {}


def _message(answer: Answer, number: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.reasoning is not None:
        message["reasoning_content"] = answer.reasoning
    if answer.tool is not None:
        arguments = _encode(answer.tool_input).decode()
        function = {"name": answer.tool, "arguments": arguments}
        message["tool_calls"] = [
            {"id": f"call_{number:024d}", "type": "function", "function": function}
        ]
    return message


def write_error(error: ApiError) -> tuple[int, str, bytes]:
    """Status, header lines and body of an error, as the model's server itself writes them."""
    status = error.extra.get("originalStatusCode", error.status)
    body = {"message": error.message, "type": error.code, "code": error.code, "param": None}
    return status, "", _encode({"error": body})
