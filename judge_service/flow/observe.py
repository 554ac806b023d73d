"""Observation: emits one event for each attempt at a target."""

import asyncio
from collections.abc import Awaitable

from judge_service.errors import CallError
from judge_service.flow import B, Handler, R, Request
from judge_service.telemetry.events import CallEnded, Sink, ignore


class Observe:
    """Sends an event to a sink at the end of each attempt, once for any outcome.

    target: the target's name in events, such as `us-east-1/amazon.nova-lite-v1:0`.
    sink: gets a CallEnded with the outcome `ok`, the reason of a CallError, `cancelled`, or
        `grader_error` for a foreign error.
    """

    def __init__(self, *, target: str, sink: Sink) -> None:
        self._target = target
        self._sink = sink

    def __repr__(self) -> str:
        return f"Observe(target={self._target})"

    def __call__(self, request: Request[B], call_next: Handler[B, R]) -> Awaitable[R]:
        if self._sink is ignore:  # nobody listens
            return call_next(request)
        return self._observed(request, call_next)

    async def _observed(self, request: Request[B], call_next: Handler[B, R]) -> R:
        loop = asyncio.get_running_loop()
        entered = loop.time()
        outcome, throttled = "grader_error", False
        try:
            result = await call_next(request)
            outcome = "ok"
        except CallError as error:
            outcome, throttled = error.reason, error.throttled
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            now = loop.time()
            sent_at = request.sent_at or now
            self._sink(
                CallEnded(
                    target=self._target,
                    outcome=outcome,
                    queue_s=sent_at - entered,
                    backend_s=now - sent_at,
                    throttled=throttled,
                )
            )
        return result
