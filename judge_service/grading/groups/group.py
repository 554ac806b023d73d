"""Collects responses to one prompt as they arrive, and has the judge compare them."""

import asyncio
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from statistics import fmean

from msgspec import Struct

from judge_service.flow import Handler, Request
from judge_service.grading.grader import Grader
from judge_service.grading.groups.rank import MAX_RESPONSES, Ranker, Verdicts
from judge_service.grading.rewards import Spent
from judge_service.grading.rubric.rubric import Rubric
from judge_service.values import Reward, Sample, Verdict

QUIET_S = 0.05
"""A group is complete when no sample has joined it for this time, seconds. In a large batch its members may
be thousands of samples apart, 0.1 ms each; compared with a judge call it is short."""


class GroupGraderStatistics(Struct, frozen=True, kw_only=True):
    """Counts since the start.

    groups: groups sent to the ranker; compared: samples in them. alone: samples scored without a group.
    waiting: samples in groups now, which are open or being ranked.
    """

    groups: int
    compared: int
    alone: int
    waiting: int


class _Group:
    """Samples that are compared with each other, with a future for the reward of each."""

    __slots__ = ("deadline", "members", "task", "timer")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.members: dict[asyncio.Future[Reward], Request[Sample]] = {}
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None

    def land(self, task: asyncio.Task[None]) -> None:
        """Wakes callers without a reward: the comparison itself failed or was cancelled."""
        error = None if task.cancelled() else task.exception()
        for waiter in self.members:
            if not waiter.done():
                waiter.cancel() if error is None else waiter.set_exception(error)


class GroupGrader:
    """A grader that compares responses to one prompt. `await grader(request)` never fails.

    Samples with the same group key, lane, job, prompt and reference form a group. It is ranked when no sample
    has joined it for `quiet_s`, or when it is full. A group has the deadline of its first sample. A sample
    with an earlier deadline closes the group and opens another.

    A sample is scored alone if it has no group key, is the only one of its group, needs no judge, or has
    time left after its group's deadline has passed.

    grader: its prompt writer and its rules are used. ranker: compares, with `relative` scores.
    alone: scores one sample.
    """

    def __init__(
        self,
        grader: Grader,
        *,
        ranker: Ranker,
        alone: Handler[Sample, Reward],
        quiet_s: float = QUIET_S,
    ) -> None:
        self._grader = grader
        self._ranker = ranker
        self._alone = alone
        self._quiet_s = quiet_s
        self._open: dict[Hashable, _Group] = {}
        self._counts: Counter[str] = Counter()
        self._waiting = 0

    def __repr__(self) -> str:
        return (
            f"<GroupGrader of 2 to {MAX_RESPONSES} within {self._quiet_s * 1000:g} ms side by side,"
            f" else {self._alone!r}>"
        )

    def statistics(self) -> GroupGraderStatistics:
        """A copy of the counts."""
        counts = self._counts
        return GroupGraderStatistics(
            groups=counts["groups"],
            compared=counts["compared"],
            alone=counts["alone"],
            waiting=self._waiting,
        )

    async def __call__(self, request: Request[Sample]) -> Reward:
        """The reward of one sample. Raises nothing but `asyncio.CancelledError`."""
        key = self._key(request)
        if key is None:
            self._counts["alone"] += 1
            return await self._alone(request)
        group, waiter = self._join(key, request)
        self._waiting += 1
        try:
            reward = await waiter
        except asyncio.CancelledError:
            await self._leave(key, group, waiter)
            raise
        except Exception as error:  # noqa: BLE001 - a row must get its answer whatever breaks
            return self._grader.rewards.broken(Spent(), error)
        finally:
            self._waiting -= 1
        if reward.reason == "deadline" and request.deadline > group.deadline:
            self._counts["alone"] += 1
            return await self._alone(request)
        return reward

    def _key(self, request: Request[Sample]) -> Hashable | None:
        """Equal for members of one group; `None` for a sample that is scored alone."""
        sample = request.body
        try:
            question = self._grader.writer.question(sample)
            needless = self._grader.without_judge(sample, question, Spent())
        except Exception:  # noqa: BLE001 - the grader fails too, and turns the error into a reward
            return None
        if not sample.group_key or needless is not None:
            return None
        return request.lane, request.job, sample.group_key, question.task, question.reference

    def _join(
        self, key: Hashable, request: Request[Sample]
    ) -> tuple[_Group, asyncio.Future[Reward]]:
        loop = asyncio.get_running_loop()
        group = self._open.get(key)
        if group is not None and request.deadline < group.deadline:
            self._send(key, group)
            group = None
        if group is None:
            group = self._open[key] = _Group(request.deadline)
        waiter: asyncio.Future[Reward] = loop.create_future()
        group.members[waiter] = request
        if group.timer is not None:
            group.timer.cancel()
        group.timer = loop.call_later(self._quiet_s, self._send, key, group)
        if len(group.members) == MAX_RESPONSES:
            self._send(key, group)
        return group, waiter

    def _send(self, key: Hashable, group: _Group) -> None:
        self._close(key, group)
        group.task = asyncio.get_running_loop().create_task(self._compare(group))
        group.task.add_done_callback(group.land)

    def _close(self, key: Hashable, group: _Group) -> None:
        """Closes the group: no further sample joins it."""
        if group.timer is not None:
            group.timer.cancel()
        if self._open.get(key) is group:
            del self._open[key]

    async def _leave(self, key: Hashable, group: _Group, waiter: asyncio.Future[Reward]) -> None:
        """Removes a sample whose caller has gone. Cancels the comparison if no caller is left."""
        group.members.pop(waiter, None)
        if group.members:
            return
        self._close(key, group)
        if group.task is not None and not group.task.done():
            group.task.cancel()
            await asyncio.wait((group.task,))

    async def _compare(self, group: _Group) -> None:
        members = dict(group.members)
        requests = list(members.values())
        if len(requests) == 1:
            self._counts["alone"] += 1
            rewards: Sequence[Reward] = [await self._alone(requests[0])]
        else:
            self._counts["groups"] += 1
            self._counts["compared"] += len(requests)
            rewards = (await self._ranker(_together(requests, group.deadline))).rewards
        for waiter, reward in zip(members, rewards, strict=True):
            if not waiter.done():
                waiter.set_result(reward)


def _together(requests: Sequence[Request[Sample]], deadline: float) -> Request[Sequence[Sample]]:
    first = requests[0]
    samples = tuple(request.body for request in requests)
    return Request(samples, deadline, first.lane, first.job)


def relative(whole: Sequence[Verdicts], owner: bytes, rubric: Rubric) -> Verdict:
    """A response's score per criterion: the mean of the judge's score and the share of others that it beats.

    For example, the judge scores four responses 0.8, 0.7, 0.7 and 0.6. The second beats one of three others
    and ties with one, so its share is (1 + 0.5) / 3 = 0.5, and its score is (0.7 + 0.5) / 2 = 0.6.

    Judges give similar numbers to all responses, but their order is reliable. The judge's number keeps the
    scores of a group of bad responses low. A criterion with a gate uses the judge's number only, because
    whether a response is dangerous does not depend on the others of its group.
    """
    scores = {}
    for criterion in rubric.criteria:
        rows = [_column(verdicts, criterion.name) for verdicts in whole]
        mean = fmean(row[owner] for row in rows)
        if criterion.gate is None:
            mean = (mean + fmean(_share_below(row, owner) for row in rows)) / 2
        scores[criterion.name] = mean
    return Verdict(scores, {})


def _column(verdicts: Verdicts, name: str) -> Mapping[bytes, float]:
    return {owner: verdict.scores[name] for owner, verdict in verdicts.items()}


def _share_below(scores: Mapping[bytes, float], owner: bytes) -> float:
    """Share of the other responses that scored less; an equal score counts half."""
    own = scores[owner]
    others = [score for other, score in scores.items() if other != owner]
    return fmean((own > score) + (own == score) / 2 for score in others)
