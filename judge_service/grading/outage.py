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
from typing import NoReturn

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

SOON_S = 5.0
"""A question that is not answered by then is told of: most are, and end a wait that nobody need hear of."""

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
    tell: is told when the run waits, as often as that changes, and when the run goes on.
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
        pause, wait_s = _Pause(found, self._tell, self._max_wait_s), FIRST_WAIT_S
        self._is_led = True
        try:
            while not self._going.is_set():
                begun = self._begin()
                answer = await self._put_question(pause)
                if answer is None:
                    continue
                if not self._is_blocked(answer):
                    self._note_answer(begun)
                    continue
                await pause.note(answer, wait_s)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause.bounded(wait_s)):
                        await self._going.wait()
                wait_s = min(2 * wait_s, _longest(answer))
        finally:
            self._is_led = False
        await pause.end()

    async def _put_question(self, pause: "_Pause") -> Reward | None:
        """What came of our question; `None` when a row was answered before it."""
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
    """One wait: since when, why, and who is told. found: the reward that began it."""

    def __init__(self, found: Reward, tell: Tell, max_wait_s: float) -> None:
        self._found = found
        self._tell = tell
        self._max_wait_s = max_wait_s
        self._began_s = _now_s()
        self._is_told = False

    def left_s(self) -> float | None:
        """Until the run gives up, seconds; `None` for never."""
        left_s = self._began_s + self._max_wait_s - _now_s()
        return None if left_s == inf else max(0.0, left_s)

    def bounded(self, wait_s: float) -> float:
        """So long, or until the run gives up."""
        left_s = self.left_s()
        return wait_s if left_s is None else min(wait_s, left_s)

    async def note(self, answer: Reward, next_s: float) -> None:
        """Our question was asked in vain, and is asked again in `next_s` seconds. Raises JudgeOut."""
        if answer.reason != self._found.reason:  # otherwise the first sentence says more
            self._found = answer
        if self.left_s() == 0.0:
            self.give_up()
        await self._say(next_s=self.bounded(next_s))

    async def tell_of_question(self) -> None:
        """Our question is on its way, and no answer came soon."""
        await self._say()

    async def end(self) -> None:
        """The run goes on."""
        if self._is_told:
            await self._say(is_over=True)

    def give_up(self) -> NoReturn:
        """Raises JudgeOut."""
        waited_s = _now_s() - self._began_s
        raise JudgeOut(
            f"the judge could not be asked for {waited_s:,.0f} s"
            f" ({self._found.reason}: {self._found.detail}); what was judged so far is kept"
        )

    async def _say(self, *, next_s: float = 0.0, is_over: bool = False) -> None:
        self._is_told = True
        await self._tell(
            Wait(
                reason=self._found.reason or "unavailable",
                detail=self._found.detail,
                waited_s=_now_s() - self._began_s,
                next_s=next_s,
                is_over=is_over,
            )
        )


def _was_asked(reward: Reward) -> bool:
    """Whether it is the judge's answer, and not a cache's or a program's."""
    return reward.model != "" and not reward.cached


def _longest(found: Reward) -> float:
    return LONGEST_DAY_WAIT_S if found.reason == "quota_exhausted" else LONGEST_WAIT_S


def _now_s() -> float:
    return asyncio.get_running_loop().time()
