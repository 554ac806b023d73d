import asyncio
import logging
import random
import threading
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
import pytest

from judge_service.backends.embedded import judge as local
from judge_service.backends.embedded.judge import MAX_TEXT_CHARS, ChrF, LocalJudge, Pair
from judge_service.backends.embedded.minilm import Similarity
from judge_service.errors import CallError, Unavailable
from judge_service.flow import Request
from judge_service.values import Channel, Completion, Criterion, Prompt, Question

SIMILARITY = Criterion(name="similarity", description="how alike", needs_reference=True)
SAFETY = Criterion(name="safety", description="is it safe")


Open = Callable[[local.Scorer], LocalJudge]


class Slow:
    """A scorer that waits in its thread until it is let go, and remembers what it was asked."""

    name = "slow"
    floor = 0.0
    remembered_hits = 0

    def __init__(self) -> None:
        self.asked: list[list[Pair]] = []
        self.started = threading.Event()
        self.go = threading.Event()

    def compare(self, pairs: Sequence[Pair]) -> list[Similarity]:
        self.asked.append(list(pairs))
        self.started.set()
        assert self.go.wait(5)
        return [Similarity(0.5, 7) for _ in pairs]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    judges: list[LocalJudge] = []

    def make(scorer: local.Scorer) -> LocalJudge:
        judges.append(LocalJudge(scorer))
        return judges[-1]

    yield make
    for judge in judges:
        await judge.aclose()


def ask(
    response: str,
    reference: str | None = "the refund takes five days",
    *criteria: Criterion,
    channel: Channel = "tool",
) -> Request[Prompt]:
    question = Question(
        criteria=criteria or (SIMILARITY,), task="t", response=response, reference=reference
    )
    return Request(Prompt(question=question, messages=(), channel=channel))


async def started(scorer: Slow) -> None:
    assert await asyncio.to_thread(scorer.started.wait, 5)


async def test_it_answers_in_data_and_counts_one_call(opened: Open) -> None:
    judge = opened(ChrF())
    request = ask("the refund takes five days")

    completion = await judge(request)

    assert completion.data == {"similarity": 1.0}
    assert completion.text is None
    assert completion.model == judge.model == "embedded/chrf"
    assert completion.usage.calls == 1
    assert request.sent_at > 0


async def test_in_the_text_channel_it_also_says_the_number(opened: Open) -> None:
    completion = await opened(ChrF())(ask("a refund within five days", channel="text"))

    assert completion.data is not None
    assert completion.text == f"{completion.data['similarity']:.4f}"


async def test_several_criteria_in_the_text_channel_are_one_json_object(opened: Open) -> None:
    completion = await opened(ChrF())(ask("x", "x", SIMILARITY, SAFETY, channel="text"))

    assert msgspec.json.decode(completion.text or "") == {"similarity": 1.0, "safety": None}


@pytest.mark.parametrize(
    ("reference", "criterion"), [(None, SIMILARITY), (" ", SIMILARITY), ("x", SAFETY)]
)
@pytest.mark.parametrize("channel", ["tool", "text"])
async def test_what_it_cannot_judge_it_does_not_make_up(
    opened: Open, reference: str | None, criterion: Criterion, channel: Channel
) -> None:
    judge = opened(ChrF())

    completion = await judge(ask("x", reference, criterion, channel=channel))

    assert completion.data == {criterion.name: None}
    assert completion.text is None
    assert judge.statistics().cannot_judge == 1


async def test_it_answers_on_the_scale_of_the_criterion_and_on_its_levels(opened: Open) -> None:
    judge = opened(ChrF())
    wide = Criterion(name="c", description="", minimum=1, maximum=5, needs_reference=True)
    steps = msgspec.structs.replace(wide, levels=(1.0, 3.0, 5.0))

    answers = [await judge(ask(text, "x", wide)) for text in ("x", "")]
    level = await judge(ask("a refund within five days", "refund in five days", steps))

    assert [answer.data for answer in answers] == [{"c": 5.0}, {"c": 1.0}]
    assert (level.data or {})["c"] in steps.levels


@pytest.mark.parametrize("text", ["", ":", " \n", "...", "\u200b"])
async def test_silence_is_a_bad_answer_and_no_failure_whatever_the_model_sees_in_it(
    opened: Open, text: str
) -> None:
    scorer = Slow()
    scorer.go.set()

    assert (await opened(scorer)(ask(text))).data == {"similarity": 0.0}


async def test_samples_that_ask_together_are_judged_together(opened: Open) -> None:
    scorer = Slow()
    scorer.go.set()
    judge = opened(scorer)

    await asyncio.gather(*(judge(ask(f"answer {number}")) for number in range(40)))

    assert [len(batch) for batch in scorer.asked] == [32, 8]
    assert judge.statistics().batches == 2


async def test_a_batch_ends_after_so_many_characters_and_a_text_is_bounded(opened: Open) -> None:
    scorer = Slow()
    scorer.go.set()
    judge = opened(scorer)

    await asyncio.gather(*(judge(ask("x" * 1_000_000)) for _ in range(5)))

    assert [len(batch) for batch in scorer.asked] == [2, 2, 1]
    assert len(scorer.asked[0][0][0]) == MAX_TEXT_CHARS + 1


async def test_no_work_is_spent_on_a_caller_who_has_left(opened: Open) -> None:
    scorer = Slow()
    judge = opened(scorer)
    first = asyncio.create_task(judge(ask("first")))
    await started(scorer)
    gone, stays = (asyncio.create_task(judge(ask(text))) for text in ("gone", "stays"))
    await asyncio.sleep(0)

    gone.cancel()
    scorer.go.set()
    await asyncio.gather(first, stays)

    assert [[response for response, _ in batch] for batch in scorer.asked] == [["first"], ["stays"]]
    assert judge.statistics().dropped == 1
    assert gone.cancelled()


async def test_a_caller_who_leaves_during_the_work_harms_nobody(opened: Open) -> None:
    scorer = Slow()
    judge = opened(scorer)
    gone, stays = (asyncio.create_task(judge(ask(text))) for text in ("gone", "stays"))
    await started(scorer)

    gone.cancel()
    scorer.go.set()

    assert (await stays).usage.input_tokens == 7
    assert gone.cancelled()


async def test_a_model_that_breaks_is_unavailable_for_its_batch_only(opened: Open) -> None:
    class Broken(ChrF):
        def compare(self, pairs: Sequence[Pair]) -> list[Similarity]:
            if any(response == "break" for response, _ in pairs):
                raise RuntimeError("inside the runtime")
            return super().compare(pairs)

    judge = opened(Broken())

    with pytest.raises(Unavailable, match="RuntimeError") as problem:
        await judge(ask("break"))
    assert isinstance(problem.value, CallError)
    assert (await judge(ask("x", "x"))).data == {"similarity": 1.0}


async def test_closing_refuses_who_waits_ends_the_thread_and_refuses_who_comes() -> None:
    scorer = Slow()
    judge = LocalJudge(scorer)
    inside = asyncio.create_task(judge(ask("inside")))
    await started(scorer)
    waits = asyncio.create_task(judge(ask("waits")))
    await asyncio.sleep(0)

    closing = asyncio.create_task(judge.aclose())
    with pytest.raises(Unavailable):
        await waits
    scorer.go.set()
    await closing

    assert isinstance(await inside, Completion)
    assert not any(thread.name.startswith("embedded-judge") for thread in threading.enumerate())
    with pytest.raises(Unavailable):
        await judge(ask("late"))
    await judge.aclose()


async def test_without_the_extra_it_says_so_once_and_compares_by_characters(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(local, "missing_packages", lambda: ["onnxruntime"])

    with caplog.at_level(logging.WARNING, "judge_service"):
        judge = LocalJudge.load()

    assert [record.name for record in caplog.records] == ["judge_service"]
    assert "onnxruntime" in caplog.text
    assert "fallback" in repr(judge)
    assert "chrF" in judge.shortcoming
    await judge.aclose()


async def test_statistics_and_repr_agree(opened: Open) -> None:
    judge = opened(ChrF())
    await asyncio.gather(*(judge(ask(str(number))) for number in range(3)))

    said = judge.statistics()

    assert (said.answered, said.batches, said.waiting, said.dropped) == (3, 1, 0, 0)
    assert "3 answered in 1 batches, 0 waiting" in repr(judge)


async def test_chrf_gives_the_same_score_in_any_company(opened: Open) -> None:
    judge = opened(ChrF())
    texts = [f"answer {number} of {number % 5} days" for number in range(50)]
    alone = {text: (await judge(ask(text))).data for text in texts}

    random.Random(1).shuffle(texts)
    together = await asyncio.gather(*(judge(ask(text)) for text in texts))

    assert [alone[text] for text in texts] == [completion.data for completion in together]
