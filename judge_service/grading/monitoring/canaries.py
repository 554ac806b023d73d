"""Canaries: samples with a known score, sent with batches to measure whether the judge has changed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from judge_service.errors import SettingsError
from judge_service.values import Message, Sample

MAX_FILE_BYTES = 1_000_000
MAX_CANARIES = 1_000

FIRST_DRAW = 1_000
DRAW_STEP = 1_000_000
"""Difference of the draw indices of two rounds of canaries, and of repeated calls in a round. Each round has
new draws, so that the judge answers and not a cache. It is larger than the draw of any sample."""


class Canary(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of the file.

    messages: the conversation without the response. reference_answer: `None` without one.
    expected: the weighted mean of the judged criteria, [0, 1], before gates and shaping.
    """

    response: Annotated[str, Meta(min_length=1)]
    expected: Annotated[float, Meta(ge=0, le=1)]
    messages: tuple[Message, ...] = ()
    reference_answer: str | None = None

    @property
    def sample(self) -> Sample:
        return Sample(
            messages=self.messages, response=self.response, reference=self.reference_answer
        )


class CanariesStatistics(Struct, frozen=True):
    """batches: counted. sent: canaries sent with them. judged: those with a score; the others had no time."""

    batches: int
    sent: int
    judged: int


class Canaries:
    """Chooses the canaries to send with each batch, in turn from all of a file.

    every_batches, per_batch: one of `every_batches` batches carries `per_batch` canaries; this bounds
        their cost.
    """

    def __init__(self, canaries: Sequence[Canary], *, every_batches: int, per_batch: int) -> None:
        self._canaries = tuple(canaries)
        self._every_batches = every_batches
        self._per_batch = min(per_batch, len(self._canaries))
        self._batches = self._sent = self.judged = 0

    def __repr__(self) -> str:
        return f"<Canaries {self._per_batch} of {len(self._canaries)} in each {self._every_batches}th batch>"

    def statistics(self) -> CanariesStatistics:
        return CanariesStatistics(self._batches, self._sent, self.judged)

    @property
    def draw(self) -> int:
        """The draw index of the canaries that were sent last."""
        return FIRST_DRAW + self._sent

    def due(self) -> tuple[Canary, ...]:
        """Counts a batch, and returns its canaries, usually none."""
        self._batches += 1
        if not self._canaries or self._batches % self._every_batches:
            return ()
        start, self._sent = self._sent, self._sent + self._per_batch
        count = len(self._canaries)
        return tuple(self._canaries[at % count] for at in range(start, self._sent))


def load_canaries(place: str) -> tuple[Canary, ...]:
    """Reads a file of canaries. Raises SettingsError with the line that is wrong."""
    try:
        with Path(place).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as problem:
        raise SettingsError(
            f"`canaries.file`: {place} cannot be read ({problem.strerror})"
        ) from None
    if len(data) > MAX_FILE_BYTES:
        raise SettingsError(f"`canaries.file`: {place} has more than {MAX_FILE_BYTES} bytes")
    lines = [(at, line) for at, line in enumerate(data.splitlines(), 1) if line.strip()]
    if not 0 < len(lines) <= MAX_CANARIES:
        raise SettingsError(
            f"`canaries.file`: {place} has {len(lines)} canaries; give 1 to {MAX_CANARIES}"
        )
    return tuple(_read(place, at, line) for at, line in lines)


def _read(place: str, at: int, line: bytes) -> Canary:
    try:
        return msgspec.json.decode(line, type=Canary)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise SettingsError(f"`canaries.file`: {place}, line {at}: {problem}") from None
