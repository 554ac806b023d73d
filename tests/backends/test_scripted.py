import asyncio

import pytest

from judge_service.backends.scripted import Answer, Scripted
from judge_service.errors import Throttled
from judge_service.flow import Request
from judge_service.testing import run_virtual
from judge_service.values import Channel, Completion, Criterion, Prompt, Question

ONE = (Criterion(name="correctness", description="d"),)
TWO = (*ONE, Criterion(name="format", description="d"))


def ask(channel: Channel = "text", criteria: tuple[Criterion, ...] = ONE) -> Request[Prompt]:
    question = Question(criteria=criteria, task="t", response="r")
    return Request(Prompt(question=question, messages=(), channel=channel))


@pytest.mark.parametrize(
    ("answer", "channel", "criteria", "text", "data"),
    [
        ("0.7 ", "text", ONE, "0.7 ", None),
        (0.7, "text", ONE, "0.7", None),
        (0.7, "text", TWO, '{"correctness":0.7,"format":0.7}', None),
        (0.7, "schema", ONE, '{"correctness":0.7}', None),
        (0.7, "tool", TWO, None, {"correctness": 0.7, "format": 0.7}),
        ({"correctness": 1}, "tool", ONE, None, {"correctness": 1}),
        ({"correctness": 1}, "schema", ONE, '{"correctness":1}', None),
        ("no tool", "tool", ONE, "no tool", None),
    ],
)
async def test_it_answers_the_way_the_prompt_asks_for(
    answer: Answer,
    channel: Channel,
    criteria: tuple[Criterion, ...],
    text: str | None,
    data: dict[str, float] | None,
) -> None:
    completion = await Scripted(answer)(ask(channel, criteria))

    assert (completion.text, completion.data) == (text, data)
    assert (completion.model, completion.usage.calls) == ("scripted", 1)


async def test_a_list_is_used_up_in_order_and_then_the_test_fails() -> None:
    judge = Scripted(
        ["0.1", Throttled("no room"), Completion(text="cut", stop_reason="max_tokens")]
    )

    assert (await judge(ask())).text == "0.1"
    with pytest.raises(Throttled):
        await judge(ask())
    assert (await judge(ask())).stop_reason == "max_tokens"
    with pytest.raises(AssertionError, match="3 answers"):
        await judge(ask())


async def test_a_function_sees_the_prompt_and_all_prompts_are_kept() -> None:
    judge = Scripted(lambda prompt: float(len(prompt.question.criteria)))
    requests = [ask(criteria=ONE), ask("tool", TWO)]

    completions = [await judge(request) for request in requests]

    assert completions[0].text == "1.0"
    assert completions[1].data == {"correctness": 2.0, "format": 2.0}
    assert judge.prompts == [request.body for request in requests]
    assert all(request.sent_at > 0 for request in requests)


def test_latency_is_exact_in_virtual_time_and_a_cancelled_call_leaves_nothing() -> None:
    async def scenario() -> tuple[float, int, int]:
        loop = asyncio.get_running_loop()
        judge = Scripted(1.0, latency_s=30)
        start = loop.time()
        gone = asyncio.create_task(judge(ask()))
        stays = asyncio.create_task(judge(ask()))
        await asyncio.sleep(1)
        in_flight = judge.statistics().in_flight
        gone.cancel()
        await stays
        return loop.time() - start, in_flight, judge.statistics().in_flight

    assert run_virtual(scenario()) == (30, 2, 0)


async def test_it_is_a_backend_that_says_what_it_did() -> None:
    judge = Scripted([0.5, Throttled("no room")], model="double", channels=("text",))
    await judge(ask())
    with pytest.raises(Throttled):
        await judge(ask())

    assert judge.channels == ("text",)
    await judge.aclose()
    assert (judge.statistics().answered, judge.statistics().raised) == (1, 1)
    assert repr(judge) == "<Scripted double: 2 asked, 1 answered>"
