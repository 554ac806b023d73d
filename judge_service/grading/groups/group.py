"""Collects responses to one prompt as they arrive, and has the judge compare them."""

import asyncio
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise
from math import inf
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from judge_service.flow import Handler, Request
from judge_service.grading.grader import Grader
from judge_service.grading.groups.gather import QUIET_S, OpenGroups, sibling_of
from judge_service.grading.groups.pack import ALONE_AFTER, divide
from judge_service.grading.groups.rank import MAX_RESPONSES, Ranker
from judge_service.grading.rewards import Spent
from judge_service.values import Reward, Sample

T = TypeVar("T")


class GroupGraderStatistics(Struct, frozen=True, kw_only=True):
    """Counts since the start.

    groups: groups of two or more different responses; compared: samples in them.
    split: groups that were judged in several parts. alone: samples scored without a group.
    waiting: samples in groups now, which are open or being compared.
    """

    groups: int
    compared: int
    split: int
    alone: int
    waiting: int


class _Group:
    """Samples that are compared with each other, with a future for the reward of each."""

    __slots__ = ("deadline", "members", "opened_at", "task", "timer")

    def __init__(self) -> None:
        self.deadline = inf
        self.opened_at = 0.0
        self.members: dict[asyncio.Future[Reward], tuple[bytes, Request[Sample]]] = {}
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

    Responses to one prompt (`sibling_of`) that arrive together form a group. Equal responses count as one.
    More than `MAX_RESPONSES` different responses are judged in parts of equal size, and the `detail` of their
    rewards says so; a part that is too long for the judge is halved. A sample without a group is scored
    alone.

    All rewards are on the rubric's scale: the mean of the judge's scores in both orders. The reward of a
    response therefore does not depend on the number of others, or on when they arrive (docs/decisions/0020).

    A group has the deadline of its first sample. A sample with an earlier deadline closes the group and opens
    another. A sample that has time left after its group's deadline has passed is scored alone.

    grader: its prompt writer and its rules are used. ranker: compares. alone: scores one sample.
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
        self._open = OpenGroups(_Group, self._send, quiet_s)
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
            split=counts["split"],
            alone=counts["alone"],
            waiting=self._waiting,
        )

    async def __call__(self, request: Request[Sample]) -> Reward:
        """The reward of one sample. Raises nothing but `asyncio.CancelledError`."""
        sibling = sibling_of(self._grader, request)
        if sibling is None:
            self._counts["alone"] += 1
            return await self._alone(request)
        group = self._join(sibling.group, request)
        waiter: asyncio.Future[Reward] = asyncio.get_running_loop().create_future()
        group.members[waiter] = (sibling.response, request)
        self._waiting += 1
        try:
            reward = await waiter
        except asyncio.CancelledError:
            await self._leave(sibling.group, group, waiter)
            raise
        except Exception as error:  # noqa: BLE001 - a row must get its answer whatever breaks
            return self._grader.rewards.broken(Spent(), error)
        finally:
            self._waiting -= 1
        if reward.reason == "deadline" and request.deadline > group.deadline:
            self._counts["alone"] += 1
            return await self._alone(request)
        return reward

    def _join(self, key: Hashable, request: Request[Sample]) -> _Group:
        group = self._open.find(key)
        if group is not None and request.deadline < group.deadline:
            self._open.complete(key, group)
            group = None
        joined = self._open.join(key)
        if group is None:
            joined.deadline = request.deadline
        return joined

    def _send(self, group: _Group) -> None:
        group.task = asyncio.get_running_loop().create_task(self._judge(group))
        group.task.add_done_callback(group.land)

    async def _leave(self, key: Hashable, group: _Group, waiter: asyncio.Future[Reward]) -> None:
        """Removes a sample whose caller has gone. Cancels the comparison if no caller is left."""
        group.members.pop(waiter, None)
        if group.members:
            return
        self._open.forget(key, group)
        if group.task is not None and not group.task.done():
            group.task.cancel()
            await asyncio.wait((group.task,))

    async def _judge(self, group: _Group) -> None:
        """Judges the different responses of a group, and gives each sample the reward of its response."""
        copies: dict[bytes, list[asyncio.Future[Reward]]] = {}
        requests: dict[bytes, Request[Sample]] = {}
        for waiter, (response, request) in group.members.items():
            copies.setdefault(response, []).append(waiter)
            requests.setdefault(response, request)
        order = sorted(requests)  # so that parts do not depend on the order of arrival
        rewards = await self._judge_all([requests[response] for response in order], group.deadline)
        for response, reward in zip(order, rewards, strict=True):
            waiters = copies[response]
            for waiter, share in zip(waiters, _shared(reward, len(waiters)), strict=True):
                if not waiter.done():
                    waiter.set_result(share)

    async def _judge_all(
        self, requests: Sequence[Request[Sample]], deadline: float
    ) -> list[Reward]:
        """A reward for each request; no two of their responses are equal."""
        if len(requests) > 1:
            self._counts["groups"] += 1
            self._counts["compared"] += len(requests)
        found = await self._judge_parts(divided(requests, MAX_RESPONSES), deadline)
        if len(found) == 1:
            return found[0]
        self._counts["split"] += 1
        note = _note([len(part) for part in found])
        return [
            reward if reward.detail else replace(reward, detail=note)
            for part in found
            for reward in part
        ]

    async def _judge_parts(
        self, parts: Sequence[Sequence[Request[Sample]]], deadline: float
    ) -> list[list[Reward]]:
        """The rewards of each part, in order; a part that is too long becomes several."""
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(self._judge_part(part, deadline)) for part in parts]
        return [part for task in asked for part in task.result()]

    async def _judge_part(
        self, requests: Sequence[Request[Sample]], deadline: float
    ) -> list[list[Reward]]:
        if len(requests) == 1:
            self._counts["alone"] += 1
            return [[await self._alone(requests[0])]]
        rewards = list((await self._ranker(_together(requests, deadline))).rewards)
        reasons = {reward.reason for reward in rewards}
        if not reasons <= ALONE_AFTER:
            return [rewards]
        # halves may be short enough; a denied call may be denied because of one text
        most = 1 if "denied" in reasons else -(-len(requests) // 2)
        parts = await self._judge_parts(divided(requests, most), deadline)
        parts[0][0] = _charged(parts[0][0], rewards)
        return parts


def divided(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """Divides items into as few parts as possible, of at most `most` items and of nearly equal size.

    Worked example: 17 items in parts of at most 16 become 9 and 8, so that no item is alone.
    """
    count = -(-len(items) // most)
    bounds = [-(-len(items) * number // count) for number in range(count + 1)]
    return [items[start:end] for start, end in pairwise(bounds)]


def _note(sizes: Sequence[int]) -> str:
    total, parts = sum(sizes), ", ".join(map(str, sizes))
    return f"{total} responses to this prompt were judged in {len(sizes)} parts, of {parts}"


def _charged(reward: Reward, failed: Sequence[Reward]) -> Reward:
    """Adds the usage and the cost of failed calls to a reward."""
    costs = [one.cost_usd for one in (reward, *failed)]
    return replace(
        reward,
        usage=sum((one.usage for one in failed), reward.usage),
        cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
    )


def _shared(reward: Reward, count: int) -> list[Reward]:
    """The reward for each of `count` equal responses; its cost is divided among them."""
    if count == 1:
        return [reward]
    cost_usd = None if reward.cost_usd is None else reward.cost_usd / count
    return [
        replace(reward, usage=usage, cost_usd=cost_usd) for usage in divide(reward.usage, count)
    ]


def _together(requests: Sequence[Request[Sample]], deadline: float) -> Request[Sequence[Sample]]:
    first = requests[0]
    samples = tuple(request.body for request in requests)
    return Request(samples, deadline, first.lane, first.job)
