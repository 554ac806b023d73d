"""Outages of the judge during one run: the run waits until they are over, and no row is lost to them.

A reward that has no score because the judge could not be asked is no result of the row. The row is kept
and judged again.

    asking    Rows go to the judge. When `ROWS_IN_A_ROW` rows (or all there are) failed, and none was
              answered between them, the run waits.
    waiting   No row goes. A question of our own is asked at once, and again after 1, 2, 4 ... 60 s (up to
              15 min while the day's quota is gone). The first answer, to it or to a row that was still on
              its way, ends the wait; then the rows that failed go first.

A row may fail by its own fault, such as one at which the judge breaks down each time. So failures are
counted: the first, and each one since whose predecessor something was begun and answered. A row with
`MAX_FAILURES` of them has a result: its last reason. Where there is no other row, the question of our own
is what is answered. What was on its way when the row failed says nothing of the time after.

    Three rows are left, and the judge answers A with an error each time. A fails (1). B and C, begun before
    that, are answered. A fails alone (still 1): our question is asked and answered. A fails (2), our
    question is answered, A fails (3): its result is `unavailable`.

A quota that is used up is never a row's fault. A refusal (`denied`) is the row's own at the second failure
that counts. Where others are not answered any more, it is the judge's (credentials that have expired);
where none ever was, a setting is wrong, which no wait mends, and the rows have their result.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf

from judge_service.errors import JudgeOut
from judge_service.flow import Handler, Request
from judge_service.values import Message, Reward, Sample, Wait

PASSING = frozenset({"unavailable", "throttled", "quota_exhausted"})
"""Reasons that say how the judge and its quota are. Waiting helps."""

ROWS_IN_A_ROW = 3
MAX_FAILURES = 3
MAX_REFUSALS = 2
"""A refusal says more than a failure: the judge has read the row."""

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
"""Between two questions. How long a run goes on waiting when the judge is back, at most."""

LONGEST_DAY_WAIT_S = 900.0
"""The same while the day's quota is gone; as long as the breaker asks nobody (`breaker.DAY_OPEN_S`)."""

QUESTION = Sample(
    id="is the judge back",
    messages=(Message("user", "What is two plus two?"),),
    response="Two plus two is four.",
    reference="Four.",
)
"""What is asked while a run waits. Of rows, one could be the cause, and each would cost more."""

Ask = Callable[[], Awaitable[Reward]]


Tell = Callable[[Wait], Awaitable[None]]


class Outage:
    """A layer around the grader of one run. Rows without a deadline only: it retries without end.

    ask: asks the judge `QUESTION`, past every cache.
    tell: is told when the run waits, after each question in vain, and when the run goes on.
    max_wait_s: of one wait, seconds.

    Raises JudgeOut after that time; what `tell` raises.
    """

    def __init__(self, *, ask: Ask, tell: Tell, max_wait_s: float = inf) -> None:
        self._ask = ask
        self._tell = tell
        self._max_wait_s = max_wait_s
        self._going = asyncio.Event()
        self._going.set()
        self._question: asyncio.Task[Reward] | None = None
        self._is_led = False
        self._at_work = self._failed_in_row = 0
        self._begun = self._newest_answer = 0

    def __repr__(self) -> str:
        return (
            f"<Outage of {self._at_work} rows, {'asking' if self._going.is_set() else 'waiting'}>"
        )

    async def __call__(
        self, request: Request[Sample], call_next: Handler[Sample, Reward]
    ) -> Reward:
        self._at_work += 1
        try:
            return await self._until_judged(request, call_next)
        finally:
            self._at_work -= 1

    async def _until_judged(
        self, request: Request[Sample], call_next: Handler[Sample, Reward]
    ) -> Reward:
        failures = failed_at = 0
        while True:
            await self._going.wait()
            begun = self._begin()
            reward = await call_next(request)
            if not self._is_blocked(reward):
                if _was_asked(reward):
                    self._note_answer(begun)
                return reward
            if reward.reason != "quota_exhausted":
                failures += failures == 0 or self._newest_answer > failed_at
            failed_at = self._begun
            if failures >= (MAX_REFUSALS if reward.reason == "denied" else MAX_FAILURES):
                return reward
            await self._note_failure(reward)

    def _begin(self) -> int:
        """The number of an attempt that begins."""
        self._begun += 1
        return self._begun

    def _is_blocked(self, reward: Reward) -> bool:
        """Whether the judge could not be asked. `denied` may be: from the first answer on."""
        return reward.reason in PASSING or (reward.reason == "denied" and self._newest_answer > 0)

    def _note_answer(self, begun: int) -> None:
        self._newest_answer = max(self._newest_answer, begun)
        self._failed_in_row = 0
        self._going.set()
        if self._question is not None:
            self._question.cancel()

    async def _note_failure(self, reward: Reward) -> None:
        self._failed_in_row += 1
        if self._failed_in_row >= min(ROWS_IN_A_ROW, self._at_work):
            self._going.clear()
            if not self._is_led:
                await self._lead(reward)

    async def _lead(self, found: Reward) -> None:
        """Waits for all rows of the run. One at a time does: the row that noticed."""
        loop = asyncio.get_running_loop()
        began, wait_s, is_told = loop.time(), FIRST_WAIT_S, False
        self._is_led = True
        try:
            while not self._going.is_set():
                begun = self._begin()
                answer = await self._put_question()
                if answer is None:
                    continue
                if not self._is_blocked(answer):
                    self._note_answer(begun)
                    continue
                if answer.reason != found.reason:  # otherwise the first sentence says more
                    found = answer
                left_s = began + self._max_wait_s - loop.time()
                if left_s <= 0:
                    raise JudgeOut(_too_long(found, loop.time() - began))
                next_s = min(wait_s, left_s)
                is_told = True
                await self._tell(_wait(found, loop.time() - began, next_s))
                with suppress(TimeoutError):
                    async with asyncio.timeout(next_s):
                        await self._going.wait()
                wait_s = min(2 * wait_s, _longest(found))
        finally:
            self._is_led = False
        if is_told:
            await self._tell(_wait(found, loop.time() - began, is_over=True))

    async def _put_question(self) -> Reward | None:
        """What came of our question; `None` when a row was answered before it."""
        question = self._question = asyncio.ensure_future(self._ask())
        try:
            await asyncio.wait([question])
        finally:
            self._question = None
            question.cancel()
            await asyncio.gather(question, return_exceptions=True)
        return None if question.cancelled() else question.result()


def _was_asked(reward: Reward) -> bool:
    """Whether it is the judge's answer, and not a cache's or a program's."""
    return reward.model != "" and not reward.cached


def _longest(found: Reward) -> float:
    return LONGEST_DAY_WAIT_S if found.reason == "quota_exhausted" else LONGEST_WAIT_S


def _wait(found: Reward, waited_s: float, next_s: float = 0.0, *, is_over: bool = False) -> Wait:
    return Wait(
        reason=found.reason or "unavailable",
        detail=found.detail,
        waited_s=waited_s,
        next_s=next_s,
        is_over=is_over,
    )


def _too_long(found: Reward, waited_s: float) -> str:
    return (
        f"the judge could not be asked for {waited_s:,.0f} s ({found.reason}: {found.detail});"
        " what was judged so far is kept"
    )
