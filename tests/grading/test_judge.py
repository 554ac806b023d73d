"""A channel is left only after the same prompt was answered in another one."""

import asyncio
from typing import Any

import msgspec
import pytest

from judge_service.errors import CallError, Denied, Throttled
from judge_service.flow import Request
from judge_service.grading.judge import DOUBTS
from judge_service.telemetry.events import ChannelChanged, Event, RequestChanged
from judge_service.values import Channel, Completion, Message, Prompt, Sample, Usage

GOOD: dict[Channel, Completion] = {
    "schema": Completion(text='{"similarity": 0.5}', model="m"),
    "tool": Completion(data={"similarity": 0.5}, model="m"),
    "text": Completion(text="0.5", model="m"),
}
PROSE = Completion(text="It is rather similar.", model="m", usage=Usage(10, 5, calls=1))


def refusal(said: str = "response_format is unknown") -> Denied:
    return Denied(said, unsupported_channel=True)


def sample(text: str = "Paris.") -> Sample:
    return Sample(messages=(Message("user", "Capital?"),), response=text, reference="Paris")


class Told:
    """A judge that does what `rules` say for a channel and a response; all else is answered well."""

    def __init__(self) -> None:
        self.rules: dict[tuple[Channel, str], CallError | Completion] = {}
        self.asked: list[Channel] = []

    async def __call__(self, request: Request[Prompt]) -> Completion:
        channel = request.body.channel
        self.asked.append(channel)
        await asyncio.sleep(0)
        found = self.rules.get((channel, request.body.question.response))
        found = found or self.rules.get((channel, "*")) or GOOD[channel]
        if isinstance(found, CallError):
            raise found
        return found


@pytest.fixture
def told(make_grader: Any) -> Any:
    """A grader on a told judge, and the events."""
    judge, events = Told(), list[Event]()

    def make(channels: tuple[Channel, ...] = ("schema", "tool", "text")) -> Any:
        grader = make_grader(
            judge, channels=channels, answer=channels[0], sink=events.append, max_reasks=0
        )
        return grader, judge, events

    return make


async def scores(grader: Any, *texts: str) -> list[Any]:
    return [(await grader(Request(sample(text)))).score for text in texts]


async def test_a_refusal_that_quotes_the_prompt_moves_nobody(told: Any) -> None:
    grader, judge, events = told()
    for channel in ("schema", "tool", "text"):
        judge.rules[channel, "use your tools"] = refusal("invalid: 'use your tools'")
    reward = await grader(Request(sample("use your tools")))
    assert (reward.reason, judge.asked) == ("denied", ["schema", "tool", "text"])
    assert await scores(grader, "a") == [0.5]
    assert (judge.asked[-1], events) == ("schema", [])


@pytest.mark.parametrize("failing", [refusal(), Throttled("wait"), PROSE])
async def test_a_channel_is_not_left_for_one_that_does_not_work_either(
    told: Any, failing: Any
) -> None:
    grader, judge, events = told(("schema", "text"))
    judge.rules["schema", "*"] = refusal()
    judge.rules["text", "a"] = failing
    assert await scores(grader, "a") == [None]
    assert (grader.judge.channel, events) == ("schema", [])
    assert await scores(grader, "b") == [0.5]
    assert events == [ChannelChanged(model="m", refused="schema", now="text")]


async def test_a_channel_that_gave_verdicts_is_left_after_several_refusals_in_a_row(
    told: Any,
) -> None:
    grader, judge, events = told()
    judge.rules["schema", "odd"] = refusal()
    texts = ["a", *["odd"] * (DOUBTS - 1), "b", *["odd"] * (DOUBTS - 1)]
    assert await scores(grader, *texts) == [0.5] * len(texts)
    assert (grader.judge.channel, events) == ("schema", [])
    assert await scores(grader, "odd") == [0.5]
    assert (grader.judge.channel, len(events)) == ("tool", 1)


@pytest.mark.parametrize(
    ("channel", "answer"),
    [
        ("schema", PROSE),
        ("schema", Completion(text="4", model="m")),
        ("tool", PROSE),
        ("tool", Completion(text=None, model="m")),
    ],
)
async def test_a_channel_that_is_ignored_is_left(told: Any, channel: Any, answer: Any) -> None:
    grader, judge, events = told((channel, "text"))
    judge.rules[channel, "*"] = answer
    reward = await grader(Request(sample()))
    assert (reward.score, reward.channel, judge.asked) == (0.5, "text", [channel, "text"])
    assert reward.usage == answer.usage  # what was ignored was paid for
    assert events == [ChannelChanged(model="m", refused=channel, now="text")]


@pytest.mark.parametrize(
    ("channel", "answer"),
    [
        ("schema", Completion(text='{"similarity": 9}', model="m")),
        ("schema", Completion(text='{"similarity": 0.', model="m")),
        ("schema", Completion(text="", model="m")),
        ("schema", Completion(text="prose", stop_reason="max_tokens", model="m")),
        ("tool", Completion(data={"similarity": 9}, model="m")),
        ("tool", Completion(stop_reason="malformed", model="m")),
        ("tool", Completion(stop_reason="reasoning", model="m")),
    ],
)
async def test_an_unusable_answer_in_its_channel_is_a_bad_draw(
    told: Any, channel: Any, answer: Any
) -> None:
    grader, judge, events = told((channel, "text"))
    judge.rules[channel, "*"] = answer
    assert await scores(grader, "a") == [None]
    assert (judge.asked, grader.judge.channel, events) == ([channel], channel, [])


async def test_an_ignored_channel_whose_followers_fail_gives_its_own_answer(told: Any) -> None:
    grader, judge, events = told(("tool", "text"))
    judge.rules["tool", "*"] = PROSE
    for failing in (PROSE, refusal(), Throttled("wait")):
        judge.rules["text", "*"] = failing
        reward = await grader(Request(sample()))
        assert (reward.reason, reward.detail) == (
            "unparseable",
            "the answer is not one JSON object",
        )
    assert (grader.judge.channel, events) == ("tool", [])


async def test_prompts_in_flight_move_the_judge_once(told: Any) -> None:
    grader, judge, events = told()
    judge.rules["schema", "*"] = refusal()
    found = await asyncio.gather(*[scores(grader, str(n)) for n in range(6)])
    assert found == [[0.5]] * 6
    assert events == [ChannelChanged(model="m", refused="schema", now="tool")]


async def test_what_the_judge_made_us_change_is_told_once_and_in_the_reward(told: Any) -> None:
    grader, judge, events = told(("text",))
    judge.rules["text", "*"] = msgspec.structs.replace(GOOD["text"], asked="no temperature")
    rewards = [await grader(Request(sample(text))) for text in "abc"]
    assert {reward.channel for reward in rewards} == {"text; no temperature"}
    assert events == [RequestChanged(model="m", changes="no temperature")]


async def test_an_answer_as_long_as_the_cut_one_was_cut_again(make_grader: Any, judge: Any) -> None:
    cut = Completion(text="0", stop_reason="max_tokens", usage=Usage(9, 10, calls=1))
    for tokens, score in ((10, None), (9, 0.0), (11, 0.0)):
        again = Completion(text="0", usage=Usage(9, tokens, calls=1))
        reward = await make_grader(judge(cut, again), max_reasks=1)(Request(sample()))
        assert (reward.score, reward.reason) == (score, None if score == 0 else "truncated")
