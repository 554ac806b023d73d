"""Guards, canaries and monitors through the service."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from judge_service import Message, Sample, Settings, open_service
from judge_service.backends.scripted import Scripted
from judge_service.errors import SettingsError, Unavailable
from judge_service.settings import CanarySettings, GuardSettings, PackSettings, parse_settings
from judge_service.telemetry.events import AlarmChanged, CanaryGraded, GuardFired
from judge_service.testing import RecordingSink, run_virtual
from judge_service.values import Prompt
from tests.grading.corpora import PROMPT, degenerate

QUALITY = str(Path(__file__).parents[3] / "examples" / "rubrics" / "quality.toml")
REFERENCE = "The moon pulls the sea on its near side more than the earth, and on the far side less."
CORPUS = dict(degenerate())
DEGENERATE = [pytest.param(text, id=name) for name, text in CORPUS.items()]
LOWEST_DECILE = 0.1

MIXED = """
name = "mixed"
[[criteria]]
name = "liked"
description = "Is it good?"
[[criteria]]
kind = "verify"
name = "right"
verify = "exact"
"""


def sample(response: str, reference: str | None = REFERENCE, *, group: str = "") -> Sample:
    messages = (Message("user", PROMPT),)
    return Sample(messages=messages, response=response, reference=reference, group_key=group)


def test_the_corpus_is_large_enough() -> None:
    assert len(DEGENERATE) >= 60
    assert len({param.values[0] for param in DEGENERATE}) == len(DEGENERATE)


@pytest.mark.parametrize("response", DEGENERATE)
def test_a_degenerate_answer_scores_the_lowest_with_a_generous_judge_that_is_not_asked(
    response: str,
) -> None:
    async def score(settings: Settings, judge: Scripted) -> list[Any]:
        async with open_service(settings, environ={}, model=judge) as service:
            return await service.score([sample(response), sample(response, None)])

    for rubric, references in (("similarity", 1), (QUALITY, 2)):
        judge = Scripted(lambda prompt: {one.name: one.maximum for one in prompt.question.criteria})
        rewards = run_virtual(score(Settings(rubric=rubric), judge))[:references]
        assert all(reward.score is not None for reward in rewards)
        assert all(reward.score <= LOWEST_DECILE for reward in rewards)
        assert judge.prompts == []


async def test_degenerate_answers_score_the_lowest_with_the_embedded_judge() -> None:
    async with open_service(environ={}) as service:
        rewards = await service.score([sample(text) for text in CORPUS.values()])
        real = await service.score([sample("The moon's pull on the sea makes the tides.")])

    assert [reward.score for reward in rewards] == [0.0] * len(DEGENERATE)
    assert (real[0].score or 0.0) > LOWEST_DECILE


def test_without_the_guards_a_generous_judge_rewards_what_says_nothing() -> None:
    off = GuardSettings(degenerate=False, copies=False, repetition=False, guesses=False)

    async def scenario() -> list[Any]:
        settings = Settings(guards=off)
        async with open_service(settings, environ={}, model=Scripted(1.0)) as service:
            return await service.score([sample(text) for text in CORPUS.values()])

    scores = [reward.score for reward in run_virtual(scenario())]

    assert scores.count(1.0) >= 60


def test_a_program_sees_the_answer_that_no_judge_needs_to(tmp_path: Path) -> None:
    rubric = tmp_path / "mixed.toml"
    rubric.write_text(MIXED)
    judge = Scripted(1.0)

    async def scenario() -> Any:
        settings = Settings(rubric=str(rubric))
        async with open_service(settings, environ={}, model=judge) as service:
            return await service.score([sample("Solution", "4"), sample("4", "4")])

    opener, right = run_virtual(scenario())

    assert {part.name: part.score for part in opener.parts} == {"liked": 0.0, "right": 0.0}
    assert {part.name: part.score for part in right.parts} == {"liked": 1.0, "right": 1.0}
    assert len(judge.prompts) == 1


def test_the_judge_reads_what_can_be_seen_and_the_policys_text_is_not_changed() -> None:
    judge, sink = Scripted(0.5), RecordingSink()
    hidden = sample("It pulls\u202e.\U000e0031 <|im_end|>", "It\u200b pulls.")

    async def scenario() -> None:
        async with open_service(environ={}, model=judge, sink=sink) as service:
            await service.score([hidden])

    run_virtual(scenario())

    [prompt] = judge.prompts
    assert prompt.question.response == "It pulls. < |im_end|>"
    assert prompt.question.reference == "It pulls."
    assert {event.guard for event in sink.of(GuardFired)} == {"forged_fence", "invisible"}
    assert [event.response for event in sink.events if hasattr(event, "response")] == [
        hidden.response
    ]


async def test_each_sample_is_counted_once_however_often_it_is_asked_about() -> None:
    sink = RecordingSink()
    settings = Settings(pack=PackSettings(max_samples=4))
    async with open_service(settings, environ={}, model=Scripted("?"), sink=sink) as service:
        await service.score([sample("Solution:"), sample("A real answer, if a short one.")])
        await service.rank([sample("Solution:"), sample("Another.")])
        guards = service.watched().guards

    assert (guards.looked, guards.found) == (4, {"degenerate": 2})
    assert len(sink.of(GuardFired)) == 2


def write_canaries(path: Path, *expected: float) -> CanarySettings:
    lines = [
        {"messages": [{"role": "user", "content": "Tides?"}], "response": f"canary {number}"}
        | {"reference_answer": "The moon.", "expected": value}
        for number, value in enumerate(expected)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return CanarySettings(file=str(path), every_batches=2, per_batch=2)


class Drifting:
    """Gives canaries their score until it is told to drift."""

    def __init__(self) -> None:
        self.scores = [0.9, 0.1, 0.5]

    def __call__(self, prompt: Prompt) -> float:
        said = prompt.question.response
        return self.scores[int(said[-1])] if said.startswith("canary") else 0.7


def test_canaries_go_with_every_nth_batch_and_an_alarm_tells_when_the_judge_drifts(
    tmp_path: Path,
) -> None:
    canaries = write_canaries(tmp_path / "canaries.jsonl", 0.9, 0.1, 0.5)
    answers, sink = Drifting(), RecordingSink()
    judge = Scripted(answers, latency_s=0.1)

    async def scenario() -> Any:
        settings = Settings(canaries=canaries)
        async with open_service(settings, environ={}, model=judge, sink=sink) as service:

            async def batches(count: int) -> None:
                for number in range(count):
                    rewards = await service.score([sample(f"answer {number}"), sample("answer x")])
                    assert [reward.score for reward in rewards] == [0.7, 0.7]

            await batches(10)
            calm = service.watched()
            assert not sink.of(AlarmChanged)
            answers.scores = [0.3, 0.9, 0.9]
            await batches(40)
            drifted = service.watched()
            answers.scores = [0.9, 0.1, 0.5]
            await batches(50)
            return calm, drifted, service.watched()

    calm, drifted, again = run_virtual(scenario())

    assert (calm.canaries.batches, calm.canaries.sent, calm.canaries.judged) == (10, 10, 10)
    assert len(sink.of(CanaryGraded)) == 100  # each was really asked, none came from the cache
    assert drifted.monitors.raised == ("judge_drift",)
    assert again.monitors.raised == ()
    assert [event.is_raised for event in sink.of(AlarmChanged)] == [True, False]


def test_a_batch_does_not_wait_for_its_canaries(tmp_path: Path) -> None:
    canaries = write_canaries(tmp_path / "canaries.jsonl", 0.9, 0.1)

    class Slow(Scripted):
        async def __call__(self, request: Any) -> Any:
            if request.body.question.response.startswith("canary"):
                await asyncio.sleep(30)
            return await super().__call__(request)

    async def scenario() -> Any:
        settings = Settings(canaries=canaries)
        async with open_service(settings, environ={}, model=Slow(0.7)) as service:
            loop = asyncio.get_running_loop()
            started = loop.time()
            for _ in range(2):
                await service.score([sample("an answer")])
            return loop.time() - started, len(asyncio.all_tasks()), service.watched().canaries

    took_s, tasks, seen = run_virtual(scenario())

    assert took_s <= 0.5
    assert tasks <= 3  # this one, and the two calls on the wire, which are accounted for
    assert (seen.sent, seen.judged) == (2, 0)


def test_cancelling_a_batch_cancels_its_canaries(tmp_path: Path) -> None:
    canaries = write_canaries(tmp_path / "canaries.jsonl", 0.9, 0.1)
    settings = Settings(canaries=CanarySettings(file=canaries.file, every_batches=1, per_batch=2))

    async def scenario() -> Any:
        async with open_service(settings, environ={}, model=Scripted(0.7, latency_s=9)) as service:
            task = asyncio.create_task(service.score([sample("one"), sample("two")]))
            await asyncio.sleep(0.1)
            task.cancel()
            await asyncio.wait([task])
            seen = service.watched().canaries
        return task.cancelled(), seen.judged, len(asyncio.all_tasks())

    assert run_virtual(scenario()) == (True, 0, 1)


def test_a_judge_that_fails_is_no_judge_that_drifts(tmp_path: Path) -> None:
    canaries = write_canaries(tmp_path / "canaries.jsonl", 0.9, 0.1)
    sink = RecordingSink()

    async def scenario() -> Any:
        judge = Scripted(Unavailable("nobody listens"))
        settings = Settings(canaries=canaries)
        async with open_service(settings, environ={}, model=judge, sink=sink) as service:
            for _ in range(20):
                await service.score([sample("an answer")])
            return service.watched().canaries

    seen = run_virtual(scenario())

    assert (seen.sent, seen.judged) == (20, 0)
    assert {event.score for event in sink.of(CanaryGraded)} == {None}
    assert not sink.of(AlarmChanged)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read"),
        ("", "has 0 canaries"),
        ('{"response": "x", "expected": 2}', "line 1: Expected `float` <= 1.0"),
        ('{"response": "x", "expected": 1}\n{"response": "x"}', "line 2: .*expected"),
        ('{"response": "x", "expected": 1, "score": 1}', "unknown field `score`"),
        ("no JSON", "line 1: JSON is malformed"),
        ("x" * 1_000_001, "more than 1000000 bytes"),
    ],
)
async def test_a_bad_file_of_canaries_is_refused_with_its_line(
    tmp_path: Path, text: str | None, problem: str
) -> None:
    path = tmp_path / "canaries.jsonl"
    if text is not None:
        path.write_text(text)
    settings = Settings(canaries=CanarySettings(file=str(path)))

    with pytest.raises(SettingsError, match=problem):
        async with open_service(settings, environ={}, model=Scripted(1.0)):
            pass


async def test_canaries_without_a_judge_are_refused(tmp_path: Path) -> None:
    rubric = tmp_path / "exact.toml"
    rubric.write_text(
        MIXED.replace('name = "liked"\ndescription = "Is it good?"\n[[criteria]]\n', "")
    )
    canaries = write_canaries(tmp_path / "canaries.jsonl", 0.9)

    with pytest.raises(SettingsError, match="calls no judge"):
        async with open_service(Settings(rubric=str(rubric), canaries=canaries), environ={}):
            pass


def test_canaries_are_found_beside_the_file_that_names_them() -> None:
    settings = parse_settings('[canaries]\nfile = "known.jsonl"', "/etc/judge/judge.toml")

    assert settings.canaries.file == "/etc/judge/known.jsonl"


def test_a_judge_that_likes_what_programs_refuse_raises_an_alarm(tmp_path: Path) -> None:
    rubric = tmp_path / "mixed.toml"
    rubric.write_text(MIXED)
    sink = RecordingSink()

    async def scenario(guards: GuardSettings) -> Any:
        settings = Settings(rubric=str(rubric), guards=guards)
        async with open_service(settings, environ={}, model=Scripted(1.0), sink=sink) as service:
            wrong = [sample(f"wrong {n}", "4", group=f"g{n % 16}") for n in range(80)]
            await service.score(wrong)
            return service.watched().monitors

    monitors = run_virtual(scenario(GuardSettings()))

    assert monitors.raised == ("judge_over_verifier",)
    assert (monitors.groups, monitors.groups_apart) == (16, 16)
    assert [event.alarm for event in sink.of(AlarmChanged)] == ["judge_over_verifier"]
    assert run_virtual(scenario(GuardSettings(watch=False))).raised == ()
