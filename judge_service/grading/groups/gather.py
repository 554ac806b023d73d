"""Collects rollouts of one prompt that arrive together: which form a group, and when it is complete."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from judge_service.flow import Request
from judge_service.grading.grader import Grader
from judge_service.grading.prompting.fence import name_texts
from judge_service.grading.prompting.prompt import digest_question
from judge_service.grading.rewards import Spent
from judge_service.values import Sample

QUIET_S = 0.05
"""A group is complete when no sample has joined for this long, seconds. In a large batch its members may be
hundreds of samples apart, 0.1 ms each. The wait is short compared with a judge call."""

LONGEST_S = 1.0
"""A group is complete after this many seconds even if samples still join, to limit the wait of the first."""


class Sibling(Struct, frozen=True):
    """A place in a group. group: equal for samples of one group. response: a hash of the response."""

    group: Hashable
    response: bytes


def sibling_of(grader: Grader, request: Request[Sample]) -> Sibling | None:
    """Identifies the group of a sample: samples with the same group key, lane, job, prompt, and reference.

    Returns `None` for a sample without a group key, and for one that needs no judge.
    """
    sample = request.body
    if not sample.group_key:
        return None
    try:
        question = grader.writer.question(sample)
        needless = grader.without_judge(sample, question, Spent())
    except Exception:  # noqa: BLE001 - the grader has the same error, and reports it in the reward
        return None
    if needless is not None:
        return None
    group = (request.lane, request.job, sample.group_key, question.task, question.reference)
    return Sibling(group, digest_question("sibling", name_texts(question)))


class Open(Protocol):
    """A group that samples may still join."""

    opened_at: float
    timer: asyncio.TimerHandle | None


G = TypeVar("G", bound=Open)


class OpenGroups(Generic[G]):
    """The groups that samples may still join, by key.

    make: makes a new group. complete: is called with a group when it is complete.
    quiet_s: see `QUIET_S`.
    """

    def __init__(
        self, make: Callable[[], G], complete: Callable[[G], None], quiet_s: float = QUIET_S
    ) -> None:
        self._make = make
        self._complete = complete
        self._quiet_s = quiet_s
        self._groups: dict[Hashable, G] = {}

    def __repr__(self) -> str:
        return f"<OpenGroups {len(self)} within {self._quiet_s * 1000:g} ms>"

    def __len__(self) -> int:
        return len(self._groups)

    def find(self, key: Hashable) -> G | None:
        """Returns the open group of this key, `None` if there is none."""
        return self._groups.get(key)

    def join(self, key: Hashable) -> G:
        """Returns the open group of this key, if necessary a new one, and restarts its wait for others."""
        loop = asyncio.get_running_loop()
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = self._make()
            group.opened_at = loop.time()
        if group.timer is not None:
            group.timer.cancel()
        at = min(loop.time() + self._quiet_s, group.opened_at + LONGEST_S)
        group.timer = loop.call_at(at, self.complete, key, group)
        return group

    def complete(self, key: Hashable, group: G) -> None:
        """Closes a group, and passes it on as complete."""
        self.forget(key, group)
        self._complete(group)

    def forget(self, key: Hashable, group: G) -> None:
        """Closes a group without passing it on."""
        if group.timer is not None:
            group.timer.cancel()
        if self._groups.get(key) is group:  # a later one may have taken its place
            del self._groups[key]
