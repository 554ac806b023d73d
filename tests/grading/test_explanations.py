"""The judge's written reason: asked for before the verdict, and kept beside the reward."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from judge_service.backends.scripted import Answer, Scripted
from judge_service.grading.groups.pack_prompt import entries_schema
from judge_service.grading.prompting.answer import answer_schema, describe_answer
from judge_service.grading.prompting.explanation import MAX_CHARS, legible
from judge_service.grading.rubric.rubric import load_rubric
from judge_service.service import open_service
from judge_service.settings import Settings
from judge_service.telemetry.emf import Emf
from judge_service.telemetry.events import SampleGraded
from judge_service.telemetry.lines import Lines
from judge_service.telemetry.logs import Logs
from judge_service.values import Channel, Prompt, Reward, Sample

BRIEF = """
name = "brief"
reasoning = "brief"
[[criteria]]
name = "quality"
description = "How good is it?"
[[criteria]]
name = "depth"
description = "How deep is it?"
"""
NONE = BRIEF.replace('"brief"\n[[', '"none"\n[[', 1)
SAYS = "It names the sum, and nothing else."
SAMPLES = [Sample(id=n, response=f"four, {n}", group_key="g") for n in range(2)]


async def rewards_of(
    answers: Answer | Sequence[Answer] | Callable[[Prompt], Answer],
    samples: Sequence[Sample] = SAMPLES[:1],
    *,
    rubric: str = BRIEF,
    **settings: Any,
) -> list[Reward]:
    given = {"backend": "bedrock", "model": "m", "rubric": rubric, **settings}
    async with open_service(msgspec.convert(given, Settings), model=Scripted(answers)) as judge:
        return await judge.score(samples)


SCORES = {"quality": 1, "depth": 0}
WHOLE = {"reason": SAYS, **SCORES}
OBJECT = json.dumps(SCORES)


@pytest.mark.parametrize(
    ("channel", "answer"),
    [
        ("schema", WHOLE),
        ("tool", WHOLE),
        ("text", f"{SAYS}\n{OBJECT}"),
        ("text", f"\n {SAYS}\n\n```json\n{OBJECT}\n```"),
        ("text", json.dumps(WHOLE)),
        ("text", f"Some words.\n{json.dumps(WHOLE)}"),
    ],
)
async def test_the_reason_is_kept_whatever_the_channel(channel: Channel, answer: Answer) -> None:
    [reward] = await rewards_of(answer, answer=channel)

    assert reward.score == 0.5
    assert reward.explanation == SAYS


@pytest.mark.parametrize("reason", [5, None, ["a"], {}, ""])
async def test_a_reason_that_is_no_text_is_none_and_the_verdict_stands(reason: Any) -> None:
    [reward] = await rewards_of({"reason": reason, **SCORES}, answer="tool")

    assert (reward.score, reward.explanation) == (0.5, "")


async def test_nothing_is_kept_or_computed_where_no_reason_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compute(_text: Any) -> str:
        raise AssertionError("computed")

    monkeypatch.setattr("judge_service.grading.prompting.explanation.legible", compute)
    for channel, answer in (("schema", OBJECT), ("text", f"{SAYS}\n{OBJECT}")):
        [reward] = await rewards_of(answer, rubric=NONE, answer=channel)
        assert (reward.score, reward.explanation) == (0.5, "")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("one\nline\t of  text ", "one line of text"),
        ("\x1b[31mred\x07\x00", "[31mred"),
        ("right\u202eleft\u200b\ud800.", "right left ."),
        ("é" * MAX_CHARS, "é" * MAX_CHARS),
        ("x" * (MAX_CHARS + 1), "x" * (MAX_CHARS - 1) + "…"),
        ("\n" * 1_000_000 + "late", "…"),
        (None, ""),
    ],
)
def test_what_is_kept_is_one_bounded_printable_line(said: Any, kept: str) -> None:
    assert legible(said) == kept


def test_the_reason_is_asked_for_before_the_verdict_in_every_channel() -> None:
    rubric = load_rubric(BRIEF)

    assert next(iter(answer_schema(rubric)["properties"])) == "reason"
    assert answer_schema(rubric)["required"][0] == "reason"
    entry = entries_schema(rubric)["properties"]["verdicts"]["items"]
    assert list(entry["properties"]) == ["ID", "reason", "quality", "depth"]
    for channel in ("schema", "tool", "text"):
        told = describe_answer(rubric, channel).lower()
        assert 0 <= told.index("reason") < told.index("quality"), channel


def entries(prompt: Prompt, reason: Callable[[int], str], score: Callable[[int], float]) -> Answer:
    labels = getattr(prompt, "labels", ())
    found = [
        {"ID": label, "reason": reason(n), "quality": score(n), "depth": score(n)}
        for n, label in enumerate(labels)
    ]
    return {"verdicts": found} if labels else {"reason": "alone", "quality": 1, "depth": 1}


async def test_each_sample_of_a_pack_has_its_own_reason() -> None:
    def answer(prompt: Prompt) -> Answer:
        return entries(prompt, lambda n: f"reason {n}", lambda n: n / 2)

    found = await rewards_of(answer, SAMPLES, pack={"max_samples": 2})

    assert {reward.explanation for reward in found} == {"reason 0", "reason 1"}
    assert all(reward.explanation == f"reason {2 * (reward.score or 0):g}" for reward in found)


async def test_a_comparison_has_the_reasons_of_both_orders() -> None:
    def answer(prompt: Prompt) -> Answer:
        return entries(prompt, lambda n: f"of {n}", lambda n: n / 2)

    rubric = BRIEF.replace('name = "brief"', 'name = "brief"\ncompare = "group"', 1)
    found = await rewards_of(answer, SAMPLES, rubric=rubric)

    assert sorted(reward.explanation for reward in found) == [
        "(order 1) of 0 (order 2) of 0",
        "(order 1) of 1 (order 2) of 1",
    ]


async def test_a_vote_has_the_reason_nearest_to_the_outcome_and_says_whose() -> None:
    votes = [{"reason": f"opinion {n}", "quality": n, "depth": n} for n in (0, 1, 0.5)]
    found = await rewards_of(votes, vote={"draws": 3}, temperature=1.0)

    assert found[0].score == 0.5
    assert found[0].explanation == "(opinion 3 of 3: 0.5) opinion 0.5"


async def test_several_judges_are_told_apart() -> None:
    rubric = (
        BRIEF
        + 'reasoning = "none"\n'
        + """
[[criteria]]
name = "tone"
description = "How friendly is it?"
system = "You judge the tone."
[[criteria]]
name = "has_four"
kind = "verify"
verify = "regex"
options = { pattern = "four" }
"""
    )

    def answer(prompt: Prompt) -> Answer:
        names = [criterion.name for criterion in prompt.question.criteria]
        scores: Mapping[str, Any] = dict.fromkeys(names, 1)
        return dict(scores) if names == ["depth"] else {"reason": f"of {names[0]}", **scores}

    [reward] = await rewards_of(answer, rubric=rubric)

    assert reward.score == 1.0
    assert reward.explanation == "(quality) of quality (tone) of tone"


def test_the_log_has_it_only_when_that_was_asked_for_and_the_metrics_never() -> None:
    reward = Reward(score=0.5, explanation="because\x1b of it")
    event = SampleGraded(id=1, reward=reward, duration_s=0.1)
    written: dict[bool, bytes] = {}
    for explanations in (False, True):
        blocks: list[bytes] = []
        lines = Lines(blocks.append)
        emf = Emf(lines, namespace="n", dimensions={"Service": "s"}, lowest=0.0)
        emf(event)
        emf.flush()
        Logs(lines, explanations=explanations)(event)
        lines.flush()
        written[explanations] = b"".join(blocks)

    assert b"because" not in written[False]
    [line] = [json.loads(one) for one in written[True].splitlines() if b"because" in one]
    assert (line["message"], line["explanation"]) == ("sample", "because  of it")
