"""Makes a run wait during an outage of its judge, so that no row is finished unjudged because of it.

A reward without a score, because the judge could not be asked, is not a result of the row. The row is kept
and judged again. A run is in one of two states:

    asking    Rows are sent to the judge. When `ROWS_IN_A_ROW` rows (or all there are) have failed, and none
              was answered between them, the run waits.
    waiting   No row is sent. A probe question is sent at once, and again after 1, 2, 4 ... 60 s (up to
              15 min while the day's quota is used up). The first answer to the probe ends the wait. So does
              an answer to a row that was still in flight, if the layers below retry such failures
              (`unavailable`, `throttled`); otherwise the row was sent before the outage. Then the failed
              rows are sent first.

A row may itself be the cause of its failure, if the judge fails on it each time. So the failures of a row
are counted: the first one, and each later one if the judge has answered something that was sent after the
row's previous failure. After `MAX_FAILURES` counted failures the row has a result: its last reason. If
there is no other row, the probe is what the judge answers. An answer to something sent before the row's
failure does not count, because it says nothing about the time after the failure.

    For example, three rows are left, and the judge answers row A with an error each time. A fails (1). B and
    C, sent before that, are answered. A fails alone (still 1): the probe is sent and answered. A fails (2),
    the probe is answered, A fails (3): its result is `unavailable`.

A used-up quota never counts as a row's failure. A refusal (`denied`) is a result of the row at the second
counted failure. If the other rows are no longer answered either, the judge is the cause (expired
credentials). If no row was ever answered, a setting is wrong: waiting does not help, and the rows have
their result.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import NoReturn

from judge_service.errors import JudgeOut
from judge_service.flow import Handler, Request
from judge_service.values import Message, Reward, Sample, Wait

PASSING = frozenset({"unavailable", "throttled", "quota_exhausted"})
"""Reasons that are about the judge and its quota, and pass with time."""

NOT_RETRIED = frozenset({"quota_exhausted", "denied"})
"""Refusals after which no other attempt is made. A row that is answered later was sent before them."""

ROWS_IN_A_ROW = 3
MAX_FAILURES = 3
MAX_REFUSALS = 2
"""Counted refusals after which a row has a result. Fewer than failures: the judge has read the row."""

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
"""Longest time between two probes, seconds; so long at most does a run wait after the judge is back."""

LONGEST_DAY_WAIT_S = 900.0
"""The same while the day's quota is used up; as long as the breaker stays open (`breaker.DAY_OPEN_S`)."""

SOON_S = 5.0
"""The user is told about a probe that is unanswered after this time, seconds. Most are answered earlier and
end the wait, so the user need not be told."""

QUESTION = Sample(
    id="is the judge back",
    messages=(Message("user", "What is two plus two?"),),
    response="Two plus two is four.",
    reference="Four.",
)
"""The probe. It is not a row, because a row could be the cause of the failures and would cost more."""

Ask = Callable[[], Awaitable[Reward]]


Tell = Callable[[Wait], Awaitable[None]]


class Outage:
    """A layer around the grader of one run that waits during outages. It retries without end, so rows must
    have no deadline.

    ask: sends the probe, `QUESTION`, to the judge without using a cache.
    tell: called when the run waits, when the reason or the next probe changes, and when the run continues.
    max_wait_s: limit of one wait, seconds.

    Raises JudgeOut after that time, and any error of `tell`.
    """

    def __init__(self, *, ask: Ask, tell: Tell, max_wait_s: float = inf) -> None:
        self._ask = ask
        self._tell = tell
        self._max_wait_s = max_wait_s
        self._going = asyncio.Event()
        self._going.set()
        self._question: asyncio.Task[Reward] | None = None
        self._pause: _Pause | None = None
        self._at_work = self._failed_in_row = 0
        self._begun = self._newest_answer = 0

    def __repr__(self) -> str:
        return (
            f"<Outage of {self._at_work} rows, {'asking' if self._going.is_set() else 'waiting'}>"
        )

    @property
    def waits_for(self) -> str:
        """Why the run waits, the reason that was told last; empty while it does not wait."""
        return self._pause.reason if self._pause is not None and self._pause.is_told else ""

    async def __call__(
        self, request: Request[Sample], call_next: Handler[Sample, Reward]
    ) -> Reward:
        failures = failed_at = 0
        self._at_work += 1
        try:
            while True:
                if not self._going.is_set():
                    await self._going.wait()
                begun = self._begin()
                reward = await call_next(request)
                if reward.reason is None or not self._is_blocked(reward):
                    if _was_asked(reward):
                        self._note_answer(begun)
                    return reward
                if reward.reason != "quota_exhausted":
                    failures += failures == 0 or self._newest_answer > failed_at
                failed_at = self._begun
                if failures >= (MAX_REFUSALS if reward.reason == "denied" else MAX_FAILURES):
                    return reward
                await self._note_failure(reward)
        finally:
            self._at_work -= 1

    def _begin(self) -> int:
        """Counts an attempt, and returns its number."""
        self._begun += 1
        return self._begun

    def _is_blocked(self, reward: Reward) -> bool:
        """Whether the judge could not be asked. `denied` counts as such after the judge's first answer."""
        return reward.reason in PASSING or (reward.reason == "denied" and self._newest_answer > 0)

    def _note_answer(self, begun: int) -> None:
        self._newest_answer = max(self._newest_answer, begun)
        self._failed_in_row = 0
        if self._pause is None or self._pause.reason not in NOT_RETRIED:
            self._going.set()
            if self._question is not None:
                self._question.cancel()

    async def _note_failure(self, reward: Reward) -> None:
        self._failed_in_row += 1
        if self._failed_in_row >= min(ROWS_IN_A_ROW, self._at_work):
            self._going.clear()
            if self._pause is None:
                await self._lead(reward)

    async def _lead(self, found: Reward) -> None:
        """Waits on behalf of all rows of the run. Only one row at a time does so, the one that noticed."""
        pause, wait_s = _Pause(found, self._tell, self._max_wait_s), FIRST_WAIT_S
        self._pause = pause
        try:
            while not self._going.is_set():
                begun = self._begin()
                answer = await self._put_question(pause)
                if answer is None:
                    continue
                if not self._is_blocked(answer):
                    self._newest_answer = begun
                    self._failed_in_row = 0
                    self._going.set()
                    continue
                await pause.note(answer, wait_s)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause.bounded(wait_s)):
                        await self._going.wait()
                wait_s = min(2 * wait_s, _longest(answer))
        finally:
            self._pause = None
        await pause.end()

    async def _put_question(self, pause: "_Pause") -> Reward | None:
        """The result of a probe; `None` when a row was answered before it."""
        question = self._question = asyncio.ensure_future(self._ask())
        try:
            await asyncio.wait([question], timeout=SOON_S)
            if not question.done():
                await pause.tell_of_question()
                await asyncio.wait([question], timeout=pause.left_s())
            if not question.done():
                pause.give_up()
        finally:
            self._question = None
            question.cancel()
            await asyncio.gather(question, return_exceptions=True)
        return None if question.cancelled() else question.result()


class _Pause:
    """One wait: its beginning, its reason and the function that is told. found: the reward that began it.

    is_told: whether the function was called. Most waits end before.
    """

    def __init__(self, found: Reward, tell: Tell, max_wait_s: float) -> None:
        self._found = found
        self._tell = tell
        self._max_wait_s = max_wait_s
        self._began_s = _now_s()
        self.is_told = False

    @property
    def reason(self) -> str:
        """A word of `UNSCORED_REASONS`."""
        return self._found.reason or "unavailable"

    def left_s(self) -> float | None:
        """Seconds until the run gives up; `None` for never."""
        left_s = self._began_s + self._max_wait_s - _now_s()
        return None if left_s == inf else max(0.0, left_s)

    def bounded(self, wait_s: float) -> float:
        """`wait_s`, but at most until the run gives up."""
        left_s = self.left_s()
        return wait_s if left_s is None else min(wait_s, left_s)

    async def note(self, answer: Reward, next_s: float) -> None:
        """Notes that a probe failed and that the next one follows in `next_s` seconds. Raises JudgeOut."""
        if answer.reason != self._found.reason:  # otherwise the first detail is more informative
            self._found = answer
        if self.left_s() == 0.0:
            self.give_up()
        await self._say(next_s=self.bounded(next_s))

    async def tell_of_question(self) -> None:
        """Tells the user that a probe is unanswered after `SOON_S`."""
        await self._say()

    async def end(self) -> None:
        """Tells the user that the run continues."""
        if self.is_told:
            await self._say(is_over=True)

    def give_up(self) -> NoReturn:
        """Raises JudgeOut."""
        waited_s = _now_s() - self._began_s
        raise JudgeOut(
            f"the judge could not be asked for {waited_s:,.0f} s"
            f" ({self._found.reason}: {self._found.detail}); the rows judged so far are kept"
        )

    async def _say(self, *, next_s: float = 0.0, is_over: bool = False) -> None:
        self.is_told = True
        await self._tell(
            Wait(
                reason=self.reason,
                detail=self._found.detail,
                waited_s=_now_s() - self._began_s,
                next_s=next_s,
                is_over=is_over,
            )
        )


def _was_asked(reward: Reward) -> bool:
    """Whether the reward comes from a judge call, and not from a cache or a program."""
    return reward.model != "" and not reward.cached


def _longest(found: Reward) -> float:
    return LONGEST_DAY_WAIT_S if found.reason == "quota_exhausted" else LONGEST_WAIT_S


def _now_s() -> float:
    return asyncio.get_running_loop().time()
