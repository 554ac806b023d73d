from typing import Any

import pytest

from judge_service.errors import WireError
from judge_service.values import Message
from judge_service.wire import Answer, Metric
from judge_service.wire.trainers.slime import decode_slime, encode_slime


@pytest.mark.parametrize("prompt", ["2 + 2?", [{"role": "user", "content": "2 + 2?"}]])
def test_a_prompt_is_text_or_messages(prompt: Any) -> None:
    sample = decode_slime({"prompt": prompt, "response": "4", "label": "four"})

    assert sample.messages == (Message("user", "2 + 2?"),)
    assert (sample.response, sample.reference) == ("4", "four")


def test_an_empty_response_is_a_bad_answer_and_no_label_is_no_reference() -> None:
    sample = decode_slime({"prompt": "2 + 2?", "response": "", "label": None})

    assert (sample.response, sample.reference) == ("", None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "$"),
        ({"prompt": "p"}, "$"),
        ({"response": "r"}, "$"),
        ({"prompt": 1, "response": "r"}, "$.prompt"),
        ({"prompt": "p", "response": {}}, "$.response"),
    ],
)
def test_a_wrong_body_is_refused_with_its_place(body: Any, field: str) -> None:
    with pytest.raises(WireError) as refused:
        decode_slime(body)

    assert refused.value.field == field


def test_the_score_is_where_the_reward_key_looks_whatever_a_criterion_is_called() -> None:
    metrics = (Metric("score", 0.1, "Reward"), Metric("unscored", 0.0, "Metric"))

    assert encode_slime(Answer(id=None, score=0.7, metrics=metrics)) == {
        "score": 0.7,
        "judge_failed": 0.0,
    }
