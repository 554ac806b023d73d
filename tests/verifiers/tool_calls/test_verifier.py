"""Tool calls: read in every usual form, matched without regard to order, credited by the piece."""

import itertools
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from judge_service.values import Sample
from judge_service.verifiers import Check, open_verifier
from judge_service.verifiers.tool_calls.matching import best_total
from judge_service.verifiers.tool_calls.reading import (
    MAX_CALLS,
    MAX_PYTHON_CHARS,
    Call,
    TooManyCalls,
    calls_in,
)

DATA = os.environ.get("TEST_DATA", "")
WEATHER = [{"weather.get": {"city": ["Paris", "Paris, France"], "days": [3], "unit": ["C", ""]}}]


async def check(response: str | None, reference: Any, **options: object) -> Check:
    text = reference if isinstance(reference, str | None) else json.dumps(reference)
    sample = Sample(response=response, reference=text, metadata={"gold": reference})
    return await open_verifier("tool_calls", options)(sample)


def as_openai(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "1",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments)},
    }


PARIS = {"city": "Paris", "days": 3}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([as_openai("weather.get", PARIS)]),
        "I look it up.\n" + json.dumps([as_openai("weather.get", PARIS)], separators=(",", ":")),
        json.dumps({"name": "weather.get", "arguments": PARIS}),
        json.dumps({"name": "weather.get", "parameters": PARIS}),
        json.dumps([{"type": "tool_use", "name": "weather.get", "input": PARIS}]),
        json.dumps([{"toolUse": {"toolUseId": "1", "name": "weather.get", "input": PARIS}}]),
        json.dumps({"weather.get": PARIS}),
        f"<tool_call>\n{json.dumps({'name': 'weather.get', 'arguments': PARIS})}\n</tool_call>",
        f"So:\n```json\n{json.dumps([{'name': 'weather.get', 'arguments': PARIS}], indent=1)}\n```\n",
        "weather.get(days=3, city='Paris')",
        "[weather.get(city='Paris', days=3)]",
        "I will call it:\n```python\nweather.get(\n    city='Paris',\n    days=3,\n)\n```",
        "I will call it:\nweather.get(city='Paris', days=3);\n",
    ],
)
def test_a_call_is_read_in_every_usual_form(text: str) -> None:
    assert calls_in(text) == [Call("weather.get", PARIS)]


def test_arguments_of_python_syntax_are_literals() -> None:
    text = "f(-1, x=[1, 2.5, 'a'], y={'k': (True, None)}, z=true, w=null)"

    assert calls_in(text) == [
        Call("f", {"#0": -1, "x": [1, 2.5, "a"], "y": {"k": [True, None]}, "z": True, "w": None})
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing is called",
        "f(x=__import__('os').system('true'))",
        "f(x=[a for a in range(9)])",
        "f(x=1 + 1)",
        "f(**{'a': 1})",
        "f(x={**y})",
        "f(x=b'1')",
        "f(x=1j)",
        "(lambda: 0)()",
        "f[0](x=1)",
        "import os; f(x=1)",
        "f(x=1, x=2)",
        "f(x=\0)",
        "f(x=" + "9" * 5_000 + ")",
        "f(" + "-" * 3_900 + "1)",
        "f(" + "[" * 190 + "1)",
        "f(x=1)".ljust(MAX_PYTHON_CHARS + 1, " ") + ";",
        "[" * 20_000,
        '{"a":' * 4_000,
        '{"name": "f", "arguments": "{"}',
        '{"name": "f", "arguments": [1]}',
        '{"name": 1, "arguments": {}}',
        '["f"]',
        '{"a": 1, "b": 2}',
    ],
)
def test_what_is_no_call_with_plain_arguments_is_not_read(text: str) -> None:
    assert calls_in(text) == []


def test_a_warning_of_the_parser_is_nobodys_business() -> None:
    assert calls_in(r"f(path='C:\data')") == [Call("f", {"path": r"C:\data"})]


def test_more_calls_than_anybody_needs_are_refused() -> None:
    assert len(calls_in("f()\n" * MAX_CALLS)) == MAX_CALLS
    with pytest.raises(TooManyCalls):
        calls_in("f()\n" * (MAX_CALLS + 1))


@pytest.mark.parametrize(
    ("call", "score"),
    [
        ("weather.get(city='Paris', days=3)", 1.0),
        ("weather_get(days=3.0, unit='c', city='paris france')", 1.0),
        ("weather.get(city='Rome', days=3)", 2 / 3),
        ("weather.get(city='Paris')", 2 / 3),
        ("weather.get(city='Paris', days=3, unit='K')", 3 / 4),
        ("weather.get(city='Paris', days=3, hours=1)", 3 / 4),
        ("weather.get('Paris', days=3)", 2 / 4),
        ("weather.get()", 1 / 3),
        ("weather.find(city='Paris', days=3)", 0.0),
        ("weather.get(city='Paris', days=3)\nweather.get(city='Rome', days=3)", 1 / 2),
        ("weather.get(city='Paris', days='3')", 2 / 3),
        ("weather.get(city='Paris', days=True)", 2 / 3),
        ("it is sunny", 0.0),
        ("", 0.0),
        ("f()\n" * 99, 0.0),
    ],
)
async def test_credit_is_given_for_name_and_arguments(call: str, score: float) -> None:
    assert (await check(call, WEATHER)).score == pytest.approx(score)


async def test_without_partial_credit_all_must_be_right() -> None:
    assert (await check("weather.get(city='Rome', days=3)", WEATHER, partial=False)).score == 0.0
    assert (await check("weather.get(city='Paris', days=3)", WEATHER, partial=False)).score == 1.0


@pytest.mark.parametrize(
    ("types", "equal"), [("exact", {"1"}), ("numbers", {"1", "1.0"}), ("text", {"1", "1.0", "'1'"})]
)
async def test_how_far_types_may_differ_is_a_choice(types: str, equal: set[str]) -> None:
    gold = [as_openai("f", {"x": 1})]

    right = {
        value
        for value in ("1", "1.0", "'1'", "True", "'one'")
        if (await check(f"f(x={value})", gold, types=types)).score == 1.0
    }

    assert right == equal


async def test_a_truth_value_may_be_text_where_types_do_not_matter() -> None:
    assert (await check("f(x='True')", [as_openai("f", {"x": True})], types="text")).score == 1.0
    assert (await check("f(x='1')", [as_openai("f", {"x": True})], types="text")).score == 0.5


@pytest.mark.parametrize(
    ("said", "meant", "same"),
    [
        ("New York, NY", "new york ny", True),
        ("June 5, 2023", "june 5 2023", True),
        ("3.5", "35", False),
        ("-5", "5", False),
        ("2023-10-01", "20231001", False),
        ("ＡＢＣ", "abc", True),  # noqa: RUF001  full-width letters are the case
        ("Paris", "Rome", False),
    ],
)
async def test_texts_differ_by_what_matters(said: str, meant: str, *, same: bool) -> None:
    gold = [as_openai("f", {"x": meant})]

    assert ((await check(f"f(x={said!r})", gold)).score == 1.0) is same
    assert ((await check(f"f(x={said!r})", gold, exact_text=True)).score == 1.0) is (said == meant)


async def test_objects_and_lists_are_compared_to_the_bottom() -> None:
    nested = [{"f": {"area": [{"width": [20], "unit": ["m", ""]}], "path": [[[1, 2], [3, 4]]]}}]

    async def score(area: dict[str, Any], path: list[Any]) -> float | None:
        return (await check(json.dumps({"f": {"area": area, "path": path}}), nested)).score

    assert await score({"width": 20}, [[1, 2], [3, 4]]) == 1.0
    assert await score({"width": 20, "unit": "m"}, [[1, 2], [3, 4]]) == 1.0
    assert await score({"width": 21}, [[1, 2], [3, 4]]) < 1
    assert await score({"width": 20, "depth": 1}, [[1, 2], [3, 4]]) < 1
    assert await score({"unit": "m"}, [[1, 2], [3, 4]]) < 1
    assert await score({"width": 20}, [[1, 2], [4, 3]]) < 1
    assert await score({"width": 20}, [[1, 2]]) < 1


async def test_calls_of_one_name_are_paired_as_is_best_for_the_response() -> None:
    gold = [as_openai("f", {"x": 1, "y": 1}), as_openai("f", {"x": 1, "y": 2})]

    assert (await check("f(x=1, y=2)\nf(x=1, y=1)", gold)).score == 1.0
    assert (await check("f(x=1, y=2)\nf(x=1, y=3)", gold)).score == pytest.approx((1 + 2 / 3) / 2)
    assert (await check("f(x=1, y=2)", gold)).score == 0.5


def test_the_best_pairing_is_the_best_of_all() -> None:
    draw = random.Random(7)
    for _ in range(300):
        rows, columns = draw.randint(1, 5), draw.randint(1, 5)
        credits_ = [[draw.choice([0, 0.25, 0.5, 1]) for _ in range(columns)] for _ in range(rows)]
        wide = (
            credits_
            if rows <= columns
            else [list(column) for column in zip(*credits_, strict=True)]
        )
        best = max(
            sum(row[place] for row, place in zip(wide, places, strict=True))
            for places in itertools.permutations(range(len(wide[0])), len(wide))
        )

        assert best_total(credits_) == pytest.approx(best)


async def test_the_expected_calls_can_stand_in_a_column_and_be_none_at_all() -> None:
    assert (await check("no call is needed", [], gold_field="gold")).score == 1.0
    assert (await check("f()", [], gold_field="gold")).score == 0.0
    assert (await check("f(x=1)", "f(x=1)", gold_field="gold")).score == 1.0


@pytest.mark.parametrize(
    ("response", "reference", "reason"),
    [
        (None, WEATHER, "no_response"),
        ("f()", None, "no_reference"),
        ("f()", "nothing that is a call", "no_reference"),
        ("f()", [{"a": 1, "b": 2}], "no_reference"),
        ("f()", "f()\n" * 99, "no_reference"),
        ("f()", [{"f": {}}] * 99, "no_reference"),
    ],
)
async def test_a_row_that_cannot_be_verified_has_a_reason(
    response: str | None, reference: Any, reason: str
) -> None:
    found = await check(response, reference)

    assert (found.score, found.reason) == (None, reason)


async def test_what_a_response_says_never_gets_into_the_detail() -> None:
    found = await check("secret_tool(x='secret')", WEATHER)

    assert found.detail == "1 tool calls, 1 expected"


def first_allowed(ground_truth: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Calls made of the first allowed value of every argument that must be given."""

    def choose(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: choose(allowed[0]) for name, allowed in value.items() if "" not in allowed
            }
        return [choose(one) for one in value] if isinstance(value, list) else value

    return [
        {"name": name, "arguments": choose(arguments)}
        for call in ground_truth
        for name, arguments in call.items()
    ]


MUTATIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "name": lambda call: call.update(name=call["name"] + "_other"),
    "missing": lambda call: call["arguments"].popitem(),
    "extra": lambda call: call["arguments"].update(unheard_of=1),
    "wrong": lambda call: call["arguments"].update({next(iter(call["arguments"])): "nonsense"}),
}


@pytest.mark.skipif(not DATA, reason="TEST_DATA is not set")
@pytest.mark.parametrize("kind", ["simple_python", "multiple", "parallel"])
async def test_gold_calls_of_bfcl_are_accepted_and_mutated_ones_are_not(kind: str) -> None:
    verifier = open_verifier("tool_calls", {})
    for row in (Path(DATA) / f"bfcl/answer_{kind}.jsonl").read_text().splitlines():
        gold = json.loads(row)["ground_truth"]
        calls = first_allowed(gold)
        sample = Sample(response=json.dumps(calls), reference=json.dumps(gold))
        assert (await verifier(sample)).score == 1.0
        for mutate in MUTATIONS.values():
            wrong = json.loads(json.dumps(calls))
            if not wrong[0]["arguments"]:
                continue
            mutate(wrong[0])
            sample = Sample(response=json.dumps(wrong), reference=json.dumps(gold))
            assert (await verifier(sample)).score < 1
