"""What is decided before anybody is asked: pictures, a row's own rubric, blank answers, all of them alike for
judges and for verifiers."""

import json
import logging
from typing import Any

import pytest

from judge_service import Settings, open_service
from judge_service.backends.scripted import Scripted
from judge_service.grading import load_rubric
from judge_service.grading.outright import own_rubric
from judge_service.testing import run_virtual
from judge_service.values import Reward, Sample
from judge_service.wire.rows import decode_row

PLAIN = """
name = "plain"
[[criteria]]
name = "good"
description = "Is it good?"
"""
NEEDY = f"{PLAIN}needs_reference = true\n"
VERIFIED = """
[[criteria]]
kind = "verify"
name = "right"
verify = "exact"
"""
SHAPED = "[shaping.length]\nmin_chars = 1\nmax_chars = 200\n"
TASKLESS = """
name = "taskless"
user = \"\"\"{{response}}{{reference}}{{criteria}}{{answer}}\"\"\"
[[criteria]]
name = "good"
description = "Is it good?"
"""

PICTURES = [
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    {"type": "input_image", "image_url": "https://example.com/a.png"},
    {"type": "image", "source": {"type": "base64", "data": "AAAA"}},
    {"image": {"format": "png", "source": {"bytes": "AAAA"}}},
    {"type": "image"},
]


def judged(rubric: str, *samples: Sample, **more: Any) -> tuple[list[Reward], Scripted]:
    judge = Scripted(lambda prompt: 0.25)

    async def scenario() -> list[Reward]:
        async with open_service(
            Settings(rubric=rubric, **more), environ={}, model=judge
        ) as service:
            return await service.score(samples)

    return run_virtual(scenario()), judge


def row(prompt: Any = "What is it?", answer: Any = "A cat.", **more: Any) -> Sample:
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return decode_row({"messages": turns, **more})


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("words", [[], [text("Look:")]])
@pytest.mark.parametrize("rubric", [PLAIN, PLAIN + VERIFIED, f'name = "v"\n{VERIFIED}'])
def test_an_answer_with_a_picture_is_never_scored_unseen(
    rubric: str, words: list[Any], picture: Any
) -> None:
    [reward], judge = judged(rubric, row(answer=[*words, picture], reference="cat"))
    assert (reward.score, reward.reason) == (None, "cannot_judge")
    assert reward.detail == "only text is judged here, and the response holds more: image"
    assert judge.prompts == []


@pytest.mark.parametrize("picture", PICTURES)
def test_a_prompt_with_a_picture_is_not_judged_by_who_does_not_see_it(picture: Any) -> None:
    [reward], judge = judged(PLAIN, row(prompt=[picture, text("What is it?")]))
    assert (reward.score, reward.reason) == (None, "cannot_judge")
    assert "the prompt holds more: image" in reward.detail
    assert judge.prompts == []


@pytest.mark.parametrize(
    ("more", "modality"),
    [
        ({"images": [{"bytes": "AAAA"}]}, "image"),
        ({"videos": ["a.mp4"]}, "video"),
        ({"multi_modal_data": {"image": ["a.png"]}}, "image"),
    ],
)
def test_a_column_of_pictures_belongs_to_the_prompt(more: Any, modality: str) -> None:
    [reward], _ = judged(PLAIN, row(prompt="<image>What is it?", **more))
    assert reward.reason == "cannot_judge"
    assert f"the prompt holds more: {modality}" in reward.detail


@pytest.mark.parametrize("more", [{"images": []}, {"images": None}, {"image": "python:3.12"}])
def test_an_empty_column_and_the_name_of_a_container_are_no_pictures(more: Any) -> None:
    [reward], _ = judged(PLAIN, row(**more))
    assert reward.score == 0.25


@pytest.mark.parametrize("rubric", [TASKLESS, f'name = "v"\n{VERIFIED}'])
def test_a_picture_that_nobody_would_be_shown_costs_no_row(rubric: str) -> None:
    [reward], _ = judged(rubric, row(prompt=[PICTURES[0]], reference="A cat."))
    assert reward.score is not None


def test_an_audio_answer_is_not_a_blank_one() -> None:
    [reward], _ = judged(PLAIN, row(answer=[{"type": "input_audio", "input_audio": {}}]))
    assert (reward.score, reward.reason) == (None, "cannot_judge")


OWN = [
    ({"rubrics": [{"criterion": "Names a cat", "points": 5, "tags": []}]}, "rubrics"),
    ({"rubrics": [{"description": "Names a cat", "weight": -1, "title": "cat"}]}, "rubrics"),
    ({"rubric_items": [{"rubric_str": "Names a cat", "extraction_regex": "x"}]}, "rubric_items"),
    ({"rubric": "Does the answer name a cat?"}, "rubric"),
    ({"rubric": {"cat": "named"}}, "rubric"),
    ({"extra_info": {"rubrics": ["Names a cat"]}}, "extra_info.rubrics"),
    ({"reward_model": {"rubric": "Names a cat, or two"}}, "reward_model.rubric"),
    ({"ground_truth": json.dumps({"query": "?", "rubrics": [{"title": "cat"}]})}, "ground_truth"),
    ({"ground_truth": {"query": "?", "rubrics": [{"title": "cat"}]}}, "ground_truth"),
]


@pytest.mark.parametrize(("columns", "told"), OWN)
@pytest.mark.parametrize("rubric", [PLAIN, PLAIN + SHAPED, f'name = "v"\n{VERIFIED}'])
@pytest.mark.parametrize("answer", ["A cat.", ""])
def test_a_rows_own_rubric_is_not_ignored(
    rubric: str, columns: dict[str, Any], told: str, answer: str
) -> None:
    [reward], judge = judged(rubric, row(answer=answer, **columns))
    assert (reward.score, reward.reason) == (None, "cannot_judge")
    assert f"a rubric of its own in `{told}`" in reward.detail
    assert judge.prompts == []


@pytest.mark.parametrize(
    "columns",
    [
        {"rubric": "plain"},
        {"rubric": "https://example.com/rubric"},
        {"rubric": ""},
        {"rubrics": []},
        {"rubric": None},
        {"ground_truth": '{"cat": 1}'},
        {"ground_truth": '{"rubrics": [}'},
        {"ground_truth": "[" * 100_000},
        {"extra_info": "rubrics"},
        {"other": {"rubrics": ["x"]}},
    ],
)
def test_a_label_an_empty_column_and_a_reference_are_no_rubric(columns: dict[str, Any]) -> None:
    assert own_rubric(row(**columns), load_rubric(PLAIN)) == ""


@pytest.mark.parametrize("answer", ["", " \n", "\u200b"])
@pytest.mark.parametrize("rubric", [NEEDY, NEEDY + VERIFIED, NEEDY + SHAPED])
def test_a_blank_answer_without_its_reference_is_the_same_for_every_rubric(
    rubric: str, answer: str
) -> None:
    [without], _ = judged(rubric, row(answer=answer))
    [beside], _ = judged(rubric, row(answer=answer, reference="cat"))
    assert (without.score, without.reason) == (None, "no_reference")
    assert (beside.score, beside.reason) == (0.0, None)


@pytest.mark.parametrize("rubric", [PLAIN, PLAIN + VERIFIED, PLAIN + SHAPED])
def test_a_blank_answer_that_needs_no_reference_is_a_bad_answer(rubric: str) -> None:
    [reward], _ = judged(rubric, row(answer=""))
    assert (reward.score, reward.detail) == (0.0, "empty answer")


def test_rows_that_are_left_out_are_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "judge_service"):
        judged(PLAIN, *[row(**OWN[0][0]) for _ in range(5)], row(answer=[PICTURES[0]]))
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "a rubric of its own in `rubrics`" in told[0]
