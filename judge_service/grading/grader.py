"""The grader of one rubric: turns a sample into a reward by asking a judge."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from judge_service.errors import CallError
from judge_service.flow import Handler, Request
from judge_service.grading.judge import Judge, Outcome, choose_ladder
from judge_service.grading.monitoring.guards import UNGUARDED, Guards
from judge_service.grading.outright import Outright, unseen_in_prompt
from judge_service.grading.prompting.parse import Unparseable, parse
from judge_service.grading.prompting.prompt import PromptWriter, count_chars
from judge_service.grading.rewards import Rewards, Spent
from judge_service.grading.rubric.rubric import Rubric
from judge_service.grading.rubric.template import placeholders
from judge_service.telemetry.events import Sink, ignore
from judge_service.values import (
    NO_USAGE,
    Channel,
    Completion,
    Prompt,
    Question,
    Reward,
    Sample,
    Usage,
    Verdict,
)

REASKED = frozenset({"unparseable", "truncated"})
"""Outcomes after which the judge is asked again. A refusal or a too long prompt would only repeat."""

TRUNCATED_GROWTH = 2
"""Factor of `max_output_tokens` after a truncated answer. Small, because the quota reservation grows too."""


CUT_AGAIN = (
    "the answer has as many tokens as the one that was cut: the judge has a limit of its own"
)


class GraderStatistics(Struct, frozen=True, kw_only=True):
    """Counts since the grader was made.

    graded: samples that got a reward, scored or not; scored: those with a score.
    asked: prompts sent to the judge, answered or not; reasked: those after an unusable answer.
    unscored: samples without a score, by reason.
    channel: the present form of the judge's answers.
    """

    graded: int
    scored: int
    asked: int
    reasked: int
    unscored: Mapping[str, int]
    channel: Channel


class Grader:
    """Grades samples by one rubric with one judge. `await grader(request)` never fails.

    rubric: the criteria and templates.
    model: the judge, with all flow control inside it.
    channels: the forms of answer that the model supports, best first, `text` last.
    answer: the operator's choice of channel; `auto` uses the rubric's choice, then the first of
        `channels`. If the model refuses a channel, the grader uses the next one from then on.
    fence_secret: 16 to 64 random bytes, see `fence`.
    temperature: `None` uses the model's default.
    max_reasks: repetitions of a call after an unusable answer, each with a reminder and as a new draw.
    max_sample_chars: a sample of which the judge would see more text than this is not judged.
    price: US dollars for a usage, `None` when the price is not known.
    guards: decide which responses need no judge, and clean the text that the judge sees.
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
        guards: Guards = UNGUARDED,
    ) -> None:
        self.rubric = rubric
        self.judge = Judge(model, ladder=choose_ladder(answer, rubric.answer, channels), sink=sink)
        self.writer = PromptWriter(
            rubric, fence_secret=fence_secret, temperature=temperature, clean=guards.clean
        )
        self.rewards = Rewards(rubric, price)
        self._guards = guards
        self._needs_reference = rubric.needs_reference
        self._shows_task = "task" in placeholders(rubric.user)
        self._max_reasks = max_reasks
        self._outright = Outright(rubric, self.rewards, max_chars=max_sample_chars)
        self._reasked = self._scored = 0
        self._unscored: Counter[str] = Counter()

    def __repr__(self) -> str:
        rubric = self.rubric
        count = len(rubric.criteria)
        return (
            f"<Grader {rubric.name} {rubric.version},"
            f" {count} {'criterion' if count == 1 else 'criteria'},"
            f" answer {' > '.join(self.judge.ladder)}, re-asks {self._max_reasks}>"
        )

    def statistics(self) -> GraderStatistics:
        """A copy of the counts."""
        return GraderStatistics(
            graded=self._scored + self._unscored.total(),
            scored=self._scored,
            asked=self.judge.asked,
            reasked=self._reasked,
            unscored=dict(self._unscored),
            channel=self.judge.channel,
        )

    async def __call__(
        self, request: Request[Sample], *, draw: int = 0, draws: int = 1, spent: Usage = NO_USAGE
    ) -> Reward:
        """The reward of one sample. Raises nothing but `asyncio.CancelledError`.

        draw, draws: index and number of the opinions on the sample (see `Vote`).
        spent: the cost of earlier calls on this sample; the reward's usage includes it.
        """
        so_far = Spent(spent)
        outcome: Verdict | Unparseable | CallError
        try:
            question = self.writer.question(request.body)
            reward = self.without_judge(request.body, question, so_far)
            if reward is not None:
                return self._count(reward)
            outcome = await self._ask_until_usable(request, question, so_far, draw, draws)
        except CallError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - a row must get its answer whatever breaks
            return self._count(self.rewards.broken(so_far, error))
        return self.conclude(outcome, so_far)

    def conclude(self, outcome: Verdict | Unparseable | CallError, spent: Spent) -> Reward:
        """The reward of a sample that another class asked the judge about. Never raises."""
        try:
            reward = self.rewards.of(outcome, spent)
        except Exception as error:  # noqa: BLE001 - a row must get its answer whatever breaks
            reward = self.rewards.broken(spent, error)
        return self._count(reward)

    def _count(self, reward: Reward) -> Reward:
        if reward.reason is None:
            self._scored += 1
        else:
            self._unscored[reward.reason] += 1
        return reward

    def without_judge(self, sample: Sample, question: Question, spent: Spent) -> Reward | None:
        """The reward of a sample that needs no judge or cannot be judged; `None` for all others."""
        reward = self._outright.decide(sample, question.response, count_chars(question), spent)
        if reward is not None:
            return reward
        if self._shows_task and (unseen := unseen_in_prompt(sample)):
            return self.rewards.failed(spent, "cannot_judge", unseen)
        if self._needs_reference and question.reference is None:
            return self.rewards.failed(spent, "no_reference", "the rubric needs a reference answer")
        guard = self._guards.lowest(sample)
        return replace(self.rewards.empty(), detail=f"guard: {guard}") if guard else None

    async def _ask_until_usable(
        self, request: Request[Sample], question: Question, spent: Spent, draw: int, draws: int
    ) -> Verdict | Unparseable:
        attempt, max_output_tokens, cut_tokens = 0, None, 0
        while True:
            # In steps of `draws`, so that the second try of one opinion is not the first try of another.
            write = partial(
                self.writer.write,
                question,
                draw=draw + attempt * draws,
                reminder=attempt > 0,
                max_output_tokens=max_output_tokens,
            )
            answers: list[tuple[Completion, Verdict | Unparseable]] = []
            read = partial(self._read, answers, spent, cut_tokens)
            prompt, completion = await self.judge.ask(request, write, read)
            first, outcome = answers[0]
            if first is not completion:  # a later channel gave a usable one
                _, outcome = answers[-1]
            if isinstance(outcome, Verdict) or outcome.reason not in REASKED:
                return outcome
            if attempt == self._max_reasks:
                return outcome
            if outcome.reason == "truncated":
                max_output_tokens = prompt.max_output_tokens * TRUNCATED_GROWTH
                cut_tokens = completion.usage.output_tokens
            attempt += 1
            self._reasked += 1

    def _read(
        self,
        answers: list[tuple[Completion, Verdict | Unparseable]],
        spent: Spent,
        cut_tokens: int,
        prompt: Prompt,
        completion: Completion,
    ) -> Outcome:
        """Adds an answer and says what it is worth.

        cut_tokens: tokens of the answer before, which was cut. An answer that was given twice the room and
            is exactly as long was cut again, by a limit of the server's own.
        """
        spent.add(completion, prompt.channel)
        outcome = parse(completion, self.rubric.criteria, prompt.channel, self.rubric.reasoning)
        if isinstance(outcome, Verdict) and 0 < cut_tokens == completion.usage.output_tokens:
            outcome = Unparseable("truncated", CUT_AGAIN)
        answers.append((completion, outcome))
        if isinstance(outcome, Verdict):
            return "usable"
        return "ignored" if outcome.is_ignored else "unusable"
