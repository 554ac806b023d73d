from typing import Any

import pytest

from judge_service.errors import WireError
from judge_service.wire import Answer, Metric
from judge_service.wire.trainers.openrlhf import decode_openrlhf, encode_openrlhf, response_of

PROMPT = (
    "<|im_start|>user\nHow much is two and two, when both are even numbers?<|im_end|>\n"
    "<|im_start|>assistant\n"
)


@pytest.mark.parametrize(
    ("query", "response"),
    [
        (PROMPT + "four<|im_end|>", "four"),
        (PROMPT + "four<|im_end|>\n<|endoftext|>", "four"),
        (PROMPT + "four</s>", "four"),
        ("<s>" + PROMPT + "four", "four"),
        (PROMPT, ""),
        (PROMPT + "a <|tag|> inside", "a <|tag|> inside"),
        (PROMPT[9:] + "four", "four"),
        ("another text: four", "another text: four"),
    ],
    ids=["end token", "two", "sentencepiece", "bos", "empty", "inside", "shortened", "unknown"],
)
def test_the_response_is_what_stands_behind_the_prompt(query: str, response: str) -> None:
    assert response_of(query, PROMPT) == response


@pytest.mark.parametrize("before", [PROMPT, PROMPT[9:], "a prompt that was not given back. "])
def test_a_response_that_repeats_the_prompt_hides_nothing(before: str) -> None:
    response = response_of(before + "nonsense " * 20 + PROMPT + "four", PROMPT)

    assert "nonsense" in response


def test_rows_of_one_prompt_are_a_group_and_an_empty_label_is_none() -> None:
    first, second, third = decode_openrlhf(
        {"query": ["p a", "p b", "q a"], "prompts": ["p", "p", "q"], "labels": ["x", "", None]}
    )

    assert first.group_key == second.group_key != third.group_key
    assert [one.reference for one in (first, second, third)] == ["x", None, None]
    assert decode_openrlhf({"query": ["p a"], "prompts": ["p"]})[0].reference is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "$"),
        ({}, "$.query"),
        ({"query": ["a"]}, "$.prompts"),
        ({"query": ["a"], "prompts": []}, "$.prompts"),
        ({"query": ["a"], "prompts": ["a"], "labels": ["x", "y"]}, "$.labels"),
        ({"query": [1], "prompts": ["a"]}, "$.query[0]"),
        ({"query": ["a"], "prompts": [None]}, "$.prompts[0]"),
    ],
)
def test_a_wrong_body_is_refused_with_its_place(body: Any, field: str) -> None:
    with pytest.raises(WireError) as refused:
        decode_openrlhf(body)

    assert refused.value.field == field


def test_scores_stay_between_zero_and_one_whatever_the_wire_range() -> None:
    metrics = (Metric("style", -0.5, "Reward"), Metric("unscored", 1.0, "Metric"))

    reply = encode_openrlhf([Answer(id=None, score=-0.5, metrics=metrics, unscored=True)], low=-1.0)

    assert reply == {
        "rewards": [-0.5],
        "scores": [0.25],
        "extra_logs": {"style": [-0.5], "judge_failed": [1.0]},
    }


def test_no_queries_are_a_reply_without_rewards() -> None:
    assert encode_openrlhf([], low=0.0) == {
        "rewards": [],
        "scores": [],
        "extra_logs": {"judge_failed": []},
    }
