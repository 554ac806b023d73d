import pytest

from judge_service.grading import advise, describe, load_rubric

SMALL = """
[[criteria]]
name = "good"
description = "Is it good?"
"""


@pytest.mark.parametrize(
    ("above", "below", "line"),
    [
        ("", "", "good  judged from 0 to 1, 100% of the score"),
        ("", "step = 0.5\n", "good  judged from 0 to 1, 3 levels, 100% of the score"),
        ("", "needs_reference = true\n", "good  judged from 0 to 1, needs a reference, 100%"),
        (
            "",
            "gate = { below = 0.5 }\n",
            "; from 0.5 down to 0.3 the limit of the whole reward falls",
        ),
        (
            "",
            "gate = { below = 0.1 }\n",
            "; from 0.1 down to 0 the limit of the whole reward falls",
        ),
        ("", "gate = { below = 0.5, width = 0 }\n", "; below 0.5 the whole reward is at most 0"),
        ('aggregation = "min"\n', "", "the score is that of the worst criterion"),
        ('aggregation = "geometric"\n', "", "the score is the geometric mean of the criteria"),
        ('compare = "group"\n', "", "responses to one prompt are judged side by side"),
        ('output = "-1..1"\n', "", "rewards are sent in the range -1..1"),
        ("shaping.repetition = {}\n", "", "a response that repeats itself loses up to 50%"),
        (
            "shaping.length = { min_chars = 5, max_chars = 5000 }\n",
            "",
            "a response under 5 or over 5,000 characters loses up to 30%",
        ),
        ("shaping.length = { min_chars = 5 }\n", "", "a response under 5 characters loses"),
        ("shaping.length = { max_chars = 5 }\n", "", "a response over 5 characters loses"),
    ],
)
def test_every_rule_of_a_rubric_has_its_line(above: str, below: str, line: str) -> None:
    rubric = load_rubric(f'name = "small"\n{above}{SMALL}{below}')
    assert any(line in one for one in describe(rubric))


def test_shares_are_those_of_the_weights() -> None:
    text = 'name = "small"\n' + SMALL + "weight = 3\n" + SMALL.replace("good", "kind")
    first, second, *_ = describe(load_rubric(text))
    assert (first.endswith("75% of the score"), second.endswith("25% of the score")) == (True, True)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (SMALL, "good: judges agree more on a few described levels than on a bare scale"),
        (
            "".join(SMALL.replace('"good"', f'"c{n}"') for n in range(6)),
            "6 criteria share one judge call; above 5 judges blur them",
        ),
        (
            'aggregation = "min"\n' + SMALL,
            "with `min` a trainer learns only from the worst criterion",
        ),
    ],
)
def test_what_could_be_better_is_said(text: str, advice: str) -> None:
    assert any(advice in one for one in advise(load_rubric(f'name = "small"\n{text}')))


def test_a_rubric_with_levels_needs_no_advice() -> None:
    assert advise(load_rubric(f'name = "small"\n{SMALL}levels = [0, 1]\n')) == []
