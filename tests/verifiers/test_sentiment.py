import pytest

from judge_service.errors import RubricError
from judge_service.verifiers import open_verifier
from tests.verifiers.checking import check


@pytest.mark.parametrize(
    "response",
    [
        "positive",
        "Positive!",
        r"\boxed{positive}",
        r"negative?<|begin_of_solution|>\boxed{positive}<|end_of_solution|>",
        "<|begin_of_solution|>The sentiment is positive.<|end_of_solution|>",
        "The review praises the soup, so its polarity is positive.",
    ],
)
def test_a_label_is_found_where_it_is_stated(response: str) -> None:
    assert check("sentiment", response, "positive").score == 1.0


@pytest.mark.parametrize(
    "response",
    ["negative", "positively surprised", "no idea", "POS"],
)
def test_another_label_or_none_scores_nothing(response: str) -> None:
    assert check("sentiment", response, "positive").score == 0.0


@pytest.mark.parametrize("label", ["positive", "negative", "neutral"])
@pytest.mark.parametrize(
    "response", ["positive, negative or neutral", "\\boxed{neutral/positive/negative}"]
)
def test_listing_the_labels_earns_nothing(response: str, label: str) -> None:
    assert check("sentiment", response, label, format_score=0.2).score == 0.0


def test_a_wrong_label_in_the_right_form_earns_the_form() -> None:
    assert check("sentiment", r"\boxed{neutral}", "positive", format_score=0.2).score == 0.2
    assert check("sentiment", r"\boxed{splendid}", "positive", format_score=0.2).score == 0.0


def test_labels_and_their_synonyms_are_options() -> None:
    options = {
        "labels": ["toxic", "fine"],
        "synonyms": {"harmless": "fine", "\u6709\u5bb3": "toxic"},
    }

    assert check("sentiment", "harmless", "fine", **options).score == 1.0
    assert (
        check("sentiment", "\u3053\u308c\u306f\u6709\u5bb3\u3067\u3059", "toxic", **options).score
        == 1.0
    )
    assert check("sentiment", "positive", "positive", **options).reason == "no_reference"


def test_a_synonym_of_no_label_is_refused() -> None:
    with pytest.raises(RubricError, match="not among the `labels`"):
        open_verifier("sentiment", {"synonyms": {"good": "great"}})


NAMED: list[tuple[str, str, float, list[str]]] = [
    ("not positive", "positive", 0.0, ["positive", "negative", "neutral"]),
    ("It isn't positive", "positive", 0.0, ["positive", "negative", "neutral"]),
    ("The review is not very positive", "positive", 0.0, ["positive", "negative", "neutral"]),
    ("non-positive", "positive", 0.0, ["positive", "negative", "neutral"]),
    ("never positive", "positive", 0.0, ["positive", "negative", "neutral"]),
    ("It is not at all positive", "positive", 0.0, ["positive", "negative", "neutral"]),
    ("neither positive nor negative", "positive", 0.0, ["positive", "negative", "neutral"]),
    ("I don't think it is positive", "positive", 0.0, ["positive", "negative", "neutral"]),
    ("nicht positiv", "positive", 0.0, ["positive", "negative", "neutral"]),
    ("not neutral, not positive", "positive", 0.0, ["positive", "negative", "neutral"]),
    ("positive", "positive", 1.0, ["positive", "negative", "neutral"]),
    ("It is positive, not negative.", "positive", 1.0, ["positive", "negative", "neutral"]),
    ("Not negative but positive", "positive", 1.0, ["positive", "negative", "neutral"]),
    ("Not bad at all. Positive!", "positive", 1.0, ["positive", "negative", "neutral"]),
    ("The label is: positive", "positive", 1.0, ["positive", "negative", "neutral"]),
    ("clearly positive", "positive", 1.0, ["positive", "negative", "neutral"]),
    ("There is no doubt: positive", "positive", 1.0, ["positive", "negative", "neutral"]),
    ("**Positive**", "positive", 1.0, ["positive", "negative", "neutral"]),
    ("No, it is positive.", "positive", 1.0, ["positive", "negative", "neutral"]),
    ("C#", "C", 0.0, ["C", "C#", "Java"]),
    ("I would use C# here", "C#", 1.0, ["C", "C#", "Java"]),
    ("I would use C++ here", "C", 0.0, ["C", "C++", "Java"]),
    ("यह कि है", "की", 0.0, ["की", "कि"]),
    ("यह कि है", "कि", 1.0, ["की", "कि"]),
    ("这是积极的", "积极", 1.0, ["积极", "消极"]),
    ("这不是积极的", "积极", 0.0, ["积极", "消极"]),
    ("The topic is Sci/Tech here", "Sci/Tech", 1.0, ["Sci/Tech", "World"]),
    ("It is not_toxic", "toxic", 0.0, ["toxic", "not_toxic"]),
    ("It is not_toxic", "not_toxic", 1.0, ["toxic", "not_toxic"]),
    ("It is not toxic", "not toxic", 1.0, ["toxic", "not toxic"]),
]


@pytest.mark.parametrize(("response", "reference", "score", "labels"), NAMED)
def test_a_negated_label_or_a_part_of_a_word_is_not_named(
    response: str, reference: str, score: float, labels: list[str]
) -> None:
    assert check("sentiment", response, reference, labels=labels).score == score
