"""More opinions on the responses of a group, only where their rewards are all alike."""

import asyncio
from math import inf

from judge_service.flow import Request
from judge_service.grading.grader import Grader
from judge_service.grading.groups.gather import QUIET_S, OpenGroups, sibling_of
from judge_service.grading.groups.spread import ROUNDING
from judge_service.grading.groups.vote import Ballots, Opinionated, Reduce, VoteStatistics
from judge_service.parking import Turn
from judge_service.values import Reward, Sample


class _Member:
    """A response of a group. turn: it has its opinion and waits for the others; `None` while it is asked."""

    __slots__ = ("response", "score", "turn")

    def __init__(self, response: bytes) -> None:
        self.response = response
        self.score = 0.0
        self.turn: Turn[bool] | None = None


class _Group:
    """Siblings that hear at one moment, when all of them have an opinion, whether they tie."""

    __slots__ = ("_is_complete", "members", "opened_at", "timer")

    def __init__(self) -> None:
        self._is_complete = False
        self.opened_at = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.members: set[_Member] = set()

    def complete(self) -> None:
        """Nobody else joins."""
        self._is_complete = True
        self._tell()

    def leave(self, member: _Member) -> None:
        """One is done, or has gone; nobody waits for it any more."""
        self.members.discard(member)
        self._tell()

    async def is_tied(self, member: _Member, score: float) -> bool:
        """Waits for the others, then whether all are rewarded alike though they differ."""
        member.score = score
        turn: Turn[bool] = Turn()
        member.turn = turn
        self._tell()
        return await turn.wait(leave=_nothing, give_back=_ignore)

    def _tell(self) -> None:
        turns = [member.turn for member in self.members if member.turn is not None]
        if not self._is_complete or len(turns) < len(self.members):
            return
        scores = [member.score for member in self.members]
        differ = len({member.response for member in self.members}) > 1
        tied = differ and max(scores) - min(scores) <= ROUNDING
        for member in self.members:
            member.turn = None
        for turn in turns:
            turn.give(tied)


class TiedVote:
    """Asks for one opinion, and for another one on each response of a group that ties, up to `draws`.

    A group is what `sibling_of` says and what arrives together; it ties when two or more different
    responses have scores and all scores are equal. Then each of its responses is asked about once more,
    and its reward is the mean or the median of its opinions so far, until the group ties no more. So all
    responses of a group have the same number of opinions. A response without a score, or whose time is
    over, takes no part. A later opinion without a score is left out.

    Whoever has no sibling has one opinion.

    grader: gives an opinion. asker: lends its rubric and says who are siblings.
    draws, reduce, temperature: see `Ballots`.

    Raises SettingsError if the temperature is 0.
    """

    def __init__(
        self,
        grader: Opinionated,
        *,
        asker: Grader,
        draws: int,
        reduce: Reduce,
        temperature: float | None,
        quiet_s: float = QUIET_S,
    ) -> None:
        self._ballots = Ballots(
            rubric=asker.rubric, draws=draws, reduce=reduce, temperature=temperature
        )
        self._grader = grader
        self._asker = asker
        self._draws = draws
        self._open = OpenGroups(_Group, _Group.complete, quiet_s)

    def __repr__(self) -> str:
        return f"<TiedVote {self._ballots!r} where a group ties, else 1>"

    def statistics(self) -> VoteStatistics:
        """A copy of the counts."""
        return self._ballots.statistics()

    async def __call__(self, request: Request[Sample]) -> Reward:
        """The reward of one sample. Raises what the grader raises."""
        sibling = sibling_of(self._asker, request)
        if sibling is None:
            return self._combined([await self._draw(request, 0)])
        group = self._open.join(sibling.group)
        member = _Member(sibling.response)
        group.members.add(member)
        try:
            opinions = [await self._draw(request, 0)]
            while len(opinions) < self._draws and await self._is_tied(
                group, member, opinions, request.deadline
            ):
                opinions.append(await self._draw(request, len(opinions)))
        finally:
            group.leave(member)
        return self._combined(opinions)

    async def _draw(self, request: Request[Sample], number: int) -> Reward:
        return await self._grader(request, draw=number, draws=self._draws)

    async def _is_tied(
        self, group: _Group, member: _Member, opinions: list[Reward], deadline: float
    ) -> bool:
        score = self._ballots.combined(opinions).score
        if score is None:
            return False
        try:
            async with asyncio.timeout_at(deadline if deadline < inf else None):
                return await group.is_tied(member, score)
        except TimeoutError:
            return False

    def _combined(self, opinions: list[Reward]) -> Reward:
        self._ballots.count(opinions)
        return opinions[0] if len(opinions) == 1 else self._ballots.combined(opinions)


def _nothing() -> None:
    """Whoever is cancelled leaves the group itself."""


def _ignore(_tied: bool) -> None:  # noqa: FBT001 - the form that `Turn.wait` calls
    """There is nothing to give back."""
