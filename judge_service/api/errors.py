"""HTTP errors, all of one form: `{"error": {"code", "message", "field"?}}`.

Routes raise exceptions, which the handlers of `install` convert to responses. They do not quote the body.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.responses import Response

from judge_service.errors import JudgeServiceError, TooManyUnscored, WireError


class ErrorBody(Struct, frozen=True, omit_defaults=True):
    """The error of a response.

    code: a word for programs. message: one sentence for people. field: the place in the body, as a path.
    """

    code: str
    message: str
    field: str | None = None


class HttpError(JudgeServiceError):
    """A request fails with an HTTP status.

    code: a word for programs (`CODES`).
    field: the place in the body, as a JSON path.
    retry_after_s: the time after which a retry may succeed, whole seconds, for 429 and 503.
    headers: added to the response.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["retry-after"] = str(retry_after_s)


CODES: Mapping[int, tuple[str, ...]] = {
    400: ("bad_request",),
    401: ("unauthorized",),
    403: ("suspended",),
    404: ("not_found",),
    405: ("method_not_allowed",),
    408: ("body_too_slow",),
    409: ("not_ended",),
    413: ("body_too_large",),
    415: ("unsupported_encoding",),
    429: ("over_share",),
    500: ("internal",),
    503: ("overloaded", "draining", "too_many_unscored"),
}
"""The codes of error responses, by status."""

MEANINGS: Mapping[int, str] = {
    400: "The body is not valid for this route; `field` is the place.",
    401: "The request has no API key, or an unknown one.",
    403: "The API key is suspended: its share is 0.",
    404: "There is nothing at this path.",
    405: "The path does not support this method.",
    409: "The job has not ended.",
    408: "The body did not arrive in time.",
    413: "The body is larger than `service.max_body_bytes`.",
    415: "The body is compressed; send it plain.",
    429: "The caller has used its share of the queue; `Retry-After` says when to try again.",
    500: "The service failed; its log has the details.",
    503: "The service is full or stopping, or could not judge enough; `Retry-After` says when to try again.",
}

RETRY_UNSCORED_S = 5
"""Retry-After for a batch that could not be judged, seconds. Longer throttling and outages are rare, and
operators know about them."""


def respond(error: Exception) -> Response:
    """The response to an error."""
    known = classify(error)
    body = ErrorBody(known.code, str(known), known.field)
    return error_response(known.status, body, known.headers)


def error_line(error: Exception) -> bytes:
    """The same for a stream whose status is already sent."""
    known = classify(error)
    return msgspec.json.encode({"error": ErrorBody(known.code, str(known), known.field)})


def classify(error: Exception) -> HttpError:
    """Converts an error to the one for the caller."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, WireError):
        return HttpError(400, "bad_request", str(error), field=error.field)
    if isinstance(error, TooManyUnscored):
        return HttpError(503, "too_many_unscored", str(error), retry_after_s=RETRY_UNSCORED_S)
    return HttpError(500, "internal", "the service failed; its log has the details")


def error_response(
    status: int, body: ErrorBody, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON response with one error."""
    content = msgspec.json.encode({"error": body})
    return Response(content, status, dict(headers or {}), media_type="application/json")


def install(app: FastAPI) -> None:
    """Installs handlers that give all errors of the application the same form."""

    async def ours(_request: Request, error: Exception) -> Response:
        return respond(error)

    async def framework(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered only for it
        code = CODES.get(error.status_code, ("bad_request",))[0]
        message = f"{HTTPStatus(error.status_code).phrase}; see /openapi.json for all routes"
        return error_response(error.status_code, ErrorBody(code, message), error.headers)

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - see above
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        return error_response(400, ErrorBody("bad_request", f"{field}: {first['msg']}", field))

    app.add_exception_handler(JudgeServiceError, ours)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, ours)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route: its error responses, besides those that every route has."""
    return {
        status: {
            "description": MEANINGS[status],
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Error"},
                    "example": {"error": {"code": CODES[status][0], "message": MEANINGS[status]}},
                }
            },
            **({"headers": RETRY_AFTER} if status in (429, 503) else {}),
        }
        for status in sorted({*statuses, *ALWAYS})
    }


ALWAYS = (401, 403, 500, 503)
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {
                    "type": "string",
                    "enum": sorted({word for words in CODES.values() for word in words}),
                },
                "message": {"type": "string"},
                "field": {"type": "string"},
            },
        }
    },
}
"""The component `Error` of the OpenAPI document."""
