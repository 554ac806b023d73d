"""An admitted request: counted while it runs, and cancelled if its caller leaves or the service stops."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from fastapi import Request

from judge_service.api.access import Lane
from judge_service.api.admission.capacity import Capacity
from judge_service.api.request_context import context_of

LEAVING = "judge_service.leaving"
"""The extension of the ASGI scope with which the server reports that a caller has left: it calls `tell`. If
the server has no such extension, a task waits for the disconnect. Such tasks leave reference cycles, whose
collection pauses the whole process."""


class ClientGone(Exception):
    """The caller has left, so there is no reply to send."""


class AdmittedRequest:
    """A request in the queue; made by `admit`.

    deadline_s: seconds left when it was admitted.
    tenant, lane: for the arguments `job` and `lane` of the judge.
    """

    def __init__(self, request: Request, samples: int) -> None:
        self._request = request
        state = request.app.state
        self._capacity: Capacity = state.capacity
        self._admitted: set[AdmittedRequest] = state.admitted
        self._samples = samples
        context = context_of(request)
        self._caller = context.caller
        self.deadline_s = context.left_s(state.judge.settings.deadline_s)
        self.tenant = self._caller.tenant
        self.lane: Lane = self._caller.lane
        self._task: asyncio.Task[Any] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._ending: Exception | None = None

    def __repr__(self) -> str:
        return f"<AdmittedRequest of {self._samples} samples, {self.deadline_s:.1f} s>"

    async def __aenter__(self) -> Self:
        self._capacity.enter(self._caller, samples=self._samples, deadline_s=self.deadline_s)
        self._admitted.add(self)
        self._task = asyncio.current_task()
        leaving = self._request.scope.get("extensions", {}).get(LEAVING)
        if leaving is None:
            self._watch = asyncio.create_task(self._watch_caller())
        else:
            leaving.tell = self._caller_left
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._watch is None:
            self._request.scope["extensions"][LEAVING].tell = None
        else:
            self._watch.cancel()
        self._admitted.discard(self)
        self._capacity.leave(self._caller, samples=self._samples, finished=kind is None)
        if self._ending is not None:
            await self._absorb_cancellation(kind)
            raise self._ending from None

    def end(self, reason: Exception) -> None:
        """Cancels the work in the block, which then raises `reason`."""
        if self._ending is None and self._task is not None:
            self._ending = reason
            self._task.cancel()

    async def _absorb_cancellation(self, kind: type[BaseException] | None) -> None:
        """Withdraws the cancellation requested by `end`, also if it has not been delivered yet."""
        if kind is not asyncio.CancelledError:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        if self._task is not None:
            self._task.uncancel()

    async def _watch_caller(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._caller_left()

    def _caller_left(self) -> None:
        self.end(ClientGone())


def admit(request: Request, *, samples: int) -> AdmittedRequest:
    """Admits a request with `samples` samples for the duration of an `async with` block.

    If the caller leaves during the block, or the service must stop, the work is cancelled.
    The body must be read before.

    Raises HttpError 413, 429 (over the caller's share) or 503 (full, stopping), with Retry-After, and
    ClientGone.
    """
    return AdmittedRequest(request, samples)


def refuse_early(request: Request) -> None:
    """Raises what `admit` would raise for one sample, before the body is read."""
    state, context = request.app.state, context_of(request)
    left_s = context.left_s(state.judge.settings.deadline_s)
    state.capacity.check(context.caller, samples=1, deadline_s=left_s)
