import time

import pytest

from judge_service.verifiers.extract import MAX_LOOK_CHARS, Found, Strategy, boxed, extract

BACKSLASH_BOX = "\\boxed{"


@pytest.mark.parametrize(
    ("strategy", "text", "answer"),
    [
        ("boxed", r"so \boxed{18}.", "18"),
        ("boxed", r"\boxed{\frac{1}{2}} and more", r"\frac{1}{2}"),
        ("boxed", r"\fbox{1} \boxed {\{1, 2\}}", r"\{1, 2\}"),
        ("boxed", r"{ open brace before \boxed{7}", "7"),
        ("boxed", r"\boxed{never closed \boxed{6}", "6"),
        ("boxed", r"\boxed{\boxed{5}}", r"\boxed{5}"),
        ("hashes", "work\n#### 18\n", "18"),
        ("hashes", "#### 17\n#### 18", "18"),
        ("answer_tag", "<answer> B </answer>", "B"),
        ("answer_tag", "<answer>A<answer>B</answer>", "B"),
        ("solution", "<|begin_of_solution|> yes <|end_of_solution|>", "yes"),
        ("phrase", "Hence the answer is 18. Good luck.", "18"),
        ("phrase", "The answer is: Dover because of its cliffs.", "Dover"),
        ("phrase", "The answer is 1. No, the answer is 2", "2"),
        ("phrase", "所以答案是\uff1a18。", "18"),
        ("phrase", "Die Antwort lautet 18.", "18"),
        ("label", "work\nA: 18", "18"),
        ("label", "**Answer:** 18", "18"),
        ("last_number", "from 3 to -1,234.5% of it", "-1,234.5%"),
        ("phrase", "\u0130\u0130\u0130 the answer is 18.", "18"),
        ("last_number", "18" + " words" * 200, "18"),
        ("last_number", "a" + " 1234567" + " word" * 79, "1234567"),
        ("whole", "  just this ", "just this"),
    ],
)
def test_a_strategy_finds_the_last_answer(strategy: Strategy, text: str, answer: str) -> None:
    assert extract(text, (strategy,)) == Found(answer, strategy)


@pytest.mark.parametrize(
    ("strategy", "text"),
    [
        ("boxed", r"\boxed{18"),
        ("boxed", "a box: {18}"),
        ("hashes", "##### a heading"),
        ("answer_tag", "<answer>18"),
        ("answer_tag", "18</answer>"),
        ("phrase", "the answer isn't clear"),
        ("label", "Panama: 18"),
        ("last_number", "no number, x2, m^2"),
        ("solution", "no block"),
        ("whole", " \n"),
    ],
)
def test_a_strategy_finds_nothing_where_there_is_nothing(strategy: Strategy, text: str) -> None:
    assert extract(text, (strategy,)) is None


def test_the_order_of_the_strategies_decides() -> None:
    text = "<answer>1</answer> \\boxed{2}"

    assert extract(text, ("boxed", "answer_tag")) == Found("2", "boxed")
    assert extract(text, ("answer_tag", "boxed")) == Found("1", "answer_tag")


def test_what_is_thought_is_not_answered() -> None:
    text = r"<think>\boxed{1} or \boxed{2}</think> It is \boxed{3}."

    assert extract(text, ("boxed",)) == Found("3", "boxed", 1)
    assert extract(r"<think>\boxed{1}</think> Sorry.", ("boxed",)) is None
    assert extract(r"[THINK]\boxed{1}[/THINK] \boxed{3}<|im_end|>", ("boxed",)) == Found(
        "3", "boxed"
    )


def test_only_novas_solution_block_is_looked_at() -> None:
    text = r"\boxed{1}<|begin_of_solution|>\boxed{2}<|end_of_solution|>\boxed{3}"

    assert extract(text, ("boxed",)) == Found("2", "boxed", 1)


def test_only_the_end_of_an_endless_text_is_looked_at() -> None:
    assert extract("\\boxed{18}" + " " * MAX_LOOK_CHARS, ("boxed",)) is None
    assert extract(" " * MAX_LOOK_CHARS + "\\boxed{18}", ("boxed",)) == Found("18", "boxed")


def test_different_boxes_are_counted_and_equal_ones_are_not() -> None:
    spray = " ".join(f"\\boxed{{{number}}}" for number in range(7))
    again = r"\boxed{x + 1}, that is \boxed{X+1}"

    assert extract(spray, ("boxed",)) == Found("6", "boxed", 7)
    assert extract(again, ("boxed",)) == Found("X+1", "boxed", 1)


def test_headings_and_second_thoughts_are_not_counted() -> None:
    assert extract("#### Step 1\n#### 18", ("hashes",)) == Found("18", "hashes", 1)


@pytest.mark.parametrize(
    "text",
    [
        BACKSLASH_BOX * 14_000,
        BACKSLASH_BOX * 7_000 + "}" * 7_000,
        "<answer>" * 12_000,
        "</answer>" * 12_000,
        "<|begin_of_solution|>" * 5_000,
        "the answer is " * 7_000,
        "answer" * 17_000,
        "A:" * 50_000,
        "#" * 100_000,
        "1" * 100_000,
        "1," * 50_000,
        "1,111" * 20_000,
        "1/" * 50_000,
        " " * 100_000,
        "\n" * 100_000,
        "\\" * 100_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    everything: tuple[Strategy, ...] = (
        "boxed",
        "hashes",
        "answer_tag",
        "solution",
        "phrase",
        "label",
        "last_number",
    )
    started = time.process_time()
    for strategy in everything:
        extract(text * 2, (strategy,))

    assert time.process_time() - started < 1.0


def test_nested_boxes_cost_no_more_than_their_text() -> None:
    found = boxed(BACKSLASH_BOX * 5_000 + "}" * 5_000)

    assert len(found) == 1
