"""Flow control, generic: it knows nothing of judging, of AWS or of JSON.

One shape carries all of it. A handler is an `async def` from a request to a result; a layer is an
`async def` from a request and the next handler to a result, and a layer's object is its state, so two
stacks can share it. `stack` folds them, the first layer outermost.
"""

from collections.abc import Awaitable, Callable
from math import inf
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

B = TypeVar("B")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Request(Struct, Generic[B]):
    """The envelope of a body: what must not change the answer, so it stays out of the body's key.

    deadline: absolute, in seconds of the running loop's clock; `inf` for none.
    lane: which queue of the limiter it waits in.
    job: who it belongs to; jobs share a lane fairly.
    arrived_at: loop time at which it first came to the limiter's line, 0 before; kept over attempts, so
        that another attempt is not sent to the end of the line.
    sent_at: loop time at which bytes may have left for the judge, 0 before; set by the backend. From
        then on the call costs quota and holds a connection until it ends, whether or not anybody
        still waits for it. Each attempt has an envelope of its own, so this starts at 0 again.
    """

    body: B
    deadline: float = inf
    lane: str = "training"
    job: str = ""
    arrived_at: float = 0.0
    sent_at: float = 0.0

    def again(self) -> "Request[B]":
        """An envelope of its own for another attempt or another way to the same answer."""
        return Request(self.body, self.deadline, self.lane, self.job, self.arrived_at)


Handler = Callable[[Request[B]], Awaitable[R]]


class Layer(Protocol[B, R]):
    """A policy around a handler. Its `repr` is one line that `judge explain` prints."""

    async def __call__(self, request: Request[B], call_next: Handler[B, R], /) -> R: ...


def stack(handler: Handler[B, R], *layers: Layer[B, R]) -> Handler[B, R]:
    """Wraps `handler` in `layers`, the first one outermost."""
    for layer in reversed(layers):
        handler = _around(layer, handler)
    return handler


def _around(layer: Layer[B, R], call_next: Handler[B, R]) -> Handler[B, R]:
    def call(request: Request[B]) -> Awaitable[R]:
        return layer(request, call_next)

    return call
