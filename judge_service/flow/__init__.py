"""Flow control. It is generic: it does not know judging, AWS or JSON.

One shape carries all of it. A handler is an `async def` from a request to a result; a layer is an
`async def` from a request and the next handler to a result, and a layer's object is its state, so two
stacks can share it. `stack` folds them, the first layer outermost.
"""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from judge_service.errors import Unavailable

B = TypeVar("B")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Request(Struct, Generic[B]):
    """A body with its envelope, whose fields must not change the answer.

    deadline: absolute, in seconds of the running loop's clock; `inf` for none.
    lane: the lane of the fair queue in which it waits.
    job: name of its job; jobs share a lane fairly.
    arrived_at: loop time at which it first came to the queue, 0 before; kept over attempts, so that
        another attempt is not sent to the end of the queue.
    sent_at: loop time at which bytes of the present attempt may have left for the judge, 0 before; set by
        the backend. From then on the call costs quota and uses a connection until it ends, also if
        its caller has gone.
    is_abandoned: its caller has gone while an attempt was on the wire. The attempt continues to its end, and
        no other follows.
    """

    body: B
    deadline: float = inf
    lane: str = "training"
    job: str = ""
    arrived_at: float = 0.0
    sent_at: float = 0.0
    is_abandoned: bool = False

    def again(self) -> "Request[B]":
        """The same body in a new envelope, for another task."""
        return Request(self.body, self.deadline, self.lane, self.job, self.arrived_at)


Handler = Callable[[Request[B]], Awaitable[R]]


class Layer(Protocol[B, R]):
    """A policy around a handler. Its `repr` is one line that `judge explain` prints."""

    def __call__(self, request: Request[B], call_next: Handler[B, R], /) -> Awaitable[R]: ...


def stack(handler: Handler[B, R], *layers: Layer[B, R]) -> Handler[B, R]:
    """Wraps `handler` in `layers`, the first one outermost."""
    for layer in reversed(layers):
        handler = _around(layer, handler)
    return handler


def stray(problem: BaseException, *, charged: bool = False) -> Unavailable | None:
    """The error for a stray cancellation, which is raised although the running task was not cancelled.

    `None` for every other problem. A backend or a function of the user's raises one, for example when one of
    its own tasks was cancelled. The caller has not left and waits for an answer.
    """
    task = asyncio.current_task() if isinstance(problem, asyncio.CancelledError) else None
    if task is None or task.cancelling():
        return None
    return Unavailable(
        "the call was cancelled inside the backend, although its caller waits", charged=charged
    )


def _around(layer: Layer[B, R], call_next: Handler[B, R]) -> Handler[B, R]:
    def call(request: Request[B]) -> Awaitable[R]:
        return layer(request, call_next)

    return call
