"""Reads the errors of servers of OpenAI chat completions."""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from judge_service.backends.chat.stream import events_of, is_stream
from judge_service.errors import CallError, Denied, QuotaExhausted, Throttled, Unavailable
from judge_service.http.failures import printable, too_long
from judge_service.http.json_body import read_object

_CHANNEL = re.compile(
    r"response_format|json_?schema|structured output|guided|tool_?choice|\btools?\b|function call",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context_length_exceeded|maximum context|context (window|length)|too long|too many tokens",
    re.IGNORECASE,
)
_USED_UP = re.compile(r"insufficient_quota|too many tokens per day", re.IGNORECASE)
"""A daily quota is used up, in OpenAI's and Bedrock's words. OpenAI's daily rates refill by the minute."""

BUSY = frozenset({503, 529})
"""Statuses of a busy server: it has done no work, so nothing is charged."""

_ONCE_MORE = frozenset({408, 424, 504})
"""Statuses of a slow or failed model (424 is LMI's): one more try after a wait is worthwhile."""


class Complaint(Struct, frozen=True, kw_only=True):
    """A server's error. `code` and `message` are `""` if it has none."""

    status: int
    code: str = ""
    message: str = ""
    retry_after_s: float | None = None

    @property
    def said(self) -> str:
        """The error in one line, for a person."""
        return " ".join(filter(None, (str(self.status), self.code, self.message)))

    @property
    def is_of_logprobs(self) -> bool:
        """Whether the server may have refused the request for probabilities."""
        return self.status in (400, 422) and "logprobs" in f"{self.code} {self.message}".lower()


def read_complaint(status: int, body: bytes | str, retry_after_s: float | None = None) -> Complaint:
    """Reads code and message, nested as OpenAI's or flat as vLLM's. Never raises."""
    found = read_object(body)
    error = found.get("error", found)
    if not isinstance(error, Mapping):
        return Complaint(status=status, message=printable(error), retry_after_s=retry_after_s)
    return Complaint(
        status=status,
        code=printable(error.get("code") or error.get("type")),
        message=printable(error.get("message")),
        retry_after_s=retry_after_s,
    )


def complaint_in(body: bytes) -> Complaint | None:
    """The error that a server sent with status 200, as a body or an event; `None` if there is none.

    Its status is its `code` if that is a status, else 500.
    """
    for part in events_of(body) if is_stream(body) else [body]:
        found = read_object(part)
        if found.get("error") or found.get("object") == "error":
            return read_complaint(_status_in(found), part)
    return None


def _status_in(found: Mapping[str, Any]) -> int:
    error = found.get("error")
    for place in (error if isinstance(error, Mapping) else {}, found):
        code = place.get("code")
        if isinstance(code, int) and 400 <= code <= 599:
            return code
    return 500


def failure_of(complaint: Complaint) -> CallError | None:
    """The error of a refusal because of the server's state; `None` if the call itself is refused."""
    status, said, wait_s = complaint.status, complaint.said, complaint.retry_after_s
    if status == 429 and _USED_UP.search(f"{complaint.code} {complaint.message}"):
        return QuotaExhausted(f"the judge's quota is used up ({said})")
    if status == 429:
        return Throttled(f"the judge's quota has no room now ({said})", retry_after_s=wait_s)
    if status not in _ONCE_MORE and status < 500:
        return None
    return Unavailable(
        f"the judge failed ({said})",
        retry_after_s=wait_s,
        charged=status not in BUSY,
        max_retries=1 if status in _ONCE_MORE else None,
        backoff_s=0.5 if status in _ONCE_MORE else 0.05,
    )


def denial_of(complaint: Complaint, who: str) -> Denied:
    """The error of a refusal of this call. who: subject of the sentence."""
    text = f"{complaint.code} {complaint.message}"
    if complaint.status == 413 or _TOO_LONG.search(text):
        return too_long(complaint.said)
    channel = _CHANNEL.search(text) is not None
    return Denied(f"{who} refuses the call ({complaint.said})", unsupported_channel=channel)
