"""Who is let in: work that can be finished by its deadline, within the caller's share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from msgspec import Struct


class Ticket(Struct, frozen=True):
    """One admitted request.

    samples: what it asks for. deadline_s: seconds it may take, from now. tenant: whose work it is, for `job=`. lane: for `lane=`.
    """

    samples: int
    deadline_s: float
    tenant: str
    lane: str


@asynccontextmanager
async def admit(request: Request, *, samples: int) -> AsyncIterator[Ticket]:
    """Holds a place for `samples` samples while the block runs, and cancels it when the caller leaves.

    Raises HttpError 429 (over the caller's share) or 503 (full, stopping), with Retry-After.
    """
    settings = request.app.state.judge.settings
    yield Ticket(samples, settings.deadline_s, "", "training")
