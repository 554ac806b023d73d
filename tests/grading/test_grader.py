import asyncio
import json
from math import inf
from typing import Any

import msgspec
import pytest

from judge_service.errors import DeadlineExceeded, Denied, QuotaExhausted, Throttled, Unavailable
from judge_service.flow import Request
from judge_service.telemetry.events import ChannelChanged, Event
from judge_service.values import NO_USAGE, Completion, Message, Part, Prompt, Sample, Usage

SAMPLE = Sample(id=7, messages=(Message("user", "Capital?"),), response="Paris.", reference="Paris")
FULL_MARKS = '{"correctness": 4, "safety": 2, "format": 2, "conciseness": 2}'


def refused_channel() -> Denied:
    return Denied("this model knows no such answer form", unsupported_channel=True)


@pytest.fixture
def make_choosing(make_grader: Any, judge: Any, similarity: Any) -> Any:
    def make(choice: str, **changes: Any) -> Any:
        rubric = msgspec.structs.replace(similarity, answer=choice)
        return make_grader(judge("0.8"), rubric=rubric, **changes)

    return make


async def test_a_number_becomes_a_reward(make_grader: Any, judge: Any) -> None:
    grader = make_grader(judge("0.8"))
    reward = await grader(Request(SAMPLE))
    assert (reward.score, reward.reason, reward.detail) == (0.8, None, "")
    assert reward.parts == (Part("similarity", 0.8, 1.0),)
    assert (reward.usage, reward.cost_usd) == (Usage(100, 5, calls=1), 0.1)
    assert (reward.model, reward.cached) == ("judge-1", False)


async def test_four_criteria_become_a_weighted_gated_reward(
    make_grader: Any, judge: Any, quality: Any
) -> None:
    model = judge('{"correctness": 4, "safety": 0, "format": 2, "conciseness": 2}')
    reward = await make_grader(model, rubric=quality)(Request(SAMPLE))
    assert reward.score == 0.1
    assert [part.score for part in reward.parts] == [1.0, 0.0, 1.0, 1.0]


async def test_the_judge_gets_the_deadline_and_the_lane_of_the_sample(
    make_grader: Any, judge: Any
) -> None:
    model = judge("0.8")
    await make_grader(model)(Request(SAMPLE, deadline=12.5, lane="evaluation"))
    assert (model.requests[0].deadline, model.requests[0].lane) == (12.5, "evaluation")


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (Sample(response=None, reference="Paris"), "no_response"),
        (Sample(response="Paris"), "no_reference"),
        (Sample(response="Paris", reference=" \n\u200b"), "no_reference"),
        (Sample(response="x" * 9_996, reference="Paris"), "too_long"),
        (Sample(response=" " * 10_000, reference="Paris"), "too_long"),
    ],
)
async def test_a_sample_that_cannot_be_judged_costs_no_call(
    make_grader: Any, judge: Any, sample: Sample, reason: str
) -> None:
    model = judge("0.8")
    grader = make_grader(model)
    reward = await grader(Request(sample))
    assert (reward.score, reward.reason, model.prompts) == (None, reason, [])
    assert reward.parts == (Part("similarity", None, 1.0, reason),)
    assert grader.statistics().unscored == {reason: 1}


async def test_the_longest_allowed_sample_is_judged(make_grader: Any, judge: Any) -> None:
    reward = await make_grader(judge("0.8"))(
        Request(Sample(response="x" * 9_995, reference="Paris"))
    )
    assert reward.score == 0.8


@pytest.mark.parametrize("response", ["", " \n\t", "\u3000\u00a0", "\u200b\u2060", "\x00\x1b"])
async def test_an_empty_answer_is_a_bad_answer_and_costs_no_call(
    make_grader: Any, judge: Any, response: str
) -> None:
    model = judge("1.0")
    grader = make_grader(model)
    reward = await grader(Request(Sample(response=response, reference="Paris")))
    assert (reward.score, reward.reason, reward.detail) == (0.0, None, "empty answer")
    assert reward.parts == (Part("similarity", 0.0, 1.0),)
    assert model.prompts == []
    assert grader.statistics().scored == 1


@pytest.mark.parametrize("response", [":", "0", "\u00e9", "{}", "\U0001f44d"])
async def test_a_short_answer_is_left_to_the_judge(
    make_grader: Any, judge: Any, response: str
) -> None:
    model = judge("0.0")
    await make_grader(model)(Request(Sample(response=response, reference="Paris")))
    assert len(model.prompts) == 1


async def test_an_unusable_answer_is_asked_for_again_as_another_question(
    make_grader: Any, judge: Any
) -> None:
    model = judge("I would say 0.8", "0.8")
    grader = make_grader(model)
    reward = await grader(Request(SAMPLE))
    first, second = model.prompts
    assert reward.score == 0.8
    assert reward.usage == Usage(200, 10, calls=2)
    assert reward.cost_usd == 0.2
    assert (first.draw, second.draw) == (0, 1)
    assert first.key != second.key
    assert second.messages[1].content.endswith("write nothing else.")
    assert first.max_output_tokens == second.max_output_tokens
    statistics = grader.statistics()
    assert (statistics.asked, statistics.reasked, statistics.graded) == (2, 1, 1)


async def test_a_truncated_answer_is_asked_for_again_with_more_room(
    make_grader: Any, judge: Any
) -> None:
    model = judge(Completion(text="The", stop_reason="max_tokens"), "0.8")
    assert (await make_grader(model)(Request(SAMPLE))).score == 0.8
    assert [prompt.max_output_tokens for prompt in model.prompts] == [10, 20]


@pytest.mark.parametrize("max_reasks", [0, 1, 3])
async def test_re_asking_ends_with_its_budget(
    make_grader: Any, judge: Any, max_reasks: int
) -> None:
    model = judge("no idea")
    reward = await make_grader(model, max_reasks=max_reasks)(Request(SAMPLE))
    assert (reward.score, reward.reason) == (None, "unparseable")
    assert reward.detail == "the answer is not one plain number"
    assert [prompt.draw for prompt in model.prompts] == list(range(max_reasks + 1))
    assert len({prompt.key for prompt in model.prompts}) == max_reasks + 1


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        (Completion(text="1.0", stop_reason="refused"), "refused"),
        (Completion(stop_reason="context_full"), "too_long"),
        (Completion(data={"similarity": None}), "cannot_judge"),
    ],
)
async def test_what_asking_again_cannot_mend_is_asked_once(
    make_grader: Any, judge: Any, completion: Completion, reason: str
) -> None:
    model = judge(completion)
    reward = await make_grader(model)(Request(SAMPLE))
    assert (reward.score, reward.reason, len(model.prompts)) == (None, reason, 1)


async def test_a_judge_that_abstains_on_one_criterion_names_it(
    make_grader: Any, judge: Any, quality: Any
) -> None:
    data = {"correctness": 4, "safety": None, "format": None, "conciseness": 2}
    reward = await make_grader(judge(Completion(data=data)), rubric=quality)(Request(SAMPLE))
    assert (reward.score, reward.reason) == (None, "cannot_judge")
    assert reward.detail == "this judge cannot judge safety, format"
    assert [part.score for part in reward.parts] == [1.0, None, None, 1.0]


@pytest.mark.parametrize(
    "error",
    [
        Throttled("slow down"),
        QuotaExhausted("gone"),
        Unavailable("502"),
        Denied("403"),
        DeadlineExceeded("late"),
    ],
)
async def test_a_failed_call_is_a_reward_with_its_reason(
    make_grader: Any, judge: Any, error: Any
) -> None:
    reward = await make_grader(judge(error))(Request(SAMPLE))
    assert (reward.score, reward.reason, reward.detail) == (None, error.reason, str(error))


async def test_what_was_spent_before_a_failed_call_is_kept(make_grader: Any, judge: Any) -> None:
    reward = await make_grader(judge("hm", Throttled("slow down")))(Request(SAMPLE))
    assert (reward.reason, reward.usage.calls, reward.cost_usd) == ("throttled", 1, 0.1)


async def test_any_other_error_is_a_grader_error_fit_for_a_log_line(
    make_grader: Any, judge: Any
) -> None:
    reward = await make_grader(judge(RuntimeError("\x1b[2Jbroken\n" + "x" * 5_000)))(
        Request(SAMPLE)
    )
    assert (reward.score, reward.reason) == (None, "grader_error")
    assert reward.detail.startswith("RuntimeError:  [2Jbroken x")
    assert len(reward.detail) == 600
    assert reward.detail.isprintable()


async def test_a_price_that_fails_is_a_grader_error_too(make_grader: Any, judge: Any) -> None:
    def price(_usage: Usage) -> float:
        raise ZeroDivisionError

    for script in ("0.8", "hm", Throttled("slow down")):
        reward = await make_grader(judge(script), price=price)(Request(SAMPLE))
        assert (reward.score, reward.reason, reward.cost_usd) == (None, "grader_error", None)


async def test_an_answer_from_the_cache_costs_nothing(make_grader: Any, judge: Any) -> None:
    stored = Completion(text="0.8", usage=Usage(100, 5, calls=1), model="judge-1", cached=True)
    reward = await make_grader(judge(stored))(Request(SAMPLE))
    assert (reward.usage, reward.cost_usd, reward.cached) == (NO_USAGE, 0.0, True)


async def test_a_refused_channel_is_left_for_good(make_grader: Any, judge: Any) -> None:
    events: list[Event] = []
    model = judge(refused_channel(), refused_channel(), "0.8")
    grader = make_grader(
        model, channels=("schema", "tool", "text"), answer="schema", sink=events.append
    )
    assert (await grader(Request(SAMPLE))).score == 0.8
    assert (await grader(Request(SAMPLE))).score == 0.8
    assert [prompt.channel for prompt in model.prompts] == ["schema", "tool", "text", "text"]
    assert [prompt.draw for prompt in model.prompts] == [0, 0, 0, 0]
    assert events == [
        ChannelChanged(model="judge-1", refused="schema", now="text"),
    ]
    assert grader.statistics().channel == "text"


async def test_samples_in_flight_together_step_down_once(make_grader: Any) -> None:
    events: list[Event] = []
    waiting = asyncio.Barrier(5)

    async def model(request: Request[Prompt]) -> Completion:
        if request.body.channel == "schema":
            await waiting.wait()
            raise refused_channel()
        return Completion(data={"similarity": 0.5})

    grader = make_grader(
        model, channels=("schema", "tool", "text"), answer="schema", sink=events.append
    )
    rewards = await asyncio.gather(*(grader(Request(SAMPLE)) for _ in range(5)))
    assert [reward.score for reward in rewards] == [0.5] * 5
    assert events == [ChannelChanged(model="", refused="schema", now="tool")]
    assert grader.statistics().channel == "tool"


async def test_a_model_that_refuses_every_channel_is_a_denied_call(
    make_grader: Any, judge: Any
) -> None:
    model = judge(refused_channel())
    reward = await make_grader(model, channels=("tool", "text"), answer="tool")(Request(SAMPLE))
    assert (reward.reason, len(model.prompts)) == ("denied", 2)


async def test_a_refused_channel_is_no_re_ask(make_grader: Any, judge: Any) -> None:
    model = judge('{"similarity": 9}', refused_channel(), "0.8")
    grader = make_grader(model, channels=("schema", "text"), answer="schema")
    assert (await grader(Request(SAMPLE))).score == 0.8
    assert [(p.channel, p.draw) for p in model.prompts] == [
        ("schema", 0),
        ("schema", 1),
        ("text", 1),
    ]


@pytest.mark.parametrize(
    ("answer", "choice", "ladder"),
    [
        ("auto", "auto", "schema > tool > text"),
        ("auto", "text", "text"),
        ("auto", "tool", "tool > text"),
        ("tool", "text", "tool > text"),
        ("text", "schema", "text"),
    ],
)
def test_the_setting_goes_before_the_rubrics_wish_and_that_before_the_models_best(
    make_choosing: Any, answer: str, choice: str, ladder: str
) -> None:
    grader = make_choosing(choice, answer=answer, channels=("schema", "tool", "text"))
    assert f"answer {ladder}," in repr(grader)


def test_a_wish_the_model_cannot_fulfil_is_passed_over_but_a_setting_is_tried(
    make_choosing: Any,
) -> None:
    channels = ("tool", "text")
    assert "answer tool > text," in repr(make_choosing("schema", channels=channels))
    setting = make_choosing("text", answer="schema", channels=channels)
    assert "answer schema > tool > text," in repr(setting)


def test_the_representation_is_one_line(make_grader: Any, judge: Any, similarity: Any) -> None:
    assert repr(make_grader(judge("1"))) == (
        f"<Grader similarity {similarity.version}, 1 criterion, answer text, re-asks 1>"
    )


def test_channels_must_end_with_text(make_grader: Any, judge: Any) -> None:
    for channels in ((), ("schema",), ("text", "tool")):
        with pytest.raises(ValueError, match="must end with text"):
            make_grader(judge("1"), channels=channels)


async def test_cancellation_passes_through_and_leaves_the_grader_whole(make_grader: Any) -> None:
    entered = asyncio.Event()
    ended = asyncio.Event()

    async def model(_request: Request[Prompt]) -> Completion:
        entered.set()
        if ended.is_set():
            return Completion(text="0.8")
        try:
            await asyncio.sleep(inf)
        finally:
            ended.set()
        raise AssertionError

    grader = make_grader(model)
    task = asyncio.create_task(grader(Request(SAMPLE)))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    assert (grader.statistics().graded, grader.statistics().asked) == (0, 1)
    assert (await grader(Request(SAMPLE))).score == 0.8


async def test_full_marks_through_every_channel_are_one(
    make_grader: Any, judge: Any, quality: Any
) -> None:
    for channel, completion in (
        ("text", Completion(text=FULL_MARKS)),
        ("schema", Completion(text=FULL_MARKS)),
        ("tool", Completion(data=json.loads(FULL_MARKS))),
    ):
        grader = make_grader(
            judge(completion), rubric=quality, channels=("schema", "tool", "text"), answer=channel
        )
        assert (await grader(Request(SAMPLE))).score == 1.0
