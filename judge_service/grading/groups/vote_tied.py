"""A vote that asks for more opinions only if all rewards of a group are equal."""

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
    """A response of a group. turn: set while it has its opinion and waits for those of the others."""

    __slots__ = ("response", "score", "turn")

    def __init__(self, response: bytes) -> None:
        self.response = response
        self.score = 0.0
        self.turn: Turn[bool] | None = None


class _Group:
    """Responses to one prompt. When all of them have an opinion, all learn whether the group ties."""

    __slots__ = ("_is_complete", "members", "opened_at", "timer")

    def __init__(self) -> None:
        self._is_complete = False
        self.opened_at = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.members: set[_Member] = set()

    def complete(self) -> None:
        """Closes the group: no more responses join."""
        self._is_complete = True
        self._tell()

    def leave(self, member: _Member) -> None:
        """Removes a response that is finished or cancelled; the others no longer wait for it."""
        self.members.discard(member)
        self._tell()

    async def is_tied(self, member: _Member, score: float) -> bool:
        """Waits for the others. Returns whether all rewards are equal although the responses differ."""
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
    """Gets one opinion on each response, and one more on each while their group ties, up to `draws`.

    The responses that `sibling_of` puts into one group and that arrive together are a group. It ties if
    two or more different responses have scores and all scores are equal. Then the judge is asked once more
    about each response, and each reward is the mean or the median of the response's opinions so far, until
    the scores differ. All responses of a group therefore have the same number of opinions. A response
    without a score, or whose deadline has passed, does not take part. A later opinion without a score is
    left out. A response without a group has one opinion.

    Worked example: `draws` is 3 and two responses both get 0.8. A second opinion gives 0.8 and 0.6, so the
    rewards are 0.8 and 0.7. They differ, and no third opinion is requested.

    grader: gives an opinion. asker: has the rubric, and defines the groups (`sibling_of`).
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
    """Does nothing: a cancelled call leaves the group by itself."""


def _ignore(_tied: bool) -> None:  # noqa: FBT001 - the form that `Turn.wait` calls
    """Does nothing: the value of a turn need not be returned."""
