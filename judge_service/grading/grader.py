"""The grader: a sample in, a reward out, with the judge behind a handler."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct

from judge_service.errors import CallError
from judge_service.flow import Handler, Request
from judge_service.grading.aggregate import aggregate
from judge_service.grading.parse import Unparseable, parse
from judge_service.grading.prompt import CHANNELS, PromptWriter, is_blank
from judge_service.grading.rubric import Rubric
from judge_service.telemetry.events import ChannelChanged, Sink, ignore
from judge_service.values import (
    NO_USAGE,
    Channel,
    Completion,
    Part,
    Prompt,
    Question,
    Reward,
    Sample,
    Usage,
    Verdict,
)

REASKED = frozenset({"unparseable", "truncated"})
"""Outcomes that another try may mend. A refusal or a prompt that does not fit would only cost again."""

TRUNCATED_GROWTH = 2
"""How much more room an answer gets that was cut off; the reservation grows with it, so not more."""

MAX_DETAIL_CHARS = 200


class GraderStatistics(Struct, frozen=True, kw_only=True):
    """Counts since the grader was made.

    graded: samples that got a reward, scored or not; scored: those with a score.
    asked: prompts given to the judge, answered or not; reasked: those after an unusable answer.
    unscored: samples without a score by reason.
    channel: how the judge is made to answer now.
    """

    graded: int
    scored: int
    asked: int
    reasked: int
    unscored: Mapping[str, int]
    channel: Channel


class _Spent(Struct):
    """What one sample has cost so far; kept also when a later call fails."""

    usage: Usage = NO_USAGE
    model: str = ""
    cached: bool = False

    def add(self, completion: Completion) -> None:
        # A stored completion still carries the usage of the call that made it: paid for once only.
        if not completion.cached:
            self.usage = self.usage + completion.usage
        self.cached = completion.cached
        self.model = completion.model


class Grader:
    """Grades samples by one rubric with one judge. `await grader(request)` never fails.

    rubric: what is asked.
    model: the judge, with all flow control inside it.
    channels: what the model can do, best first, `text` last.
    answer: the operator's choice of channel; `auto` takes the rubric's wish, then the first of
        `channels`. A model that refuses a channel moves the grader to the next one for good.
    fence_secret: 16 to 64 random bytes, see `fence`.
    temperature: `None` leaves it to the model.
    max_reasks: tries after an unusable answer, each with a reminder and as a new draw.
    max_sample_chars: more text than this in what the judge would see is not judged.
    price: US dollars for a usage, `None` when the price is not known.
    """

    def __init__(
        self,
        *,
        rubric: Rubric,
        model: Handler[Prompt, Completion],
        channels: tuple[Channel, ...],
        answer: Literal["auto"] | Channel,
        fence_secret: bytes,
        temperature: float | None,
        max_reasks: int,
        max_sample_chars: int,
        price: Callable[[Usage], float | None],
        sink: Sink = ignore,
    ) -> None:
        self._rubric = rubric
        self._model = model
        self._ladder = _ladder(answer, rubric.answer, channels)
        self._writer = PromptWriter(rubric, fence_secret=fence_secret, temperature=temperature)
        self._max_reasks = max_reasks
        self._max_sample_chars = max_sample_chars
        self._price = price
        self._sink = sink
        self._needs_reference = rubric.needs_reference
        self._asked = self._reasked = self._scored = 0
        self._unscored: Counter[str] = Counter()
        self._last_model = ""

    def __repr__(self) -> str:
        rubric = self._rubric
        count = len(rubric.criteria)
        return (
            f"<Grader {rubric.name} {rubric.version},"
            f" {count} {'criterion' if count == 1 else 'criteria'},"
            f" answer {' > '.join(self._ladder)}, re-asks {self._max_reasks}>"
        )

    def statistics(self) -> GraderStatistics:
        """A copy of the counts."""
        return GraderStatistics(
            graded=self._scored + self._unscored.total(),
            scored=self._scored,
            asked=self._asked,
            reasked=self._reasked,
            unscored=dict(self._unscored),
            channel=self._ladder[0],
        )

    async def __call__(self, request: Request[Sample]) -> Reward:
        """The reward of one sample. Raises nothing but `asyncio.CancelledError`."""
        spent = _Spent()
        try:
            reward = await self._grade(request, spent)
        except Exception as error:  # noqa: BLE001 - a row must get its answer whatever breaks
            reward = Reward(
                score=None,
                reason="grader_error",
                detail=printable(f"{type(error).__name__}: {error}"),
                parts=self._parts(None, "grader_error"),
                usage=spent.usage,
            )
        if reward.reason is None:
            self._scored += 1
        else:
            self._unscored[reward.reason] += 1
        return reward

    async def _grade(self, request: Request[Sample], spent: _Spent) -> Reward:
        question = self._writer.question(request.body)
        reward = self._without_judge(request.body, question)
        if reward is not None:
            return reward
        try:
            outcome = await self._ask_until_usable(request, question, spent)
        except CallError as error:
            return self._failed(spent, error.reason, printable(str(error)))
        if isinstance(outcome, Unparseable):
            return self._failed(spent, outcome.reason, outcome.detail)
        return self._judged(spent, outcome)

    def _without_judge(self, sample: Sample, question: Question) -> Reward | None:
        """The reward of a sample that no judge needs to see, or cannot."""
        if sample.response is None:
            return self._failed(_Spent(), "no_response", "the row has no response")
        if self._needs_reference and question.reference is None:
            return self._failed(_Spent(), "no_reference", "the rubric needs a reference answer")
        chars = len(question.task) + len(question.response) + len(question.reference or "")
        if chars > self._max_sample_chars:
            detail = f"{chars} characters are over the limit of {self._max_sample_chars}"
            return self._failed(_Spent(), "too_long", detail)
        if is_blank(question.response):
            return Reward(score=0.0, detail="empty answer", parts=self._parts(0.0, None))
        return None

    async def _ask_until_usable(
        self, request: Request[Sample], question: Question, spent: _Spent
    ) -> Verdict | Unparseable:
        draw = 0
        max_output_tokens = None
        while True:
            prompt, completion = await self._ask(request, question, draw, max_output_tokens)
            spent.add(completion)
            outcome = parse(
                completion, self._rubric.criteria, prompt.channel, self._rubric.reasoning
            )
            if isinstance(outcome, Verdict) or outcome.reason not in REASKED:
                return outcome
            if draw == self._max_reasks:
                return outcome
            if outcome.reason == "truncated":
                max_output_tokens = prompt.max_output_tokens * TRUNCATED_GROWTH
            draw += 1
            self._reasked += 1

    async def _ask(
        self,
        request: Request[Sample],
        question: Question,
        draw: int,
        max_output_tokens: int | None,
    ) -> tuple[Prompt, Completion]:
        while True:
            prompt = self._writer.write(
                question,
                self._ladder[0],
                draw=draw,
                reminder=draw > 0,
                max_output_tokens=max_output_tokens,
            )
            self._asked += 1
            try:
                envelope = Request(prompt, request.deadline, request.lane, request.job)
                completion = await self._model(envelope)
            except CallError as error:
                if not error.unsupported_channel or not self._step_down(prompt.channel):
                    raise
            else:
                self._last_model = completion.model
                return prompt, completion

    def _step_down(self, refused: Channel) -> bool:
        """Leaves a channel the model refused; `False` when there is no other.

        Samples in flight are refused together: only the first of them moves the grader.
        """
        if refused != self._ladder[0]:
            return True
        if len(self._ladder) == 1:
            return False
        self._ladder = self._ladder[1:]
        self._sink(ChannelChanged(model=self._last_model, refused=refused, now=self._ladder[0]))
        return True

    def _judged(self, spent: _Spent, verdict: Verdict) -> Reward:
        score, parts = aggregate(verdict, self._rubric)
        reason = next((part.reason for part in parts if part.score is None), None)
        missing = ", ".join(part.name for part in parts if part.score is None)
        return Reward(
            score=score,
            reason=reason,
            detail=f"this judge cannot judge {missing}" if missing else "",
            parts=parts,
            usage=spent.usage,
            cost_usd=self._price(spent.usage),
            model=spent.model,
            cached=spent.cached,
        )

    def _failed(self, spent: _Spent, reason: str, detail: str) -> Reward:
        return Reward(
            score=None,
            reason=reason,
            detail=detail,
            parts=self._parts(None, reason),
            usage=spent.usage,
            cost_usd=self._price(spent.usage),
            model=spent.model,
            cached=spent.cached,
        )

    def _parts(self, score: float | None, reason: str | None) -> tuple[Part, ...]:
        return tuple(
            Part(criterion.name, score, criterion.weight, reason)
            for criterion in self._rubric.criteria
        )


def _ladder(
    answer: Literal["auto"] | Channel,
    wish: Literal["auto"] | Channel,
    channels: tuple[Channel, ...],
) -> tuple[Channel, ...]:
    """The channels to try, in order: the operator's choice, else the rubric's, else the model's best.

    A rubric's wish the model cannot fulfil is passed over; an operator's is tried all the same.
    """
    if not channels or channels[-1] != "text":
        raise ValueError(f"channels must end with text, got {channels}")
    if answer == "auto":
        answer = wish if wish in channels else channels[0]
    weaker = CHANNELS[CHANNELS.index(answer) + 1 :]
    return (answer, *(channel for channel in channels if channel in weaker))


def printable(text: str) -> str:
    """The first characters of `text`, fit for a log line: without control characters."""
    return "".join(char if char.isprintable() else " " for char in text[:MAX_DETAIL_CHARS])
