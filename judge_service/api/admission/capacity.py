"""Limits the queue of the service to work that can be finished by its deadline.

The queue is limited by time (queued samples / drain rate must be less than a part of the deadline), and by
size (samples and bytes). Each caller has a share of it. Work that would be late is refused on arrival,
which costs nothing.

For example, at 100 samples/s and with a deadline of 50 s the queue may have 100 x 50 x 0.7 = 3,500 samples.
A caller with a share of 0.5 may have 1,750 of them.
"""

import math
import random
from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from judge_service.api.access import Caller
from judge_service.api.admission.drain_rate import DrainRate
from judge_service.api.errors import HttpError

HEADROOM = 0.7
"""Part of the deadline that the queue may fill; the rest is for an overestimated rate and for sending the
response."""

LONGEST_WAIT_S = 60
"""Largest Retry-After, seconds; later the situation is another one anyway."""


class CapacityStatistics(Struct, frozen=True, kw_only=True):
    """held_samples, held_bytes: admitted and unfinished. refused: by code. drain_per_s: measured rate."""

    held_samples: int
    held_bytes: int
    admitted: int
    refused: dict[str, int]
    drain_per_s: float | None
    is_stopping: bool


class Capacity:
    """Counts the work in the queue, and refuses work that does not fit.

    max_samples, max_bytes: limits of the queue.
    expected_per_s: the rate that the configured quota allows, used until a rate is measured; `None`
        without a quota.
    is_busy: whether work waits for the judge now.
    now: clock, seconds.
    """

    def __init__(
        self,
        *,
        max_samples: int,
        max_bytes: int,
        expected_per_s: float | None,
        is_busy: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        self._max_samples = max_samples
        self._max_bytes = max_bytes
        self._expected_per_s = expected_per_s
        self._is_busy = is_busy
        self._rate = DrainRate(now)
        self._held: Counter[str] = Counter()
        self._samples = self._bytes = self._admitted = 0
        self._refused: Counter[str] = Counter()
        self._is_stopping = False

    def __repr__(self) -> str:
        return f"<Capacity {self._samples} of {self._max_samples} samples, {self._rate!r}>"

    def statistics(self) -> CapacityStatistics:
        return CapacityStatistics(
            held_samples=self._samples,
            held_bytes=self._bytes,
            admitted=self._admitted,
            refused=dict(self._refused),
            drain_per_s=self._rate.per_s(),
            is_stopping=self._is_stopping,
        )

    @property
    def is_stopping(self) -> bool:
        """Whether no more work is admitted."""
        return self._is_stopping

    def stop(self) -> None:
        """Admits no more work."""
        self._is_stopping = True

    def draining(self) -> HttpError:
        """The error while stopping, also for requests that are unfinished after the drain time."""
        return self._refuse("draining", "the service is stopping", 1.0)

    def check(self, caller: Caller, *, samples: int, deadline_s: float) -> None:
        """Raises HttpError 413, 429 or 503 if the queue has no room for this work of this caller."""
        if self._is_stopping:
            raise self.draining()
        if samples > self._max_samples:
            raise HttpError(
                413,
                "body_too_large",
                f"{samples:,} samples are more than the {self._max_samples:,} that the service accepts"
                " at once; send smaller batches or a job",
            )
        room = self._room(deadline_s)
        held = self._held[caller.tenant]
        if caller.share < 1 and held and held + samples > caller.share * room:
            wait_s = self._drain_s(held + samples - caller.share * room)
            raise self._refuse("over_share", "this caller has used its share of the queue", wait_s)
        if self._samples and self._samples + samples > room:
            wait_s = self._drain_s(self._samples + samples - room)
            raise self._refuse("overloaded", "the service is full", wait_s)

    def enter(self, caller: Caller, *, samples: int, deadline_s: float) -> None:
        """Checks as `check` does, and counts the work until `leave`."""
        self._rate.observe(finished=0, is_busy=self._is_busy())
        self.check(caller, samples=samples, deadline_s=deadline_s)
        self._held[caller.tenant] += samples
        self._samples += samples
        self._admitted += samples

    def leave(self, caller: Caller, *, samples: int, finished: bool) -> None:
        """Removes work from the queue; if `finished`, it counts for the drain rate."""
        self._held[caller.tenant] -= samples
        if not self._held[caller.tenant]:
            del self._held[caller.tenant]
        self._samples -= samples
        self._rate.observe(finished=samples if finished else 0, is_busy=self._is_busy())

    def drained(self, samples: int) -> None:
        """Counts judged samples of jobs for the rate, although they are not in this queue."""
        self._rate.observe(finished=samples, is_busy=self._is_busy())

    def hold_bytes(self, amount: int) -> None:
        """Counts bytes of a body. Raises HttpError 503 if there is no room for them."""
        if self._bytes + amount > self._max_bytes:
            raise self._refuse("overloaded", "the service has no memory for more bodies now", 1.0)
        self._bytes += amount

    def release_bytes(self, amount: int) -> None:
        """Subtracts the bytes of a body."""
        self._bytes -= amount

    def _room(self, deadline_s: float) -> float:
        """Most samples in the queue that can be finished by the deadline."""
        rate = self._per_s()
        if rate is None:
            return self._max_samples
        return min(self._max_samples, HEADROOM * deadline_s * rate)

    def _per_s(self) -> float | None:
        measured = self._rate.per_s()
        return self._expected_per_s if measured is None else measured

    def _drain_s(self, samples: float) -> float:
        rate = self._per_s()
        return samples / rate if rate else 1.0

    def _refuse(self, code: str, message: str, wait_s: float) -> HttpError:
        self._refused[code] += 1
        # jitter only upwards, so that refused callers return neither together nor too early
        wait = min(LONGEST_WAIT_S, max(1, math.ceil(wait_s * random.uniform(1.0, 1.5))))
        status = 429 if code == "over_share" else 503
        headers = {"connection": "close"} if code == "draining" else None
        return HttpError(
            status, code, f"{message}; try again in {wait} s", retry_after_s=wait, headers=headers
        )
