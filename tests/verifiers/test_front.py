"""The front of all verifiers: thoughts, answer, the end of the turn."""

import pytest

from judge_service.verifiers.front import THOUGHTS, TURN_ENDS, split
from tests.verifiers.checking import check


@pytest.mark.parametrize(("opened", "closed"), THOUGHTS.items())
def test_thoughts_are_no_answer(opened: str, closed: str) -> None:
    assert split(f"{opened}6 times 7{closed}42").answer == "42"
    assert split(f"6 times 7{closed}42").answer == "42"  # the prompt's template may open them
    assert split(f"{opened}a{closed}41{opened}b{closed}42").answer == "42"


@pytest.mark.parametrize("opened", THOUGHTS)
def test_thoughts_that_are_not_closed_are_no_answer(opened: str) -> None:
    assert split(f"{opened}it is 42").answer == ""
    assert split(f"{opened}it is 42").unfinished
    assert split(f"42 {opened}or 43").answer == "42 "
    assert not split("").unfinished


@pytest.mark.parametrize("token", [*TURN_ENDS, "</s>", "<eos>", "</s>\n<pad><pad>"])
def test_a_turn_ends_at_its_token(token: str) -> None:
    assert split(f"42{token}").answer.strip() == "42"
    assert split(f"<think>x</think>42{token}\n").answer.strip() == "42"


def test_an_answer_may_be_a_quotation() -> None:
    assert split('<think>he says "no"</think>"quoted"').answer == '"quoted"'
    assert split("<think>`a`</think>`b`<|im_end|>").answer == "`b`"
    assert check("exact", '<think>"a"</think>"b"', "a").score == 0.0


def test_what_follows_the_end_of_the_turn_is_no_answer() -> None:
    assert split("42<|im_end|>\n<|im_start|>user\n43").answer == "42"


@pytest.mark.parametrize(
    "answer",
    [
        "text.split('</think>')",
        "Write `<think>` first.",
        'print("</think>\\n")',
        "<s>old</s> new",
        "a < b > c [d]",
        "<tool_call>{}</tool_call>",
        "<answer>42</answer>",
    ],
)
def test_other_marks_and_quoted_ones_stay(answer: str) -> None:
    assert split(answer).answer == answer


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("exact", {}),
        ("number", {}),
        ("choice", {}),
        ("regex", {"pattern": "5"}),
        ("tool_calls", {}),
        ("overlap", {}),
        ("refusal", {"expected": "answer"}),
    ],
)
def test_no_kind_pays_unfinished_thoughts(kind: str, options: dict[str, str]) -> None:
    reference = {"tool_calls": "[]", "choice": "A"}.get(kind, "5")
    said = {"choice": "A"}.get(kind, "5")
    assert check(kind, f"<think>{said}", reference, **options).score == 0.0
    assert check(kind, f"<think>{said}</think>", reference, **options).score == 0.0


def test_a_row_without_a_reference_stays_unscored() -> None:
    assert check("exact", "<think>5", None).reason == "no_reference"


def test_some_kinds_can_look_at_the_thoughts() -> None:
    thoughts = "<think>ann@example.com</think>done"
    assert check("pii", thoughts).score == 0.0
    assert check("pii", thoughts, thoughts=False).score == 1.0
    assert check("regex", thoughts, pattern="^<think>", thoughts=True).score == 1.0
    assert check("regex", thoughts, pattern="^<think>").score == 0.0
