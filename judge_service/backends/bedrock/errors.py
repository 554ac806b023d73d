"""Maps Bedrock's errors to our errors, whose attributes policies read.

The error code decides (`aws.refusal`), or the status if there is none. Sources: "Errors" of the Converse
reference, and what botocore retries. AWS does not document whether a failed call is charged. If the model
may have run (408, 424, 500), the call counts as charged, which can only make us slower.
"""

import re
from collections.abc import Mapping
from typing import Any

from judge_service.aws.refusal import Refusal
from judge_service.backends.bedrock import advice
from judge_service.backends.vocabulary.refusals import (
    AWS_THROTTLED_CODES,
    AWS_TRANSIENT_CODES,
    says,
)
from judge_service.errors import (
    CallError,
    CredentialsError,
    Denied,
    QuotaExhausted,
    Throttled,
    Unavailable,
)
from judge_service.http.failures import refused, too_long

_OF_KEY = re.compile(r"api key|bearer token", re.IGNORECASE)
"""An API key is refused like a missing permission (403), with these words."""

_PER_DAY = re.compile(r"per day|daily", re.IGNORECASE)

_KINDS = {
    **dict.fromkeys(AWS_THROTTLED_CODES, "throttled"),
    **dict.fromkeys(AWS_TRANSIENT_CODES, "failed"),
    "modelnotreadyexception": "not_ready",
    "internalserverexception": "failed",
    "internalfailure": "failed",
    "serviceunavailableexception": "busy",
    "serviceunavailable": "busy",
    "overloaded_error": "busy",
    "modeltimeoutexception": "model_slow",
    "modelerrorexception": "model_failed",
    "validationexception": "invalid",
    "accessdeniedexception": "forbidden",
    "resourcenotfoundexception": "missing",
}
_KINDS_BY_STATUS = {
    400: "invalid",
    401: "unidentified",
    403: "forbidden",
    404: "missing",
    402: "unpaid",
    408: "model_slow",
    409: "busy",
    413: "too_long",
    424: "model_failed",
    429: "throttled",
    502: "failed",
    503: "busy",
    529: "busy",
}


def kind_of(refusal: Refusal) -> str:
    """The kind of a refusal: a key of `_FAILURES`, or a case of `error_of` or `_denied`."""
    if refusal.is_unidentified:
        return "unidentified"
    kind = _KINDS.get(refusal.code) or _KINDS_BY_STATUS.get(refusal.status)
    if kind == "model_failed" and refusal.original_status in {400, 429, 503, 529}:
        return _KINDS_BY_STATUS[refusal.original_status]
    if kind == "forbidden" and _OF_KEY.search(refusal.message):
        return "unidentified"
    if kind is not None:
        return kind
    return "failed" if refusal.status >= 500 else "unexpected"


def error_of(refusal: Refusal, model: str, region: str) -> CallError:
    """The error of a refusal; its text says what is wrong, what to do, and what AWS said."""
    kind, wait, message = kind_of(refusal), refusal.retry_after_s, refusal.message
    said = f"{refusal.status} {refusal.code} {message}".replace("  ", " ").strip()
    if kind == "throttled":
        if _PER_DAY.search(message):
            return QuotaExhausted(f"{advice.used_up(model, region)} ({said})")
        return Throttled(f"{advice.throttled(message, model, region)} ({said})", retry_after_s=wait)
    if kind == "unpaid":
        return QuotaExhausted(f"the account has no money or quota left ({said})")
    if kind in _FAILURES:
        attributes = _FAILURES[kind]
        return Unavailable(
            f"{_FAILED[kind].format(model=model, region=region)} ({said})",
            retry_after_s=wait,
            **attributes,
        )
    if kind == "unidentified":
        return CredentialsError(f"{advice.unidentified(said)} ({said})")
    return _denied(kind, message, said, model, region)


_FAILURES: Mapping[str, Mapping[str, Any]] = {
    "not_ready": {"backoff_s": 1.0},
    "busy": {"backoff_s": 0.05},
    "failed": {"backoff_s": 0.05, "charged": True},
    "model_slow": {"backoff_s": 0.5, "max_retries": 1, "charged": True},
    "model_failed": {"backoff_s": 0.5, "max_retries": 1, "charged": True},
}


_FAILED = {
    "not_ready": "{model} in {region} is still loading: wait a minute, or keep it warm",
    "busy": "{model} has no capacity in {region} now: send again, or set `failover.regions`",
    "failed": "Bedrock failed in {region}: send again",
    "model_slow": "{model} took longer than Bedrock allows: shorten the rollouts, or send again",
    "model_failed": "{model} failed over this prompt in {region}: send again",
}


def _denied(kind: str, message: str, said: str, model: str, region: str) -> Denied:
    if kind == "forbidden":
        return Denied(f"{advice.forbidden(message, model, region)} ({said})")
    if kind == "missing":
        unknown = f"Bedrock knows no model {model} in {region}: check `model` and the region"
        return Denied(f"{advice.of_model(message, model, region) or unknown} ({said})")
    channel = kind == "invalid" and says("channel", message)
    if kind == "invalid" and says("filtered", message):
        return refused(said)
    if kind == "too_long" or (kind == "invalid" and not channel and says("too_long", message)):
        return too_long(said)
    if kind == "invalid" and (of_model := advice.of_model(message, model, region)):
        return Denied(f"{of_model} ({said})")
    hint = ": check bedrock.endpoint_url" if kind == "unexpected" else ""
    return Denied(f"Bedrock refuses the call ({said}){hint}", unsupported_channel=channel)
