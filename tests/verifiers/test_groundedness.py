import time

import pytest

from tests.verifiers.checking import check

SOURCE = "The bridge was opened in 1932. It is 503 metres long and was built by Dorman Long."
OTHER = "The harbour is visited by 2,000 ships a year."


def grounded(response: str, **options: object) -> float | None:
    return check("groundedness", response, row={"context": [SOURCE, OTHER]}, **options).score


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("The bridge, built by Dorman Long, opened in 1932.", 1.0),
        ("The bridge was opened in 1933.", 0.0),
        ("The long bridge that Dorman Long built was opened in 1933.", 0.0),
        ("The long bridge that Dorman Long built was opened in 1932.", 1.0),
        ("It is 503 metres long. Penguins live on it and like fish.", 0.5),
        ("The bridge was opened in 1932 [1].", 1.0),
        ("The bridge was opened in 1932 [2].", 0.0),
        ("The bridge was opened in 1932 [1, 2].", 1.0),
        ("The bridge was opened in 1932 [3].", 0.0),
        ("The bridge was opened in 1932 [0].", 0.0),
        ("2,000 ships visit the harbour a year [2].\nIt is 503 metres long.[1]", 1.0),
        ("It is 503 metres long. [1] Ships visited the harbour. [2]", 1.0),
        ("It is 503 metres long. [2] Ships visited the harbour. [1]", 0.0),
        ("", 0.0),
        ("It is and was.", 0.0),
        ("[1] [1] [1]", 0.0),
    ],
)
def test_the_score_is_the_share_of_covered_sentences(response: str, score: float) -> None:
    assert grounded(response) == score


def test_citations_can_be_required() -> None:
    assert grounded("It is 503 metres long.", require_citations=True) == 0.0
    assert grounded("It is 503 metres long [1].", require_citations=True) == 1.0


def test_how_much_of_a_sentence_must_be_covered_is_an_option() -> None:
    half = "The bridge opened near penguins 1932 fish."

    assert grounded(half, min_coverage=0.5) == 1.0
    assert grounded(half, min_coverage=0.9) == 0.0


def test_the_source_may_be_a_text_a_list_of_records_or_the_reference() -> None:
    text = "It is 503 metres long."

    assert check("groundedness", text, row={"context": SOURCE}).score == 1.0
    assert check("groundedness", text, row={"context": [{"text": SOURCE}]}).score == 1.0
    assert (
        check("groundedness", text, row={"docs": [{"content": SOURCE}]}, source_field="docs").score
        == 1.0
    )
    assert check("groundedness", text, SOURCE).score == 1.0
    assert check("groundedness", text, OTHER).score == 0.0


@pytest.mark.parametrize("context", [None, [], [7], {"text": 7}, ""])
def test_a_row_without_a_source_cannot_be_verified(context: object) -> None:
    assert check("groundedness", "Fine.", row={"context": context}).reason == "no_reference"


def test_sizes_are_bounded() -> None:
    assert check("groundedness", None, SOURCE).reason == "no_response"
    assert check("groundedness", "a" * 100_001, SOURCE).score == 0.0
    assert check("groundedness", "a", row={"context": "a" * 2_000_001}).reason == "cannot_judge"
    started = time.thread_time()
    grounded("[1]. " * 20_000)
    grounded("[" + "1," * 49_000)
    assert time.thread_time() - started < 2.0
