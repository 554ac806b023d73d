import time

import pytest

from judge_service.errors import RubricError
from judge_service.values import Sample
from judge_service.verifiers import open_verifier
from judge_service.verifiers.pattern import MAX_PROGRAM, MAX_TEXT_CHARS, compiled
from tests.verifiers.checking import check, check_with

CATASTROPHIC = [
    r"(a+)+$",
    r"(a*)*b",
    r"(a|a)*b",
    r"(a|aa)+$",
    r"(a|a?)+$",
    r"(.*a){12}$",
    r"(.*)*=.*",
    r"(x+x+)+y",
    r"^(a+)+b$",
    r"([a-zA-Z]+)*\d$",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"(\w+\s?)*$!",
    r"^(\d+)*[a-z]$",
    r"(?:a?){60}a{60}$",
    r"\s+$x",
    r"^\s*(\w+\s*,\s*)*\w+\s*;$",
    r"([^@]+)*@([^.]+)*\.",
    r"(ab|ba|a|b)*c",
    r"((a+)?b?)*c",
    r"(a{1,10}){1,10}$!",
    r"(.{0,10}.{0,10}){0,10}!",
    r"([ab]{0,15}a){0,12}c",
    r"(a{0,20}){0,10}b",
    r"[ab]*a[ab]{200}c",
    r".*.*.*.*.*.*.*.*=!",
    r"(\w{1,30}\s?){1,4}$!",
    r"(((((((((a*)*)*)*)*)*)*)*)*)*b",
    r"(?i)(a|A|\u00e5)*!",
    r"^(([a-z0-9]+[-._]?)*[a-z0-9])+@x$",
]

HOSTILE = ["a", "ab", "a ", " ", "a1", "\u00e5a", "x", "=", "aab,", "abbaababbb"]


@pytest.mark.parametrize("pattern", CATASTROPHIC)
def test_a_catastrophic_pattern_is_refused_or_takes_50_ms_at_most(pattern: str) -> None:
    try:
        verifier = open_verifier("regex", {"pattern": pattern})
    except RubricError:
        return
    for unit in HOSTILE:
        sample = Sample(response=(unit * MAX_TEXT_CHARS)[: MAX_TEXT_CHARS - 1] + "z")
        started = time.thread_time()
        check_with(verifier, sample)
        assert time.thread_time() - started < 0.050


def test_most_catastrophic_patterns_are_matched_rather_than_refused() -> None:
    matched = 0
    for pattern in CATASTROPHIC:
        try:
            matched += compiled(pattern, "pattern").programsize <= MAX_PROGRAM
        except RubricError:
            continue

    assert matched >= 20


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        (r"(a)\1", "not a pattern of RE2"),
        (r"(?=a)b", "not a pattern of RE2"),
        (r"(?<!a)b", "not a pattern of RE2"),
        ("(", "not a pattern of RE2"),
        ("a{2000}", "not a pattern of RE2"),
        ("(a{1,100}){1,9}", "too large"),
        (r"\pL{80}", "too large"),
    ],
)
def test_what_re2_cannot_do_is_refused_in_one_sentence(pattern: str, problem: str) -> None:
    with pytest.raises(RubricError, match=problem):
        open_verifier("regex", {"pattern": pattern})


def test_an_overlong_or_missing_pattern_is_refused() -> None:
    for options in ({"pattern": "a" * 1_001}, {"pattern": ""}, {}):
        with pytest.raises(RubricError, match="options"):
            open_verifier("regex", options)


def test_what_the_text_must_do_is_an_option() -> None:
    pattern = r"\d{4}"

    assert check("regex", "in 1066.", pattern=pattern).score == 1.0
    assert check("regex", "in 1066.", pattern=pattern, must="match").score == 0.0
    assert check("regex", "1066", pattern=pattern, must="match").score == 1.0
    assert check("regex", "in 1066.", pattern=pattern, must="lack").score == 0.0
    assert check("regex", "long ago", pattern=pattern, must="lack").score == 1.0


def test_case_and_the_part_that_is_looked_at_are_options() -> None:
    assert check("regex", "YES", pattern="yes").score == 0.0
    assert check("regex", "YES", pattern="yes", ignore_case=True).score == 1.0
    assert (
        check("regex", "no <answer>yes</answer>", pattern="no", strategies=["answer_tag"]).score
        == 0.0
    )
    assert check("regex", "no tag", pattern="no", strategies=["answer_tag"]).score == 0.0


def test_a_text_that_is_too_long_to_be_looked_at_scores_nothing() -> None:
    long = "a" * (MAX_TEXT_CHARS + 1)

    assert check("regex", long, pattern="a").score == 0.0
    assert check("regex", long, pattern="b", must="lack").score == 0.0


def test_no_response_is_no_bad_answer() -> None:
    assert check("regex", None, pattern="a").reason == "no_response"
    assert check("regex", "", pattern="a").score == 0.0


def test_lone_surrogates_do_not_break_the_check() -> None:
    assert check("regex", "a\ud800b", pattern="a").score in (0.0, 1.0)
