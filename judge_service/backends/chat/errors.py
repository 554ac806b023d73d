"""Reads the errors of servers of OpenAI chat completions."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from judge_service.backends.chat.stream import events_of, is_stream
from judge_service.backends.leniency import table
from judge_service.backends.vocabulary.refusals import BUSY_CODES, THROTTLED_CODES, says
from judge_service.errors import CallError, Denied, QuotaExhausted, Throttled, Unavailable
from judge_service.http.failures import printable, refused, too_long
from judge_service.http.json_body import read_object
from judge_service.http.reply import Reply

BUSY = frozenset({409, 425, 498, 503, 529})
"""Statuses of a busy server: it has done no work, so nothing is charged. 498 is Groq's, 409 is a conflict."""

_ONCE_MORE = frozenset({408, 424, 504})
"""Statuses of a slow or failed model (424 is LMI's): one more try after a wait is worthwhile."""

_OF_REQUEST = frozenset({400, 413, 422})
"""Statuses that refuse the request itself."""


class Complaint(Struct, frozen=True, kw_only=True):
    """A server's error. `code` and `message` are `""` if it has none.

    kinds: all of its codes and types, in lower case.
    """

    status: int
    code: str = ""
    message: str = ""
    kinds: frozenset[str] = frozenset()
    retry_after_s: float | None = None

    @property
    def said(self) -> str:
        """The error in one line, for a person."""
        return " ".join(filter(None, (str(self.status), self.code, self.message)))

    @property
    def words(self) -> str:
        """All that it says, for tables of words."""
        return f"{' '.join(sorted(self.kinds))} {self.message}"

    @property
    def request_refusal(self) -> str:
        """What it says if it refuses the request, else `""`."""
        return self.words if self.status in _OF_REQUEST else ""


def complaint_of(reply: Reply) -> Complaint:
    """The error in a reply."""
    return read_complaint(reply.status, reply.body, reply.retry_after_s())


def read_complaint(status: int, body: bytes | str, retry_after_s: float | None = None) -> Complaint:
    """Reads code and message, nested as OpenAI's, flat as vLLM's, or in the forms of TGI, FastAPI and Google.
    Never raises.
    """
    return _complaint_in(status, read_object(body), retry_after_s)


def _complaint_in(
    status: int, found: Mapping[str, Any], retry_after_s: float | None = None
) -> Complaint:
    error = found.get("error") or found.get("errors") or found
    if isinstance(error, list):
        error = error[0] if error else found
    places = [error, found] if isinstance(error, Mapping) else [found]
    message = printable(error) or next(filter(None, map(_message_in, places)), "")
    kinds = [
        printable(str(value))
        for place in places
        for name in ("code", "type", "status", "error_type")
        if isinstance(value := place.get(name), (str, int)) and not isinstance(value, bool)
    ]
    metadata = table(places[0].get("metadata"))
    if "flagged_input" in metadata or "reasons" in metadata:  # OpenRouter's moderation
        kinds.append("flagged")
    return Complaint(
        status=status,
        code=kinds[0] if kinds else "",
        message=message,
        kinds=frozenset(kind.lower() for kind in kinds),
        retry_after_s=retry_after_s,
    )


def _message_in(place: Mapping[str, Any]) -> str:
    for name in ("message", "detail", "msg", "error_message", "error_msg", "Message"):
        value = place.get(name)
        if isinstance(value, Mapping):
            value = value.get("message") or value.get("msg")
        if isinstance(value, list):  # FastAPI's, one for each problem; `input` quotes the prompt
            parts = [part for one in value for part in _parts_of(one)]
            value = " ".join(str(part) for part in parts)
        if isinstance(value, str) and value:
            return printable(value)
    return ""


def _parts_of(problem: Any) -> list[Any]:
    if not isinstance(problem, Mapping):
        return [problem]
    place = problem.get("loc")
    return [*(place if isinstance(place, list) else []), problem.get("msg", "")]


def complaint_in(body: bytes) -> Complaint | None:
    """The error that a server sent with status 200, as a body, an event or a part of a choice; `None` if
    there is none. Its status is its `code` if that is a status or the name of one, else 500.
    """
    for part in events_of(body) if is_stream(body) else [body]:
        for found in _errors_in(read_object(part)):
            complaint = _complaint_in(500, found)
            return _complaint_in(_status_of(complaint), found)
    return None


def _errors_in(found: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if found.get("error") or found.get("object") == "error":
        yield found
    choices = found.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if table(choice).get("error"):
            yield choice
    if table(found.get("promptFeedback")).get("blockReason") or _is_filtered(found):
        yield {"error": {"message": "the prompt was blocked", "code": "content_filter"}}


def _is_filtered(found: Mapping[str, Any]) -> bool:
    """Whether Azure has filtered the prompt, which it says in place of a choice."""
    results = found.get("prompt_filter_results")
    checks = (
        table(table(results[0]).get("content_filter_results"))
        if isinstance(results, list) and results
        else {}
    )
    return any(table(check).get("filtered") is True for check in checks.values())


def _status_of(complaint: Complaint) -> int:
    for kind in complaint.kinds:
        if kind.isascii() and kind.isdigit() and 400 <= int(kind[:4]) <= 599:
            return int(kind)
    return next((status for kind, status in _NAMED.items() if kind in complaint.kinds), 500)


_NAMED = {
    **dict.fromkeys(THROTTLED_CODES, 429),
    **dict.fromkeys(BUSY_CODES, 503),
    "insufficient_quota": 429,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "invalid_argument": 400,
    "badrequesterror": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "notfounderror": 404,
}
"""Statuses that codes and types of errors stand for."""


def is_bad_draw(complaint: Complaint) -> bool:
    """Whether the server says that the model's answer was not in the asked form: another draw may be."""
    return complaint.status in _OF_REQUEST and says("bad_draw", complaint.words)


def failure_of(complaint: Complaint) -> CallError | None:
    """The error of a refusal because of the server's state or the quota; `None` for one of the call."""
    status, said, wait_s = complaint.status, complaint.said, complaint.retry_after_s
    if _is_used_up(complaint):
        return QuotaExhausted(f"the judge's quota is used up ({said})")
    if status == 429 or complaint.kinds & THROTTLED_CODES:
        if says("too_large", complaint.message):
            return too_long(said)
        return Throttled(f"the judge's quota has no room now ({said})", retry_after_s=wait_s)
    is_busy = status in BUSY or bool(complaint.kinds & BUSY_CODES)
    if not is_busy and status not in _ONCE_MORE and status < 500:
        return None
    if status >= 500 and not is_busy and (denial := _denial_by_words(complaint)):
        return denial
    return Unavailable(
        f"the judge failed ({said})",
        retry_after_s=wait_s,
        charged=not is_busy,
        max_retries=1 if status in _ONCE_MORE else None,
        backoff_s=0.5 if status in _ONCE_MORE else 0.05,
    )


def _is_used_up(complaint: Complaint) -> bool:
    """Whether no call will be answered for long. It stops all calls, so a message that may quote the prompt
    counts only with its first words.
    """
    if complaint.status == 402:
        return True
    if complaint.status == 429:
        return says("used_up", complaint.words)
    if complaint.status not in (400, 403):
        return False
    return says("used_up", " ".join(complaint.kinds)) or says(
        "used_up", complaint.message, at_begin=True
    )


def _denial_by_words(complaint: Complaint) -> Denied | None:
    """The error of a refusal of this call that comes in the status of a failure."""
    if says("filtered", complaint.words):
        return refused(complaint.said)
    if says("too_long", complaint.words):
        return too_long(complaint.said)
    if says("channel", complaint.words):
        text = f"the judge does not know the form of the call ({complaint.said})"
        return Denied(text, unsupported_channel=True)
    return None


def denial_of(complaint: Complaint, who: str) -> Denied:
    """The error of a refusal of this call. who: subject of the sentence."""
    if complaint.status == 413:
        return too_long(complaint.said)
    if says("filtered", complaint.words):
        return refused(complaint.said)
    channel = says("channel_in_request", complaint.words)
    if says("too_long", complaint.words):
        return too_long(complaint.said)
    return Denied(f"{who} refuses the call ({complaint.said})", unsupported_channel=channel)
