import re
from pathlib import Path

import msgspec
import pytest

from judge_service.errors import RubricError
from judge_service.grading import Rubric, load_rubric
from judge_service.grading.rubric.rubric import MAX_RUBRIC_BYTES
from judge_service.values import Gate

SMALL = 'name = "small"\n[[criteria]]\nname = "good"\ndescription = "Is it good?"\n'
CHECKED = """
name = "small"
[[criteria]]
kind = "verify"
name = "right"
verify = "exact"
"""


def load(tmp_path: Path, text: str) -> Rubric:
    path = tmp_path / "rubric.toml"
    path.write_text(text, "utf-8")
    return load_rubric(str(path))


def test_the_default_rubric_is_the_articles_task(similarity: Rubric) -> None:
    (criterion,) = similarity.criteria
    assert (criterion.name, criterion.minimum, criterion.maximum) == ("similarity", 0.0, 1.0)
    assert criterion.needs_reference
    assert similarity.needs_reference
    assert (similarity.answer, similarity.reasoning) == ("text", "none")


def test_the_example_has_four_criteria_and_a_safety_gate(quality: Rubric) -> None:
    names = [criterion.name for criterion in quality.criteria]
    assert names == ["correctness", "safety", "format", "conciseness"]
    assert quality.criteria[1].gate == Gate(0.5, 0.1)
    assert quality.criteria[0].levels == (0, 1, 2, 3, 4)
    assert "  4: right and complete" in quality.criteria[0].description
    assert not quality.needs_reference


def test_the_version_changes_with_everything_that_can_change_an_answer(tmp_path: Path) -> None:
    versions = {
        load(tmp_path, text).version
        for text in (
            SMALL,
            SMALL.replace("Is it good?", "Is it good"),
            'reasoning = "brief"\n' + SMALL,
            'system = "You judge."\n' + SMALL,
            'user = "{{response}} {{criteria}} {{answer}}"\n' + SMALL,
            "max_output_tokens = 99\n" + SMALL,
            SMALL + "levels = [0, 1]\n",
            SMALL + "weight = 2\n",
        )
    }
    assert len(versions) == 8
    assert all(re.fullmatch("[0-9a-f]{16}", version) for version in versions)


def test_the_version_does_not_change_with_comments_and_layout(tmp_path: Path) -> None:
    again = load(tmp_path, "# a comment\n" + SMALL.replace(" = ", "   =  "))
    assert again.version == load(tmp_path, SMALL).version


def test_the_version_covers_the_packaged_templates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load(tmp_path, SMALL).version
    monkeypatch.setattr(
        "judge_service.grading.rubric.rubric.packaged_template", lambda name: f"{name}, reworded"
    )
    assert load(tmp_path, SMALL).version != before


def test_a_rubric_cannot_be_changed(similarity: Rubric) -> None:
    with pytest.raises(AttributeError):
        similarity.name = "other"  # type: ignore[misc] # that it fails is the test
    assert msgspec.structs.asdict(similarity)["name"] == "similarity"


def test_the_version_changes_with_everything_that_can_change_a_score(tmp_path: Path) -> None:
    texts = (
        SMALL,
        CHECKED,
        CHECKED.replace("exact", "number"),
        CHECKED + "options = { keep_case = true }\n",
        CHECKED + "weight = 2\n",
        'aggregation = "min"\n' + SMALL,
        'compare = "group"\n' + SMALL,
        'output = "-1..1"\n' + SMALL,
        "shaping.length = { max_chars = 5 }\n" + SMALL,
        "shaping.length = { max_chars = 6 }\n" + SMALL,
        "shaping.repetition = {}\n" + SMALL,
        SMALL + "step = 0.5\n",
        SMALL + "gate = { below = 0.5 }\n",
        SMALL + "gate = { below = 0.5, width = 0 }\n",
        SMALL + 'model = "judge-2"\n',
        SMALL + 'reasoning = "brief"\n',
        SMALL + 'system = "You judge."\n',
    )
    assert len({load(tmp_path, text).version for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("scale", "levels"),
    [
        ("step = 0.5", (0.0, 0.5, 1.0)),
        ("minimum = 1\nmaximum = 3\nstep = 0.5", (1.0, 1.5, 2.0, 2.5, 3.0)),
        ("levels = [0, { value = 1, means = 'half' }, 2]\nstep = 0.5", (0.0, 0.5, 1.0, 1.5, 2.0)),
        ("step = 0.1", tuple(n / 10 for n in range(11))),
        ("step = 0.01", tuple(n / 100 for n in range(101))),
    ],
)
def test_a_step_allows_what_lies_between_the_ends(
    tmp_path: Path, scale: str, levels: tuple[float, ...]
) -> None:
    (criterion,) = load(tmp_path, f"{SMALL}{scale}\n").criteria
    assert criterion.levels == levels
    assert (criterion.minimum, criterion.maximum) == (levels[0], levels[-1])


def test_levels_between_described_ones_are_described_by_them(tmp_path: Path) -> None:
    text = SMALL + 'levels = [0, { value = 1, means = "half" }]\nstep = 0.5\n'
    (criterion,) = load(tmp_path, text).criteria
    assert criterion.description == "Is it good?\n  1: half"


BROKEN = {
    "no name": (SMALL.replace('name = "small"\n', ""), "`name`"),
    "unknown key": ('nmae = "x"\n' + SMALL, "no key `nmae`; did you mean `name`?"),
    "unknown far key": ("zzz = 1\n" + SMALL, "no key `zzz`; known are name, criteria"),
    "unknown criterion key": (
        SMALL + "wieght = 2\n",
        "`criteria[0].wieght`; did you mean `weight`",
    ),
    "unknown gate key": (SMALL + "gate = { bellow = 1 }\n", "gate.bellow`; did you mean `below`?"),
    "unknown level key": (
        SMALL + 'levels = [1, { value = 2, meaning = "x" }]\n',
        "`criteria[0].levels[1].meaning`; did you mean `means`?",
    ),
    "two of a name": (SMALL + SMALL.partition("\n")[2], "`criteria[1].name`: there are two"),
    "zero weight": (SMALL + "weight = 0\n", "`criteria[0].weight`"),
    "negative weight": (SMALL + "weight = -1\n", "`criteria[0].weight`"),
    "infinite weight": (SMALL + "weight = inf\n", "`criteria[0].weight` is inf"),
    "NaN in a level": (SMALL + "levels = [0, nan]\n", "`criteria[0].levels[1]` is nan"),
    "minimum over maximum": (SMALL + "minimum = 2\n", "`criteria[0].minimum` (2) must be less"),
    "minimum is maximum": (SMALL + "minimum = 1\n", "`criteria[0].minimum` (1) must be less"),
    "capital in a name": (SMALL.replace('"good"', '"Good"'), "`criteria[0].name`"),
    "digit first in a name": (SMALL.replace('"good"', '"1st"'), "`criteria[0].name`"),
    "newline in a name": (SMALL.replace('"good"', '"good\\n"'), "`criteria[0].name`"),
    "accent in a name": (SMALL.replace('"good"', '"b\u00e9n"'), "`criteria[0].name`"),
    "long name": (SMALL.replace('"good"', f'"{"a" * 65}"'), "`criteria[0].name`"),
    "reserved name": (SMALL.replace('"good"', '"unscored"'), "`unscored` is reserved"),
    "reason as a name": (SMALL.replace('"good"', '"reason"'), "`reason` is reserved"),
    "empty description": (SMALL.replace("Is it good?", ""), "`criteria[0].description`"),
    "blank description": (SMALL.replace("Is it good?", " \\n"), "`criteria[0].description`"),
    "blank system": ('system = " "\n' + SMALL, "`system`"),
    "no criteria": ('name = "small"\ncriteria = []\n', "`criteria`"),
    "criteria missing": ('name = "small"\n', "`criteria`"),
    "criteria as a table": ('name = "small"\n[criteria]\nname = "x"\n', "`criteria`"),
    "criterion as a number": ('name = "small"\ncriteria = [1]\n', "`criteria[0]`"),
    "gate above one": (SMALL + "gate = { below = 1.5 }\n", "`criteria[0].gate.below`"),
    "gate cap below zero": (SMALL + "gate = { below = 1, cap = -1 }\n", "`criteria[0].gate.cap`"),
    "one level": (SMALL + "levels = [1]\n", "`criteria[0].levels` must be two or more"),
    "levels descending": (SMALL + "levels = [2, 1]\n", "`criteria[0].levels` must be"),
    "level twice": (SMALL + "levels = [1, 1]\n", "`criteria[0].levels` must be"),
    "levels and a scale": (SMALL + "levels = [0, 1]\nmaximum = 1\n", "remove minimum and maximum"),
    "level as text": (SMALL + 'levels = ["a", "b"]\n', "`criteria[0].levels[0]`"),
    "unknown channel": ('answer = "xml"\n' + SMALL, "`answer`"),
    "unknown reasoning": ('reasoning = "long"\n' + SMALL, "`reasoning`"),
    "no tokens": ("max_output_tokens = 0\n" + SMALL, "`max_output_tokens`"),
    "unknown placeholder": (
        'user = "{{respons}} {{criteria}} {{answer}}"\n' + SMALL,
        "`user`: there is no {{respons}}; did you mean `response`?",
    ),
    "candidate text in system": ('system = "{{response}}"\n' + SMALL, "no {{response}}; known are"),
    "no response shown": ('user = "{{criteria}} {{answer}}"\n' + SMALL, "has no {{response}}"),
    "response shown twice": (
        'user = "{{response}}{{response}}{{criteria}}{{answer}}"\n' + SMALL,
        "{{response}} more than once",
    ),
    "instructions first": (
        'user = "{{criteria}}{{answer}}{{response}}"\n' + SMALL,
        "{{answer}} before {{response}}",
    ),
    "reference needed, not shown": (
        'user = "{{response}}{{criteria}}{{answer}}"\n' + SMALL + "needs_reference = true\n",
        "has no {{reference}}",
    ),
    "unknown kind": (SMALL + 'kind = "human"\n', "`criteria[0].kind` must be judge or verify"),
    "kind as a number": (SMALL + "kind = 1\n", "`criteria[0].kind` must be judge or verify"),
    "a judge's key under verify": (
        CHECKED + "levels = [0, 1]\n",
        "no key `criteria[0].levels`; known are name, verify",
    ),
    "a verifier's key under judge": (SMALL + "options = {}\n", "no key `criteria[0].options`"),
    "no verifier": (CHECKED.replace('verify = "exact"\n', ""), "`criteria[0]`"),
    "verifier with a path in it": (CHECKED.replace("exact", "../exact"), "`criteria[0].verify`"),
    "infinite option": (CHECKED + "options = { a = [inf] }\n", "`criteria[0].options.a[0]` is inf"),
    "gate wider than the scale": (
        SMALL + "gate = { below = 0.5, width = 1.5 }\n",
        "`criteria[0].gate.width`",
    ),
    "unknown aggregation": ('aggregation = "median"\n' + SMALL, "`aggregation`"),
    "unknown comparison": ('compare = "pairs"\n' + SMALL, "`compare`"),
    "unknown range": ('output = "0..10"\n' + SMALL, "`output`"),
    "a metric's name": (SMALL.replace('"good"', '"length_factor"'), "`length_factor` is reserved"),
    "no step": (SMALL + "step = 0\n", "`criteria[0].step`"),
    "step past the end": (SMALL + "step = 0.3\n", "`criteria[0].step`: steps of 0.3 from 0 do not"),
    "step too small": (SMALL + "step = 0.001\n", "`criteria[0].step` must lead from 0 to 1 in 1"),
    "step too large": (SMALL + "step = 5\n", "`criteria[0].step` must lead from 0 to 1 in 1"),
    "level between steps": (
        SMALL + "levels = [0, 0.7, 2]\nstep = 0.5\n",
        "`criteria[0].step`: steps of 0.5 from 0 do not meet 0.7",
    ),
    "unknown shaping": (
        "shaping.lenght = {}\n" + SMALL,
        "`shaping.lenght`; did you mean `length`?",
    ),
    "unknown shaping key": (
        "shaping.length = { max = 5 }\n" + SMALL,
        "`shaping.length.max`; did you mean `max_chars`?",
    ),
    "length of nothing": ("shaping.length = {}\n" + SMALL, "`shaping.length` has no length"),
    "lengths crossed": (
        "shaping.length = { min_chars = 9, max_chars = 5 }\n" + SMALL,
        "`shaping.length.min_chars` (9) is above max_chars (5)",
    ),
    "shaping that raises": (
        "shaping.repetition = { weight = -1 }\n" + SMALL,
        "`shaping.repetition.weight`",
    ),
    "own template without the response": (
        SMALL + 'user = "{{criteria}} {{answer}}"\n',
        "`criteria[0].user` has no {{response}}",
    ),
    "own template without the reference it needs": (
        SMALL + 'needs_reference = true\nuser = "{{response}} {{criteria}} {{answer}}"\n',
        "`criteria[0].user` has no {{reference}}",
    ),
    "own system with candidate text": (
        SMALL + 'system = "{{response}}"\n',
        "`criteria[0].system`: there is no {{response}}",
    ),
    "no TOML": ("name = \n", "is not TOML"),
    "deep nesting": ("a = " + "[" * 40_000, "is not TOML"),
    "too large": ("#" * (MAX_RUBRIC_BYTES + 1), "at most 100000 bytes"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rubric_is_refused_in_one_sentence_with_file_and_key(
    tmp_path: Path, case: str
) -> None:
    text, message = BROKEN[case]
    with pytest.raises(RubricError, match=re.escape(message)) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "rubric.toml"))
    assert "\n" not in str(caught.value)


def test_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rubric.toml"
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(RubricError, match="not UTF-8"):
        load_rubric(str(path))


def test_an_unknown_rubric_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(RubricError, match="no rubric `similarty`: use similarity, or a path"):
        load_rubric("similarty")
    with pytest.raises(RubricError, match="No such file"):
        load_rubric(str(tmp_path / "missing.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(RubricError, match="cannot be read"):
        load_rubric(str(tmp_path / "folder.toml"))


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('name = "', 'name = "My ', "`name`: must be small letters, digits and _, a letter first"),
        ('description = "', 'description = " " # "', "must not be blank"),
        ('description = "', 'weight = "3"\ndescription = "', "must be a number, not text"),
    ],
)
def test_a_wrong_value_is_named_in_a_persons_words(before: str, after: str, says: str) -> None:
    with pytest.raises(RubricError) as caught:
        load_rubric(SMALL.replace(before, after, 1))

    assert says in str(caught.value)
    assert "regex" not in str(caught.value)
    assert "`str`" not in str(caught.value)
