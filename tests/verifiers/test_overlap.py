import time

import pytest

from judge_service.verifiers.overlap import MAX_CHARS, chrf, edit, rouge_l, token_f1
from tests.verifiers.checking import check


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence() -> None:
    # four of five words in order on both sides
    assert rouge_l("the cat sat on mats", "the cat lay on mats") == pytest.approx(4 / 5)
    # "police" ... "the gunman": two of four, two of four
    assert rouge_l("police kill the gunman", "the gunman kill police") == pytest.approx(2 / 4)


def test_token_f1_does_not_look_at_the_order() -> None:
    assert token_f1("c b a", "a b c") == 1.0
    assert token_f1("a a a a", "a b") == pytest.approx(2 * 1 / (4 + 2))


def test_edit_is_one_minus_the_share_of_characters_changed() -> None:
    assert edit("kitten", "sitting") == pytest.approx(1 - 3 / 7)
    assert edit("Kitten ", "kitten") == 1.0


def test_chrf_is_the_mean_of_f2_over_orders() -> None:
    assert chrf("abc", "abc") == 1.0
    assert chrf("abc", "xyz") == 0.0
    # orders 1 and 2: recall counts four times as much as precision
    assert chrf("abcd", "ab") == pytest.approx((5 * 2 / (4 * 2 + 4) + 5 * 1 / (4 * 1 + 3)) / 2)


@pytest.mark.parametrize("measure", ["rouge_l", "token_f1", "edit", "chrf"])
def test_a_measure_is_one_for_the_same_and_zero_for_nothing_in_common(measure: str) -> None:
    assert check("overlap", "The same text.", "the same text.", measure=measure).score >= 0.85
    assert check("overlap", "xyz", "abc", measure=measure).score == 0.0
    assert check("overlap", "", "abc", measure=measure).score == 0.0


def test_scripts_without_spaces_are_compared_by_character() -> None:
    assert check("overlap", "\u6771\u4eac\u90fd", "\u6771\u4eac").score == pytest.approx(2 * 2 / 5)
    assert (
        check(
            "overlap",
            "\u0645\u0631\u062d\u0628\u0627 \u0628\u0643",
            "\u0645\u0631\u062d\u0628\u0627",
        ).score
        > 0
    )


def test_full_marks_may_begin_below_one() -> None:
    assert check("overlap", "a b c d", "a b x y", full_at=0.5).score == 1.0
    assert check("overlap", "a b c d", "a x y z", full_at=0.5).score == 0.5


def test_what_cannot_be_compared_has_no_score() -> None:
    assert check("overlap", None, "a").reason == "no_response"
    assert check("overlap", "a", " ").reason == "no_reference"
    assert check("overlap", "a", "a" * (MAX_CHARS + 1)).reason == "cannot_judge"


def test_a_response_longer_than_is_read_scores_nothing() -> None:
    assert check("overlap", "a " * MAX_CHARS, "a").score == 0.0


@pytest.mark.parametrize("measure", ["rouge_l", "token_f1", "edit", "chrf"])
@pytest.mark.parametrize("unit", ["a ", "ab", "\u6771", "\ufdfa", ". "])
def test_the_longest_texts_end_quickly(measure: str, unit: str) -> None:
    text = unit * (MAX_CHARS // len(unit))
    started = time.thread_time()
    check("overlap", text[:-1] + "z", text[1:], measure=measure)

    assert time.thread_time() - started < 1.0


@pytest.mark.parametrize(
    ("one", "other"), [("हिन्दी", "हिन्दू"), ("विद्या", "विद्यालय"), ("कि", "की"), ("কি", "কী")]
)
def test_combining_marks_belong_to_their_word(one: str, other: str) -> None:
    assert check("overlap", one, other).score == 0.0
    assert check("overlap", one, one).score == 1.0
    assert check("groundedness", one, row={"context": other}).score == 0.0
