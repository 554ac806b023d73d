"""Has the judge compare several responses to one prompt, in two opposite orders."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from statistics import fmean
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from judge_service.errors import CallError, WireError
from judge_service.flow import Handler, Request
from judge_service.grading.aggregate import aggregate
from judge_service.grading.grader import REASKED, TRUNCATED_GROWTH, Grader
from judge_service.grading.groups.pack import divide
from judge_service.grading.groups.pack_parse import parse_pack
from judge_service.grading.groups.pack_prompt import PackedPrompt
from judge_service.grading.groups.rank_prompt import RankWriter
from judge_service.grading.prompting.explanation import of_orders
from judge_service.grading.prompting.fence import name_texts
from judge_service.grading.prompting.parse import STOPPED, Unparseable
from judge_service.grading.prompting.prompt import count_chars, digest_question
from judge_service.grading.rewards import Spent, printable
from judge_service.grading.rubric.rubric import Rubric
from judge_service.values import (
    NO_USAGE,
    Completion,
    Question,
    Ranking,
    Reward,
    Sample,
    Verdict,
)

MIN_RESPONSES, MAX_RESPONSES = 2, 16
"""Bounds of a group: one response cannot be compared, and judges compare more than 16 badly. Usual groups
have 4 to 16."""

Verdicts = Mapping[bytes, Verdict]
"""Verdicts by the digest of the question; equal responses have the same digest."""


class RankerStatistics(Struct, frozen=True, kw_only=True):
    """Counts since the ranker was made.

    ranked: groups with ranks; `alone` of them were not compared by the judge.
    reasked: calls repeated after an unusable answer. unusable: orders without a complete verdict.
    """

    ranked: int
    alone: int
    reasked: int
    unusable: int


class _Order(Struct):
    """The outcome of one order of the responses."""

    spent: Spent
    verdicts: Verdicts | None = None
    failure: Unparseable | CallError | None = None


class Ranker:
    """Ranks responses to one prompt. `await ranker(request)` raises only if its samples are not such a group.

    Each order is one judge call with all responses, whose order and labels are chosen by a keyed hash. The
    second call has the opposite order, because judges prefer certain positions. An order counts if the answer
    has a verdict for each response; a response's scores are the means of the orders that count. Equal
    responses count as one. An empty response scores 0, and a missing one has no score; the judge sees
    neither.

    For example, the judge scores A 0.9 and B 0.5 in the order A, B, and A 0.7 and B 0.6 in the order B, A.
    The scores are A 0.8 and B 0.55, so A is first.

    grader: its judge, its prompt writer and its rules are used.
    alone: scores one sample; used when nothing can be compared.
    compares: whether the judge reads text; if not, each response is scored alone.
    max_reasks: repetitions of one order after an unusable answer.
    max_chars: a group with more text than this in the prompt and all responses is not judged.
    """

    def __init__(
        self,
        grader: Grader,
        *,
        alone: Handler[Sample, Reward],
        compares: bool,
        max_reasks: int,
        max_chars: int,
    ) -> None:
        self._grader = grader
        self._writer = RankWriter(grader.writer)
        self._alone = alone
        self._compares = compares
        self._max_reasks = max_reasks
        self._max_chars = max_chars
        self._counts: Counter[str] = Counter()

    def __repr__(self) -> str:
        way = "both orders" if self._compares else "each alone"
        return f"<Ranker of {MIN_RESPONSES} to {MAX_RESPONSES} responses, {way}>"

    def statistics(self) -> RankerStatistics:
        """A copy of the counts."""
        names = RankerStatistics.__struct_fields__
        return RankerStatistics(**{name: self._counts[name] for name in names})

    async def __call__(self, request: Request[Sequence[Sample]]) -> Ranking:
        """The ranking of the samples, which share one prompt.

        Raises WireError for too few or too many, or if their prompts or references differ.
        """
        samples = request.body
        questions = [self._grader.writer.question(sample) for sample in samples]
        refuse_bad_group(questions)
        self._counts["ranked"] += 1
        rewards: list[Reward | None] = [
            self._grader.without_judge(sample, question, Spent())
            for sample, question in zip(samples, questions, strict=True)
        ]
        owners = [
            None if reward else digest_question("rank", name_texts(question))
            for reward, question in zip(rewards, questions, strict=True)
        ]
        group = {
            owner: question for owner, question in zip(owners, questions, strict=True) if owner
        }
        if not self._compares or len(group) < MIN_RESPONSES:
            return await self._rank_alone(request)
        orders = await self._ask_both(request, group)
        judged = self._conclude([owner for owner in owners if owner], orders)
        whole = [order.verdicts for order in orders if order.verdicts is not None]
        return Ranking(
            rewards=(found := tuple(reward or next(judged) for reward in rewards)),
            ranks=ranks_of(found),
            compared=True,
            orders=len(whole),
            consistency=_consistency(whole, self._grader.rubric),
        )

    async def _rank_alone(self, request: Request[Sequence[Sample]]) -> Ranking:
        self._counts["alone"] += 1
        async with asyncio.TaskGroup() as tasks:
            asked = [
                tasks.create_task(_run(self._alone, _envelope(request, sample)))
                for sample in request.body
            ]
        rewards = tuple(task.result() for task in asked)
        return Ranking(rewards=rewards, ranks=ranks_of(rewards), compared=False)

    async def _ask_both(
        self, request: Request[Sequence[Sample]], group: Mapping[bytes, Question]
    ) -> list[_Order]:
        shared = next(iter(group.values()))
        chars = count_chars(shared) + sum(len(one.response) for one in group.values())
        chars -= len(shared.response)
        if chars > self._max_chars:
            detail = f"{chars} characters in all are over the limit of {self._max_chars}"
            return [_Order(Spent(), failure=Unparseable("too_long", detail))]
        async with asyncio.TaskGroup() as tasks:
            asked = [
                tasks.create_task(self._ask(request, group, reverse=reverse))
                for reverse in (False, True)
            ]
        return [task.result() for task in asked]

    async def _ask(
        self,
        request: Request[Sequence[Sample]],
        group: Mapping[bytes, Question],
        *,
        reverse: bool,
    ) -> _Order:
        order = _Order(Spent())
        try:
            await self._ask_until_whole(order, request, group, reverse=reverse)
        except CallError as error:
            order.failure = error
        except Exception as error:  # noqa: BLE001 - a group must get its answer whatever breaks
            detail = printable(f"{type(error).__name__}: {error}")
            order.failure = Unparseable("grader_error", detail)
        self._counts["unusable"] += order.verdicts is None
        return order

    async def _ask_until_whole(
        self,
        order: _Order,
        request: Request[Sequence[Sample]],
        group: Mapping[bytes, Question],
        *,
        reverse: bool,
    ) -> None:
        attempt, room = 0, 1
        while True:
            write = partial(
                self._writer.write,
                list(group.values()),
                reverse=reverse,
                attempt=attempt,
                room=room,
            )
            prompt, completion = await self._grader.judge.ask(request, write)
            order.spent.add(completion, prompt.channel)
            found = read_order(prompt, completion, self._grader.rubric)
            if not isinstance(found, Unparseable):
                order.verdicts = dict(zip(group, found, strict=True))
                return
            order.failure = found
            if found.reason not in REASKED or attempt == self._max_reasks:
                return
            if found.reason == "truncated":
                room = TRUNCATED_GROWTH
            attempt += 1
            self._counts["reasked"] += 1

    def _conclude(self, owners: Sequence[bytes], orders: Sequence[_Order]) -> Iterator[Reward]:
        """A reward for each response, with its share of what all orders cost."""
        whole = [order.verdicts for order in orders if order.verdicts is not None]
        failures = [order.failure for order in orders if order.failure is not None]
        usage = sum((order.spent.usage for order in orders), NO_USAGE)
        last = orders[-1].spent
        for owner, share in zip(owners, divide(usage, len(owners)), strict=True):
            is_cached = all(order.spent.cached for order in orders)
            spent = Spent(share, last.model, is_cached, last.channel)
            outcome = self._verdict(whole, owner) if whole else failures[0]
            yield self._grader.conclude(outcome, spent)

    def _verdict(self, whole: Sequence[Verdicts], owner: bytes) -> Verdict:
        rubric = self._grader.rubric
        verdict = _mean(whole, owner, rubric)
        if rubric.reasoning == "none":
            return verdict
        said = [verdicts[owner].explanation for verdicts in whole]
        return replace(verdict, explanation=of_orders(said))


def refuse_bad_group(questions: Sequence[Question]) -> None:
    """Raises WireError if these are not 2 to 16 responses to one prompt."""
    count = len(questions)
    if not MIN_RESPONSES <= count <= MAX_RESPONSES:
        raise WireError(
            "$.samples",
            f"has {count} response{'s' * (count != 1)}; send {MIN_RESPONSES} to {MAX_RESPONSES}",
        )
    first = questions[0]
    for place, question in enumerate(questions):
        if (question.task, question.reference) != (first.task, first.reference):
            raise WireError(
                f"$.samples[{place}]", "has another prompt or reference than the first; send one"
            )


def read_order(
    prompt: PackedPrompt, completion: Completion, rubric: Rubric
) -> list[Verdict] | Unparseable:
    """A verdict for each label, in the order of `prompt.labels`, or the reason why one is missing.

    The result is complete or none: a response that the judge left out was not compared.
    """
    if completion.stop_reason in STOPPED:
        return Unparseable(*STOPPED[completion.stop_reason])
    found = parse_pack(completion, prompt.labels, rubric.criteria, prompt.channel, rubric.reasoning)
    if missing := len(prompt.labels) - len(found):
        detail = f"the answer has no usable verdict for {missing} of {len(prompt.labels)} responses"
        return Unparseable("unparseable", detail)
    return [found[label] for label in prompt.labels]


def ranks_of(rewards: Sequence[Reward]) -> tuple[int | None, ...]:
    """The rank of each reward, 1 for the best, `None` without a score. Ranks after a tie skip (1, 1, 3)."""
    scores = [reward.score for reward in rewards if reward.score is not None]
    return tuple(
        None if reward.score is None else 1 + sum(score > reward.score for score in scores)
        for reward in rewards
    )


def _mean(whole: Sequence[Verdicts], owner: bytes, rubric: Rubric) -> Verdict:
    """The mean of the orders per criterion. Gates are applied after it, as with votes."""
    names = [criterion.name for criterion in rubric.criteria]
    means = {name: fmean(verdicts[owner].scores[name] for verdicts in whole) for name in names}
    return Verdict(means, {})


def _consistency(whole: Sequence[Verdicts], rubric: Rubric) -> float | None:
    if len(whole) < 2:
        return None
    forth, back = ([aggregate(one[key], rubric)[0] or 0.0 for key in whole[0]] for one in whole)
    pairs = list(combinations(range(len(forth)), 2))
    return fmean(
        _side(forth[one], forth[other]) == _side(back[one], back[other]) for one, other in pairs
    )


def _side(one: float, other: float) -> int:
    return (one > other) - (one < other)


def _envelope(request: Request[Any], sample: Sample) -> Request[Sample]:
    return Request(sample, request.deadline, request.lane, request.job)


async def _run(alone: Handler[Sample, Reward], request: Request[Sample]) -> Reward:
    return await alone(request)
