"""Instructions that a program can check: each kind, strict and loose, and the recorded verdicts."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from judge_service.values import Sample
from judge_service.verifiers import Check, open_verifier
from judge_service.verifiers.instructions.languages import USUAL, language_of
from judge_service.verifiers.instructions.lengths import sentences
from judge_service.verifiers.instructions.verifier import KINDS, MAX_CHARS, followed, instructions
from judge_service.verifiers.language import identifier

HINDI = "नमस्ते दुनिया यह एक परीक्षण है"
DATA = os.environ.get("TEST_DATA", "")
RECORDED_SHARE = 0.99

CASES: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        ["NASA and ESA", "I think A", "NASA's and U.S."],
        ["NASA is Big", "none"],
    ),
    (
        "change_case:english_capital",
        {},
        ["THE WEATHER IS VERY FINE TODAY, IS IT NOT?"],
        ["The weather is very fine today.", "DAS WETTER IST HEUTE WIRKLICH SEHR SCHÖN UND WARM"],
    ),
    (
        "change_case:english_lowercase",
        {},
        ["the weather is very fine today, is it not?"],
        ["The weather is very fine today.", "das wetter ist heute wirklich sehr schön und warm"],
    ),
    (
        "combination:repeat_prompt",
        {"prompt_to_repeat": "Say hello. "},
        ["  say hello.\nHello!"],
        ["Hello!", "Now: Say hello."],
    ),
    (
        "combination:two_responses",
        {},
        ["one\n******\ntwo", "******\none\n******\ntwo\n******"],
        ["one\n******\none", "one", "one ****** two ****** three", "one ****** ****** two"],
    ),
    (
        "detectable_content:number_placeholders",
        {"num_placeholders": 2},
        ["[name] lives in [city]", "[a\n[b] and [[c]]"],
        ["[name]", "[name\ncity]", "[[[[", "]["],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.P.S"},
        ["Bye.\nP.P.S. one more", "bye\np. p. s more"],
        ["Bye.\nP.S. one more", "PPS"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.S."},
        ["Bye.\nP.S. one more"],
        ["Bye."],
    ),
    (
        "detectable_format:constrained_response",
        {},
        ["My answer is no.", "Well. My answer is maybe. Perhaps."],
        ["My answer is sure.", "my answer is yes."],
    ),
    (
        "detectable_format:json_format",
        {},
        ['{"a": [1]}', '```json\n{"a": 1}\n```', '```\n"text"\n```'],
        ["{'a': 1}", 'so: {"a": 1}', "[" * 100_000, '"\ud800"x'],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        ["SECTION 1\na\nSECTION 2\nb", "SECTION1 SECTION2 SECTION3"],
        ["SECTION 1\na", "Section 1\nSection 2", "SECTION A SECTION B"],
    ),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* a\n  * b", "- a\n- b\nend"],
        ["* a", "* a\n* b\n* c", "** a\n** b"],
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*a* and *b*", "**a** and **b**", "*a* and **b**"],
        ["*a*", "** ** and * *", "*a\n* b"],
    ),
    (
        "detectable_format:title",
        {},
        ["<<poem of joy>>\nText", "x <<a>> y"],
        ["<poem of joy>", "<<>>", "<<poem\nof joy>>", ">> <<"],
    ),
    (
        "keywords:existence",
        {"keywords": ["Moon", "sun"]},
        ["The moon and the Sunday."],
        ["The moon."],
    ),
    (
        "keywords:forbidden_words",
        {"forbidden_words": ["sun", "c.t"]},
        ["Sunday is a cat's day."],
        ["The Sun!", "the c.t"],
    ),
    (
        "keywords:frequency",
        {"keyword": "moon", "frequency": 2, "relation": "at least"},
        ["Moon, moonlight"],
        ["moon"],
    ),
    (
        "keywords:frequency",
        {"keyword": "moon", "frequency": 2, "relation": "less than"},
        ["moon"],
        ["moon moon"],
    ),
    (
        "keywords:letter_frequency",
        {"letter": "L", "let_frequency": 3, "let_relation": "at least"},
        ["Lull"],
        ["all"],
    ),
    (
        "language:response_language",
        {"language": "de"},
        ["Das Wetter ist heute wirklich sehr schön und warm.", "Guten Tag"],
        ["The weather is very fine today."],
    ),
    (
        "language:response_language",
        {"language": "eu"},
        ["Gaur eguraldi ona dago eta mendira joango gara."],
        ["The weather is very fine today."],
    ),
    (
        "language:response_language",
        {"language": "zh-cn"},
        ["今天天气很好。我们去公园散步吧。"],
        ["The weather is very fine today."],
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"first_word": "Moon", "num_paragraphs": 2, "nth_paragraph": 2},
        ["a\n\nmoon, b", 'a\n\n"Moon" b'],
        ["a\n\nthe moon", "a\n\nmoon\n\nc", "moon\n\na", "moon"],
    ),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["a\n***\nb", "***\na\n***\nb\n***"],
        ["a\n\nb", "a *** b *** c", "a\n***\n\n***\nb"],
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "less than"},
        ["Dr. Smith came.", "One"],
        ["One. Two.", "One! Two"],
    ),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "at least"},
        ["one two-three"],
        ["one two"],
    ),
    ("punctuation:no_comma", {}, ["one; two"], ["one, two"]),
    (
        "startend:end_checker",
        {"end_phrase": "Anything else?"},
        ["So. ANYTHING else?\n", '"So. Anything else?"'],
        ["Anything else? Yes."],
    ),
    ("startend:quotation", {}, ['"all of it"', ' "" '], ['"', '"all" of it', "'all of it'"]),
]


def follows(kind: str, kwargs: dict[str, Any], text: str, *, loose: bool = False) -> bool:
    asked = instructions({"instruction_id_list": [kind], "kwargs": [kwargs]})
    return followed(text, asked, loose=loose)[0]


@pytest.mark.parametrize(
    ("kind", "kwargs", "good", "bad"),
    CASES,
    ids=[f"{case[0]}-{place}" for place, case in enumerate(CASES)],
)
def test_each_kind_tells_what_follows_it_from_what_does_not(
    kind: str, kwargs: dict[str, Any], good: list[str], bad: list[str]
) -> None:
    assert [text for text in good if not follows(kind, kwargs, text)] == []
    assert [text for text in bad if follows(kind, kwargs, text)] == []


def test_all_twenty_five_kinds_are_there_and_have_a_case() -> None:
    assert len(KINDS) == 25
    assert {case[0] for case in CASES} == KINDS.keys()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("no end", 1),
        ("Hi there. What? Yes!", 3),
        ("all is small. so is this.", 2),
        ('He said "Who?" and left.', 1),
        ("\u201cCould it be?\u201d he thought. No.", 2),
        ("\u201cYes!\u201d She left.", 2),
        ("Dr. Smith, e.g. of the U.S. army, came with J. Doe.", 1),
        ("Well... perhaps. Version 3.5 is out.", 2),
        ("1. one\n2. two\n", 1),
        ("It was 1990. Then 2000.", 2),
        ("你好。再见！", 2),  # noqa: RUF001  full-width marks are the case
    ],
)
def test_sentences_are_counted_as_a_reader_would(text: str, count: int) -> None:
    assert sentences(text) == count


@pytest.mark.parametrize(
    "text", ["[", "*", "**", "<<", ">>", "\n", " ", ".", "?\u201d ", "***", "P.", "a'", "1.\n"]
)
@pytest.mark.timeout(20)
def test_no_text_makes_a_check_slow(text: str) -> None:
    for kind, kwargs, *_ in CASES:
        follows(kind, kwargs, text * (MAX_CHARS // len(text)))


def test_the_usual_languages_are_ones_the_model_knows() -> None:
    assert set(USUAL) <= set(identifier(()).labels)
    assert language_of("\ud800 the weather is very fine today") == "en"


async def check(response: str | None, row: dict[str, Any], **options: object) -> Check:
    return await open_verifier("instructions", options)(Sample(response=response, metadata=row))


ROW = {
    "instruction_id_list": ["punctuation:no_comma", "startend:quotation"],
    "kwargs": [{"num_words": None}, None],
}


@pytest.mark.parametrize("row", [ROW, {"metadata": ROW}, {"extra_info": ROW, "metadata": "text"}])
async def test_the_score_is_the_share_that_is_followed(row: dict[str, Any]) -> None:
    assert await check('"one"', row) == Check(score=1.0, detail="2 of 2 instructions are followed")
    assert (await check("one", row)).score == 0.5
    assert (await check("one, two", row)).score == 0.0
    assert (await check("one", row, partial=False)).score == 0.0
    assert (await check('"one"', row, partial=False)).score == 1.0


async def test_loose_forgives_an_introduction_a_closing_and_asterisks() -> None:
    row = {"instruction_id_list": ["en:startend:quotation"], "kwargs": [{}]}
    for text in ('Here it is:\n"one"', '"one"\nThat is it.', 'Here:\n"one"\nThere.', '**"one"**'):
        assert (await check(text, row)).score == 0.0
        assert (await check(text, row, loose=True)).score == 1.0
    assert (await check("one", row, loose=True)).score == 0.0


async def test_nothing_and_far_too_much_are_bad_answers() -> None:
    row = {"instruction_id_list": ["punctuation:no_comma"]}

    for text in ("", " \n ", "a" * (MAX_CHARS + 1)):
        assert (await check(text, row)).score == 0.0
    assert (await check("Here it is", row, loose=True)).score == 1.0


@pytest.mark.parametrize(
    ("response", "row", "reason"),
    [
        (None, ROW, "no_response"),
        ("one", {}, "no_reference"),
        ("one", {"instruction_id_list": []}, "no_reference"),
        ("one", {"instruction_id_list": "punctuation:no_comma"}, "unreadable"),
        ("one", {"instruction_id_list": ["no:such_kind"]}, "unreadable"),
        ("one", {"instruction_id_list": [7]}, "unreadable"),
        ("one", {"instruction_id_list": ["punctuation:no_comma"] * 65}, "unreadable"),
        ("one", {"instruction_id_list": ["keywords:existence"]}, "unreadable"),
        (
            "one",
            {"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": []}]},
            "unreadable",
        ),
        ("one", {"instruction_id_list": ["punctuation:no_comma"], "kwargs": []}, "unreadable"),
        ("one", {"instruction_id_list": ["punctuation:no_comma"], "kwargs": ["x"]}, "unreadable"),
    ],
)
async def test_a_row_that_cannot_be_verified_has_a_reason(
    response: str | None, row: dict[str, Any], reason: str
) -> None:
    found = await check(response, row)

    assert (found.score, found.reason) == (None, reason)


@pytest.mark.skipif(not DATA, reason="TEST_DATA is not set")
def test_the_verdicts_recorded_with_ifeval_are_reproduced() -> None:
    asked, recorded = (
        [json.loads(row) for row in (Path(DATA) / "ifeval" / name).read_text().splitlines()]
        for name in ("en_input_data.jsonl", "en_gpt-4o-mini_strict.jsonl")
    )

    agreed = [
        ours == theirs
        for row, record in zip(asked, recorded, strict=True)
        for ours, theirs in zip(
            followed(record["response"], instructions(row), loose=False),
            record["follow_instruction_list"],
            strict=True,
        )
    ]

    assert sum(agreed) / len(agreed) >= RECORDED_SHARE


@pytest.mark.parametrize("name", ["ja:punctuation:no_comma", "fr:punctuation:no_comma"])
async def test_the_rules_of_other_languages_are_not_the_english_ones(name: str) -> None:
    row = {"instruction_id_list": [name], "kwargs": [{}]}
    assert (await check("text", row)).reason == "unreadable"
    row = {"instruction_id_list": ["en:punctuation:no_comma"], "kwargs": [{}]}
    assert (await check("text", row)).score == 1.0


@pytest.mark.parametrize(
    ("name", "kwargs", "text", "score"),
    [
        ("length_constraints:number_words", {"num_words": 7, "relation": "less than"}, HINDI, 1.0),
        ("length_constraints:number_words", {"num_words": 6, "relation": "less than"}, HINDI, 0.0),
        (
            "keywords:forbidden_words",
            {"forbidden_words": ["\u0915\u0940"]},
            "a \u0915\u0940 b",
            0.0,
        ),
        (
            "keywords:forbidden_words",
            {"forbidden_words": ["\u0915\u0940"]},
            "a \u0915\u093f b",
            1.0,
        ),
    ],
)
async def test_combining_marks_belong_to_their_word(
    name: str, kwargs: dict[str, Any], text: str, score: float
) -> None:
    row = {"instruction_id_list": [name], "kwargs": [kwargs]}
    assert (await check(text, row)).score == score
