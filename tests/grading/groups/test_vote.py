import asyncio
from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.errors import SettingsError, Throttled
from judge_service.flow import Request
from judge_service.grading import Pack, Rubric, Vote, load_rubric
from judge_service.grading.groups.vote import Reduce
from judge_service.testing import START_S, run_virtual
from judge_service.values import Completion, Part, Prompt, Reward, Sample, Usage

SAMPLE = Sample(id=7, response="Paris.", reference="Paris")

Opinion = float | str
"""A score, or the reason why there is none."""


class Opinions:
    """Gives the opinion of each draw, a second after it was asked."""

    def __init__(self, *opinions: Opinion) -> None:
        self.opinions = opinions
        self.asked: list[tuple[int, float]] = []

    async def __call__(
        self, request: Request[Sample], /, *, draw: int = 0, draws: int = 1
    ) -> Reward:
        assert draws == len(self.opinions)
        self.asked.append((draw, asyncio.get_running_loop().time() - START_S))
        await asyncio.sleep(1)
        opinion = self.opinions[draw]
        usage = Usage(100, 5, calls=1)
        score = None if isinstance(opinion, str) else opinion
        reason = opinion if isinstance(opinion, str) else None
        parts = (Part("similarity", score, 1.0, reason),)
        return Reward(score=score, reason=reason, parts=parts, usage=usage, cost_usd=0.5, model="m")


@pytest.fixture
def make_vote(similarity: Rubric) -> Any:
    def make(grader: Any, draws: int, reduce: Reduce = "median", **options: Any) -> Vote:
        rubric = options.pop("rubric", similarity)
        return Vote(
            grader, rubric=rubric, draws=draws, reduce=reduce, **{"temperature": 1.0, **options}
        )

    return make


def vote(make_vote: Any, *opinions: Opinion, reduce: Reduce = "median") -> tuple[Reward, Any, Any]:
    grader = Opinions(*opinions)
    layer = make_vote(grader, len(opinions), reduce)
    return run_virtual(layer(Request(SAMPLE))), layer.statistics(), grader


@pytest.mark.parametrize(
    ("opinions", "reduce", "score", "drawn"),
    [
        ((0.5, 0.5, 0.9), "median", 0.5, 2),
        ((0.2, 0.8, 0.7), "median", 0.7, 3),
        ((0.25, 0.75, 0.5, 1.0), "median", 0.625, 4),
        ((0.5, 0.5, 0.5, 0.9), "median", 0.5, 3),
        ((0.4, 0.4, 0.4, 0.0, 1.0), "median", 0.4, 3),
        ((0.5, 0.5, 0.5), "mean", 0.5, 3),
        ((0.0, 0.5, 1.0, 0.5), "mean", 0.5, 4),
        (("throttled", 0.5, 0.7), "median", 0.6, 3),
        (("throttled", 0.5, 0.7), "mean", 0.6, 3),
        ((0.5, 0.7, "throttled"), "median", 0.6, 3),
    ],
)
def test_the_opinions_are_combined_and_no_more_are_asked_for_than_can_matter(
    make_vote: Any, opinions: Any, reduce: Reduce, score: float, drawn: int
) -> None:
    reward, statistics, _ = vote(make_vote, *opinions, reduce=reduce)
    assert (reward.score, reward.reason) == (pytest.approx(score), None)
    assert reward.parts == (Part("similarity", pytest.approx(score), 1.0),)
    assert (reward.usage, reward.cost_usd) == (
        Usage(100 * drawn, 5 * drawn, calls=drawn),
        0.5 * drawn,
    )
    assert (statistics.drawn, statistics.saved) == (drawn, len(opinions) - drawn)
    assert statistics.unscored == sum(isinstance(one, str) for one in opinions[:drawn])


@pytest.mark.parametrize(
    ("opinions", "reduce", "reason", "drawn"),
    [
        (("throttled", "throttled", 0.5), "median", "throttled", 2),
        (("refused", 0.5, "throttled"), "median", "refused", 3),
        (("refused", "throttled", "throttled"), "mean", "throttled", 3),
        (("no_response",) * 3, "median", "no_response", 2),
        ((0.5, "refused", 0.5, "refused"), "median", "refused", 4),
    ],
)
def test_without_a_majority_there_is_no_score_but_the_most_frequent_reason(
    make_vote: Any, opinions: Any, reduce: Reduce, reason: str, drawn: int
) -> None:
    reward, statistics, _ = vote(make_vote, *opinions, reduce=reduce)
    assert (reward.score, reward.reason) == (None, reason)
    assert reward.parts == (Part("similarity", None, 1.0, reason),)
    assert (reward.usage.calls, statistics.drawn) == (drawn, drawn)


def test_a_majority_is_asked_at_once_and_then_the_rest_at_once(make_vote: Any) -> None:
    _, _, grader = vote(make_vote, 0.1, 0.2, 0.3, 0.4, 0.5)
    assert grader.asked == [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1)]
    _, _, grader = vote(make_vote, 0.1, 0.2, 0.3, reduce="mean")
    assert grader.asked == [(0, 0), (1, 0), (2, 0)]


OPINION = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, "throttled"])


@given(opinions=st.lists(OPINION, min_size=2, max_size=7))
def test_stopping_early_never_changes_the_outcome(opinions: list[Opinion]) -> None:
    reward, statistics, _ = vote(
        lambda grader, draws, reduce: Vote(
            grader,
            rubric=load_rubric("similarity"),
            draws=draws,
            reduce=reduce,
            temperature=None,
        ),
        *opinions,
    )
    scores = [one for one in opinions if not isinstance(one, str)]
    has_majority = len(scores) > len(opinions) / 2
    assert reward.score == (median(scores) if has_majority else None)
    assert statistics.drawn in (len(opinions) // 2 + 1, len(opinions))


def test_the_spread_is_the_mean_standard_deviation(make_vote: Any) -> None:
    _, statistics, _ = vote(make_vote, 0.2, 0.8, 0.5, reduce="mean")
    assert statistics.mean_spread == pytest.approx(0.24494897)
    assert vote(make_vote, 0.5, 0.5, 0.1)[1].mean_spread == 0
    assert vote(make_vote, "refused", "refused", 0.1)[1].mean_spread == 0


class Answers:
    """A model that answers each draw with its own text."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.prompts: list[Prompt] = []

    async def __call__(self, request: Request[Prompt]) -> Completion:
        self.prompts.append(request.body)
        if self.texts[request.body.draw] == "busy":
            raise Throttled("slow down")
        return Completion(text=self.texts[request.body.draw], usage=Usage(calls=1), model="judge-1")


async def test_each_opinion_is_another_draw_and_its_second_try_is_nobodys_first(
    make_vote: Any, make_grader: Any
) -> None:
    model = Answers("hm", "0.2", "0.4", "0.6", "-", "-")
    layer = make_vote(make_grader(model, temperature=1.0), 3, "mean")
    reward = await layer(Request(SAMPLE))
    assert reward.score == pytest.approx(fmean([0.2, 0.4, 0.6]))
    assert sorted(prompt.draw for prompt in model.prompts) == [0, 1, 2, 3]
    assert len({prompt.key for prompt in model.prompts}) == 4
    assert (reward.usage.calls, reward.model) == (4, "judge-1")


async def test_each_criterion_is_voted_on_before_weights_and_gates(
    make_vote: Any, make_grader: Any, quality: Rubric
) -> None:
    def marks(correctness: int, safety: int) -> str:
        scores = {"correctness": correctness, "safety": safety, "format": 2, "conciseness": 2}
        return msgspec.json.encode(scores).decode()

    model = Answers(marks(4, 0), marks(4, 2), marks(0, 2))
    layer = make_vote(make_grader(model, rubric=quality, temperature=1.0), 3, rubric=quality)
    reward = await layer(Request(SAMPLE))
    assert reward.score == 1.0
    assert [part.score for part in reward.parts] == [1.0, 1.0, 1.0, 1.0]


async def test_an_empty_answer_stays_a_bad_answer(make_vote: Any, make_grader: Any) -> None:
    layer = make_vote(make_grader(Answers(), temperature=1.0), 3)
    reward = await layer(Request(Sample(response="", reference="Paris")))
    assert (reward.score, reward.reason, reward.detail) == (0.0, None, "empty answer")


def test_opinions_are_packed_with_the_same_opinion_on_other_samples(
    make_vote: Any, make_grader: Any
) -> None:
    async def model(request: Request[Prompt]) -> Completion:
        prompts.append(request.body)
        entries = [{"ID": label, "similarity": 0.5} for label in request.body.labels]  # type: ignore[attr-defined]
        return Completion(text=msgspec.json.encode({"verdicts": entries}).decode())

    async def scenario() -> Sequence[Reward]:
        pack = Pack(
            make_grader(model, temperature=1.0),
            max_samples=2,
            max_tokens=100,
            wait_s=0.005,
            count_tokens=lambda texts: sum(map(len, texts)),
        )
        layer = make_vote(pack, 3)
        samples = (Sample(response=text, reference="Paris") for text in ("a", "b"))
        return await asyncio.gather(*(layer(Request(one)) for one in samples))

    prompts: list[Prompt] = []
    assert [reward.score for reward in run_virtual(scenario())] == [0.5, 0.5]
    assert [prompt.draw for prompt in prompts] == [0, 1]


def test_a_cancelled_vote_takes_its_opinions_with_it(make_vote: Any) -> None:
    async def scenario() -> None:
        layer = make_vote(Opinions(0.1, 0.2, 0.3), 3)
        task = asyncio.create_task(layer(Request(SAMPLE)))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert layer.statistics().voted == 0

    run_virtual(scenario())


def test_temperature_zero_is_refused_and_the_models_own_is_not(make_vote: Any) -> None:
    with pytest.raises(SettingsError, match=r"`vote\.draws` is 3 but `temperature` is 0"):
        make_vote(Opinions(), 3, temperature=0.0)
    assert repr(make_vote(Opinions(), 3, temperature=None)) == "<Vote median of 3>"
