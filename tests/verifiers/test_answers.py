"""Properties of all verifiers of a stated answer."""

import pytest

from tests.verifiers.checking import check

KINDS = {
    "exact": ("Paris", "Rome"),
    "number": ("18", "17"),
    "boxed": ("18", "17"),
    "choice": ("B", "C"),
    "sentiment": ("positive", "negative"),
}


@pytest.mark.parametrize(("kind", "pair"), KINDS.items())
def test_the_right_answer_scores_one_and_a_wrong_one_its_form(
    kind: str, pair: tuple[str, str]
) -> None:
    right, wrong = pair

    assert check(kind, f"\\boxed{{{right}}}", right).score == 1.0
    assert check(kind, f"\\boxed{{{wrong}}}", right).score == 0.0
    assert check(kind, f"\\boxed{{{wrong}}}", right, format_score=0.1).score == 0.1


@pytest.mark.parametrize(("kind", "pair"), KINDS.items())
def test_a_sample_that_cannot_be_verified_has_no_score(kind: str, pair: tuple[str, str]) -> None:
    right, _ = pair

    assert check(kind, None, right).reason == "no_response"
    assert check(kind, right, None).reason == "no_reference"
    assert check(kind, right, "").reason == "no_reference"


@pytest.mark.parametrize(("kind", "pair"), KINDS.items())
def test_spraying_boxes_earns_nothing_unless_allowed(kind: str, pair: tuple[str, str]) -> None:
    right, wrong = pair
    spray = f"\\boxed{{{wrong}}} \\boxed{{{right}}}"

    refused = check(kind, spray, right, format_score=0.1)
    assert (refused.score, refused.detail) == (0.0, "the response states 2 different answers")
    assert check(kind, spray, right, max_values=2).score == 1.0


def test_a_label_or_letter_may_end_a_long_text_but_padding_does_not_hide_another_answer() -> None:
    long = "The soup was praised.\n" * 1_000

    assert check("sentiment", f"{long}It is positive", "positive").score == 1.0
    assert check("choice", f"{long}So it is B", "B").score == 1.0
    assert check("exact", f"London{' ' * 5_000}Paris", "Paris").score == 0.0
    assert check("exact", f"London{'.' * 5_000}Paris", "Paris").score == 0.0


@pytest.mark.parametrize("kind", ["exact", "number", "boxed"])
def test_an_endless_answer_is_none(kind: str) -> None:
    right, _ = KINDS[kind]
    endless = f"\\boxed{{{right}{' ' * 10}{'x' * 3_000}}}"

    assert check(kind, endless, right, format_score=0.1).score == 0.0


@pytest.mark.parametrize(("kind", "pair"), KINDS.items())
def test_an_empty_response_is_a_bad_answer(kind: str, pair: tuple[str, str]) -> None:
    assert check(kind, "", pair[0], format_score=0.1).score == 0.0


def test_an_unmarked_wrong_answer_shows_no_form() -> None:
    assert check("number", "17", "18", format_score=0.1).score == 0.0
    assert check("number", "#### 17", "18", format_score=0.1).score == 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_candidate_text_is_never_in_the_detail(kind: str) -> None:
    right, _ = KINDS[kind]

    assert "hostile" not in check(kind, "\\boxed{hostile}", right).detail
