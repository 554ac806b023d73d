"""Reads the refusal of an AWS service: the error code, the message, and whether it can be remedied.

The code of an error is the header `x-amzn-errortype` up to `:` and after `#`, else `__type` or `code`
of the body, in any case of letters.
"""

import re
from typing import Any

from msgspec import Struct

from judge_service.http.failures import printable
from judge_service.http.json_body import read_object
from judge_service.http.reply import Reply, timestamp

_SKEW = re.compile(r"signature (expired|not yet current)", re.IGNORECASE)

_EXPIRED_KEY = re.compile(r"(api key|bearer token)\b.{0,80}\bexpired", re.IGNORECASE)
"""A Bedrock API key that has expired is refused like a missing permission, with these words."""

_EXPIRED = frozenset({"expiredtoken", "expiredtokenexception"})
_SKEWED = frozenset({"requestexpired", "requesttimetooskewed"})
_BAD_IDENTITY = frozenset(
    {
        "unrecognizedclientexception",
        "invalidclienttokenid",
        "invalidsignatureexception",
        "signaturedoesnotmatch",
        "incompletesignature",
        "incompletesignatureexception",
        "missingauthenticationtoken",
        "missingauthenticationtokenexception",
        "missingauthenticationexception",
    }
)


class Refusal(Struct, frozen=True, kw_only=True):
    """A refusal.

    code: lower case, `""` if there was none.
    original_status: the model's own status inside a ModelErrorException.
    served_at: the service's clock, seconds since 1970, `None` if it sent no date.
    """

    status: int
    code: str = ""
    message: str = ""
    original_status: int | None = None
    retry_after_s: float | None = None
    served_at: float | None = None

    @property
    def expired(self) -> bool:
        """Whether the credentials have expired."""
        return self.code in _EXPIRED or (
            self.status in (401, 403) and _EXPIRED_KEY.search(self.message) is not None
        )

    @property
    def skewed(self) -> bool:
        """Whether the service found our clock wrong."""
        return self.code in _SKEWED or (
            self.code in _BAD_IDENTITY and _SKEW.search(self.message) is not None
        )

    @property
    def is_unidentified(self) -> bool:
        """Whether the service did not accept the credentials."""
        return self.expired or self.skewed or self.code in _BAD_IDENTITY


def read_refusal(reply: Reply) -> Refusal:
    """Reads a reply whose status is not 200. Never raises: a body that is not JSON has no message."""
    body = read_object(reply.body)
    code = reply.header("x-amzn-errortype") or body.get("__type") or body.get("code") or ""
    return Refusal(
        status=reply.status,
        code=bare(code),
        message=printable(body.get("message") or body.get("Message")),
        original_status=_whole(body.get("originalStatusCode")),
        retry_after_s=reply.retry_after_s(),
        served_at=timestamp(reply.header("date")),
    )


def bare(code: object) -> str:
    """An error code in lower case, without its namespace and address."""
    return printable(code).partition(":")[0].rpartition("#")[2].strip().lower()


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
