"""Checks replies of AWS services, and converts failures to errors that name the remedy."""

from typing import Any

import msgspec

from judge_service.errors import SettingsError, Unavailable

_BUSY = (
    "Throttl",
    "ProvisionedThroughput",
    "RequestLimit",
    "Internal",
    "Unavailable",
    "Overloaded",
)


def require(reply: Any, action: str, where: str) -> Any:
    """The body of a reply with status 200.

    Raises Unavailable for a failure that may pass, SettingsError for one that the operator must fix.
    """
    if reply.status == 200:
        return msgspec.json.decode(reply.body)
    said = f"{reply.status} {reply.body[:300].decode('utf-8', 'replace')}"
    if reply.status >= 500 or any(word in said for word in _BUSY):
        raise Unavailable(f"{action} failed ({said})")
    raise SettingsError(
        f"{action} is refused for {where}: check that it exists and that the function's role allows"
        f" {action} on it ({said})"
    )
