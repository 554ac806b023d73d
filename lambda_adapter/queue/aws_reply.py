"""What AWS's services answered: their reply, or an error that says what to mend."""

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
    """The body of a reply of status 200.

    Raises Unavailable for what may go better next time, SettingsError for what must be mended.
    """
    if reply.status == 200:
        return msgspec.json.decode(reply.body)
    said = f"{reply.status} {reply.body[:300].decode('utf-8', 'replace')}"
    if reply.status >= 500 or any(word in said for word in _BUSY):
        raise Unavailable(f"{action} failed ({said})")
    raise SettingsError(
        f"{action} is refused for {where}: see that it exists and that the function's role allows"
        f" {action} on it ({said})"
    )
