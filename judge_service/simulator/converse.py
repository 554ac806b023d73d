"""Bedrock's Converse: reads a request's question and writes a reply's body."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from judge_service.simulator.answers import Answer, Question
from judge_service.simulator.faults import ApiError
from judge_service.simulator.prompt_cache import Tokens

Share = Annotated[float, Meta(ge=0, le=1)]


class CachePoint(Struct, frozen=True):
    """Marks the end of what may be cached."""

    type: Literal["default"]


class Block(Struct, frozen=True, gc=False, rename="camel"):
    """A content block: text or a cache point; other kinds are read as empty blocks."""

    text: str | None = None
    cache_point: CachePoint | None = None


class Turn(Struct, frozen=True):
    """A message."""

    role: Literal["user", "assistant", "system"]
    content: list[Block]


class InferenceConfig(Struct, frozen=True, rename="camel"):
    """Bounds of the answer."""

    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Share | None = None
    top_p: Share | None = None


class JsonSchema(Struct, frozen=True):
    """A schema as a string, which is Converse's form."""

    schema: str
    name: str | None = None


class Structure(Struct, frozen=True, rename="camel"):
    """The structure of an answer; JSON schema is the only kind."""

    json_schema: JsonSchema


class TextFormat(Struct, frozen=True):
    """The form of the answer's text."""

    type: Literal["json_schema"]
    structure: Structure


class OutputConfig(Struct, frozen=True, rename="camel"):
    """Structured output."""

    text_format: TextFormat | None = None


class InputSchema(Struct, frozen=True):
    """A tool's schema."""

    json: dict[str, Any]


class ToolSpec(Struct, frozen=True, rename="camel"):
    """A tool."""

    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    input_schema: InputSchema
    strict: bool = False


class Tool(Struct, frozen=True, rename="camel"):
    """A tool or a cache point."""

    tool_spec: ToolSpec | None = None


class ToolName(Struct, frozen=True):
    """A tool's name."""

    name: str


class ToolChoice(Struct, frozen=True):
    """Which tool must be used. Exactly one field is set; an empty object counts."""

    auto: dict[str, Any] | None = None
    any: dict[str, Any] | None = None
    tool: ToolName | None = None


class ToolConfig(Struct, frozen=True, rename="camel"):
    """The tools and which of them must be used."""

    tools: list[Tool]
    tool_choice: ToolChoice = ToolChoice()


class Converse(Struct, frozen=True, rename="camel"):
    """A request."""

    messages: list[Turn]
    system: list[Block] = []
    inference_config: InferenceConfig = InferenceConfig()
    tool_config: ToolConfig | None = None
    output_config: OutputConfig = OutputConfig()


_decoder = msgspec.json.Decoder(Converse)
_encode = msgspec.json.Encoder().encode

UNSUPPORTED_KEYWORDS = frozenset(
    [
        "minimum",
        "maximum",
        "multipleOf",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
        "maxLength",
    ]
)


def read(body: bytes, model: str) -> Question:
    """Reads a request's question. Raises ApiError 400 with Bedrock's wording."""
    try:
        request = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise invalid(f"The provided request is not valid: {problem}") from None
    prompt, points = _prompt(request)
    longest, temperature = request.inference_config.max_tokens, request.inference_config.temperature
    text_format = request.output_config.text_format
    if text_format is not None:
        schema = read_schema(text_format.structure.json_schema.schema)
        return Question(
            model=model,
            prompt=prompt,
            max_output_tokens=longest,
            channel="schema",
            schema=schema,
            temperature=temperature,
            cache_points=points,
        )
    if request.tool_config is None or (spec := _forced(request.tool_config)) is None:
        return Question(
            model=model,
            prompt=prompt,
            max_output_tokens=longest,
            temperature=temperature,
            cache_points=points,
        )
    return Question(
        model=model,
        prompt=prompt,
        max_output_tokens=longest,
        channel="tool",
        tool=spec.name,
        schema=spec.input_schema.json,
        temperature=temperature,
        cache_points=points,
    )


MAX_CACHE_POINTS = 4


def _prompt(request: Converse) -> tuple[str, tuple[int, ...]]:
    """All text, a line for each system block and each turn, and the characters before each cache point."""
    if not request.messages or request.messages[0].role == "assistant":
        raise invalid(
            "A conversation must start with a user message."
            " Try again with a conversation that starts with a user message."
        )
    texts = [block.text for block in request.system if block.text is not None]
    points = [_chars(texts)] if any(block.cache_point for block in request.system) else []
    for place, turn in enumerate(request.messages):
        said = ""
        for number, block in enumerate(turn.content):
            if block.text is not None:
                _refuse_blank(block.text, place, number)
                said += block.text
            elif block.cache_point is not None:
                points.append(_chars([*texts, said]))
        texts.append(said)
    if len(points) > MAX_CACHE_POINTS:
        raise invalid(
            f"There are {len(points)} cache points; at most {MAX_CACHE_POINTS} are allowed."
        )
    return "\n".join(texts), tuple(points)


def _chars(texts: list[str]) -> int:
    return sum(map(len, texts)) + len(texts) - 1


def _refuse_blank(text: str, place: int, number: int) -> None:
    if not text or text.isspace():
        raise invalid(
            f"The text field in the ContentBlock object at messages.{place}.content.{number}"
            " is blank. Add text to the text field, and try again."
        )


def _forced(config: ToolConfig) -> ToolSpec | None:
    """The tool that must be used: the chosen one, the first for `any`, none for `auto`."""
    specs = [tool.tool_spec for tool in config.tools if tool.tool_spec is not None]
    choice = config.tool_choice
    if choice.tool is not None:
        wanted = choice.tool.name
        specs = [spec for spec in specs if spec.name == wanted]
    if not specs:
        raise invalid("The toolChoice names a tool that is not in toolConfig.tools.")
    if choice.tool is None and choice.any is None:
        return None
    if specs[0].strict:
        check_subset(specs[0].input_schema.json)
    return specs[0]


@lru_cache(maxsize=256)
def read_schema(text: str) -> Mapping[str, Any]:
    """Reads a structured output's schema and checks it against the subset that Bedrock compiles."""
    try:
        schema = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as problem:
        raise invalid(f"outputConfig.textFormat.structure.jsonSchema.schema: {problem}") from None
    check_subset(schema)
    return schema


def check_subset(schema: Any, path: str = "$", depth: int = 0) -> None:
    """Raises ApiError 400 for a schema that Bedrock does not compile.

    Source: docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html: no bounds of numbers
    and strings, and every object closed.
    """
    if not isinstance(schema, dict) or depth > 32:
        raise invalid(f"{path}: is not a schema, or is nested too deep.")
    if found := sorted(UNSUPPORTED_KEYWORDS & schema.keys()):
        raise invalid(
            f"{path}: For '{schema.get('type')}' type, property '{found[0]}' is not supported."
        )
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise invalid(
            f"{path}: For 'object' type, 'additionalProperties' must be explicitly set to false."
        )
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        raise invalid(f"{path}: 'properties' must be an object.")
    for name, part in properties.items():
        check_subset(part, f"{path}.{name}", depth + 1)
    if "items" in schema:
        check_subset(schema["items"], f"{path}[]", depth + 1)


def unsupported(field: str) -> ApiError:
    """Bedrock's error for a field that the model does not know."""
    return invalid(f"This model doesn't support the {field} field. Remove {field} and try again.")


def refuse_schema() -> ApiError:
    """The error of a model without structured output."""
    return unsupported("outputConfig.textFormat")


def refuse_tool() -> ApiError:
    """The error of a model that cannot be forced to use a tool."""
    return unsupported("toolConfig.toolChoice.tool")


def refuse_temperature() -> ApiError:
    """The error of a model that takes no sampling parameters, as Opus from 4.7 on."""
    return invalid(
        "The model returned the following errors: `temperature` is deprecated for this model."
    )


def refuse_caching() -> ApiError:
    """The error of a model without a prompt cache."""
    return ApiError(
        403,
        "AccessDeniedException",
        "You invoked an unsupported model or your request did not allow prompt caching.",
    )


def invalid(message: str) -> ApiError:
    """A ValidationException."""
    return ApiError(400, "ValidationException", message)


def write(
    answer: Answer, _question: Question, tokens: Tokens, number: int, latency_s: float
) -> bytes:
    """Writes a reply's body. number: of the call, for identifiers."""
    return _encode(
        {
            "output": {"message": {"role": "assistant", "content": _content(answer, number)}},
            "stopReason": answer.stop,
            "usage": {
                "inputTokens": tokens.input,
                "outputTokens": tokens.output,
                "totalTokens": tokens.prompt + tokens.output,
                "cacheReadInputTokens": tokens.cache_read,
                "cacheWriteInputTokens": tokens.cache_write,
            },
            "metrics": {"latencyMs": round(latency_s * 1000)},
        }
    )


def _content(answer: Answer, number: int) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    if answer.reasoning is not None:
        reasoning = {"text": answer.reasoning, "signature": "c2ltdWxhdGVk"}
        content.append({"reasoningContent": {"reasoningText": reasoning}})
    if answer.text is not None:
        content.append({"text": answer.text})
    if answer.tool is not None:
        tool_use = {"toolUseId": f"tooluse_{number:022d}", "name": answer.tool}
        content.append({"toolUse": {**tool_use, "input": answer.tool_input}})
    return content


def write_error(error: ApiError) -> tuple[int, str, bytes]:
    """Status, header lines and body of an error."""
    kind = (
        f"x-amzn-errortype: {error.code}:http://internal.amazon.com/coral/com.amazon.bedrock/\r\n"
    )
    return error.status, kind, _encode({"message": error.message, **error.extra})
