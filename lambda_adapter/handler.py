"""The Lambda handler of the reward function that a fine-tuning job calls.

It only adds the deadline, the caller's identity and the form of errors. One event loop runs on a background
thread for the life of the environment, because a client bound to one loop fails at the second call of
`asyncio.run`, and because a notebook (or AWS's local pre-flight, which calls this with
`context = {}`) already has a running loop.
"""

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
snapshot.register(ENVIRONMENT.close, ENVIRONMENT.open)


def lambda_handler(event: Any, context: Any) -> Any:
    """Returns the rewards of the rollouts of `event`, in the caller's format (see `docs/contracts.md`).

    context: the Lambda context, or any object without `get_remaining_time_in_millis`.

    For an event that is a list, raises WireError, TooManyUnscored, SettingsError or DeadlineExceeded, so that
    the platform reports the error and retries. For an HTTP-style event, errors are HTTP responses.
    """
    try:
        return ENVIRONMENT.answer(event, invocation_of(context))
    except JudgeServiceError as error:
        if not is_http_event(event):
            raise
        return encode_error(error, STATUSES.get(type(error), 500))


def invocation_of(context: Any) -> Invocation:
    """The facts of an invocation from the Lambda context or a substitute."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return Invocation(
        ends_at_s=time.monotonic() + remaining() / 1000 if remaining else None,
        request_id=str(getattr(context, "aws_request_id", "")),
        trace_id=os.environ.get("_X_AMZN_TRACE_ID", ""),
    )
