"""The reward function that a fine-tuning job calls, thin: a deadline, an identity and an error's form.

One event loop lives on a background thread for the life of the environment, because a client bound
to one loop breaks on the second invocation of `asyncio.run`, and because a notebook (or AWS's own
local pre-flight, which calls this with `context = {}`) has a running loop already.
"""

import atexit
import os
import time
from collections.abc import Mapping
from typing import Any

from judge_service.errors import DeadlineExceeded, JudgeServiceError, TooManyUnscored, WireError
from judge_service.wire import encode_error, is_http_event
from lambda_adapter import snapshot
from lambda_adapter.environment import Environment, Invocation

STATUSES: Mapping[type[JudgeServiceError], int] = {
    WireError: 400,
    TooManyUnscored: 503,
    DeadlineExceeded: 503,
}

ENVIRONMENT = Environment()
atexit.register(ENVIRONMENT.close)
snapshot.register(ENVIRONMENT.close, ENVIRONMENT.open)


def lambda_handler(event: Any, context: Any) -> Any:
    """Rewards for the rollouts of `event`, in the form of the caller (see `docs/contracts.md`).

    context: the Lambda context, or anything without `get_remaining_time_in_millis`.

    Raises WireError, TooManyUnscored, SettingsError or DeadlineExceeded to a caller that sent a bare
    list, so that the platform reports and retries; a caller that sent an HTTP-style event gets them
    as one.
    """
    try:
        return ENVIRONMENT.answer(event, invocation_of(context))
    except JudgeServiceError as error:
        if not is_http_event(event):
            raise
        return encode_error(error, STATUSES.get(type(error), 500))


def invocation_of(context: Any) -> Invocation:
    """What the Lambda context, or what stands for one, says of the call."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return Invocation(
        ends_at_s=time.monotonic() + remaining() / 1000 if remaining else None,
        request_id=str(getattr(context, "aws_request_id", "")),
        trace_id=os.environ.get("_X_AMZN_TRACE_ID", ""),
    )
