"""Failover: asks the next target if the first one could not answer."""

import asyncio
from collections.abc import Sequence
from typing import Generic

from msgspec import Struct

from judge_service.errors import CallError
from judge_service.flow import B, Handler, R, Request
from judge_service.telemetry.events import FailedOver, Sink


class FailoverStatistics(Struct, frozen=True, kw_only=True):
    """answered: calls answered by each target, in order. refused: calls that no target answered."""

    answered: tuple[int, ...]
    refused: int


class Failover(Generic[B, R]):
    """Asks the first target, and if it fails the next one, each at most once.

    It has no memory of failing targets: the breaker in a target's gate refuses at no cost, and then
    the next target is asked. The targets may be regions, profiles or models; the completion names the one
    that answered.

    targets: handlers in the order of preference, at least one.

    If none answers, it raises the error that is most likely to pass: throttled before failed before
    refused for the day, and among equal kinds the one with the shortest wait.
    """

    def __init__(self, targets: Sequence[Handler[B, R]], *, sink: Sink) -> None:
        self._targets = tuple(targets)
        self._sink = sink
        self._answered = [0] * len(self._targets)
        self._refused = 0

    def __repr__(self) -> str:
        return f"Failover(targets={len(self._targets)})"

    def statistics(self) -> FailoverStatistics:
        """The counts so far."""
        return FailoverStatistics(answered=tuple(self._answered), refused=self._refused)

    async def __call__(self, request: Request[B]) -> R:
        errors: list[CallError] = []
        for position, target in enumerate(self._targets):
            if errors:
                self._sink(FailedOver(position=position, reason=errors[-1].reason))
            try:
                result = await target(request)
            except CallError as error:
                if request.is_abandoned or not _may_succeed_elsewhere(error, request.deadline):
                    raise
                request.sent_at = 0.0
                errors.append(error)
            else:
                self._answered[position] += 1
                return result
        self._refused += 1
        raise min(errors, key=_wait)


def _may_succeed_elsewhere(error: CallError, deadline: float) -> bool:
    """Whether the target is the cause of an error, and not the question.

    It is also for a gate's refusal (the turn would come too late), because another gate may have room.
    """
    if error.reason == "deadline":
        return not error.charged and asyncio.get_running_loop().time() < deadline
    return error.retryable or error.reason == "quota_exhausted"


def _wait(error: CallError) -> tuple[bool, bool, float]:
    return not error.throttled, not error.retryable, error.retry_after_s or 0.0
