"""The faults of the simulator and what each does. The configuration decides when and how often.

A fault does one of four things: it refuses the call at once, it fails the call after its latency, it
spoils the answer, or it breaks the reply on the wire.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from msgspec import Struct

from judge_service.simulator.answers import Answer

Fault = Literal[
    "throttle",
    "daily_quota",
    "not_ready",
    "error_5xx",
    "internal_error",
    "unavailable",
    "model_timeout",
    "model_error",
    "model_throttled",
    "model_busy",
    "dependency_error",
    "access_denied",
    "expired_token",
    "validation",
    "not_found",
    "reset",
    "reset_body",
    "half_body",
    "short_length",
    "bad_chunks",
    "hang",
    "headers_only",
    "slow_body",
    "malformed_json",
    "html",
    "empty_body",
    "garbage",
    "empty_content",
    "reasoning_only",
    "max_tokens",
    "content_filtered",
    "guardrail",
    "malformed_output",
    "context_full",
]


class ApiError(Exception):
    """An error with Bedrock's wording.

    status: HTTP status. code: the exception's name. extra: further members of the body.
    by_model: the error comes from the model, not from the service in front of it.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        extra: Mapping[str, Any] | None = None,
        *,
        by_model: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.extra = extra or {}
        self.by_model = by_model


class Refusal(Struct, frozen=True):
    """The parts of a fault's `ApiError`."""

    status: int
    code: str
    message: str
    extra: Mapping[str, Any] = {}
    by_model: bool = False

    def error(self) -> ApiError:
        return ApiError(self.status, self.code, self.message, self.extra, by_model=self.by_model)


def model_error(original_status: int, message: str) -> Refusal:
    """The error that the model gave to the service in front of it."""
    extra = {"originalStatusCode": original_status, "resourceName": "simulated"}
    return Refusal(424, "ModelErrorException", message, extra, by_model=True)


TOO_MANY_REQUESTS = Refusal(
    429,
    "ThrottlingException",
    "Too many requests, please wait before trying again.",
)
TOO_MANY_TOKENS = Refusal(
    429, "ThrottlingException", "Too many tokens, please wait before trying again."
)
TOO_MANY_TOKENS_PER_DAY = Refusal(
    429, "ThrottlingException", "Too many tokens per day, please wait before trying again."
)
INTERNAL = Refusal(
    500,
    "InternalServerException",
    "The system encountered an unexpected error during processing. Try your request again.",
)
UNAVAILABLE = Refusal(
    503,
    "ServiceUnavailableException",
    "Bedrock is unable to process your request.",
)

AT_THE_DOOR: Mapping[str, Refusal] = {
    "throttle": TOO_MANY_REQUESTS,
    "daily_quota": TOO_MANY_TOKENS_PER_DAY,
    "not_ready": Refusal(
        429,
        "ModelNotReadyException",
        "Model is not ready for inference. Wait and try your request again.",
    ),
    "model_throttled": model_error(429, "The model has too many requests. Try again later."),
    "model_busy": model_error(503, "The model is overloaded. Try again later."),
    "access_denied": Refusal(
        403,
        "AccessDeniedException",
        "You don't have access to the model with the specified model ID.",
    ),
    "expired_token": Refusal(
        403, "ExpiredTokenException", "The security token included in the request is expired"
    ),
    "validation": Refusal(400, "ValidationException", "The provided request is not valid"),
    "not_found": Refusal(
        404,
        "ResourceNotFoundException",
        "Could not resolve the foundation model from the provided model identifier.",
    ),
}
"""Errors that refuse the call at once and take nothing of the quota."""

AFTER_LATENCY: Mapping[str, Refusal] = {
    "internal_error": INTERNAL,
    "unavailable": UNAVAILABLE,
    "model_timeout": Refusal(
        408,
        "ModelTimeoutException",
        "Model has timed out in processing the request. Try your request again.",
        by_model=True,
    ),
    "model_error": model_error(
        500, "The system encountered an unexpected error during processing. Try your request again."
    ),
    "dependency_error": Refusal(
        530,
        "InternalDependencyException",
        "Your request caused an exception with an internal dependency.",
    ),
}
"""Errors of an admitted call after its latency; its input is charged."""

STOPS: Mapping[str, str] = {
    "max_tokens": "max_tokens",
    "content_filtered": "content_filtered",
    "guardrail": "guardrail_intervened",
    "malformed_output": "malformed_model_output",
    "context_full": "model_context_window_exceeded",
}
"""Faults that set the stop reason of an answer with status 200."""

ON_THE_WIRE = frozenset(
    [
        "reset",
        "reset_body",
        "half_body",
        "short_length",
        "bad_chunks",
        "hang",
        "headers_only",
        "slow_body",
        "malformed_json",
        "html",
        "empty_body",
    ]
)
"""Faults of the reply's bytes; see `delivery`."""

FAULTS: Mapping[str, str] = {
    "throttle": "429, too many requests",
    "daily_quota": "429, too many tokens per day",
    "not_ready": "429, ModelNotReadyException",
    "error_5xx": "500 or 503, evenly",
    "internal_error": "500",
    "unavailable": "503",
    "model_timeout": "408",
    "model_error": "424 with originalStatusCode 500",
    "model_throttled": "424 with originalStatusCode 429",
    "model_busy": "424 with originalStatusCode 503",
    "dependency_error": "530, InternalDependencyException",
    "access_denied": "403",
    "expired_token": "403, ExpiredTokenException",
    "validation": "400",
    "not_found": "404, unknown model",
    "reset": "connection reset before the headers",
    "reset_body": "connection reset in the middle of the body",
    "half_body": "half of the body, then the connection is closed",
    "short_length": "Content-Length is half of the body, and the connection stays open",
    "bad_chunks": "chunked encoding with a chunk size that is not a number",
    "hang": "never answered; the connection stays open until the client disconnects",
    "headers_only": "headers, then silence",
    "slow_body": "the body one byte at a time, `slow_byte_s` apart",
    "malformed_json": "200 with a body that is cut JSON",
    "html": "200 with an HTML page",
    "empty_body": "200 without a body",
    "garbage": "200 with a text that is not a verdict (for a tool: an input that does not fit the schema)",
    "empty_content": "200 with an empty content list",
    "reasoning_only": "200 with a reasoningContent block and nothing else",
    "max_tokens": "200, cut after half of the answer",
    "content_filtered": "200, stopReason content_filtered",
    "guardrail": "200, stopReason guardrail_intervened",
    "malformed_output": "200, stopReason malformed_model_output (malformed_tool_use for a tool)",
    "context_full": "200, stopReason model_context_window_exceeded",
}
"""Every fault and what it does. A test compares it with `docs/simulator.md`."""

GARBAGE = "I would rather talk about the weather today; banana %%% ~~"
FILTERED = "The generated text has been blocked by our content filters."


def names() -> tuple[str, ...]:
    """Names of all faults."""
    return get_args(Fault)


def spoil(answer: Answer, fault: str | None) -> Answer:
    """The answer after the fault; unchanged if the fault does not act on answers."""
    if fault == "garbage":
        return _garbage(answer)
    if fault == "empty_content":
        return Answer(stop=answer.stop)
    if fault == "reasoning_only":
        return Answer(reasoning="Let me think about the criteria one by one.", stop="end_turn")
    if fault is not None and fault in STOPS:
        return _stopped(answer, fault)
    return answer


def _garbage(answer: Answer) -> Answer:
    if answer.tool is None:
        return Answer(text=GARBAGE, stop=answer.stop)
    return Answer(tool=answer.tool, tool_input={"weather": GARBAGE}, stop=answer.stop)


def _stopped(answer: Answer, fault: str) -> Answer:
    stop = STOPS[fault]
    if fault in ("content_filtered", "guardrail"):
        return Answer(text=FILTERED, stop=stop)
    if answer.tool is not None:
        stop = "malformed_tool_use" if fault == "malformed_output" else stop
        return Answer(tool=answer.tool, tool_input={}, stop=stop)
    text = answer.text or ""
    return Answer(text=text[: len(text) // 2], stop=stop)
