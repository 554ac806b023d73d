"""Turns the outcome of a judge call into the reward that a trainer gets."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from judge_service.errors import CallError
from judge_service.flow import stray
from judge_service.grading.aggregate import aggregate
from judge_service.grading.prompting.parse import Unparseable
from judge_service.grading.rubric.rubric import Rubric
from judge_service.values import NO_USAGE, Completion, Part, Reward, Usage, Verdict

MAX_DETAIL_CHARS = 600
"""Limit of a reward's detail; enough for a sentence with two ARNs."""


class Spent(Struct):
    """The cost of one sample so far. It is kept when a later call fails."""

    usage: Usage = NO_USAGE
    model: str = ""
    cached: bool = False
    channel: str = ""

    def add(self, completion: Completion, channel: str = "") -> None:
        """Adds the cost of an answer. channel: the form in which it was asked for."""
        # A cached completion carries the usage of the call that made it, which is paid for already.
        if not completion.cached:
            usage = completion.usage
            self.usage = usage if self.usage is NO_USAGE else self.usage + usage
        self.cached = completion.cached
        self.model = completion.model
        self.channel = channel_of(completion, channel)


def channel_of(completion: Completion, channel: str) -> str:
    """The form in which a judge answered, with the changes to the request that it needed."""
    return f"{channel}; {completion.asked}" if completion.asked else channel


class Rewards:
    """Makes the rewards of one rubric.

    price: US dollars for a usage, `None` when the price is not known.
    """

    def __init__(self, rubric: Rubric, price: Callable[[Usage], float | None]) -> None:
        self._rubric = rubric
        self._price = price

    def __repr__(self) -> str:
        return f"<Rewards of {self._rubric.name}>"

    def of(self, outcome: Verdict | Unparseable | CallError, spent: Spent) -> Reward:
        """The reward of a sample after a judge call."""
        if isinstance(outcome, Verdict):
            return self._judged(spent, outcome)
        if isinstance(outcome, Unparseable):
            return self.failed(spent, outcome.reason, outcome.detail)
        return self.failed(spent, outcome.reason, printable(str(outcome)))

    def failed(self, spent: Spent, reason: str, detail: str) -> Reward:
        """The reward of a sample without a score."""
        return Reward(
            score=None,
            reason=reason,
            detail=detail,
            parts=self._parts(None, reason),
            usage=spent.usage,
            cost_usd=self._price(spent.usage),
            model=spent.model,
            cached=spent.cached,
            channel=spent.channel,
        )

    def broken(self, spent: Spent, error: Exception) -> Reward:
        """The reward of a sample for which the grader itself, or the price function, raised an error."""
        return Reward(
            score=None,
            reason="grader_error",
            detail=printable(f"{type(error).__name__}: {error}"),
            parts=self._parts(None, "grader_error"),
            usage=spent.usage,
        )

    def empty(self) -> Reward:
        """The reward of an empty response: it is a bad response, so it scores 0 and is not unscored."""
        return Reward(score=0.0, detail="empty answer", parts=self._parts(0.0, None))

    def _judged(self, spent: Spent, verdict: Verdict) -> Reward:
        score, parts = aggregate(verdict, self._rubric)
        missing = [part for part in parts if part.score is None] if score is None else ()
        return Reward(
            score=score,
            reason=missing[0].reason if missing else None,
            detail=_cannot_judge(missing) if missing else "",
            parts=parts,
            usage=spent.usage,
            cost_usd=self._price(spent.usage),
            model=spent.model,
            cached=spent.cached,
            explanation=verdict.explanation,
            channel=spent.channel,
        )

    def _parts(self, score: float | None, reason: str | None) -> tuple[Part, ...]:
        return tuple(
            Part(criterion.name, score, criterion.weight, reason, kind=criterion.kind)
            for criterion in self._rubric.criteria
        )


def _cannot_judge(parts: Sequence[Part]) -> str:
    return f"this judge cannot judge {', '.join([part.name for part in parts])}"


def given_up(problem: BaseException, rubric: Rubric) -> Reward:
    """The reward of a sample whose grading ended with a stray cancellation (see `flow.stray`).

    Raises the cancellation again if the running task was cancelled.
    """
    broken = stray(problem)
    if broken is None:
        raise problem
    return Rewards(rubric, lambda _usage: None).of(broken, Spent())


def printable(text: str) -> str:
    """The first characters of `text`, without control characters, for log lines."""
    return "".join(char if char.isprintable() else " " for char in text[:MAX_DETAIL_CHARS])
