import time

import pytest

from judge_service.errors import RubricError
from judge_service.values import Message, Sample
from judge_service.verifiers import Verifier, open_verifier
from tests.verifiers.checking import check, check_with

TEXTS = {
    "en": "The ferry leaves every morning at seven, and the crossing takes about two hours.",
    "de": "Die Fähre fährt jeden Morgen um sieben Uhr ab, und die Überfahrt dauert zwei Stunden.",
    "fr": "Le bateau part tous les matins \u00e0 sept heures et la travers\u00e9e dure environ deux heures.",
    "es": "El barco sale todas las ma\u00f1anas a las siete y la traves\u00eda dura unas dos horas.",
    "it": "Il traghetto parte ogni mattina alle sette e la traversata dura circa due ore.",
    "pt": "O barco parte todas as manh\u00e3s \u00e0s sete horas e a travessia demora cerca de duas horas.",
    "ru": "Паром отправляется каждое утро в семь часов, и переправа занимает около двух часов.",
    "ja": "フェリーは毎朝七時に出発し、所要時間は約二時間です。",
    "zh": "渡轮每天早上七点出发,全程大约需要两个小时。",
    "ko": "여객선은 매일 아침 일곱 시에 출발하며 약 두 시간이 걸립니다.",
    "ar": "تغادر العبارة كل صباح في الساعة السابعة وتستغرق الرحلة حوالي ساعتين.",
    "hi": "नौका हर सुबह सात बजे चलती है और यात्रा में लगभग दो घंटे लगते हैं।",
}


@pytest.mark.parametrize("language", TEXTS)
def test_a_text_is_in_its_language_and_in_no_other(language: str) -> None:
    other = "en" if language != "en" else "de"

    assert check("language", TEXTS[language], expected=language).score == 1.0
    assert check("language", TEXTS[language], expected=other).score == 0.0


def test_the_language_may_be_the_prompts_or_the_references() -> None:
    assert check("language", TEXTS["de"], prompt=TEXTS["de"]).score == 1.0
    assert check("language", TEXTS["en"], prompt=TEXTS["de"]).score == 0.0
    assert check("language", TEXTS["fr"], TEXTS["fr"], expected="reference").score == 1.0


def test_a_prompt_too_short_to_identify_leaves_no_score() -> None:
    assert check("language", TEXTS["de"], prompt="2 + 2?").reason == "cannot_judge"
    assert check("language", TEXTS["de"]).reason == "cannot_judge"
    assert check("language", None, expected="de").reason == "no_response"


def test_a_response_that_changes_its_language_loses_that_share() -> None:
    score = check("language", f"{TEXTS['en']}\n\n{TEXTS['de']}", expected="en").score

    assert score == pytest.approx(0.5, abs=0.05)


def test_code_is_in_no_language() -> None:
    code = "```python\nfor zeile in datei:\n    print(zeile, ende=verzeichnis)\n```"

    assert check("language", f"{TEXTS['en']}\n{code}", expected="en").score == 1.0


@pytest.mark.parametrize(
    ("text", "language", "score"),
    [
        ("\u0434\u0430", "ru", 1.0),
        ("\u0434\u0430", "en", 0.0),
        ("yes", "en", 1.0),
        ("yes", "ja", 0.0),
        ("\u306f\u3044", "ja", 1.0),
        ("\u306f\u3044", "zh", 0.0),
        ("42", "en", 0.0),
        ("", "en", 0.0),
    ],
)
def test_a_short_answer_is_judged_by_its_script(text: str, language: str, score: float) -> None:
    assert check("language", text, expected=language).score == score


def test_a_language_that_the_model_does_not_know_is_refused() -> None:
    for options in ({"expected": "qq"}, {"among": ["en", "qq"]}, {"expected": "klingon"}):
        with pytest.raises(RubricError):
            open_verifier("language", options)


def test_the_languages_that_can_occur_can_be_named() -> None:
    assert check("language", TEXTS["de"], expected="de", among=["de", "en"]).score == 1.0
    assert check("language", TEXTS["fr"], expected="fr").score == 1.0


@pytest.mark.parametrize("unit", ["a", "`", "```", "a\n", "\u6771", "http://", "word of it.\n"])
def test_hostile_texts_end_quickly(unit: str) -> None:
    verifier: Verifier = open_verifier("language", {"expected": "en"})
    text = unit * (200_000 // len(unit))
    started = time.thread_time()
    check_with(verifier, Sample(response=text, messages=(Message("user", text),)))

    assert time.thread_time() - started < 1.0
