"""Log probabilities of a reply become the probabilities of each number's alternatives."""

from math import log
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.backends.chat.token_choices import MAX_CHOICES, Token, choices_of
from judge_service.values import TokenChoice


def tokens(*spelled: Any) -> list[Token]:
    """Each a text, or a text with the probabilities of its alternatives."""
    raw = []
    for one in spelled:
        text, likely = one if isinstance(one, tuple) else (one, {})
        top = [{"token": other, "logprob": log(share)} for other, share in likely.items()]
        raw.append({"token": text, "logprob": log(likely.get(text, 0.5)), "top_logprobs": top})
    return read(raw)


def read(raw: Any) -> list[Token]:
    return msgspec.json.Decoder(list[Token]).decode(msgspec.json.encode(raw))


def test_only_numbers_are_kept_with_the_numbers_in_their_place() -> None:
    found = choices_of(tokens('{"', "é", '":', (" 4", {" 4": 0.75, " 3": 0.125, " x": 0.125}), "}"),
                       '{"é": 4}')  # fmt: skip

    assert found == (TokenChoice(5, " 4", {" 4": pytest.approx(0.75), " 3": pytest.approx(0.125)}),)


def test_a_token_outside_of_the_likeliest_has_its_own_probability() -> None:
    (found,) = choices_of(tokens(("4", {"5": 0.5, "3": 0.25})), "4")

    assert found.probabilities == pytest.approx({"5": 0.5, "3": 0.25, "4": 0.5})


def test_two_tokens_of_one_text_are_one_alternative() -> None:
    top = [{"token": "4", "logprob": log(0.5)}, {"token": "4", "logprob": log(0.25)}]
    (token,) = read([{"token": "4", "logprob": log(0.5), "top_logprobs": top}])

    assert choices_of([token], "4")[0].probabilities == pytest.approx({"4": 0.75})


def test_reasoning_before_the_text_and_a_mark_after_it_are_left_out() -> None:
    found = choices_of(tokens("5", " or ", "4", "</think>", "\n", "4", "<|im_end|>"), "4")

    assert [(choice.start, choice.text) for choice in found] == [(0, "4")]


@pytest.mark.parametrize(
    ("spelled", "text"),
    [
        (["4", " or", " 5"], "4"),  # a number after the text
        (["token_id:220", "token_id:19"], "4"),
        (["5"], "4"),
        ([], "4"),
        (["4"], ""),
    ],
)
def test_tokens_that_are_not_the_texts_say_nothing(spelled: Any, text: str) -> None:
    assert choices_of(tokens(*spelled), text) == ()


def test_half_a_character_is_spelled_by_its_bytes() -> None:
    first, second = "é".encode()
    halves = [{"token": "\ufffd", "bytes": [first]}, {"token": r"bytes:\xa9", "bytes": [second]}]

    assert [choice.start for choice in choices_of(read([*halves, {"token": "4"}]), "é4")] == [1]


@pytest.mark.parametrize("broken", [{"bytes": [256]}, {"bytes": "x"}, {"bytes": [-1]}, {}])
def test_half_a_character_that_is_not_spelled_is_not_guessed(broken: Any) -> None:
    assert choices_of(read([{"token": "\ufffd", **broken}, {"token": "4"}]), "é4") == ()


@pytest.mark.parametrize("broken", ["x", [{"logprob": 1}], [{"token": 4}], {"4": 0.5}])
def test_alternatives_in_a_form_of_their_own_leave_nothing_to_weigh(broken: Any) -> None:
    (found,) = choices_of(read([{"token": "4", "logprob": 0.0, "top_logprobs": broken}]), "4")

    assert found.probabilities == {}


def test_what_is_kept_is_bounded() -> None:
    found = choices_of(tokens(*["1", " "] * 1000), "1 " * 1000)

    assert len(found) == MAX_CHOICES
    assert found[-1].start == 1998


PIECES = st.lists(st.text(st.sampled_from(' 0123456789ab{}":é\U0001f600'), min_size=1, max_size=4))


@given(PIECES, PIECES, st.floats(-1e6, 1e3))
def test_every_choice_stands_where_it_says(before: Any, pieces: Any, logprob: float) -> None:
    text = "".join(pieces)
    for choice in choices_of([Token(piece, logprob) for piece in [*before, *pieces]], text):
        assert text[choice.start :].startswith(choice.text)
        assert all(0.0 <= share <= 1.0 for share in choice.probabilities.values())
