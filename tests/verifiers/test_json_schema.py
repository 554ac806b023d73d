import json
import time
from typing import Any

import pytest

from judge_service.errors import RubricError
from judge_service.verifiers import open_verifier
from tests.verifiers.checking import check

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z]"},
        "age": {"type": "integer", "minimum": 0},
        "mail": {"type": "string"},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "uniqueItems": True},
    },
    "required": ["name", "age", "mail", "tags"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "string", "maxLength": 5}},
}
RIGHT = {"name": "Ada", "age": 36, "mail": "a@b", "tags": ["x", "y"]}


def person(response: Any, **options: Any) -> float | None:
    text = response if isinstance(response, str) else json.dumps(response)
    return check("json_schema", text, json_schema=PERSON, **options).score


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        'Here you are:\n```json\n{"a": 1}\n```\nAnything else?',
        'It is {"a": {"b": "}"}} as asked',
        "[1, 2]",
        'Say "hi" and "bye: {"a": "\\""}',
        'first {oops} then {"a": 1}',
    ],
)
def test_json_is_found_in_a_fence_or_between_words(text: str) -> None:
    assert check("json_schema", text).score == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "{a: 1}",
        '{"a": 1',
        '{"a": NaN}',
        "{'a': 1}",
        "[1,]",
        "]}",
        '"only text"',
        "```",
    ],
)
def test_what_is_no_json_scores_nothing(text: str) -> None:
    assert check("json_schema", text).score == 0.0


def test_which_json_counts_is_an_option() -> None:
    text = '{"name": 1} and {"name": "x"}'
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

    assert check("json_schema", text, json_schema=schema).score == 1.0
    assert check("json_schema", text, json_schema=schema, take="first").score == 0.0
    assert check("json_schema", text, json_schema=schema, take="whole").score == 0.0
    assert check("json_schema", '{"name": "x"}', json_schema=schema, take="whole").score == 1.0


def test_a_fence_goes_before_bare_json() -> None:
    assert (
        check(
            "json_schema", '```json\n{"a": 1}\n```\n{"b": 2}', '{"a": 1}', compare_reference=True
        ).score
        == 1.0
    )


@pytest.mark.parametrize(
    ("change", "score"),
    [
        ({}, 1.0),
        ({"age": -1}, 0.75),
        ({"age": "36"}, 0.75),
        ({"age": -1, "name": "ada"}, 0.5),
        ({"tags": ["x", "x"]}, 0.75),
        ({"tags": ["toolong"]}, 0.75),
        ({"extra": 1}, 0.8),
    ],
)
def test_each_right_field_earns_its_share(change: dict[str, Any], score: float) -> None:
    assert person(RIGHT | change) == pytest.approx(score)
    assert person(RIGHT | change, partial=False) == float(score == 1.0)


def test_a_missing_field_is_wrong_and_counted_once() -> None:
    assert person({"name": "Ada", "age": 36, "mail": "a@b"}) == 0.75
    assert person({}) == 0.0


def test_json_of_another_kind_than_the_schemas_scores_nothing() -> None:
    assert person([RIGHT]) == 0.0
    assert person("[]") == 0.0


def test_a_schema_of_a_list_is_all_or_nothing() -> None:
    schema = {"type": "array", "items": {"type": "integer"}}

    assert check("json_schema", "[1, 2]", json_schema=schema).score == 1.0
    assert check("json_schema", '[1, "2"]', json_schema=schema).score == 0.0


def test_an_optional_field_earns_nothing_but_can_be_wrong() -> None:
    schema = {"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a"]}

    assert check("json_schema", '{"a": 1}', json_schema=schema).score == 1.0
    assert check("json_schema", '{"a": 1, "b": "x"}', json_schema=schema).score == 0.5
    assert check("json_schema", "{}", json_schema={"type": "object"}).score == 1.0


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ({"a": 1, "b": [1, 2]}, 1.0),
        ({"b": [1, 2], "a": 1.0}, 1.0),
        ({"a": 1, "b": [2, 1]}, 0.5),
        ({"a": True, "b": [1, 2]}, 0.5),
        ({"a": 1}, 0.5),
        ({"a": 1, "b": [1, 2], "c": 3}, 2 / 3),
        ([1], 0.0),
    ],
)
def test_fields_are_compared_with_the_reference_when_asked(response: Any, score: float) -> None:
    found = check(
        "json_schema", json.dumps(response), '{"a": 1, "b": [1, 2]}', compare_reference=True
    )

    assert found.score == pytest.approx(score)


def test_a_reference_that_is_no_object_cannot_be_compared() -> None:
    for reference in (None, "", "[1]", "{"):
        found = check("json_schema", "{}", reference, compare_reference=True)
        assert found.reason == "no_reference"


def test_a_row_may_bring_its_own_schema() -> None:
    row = {"schema": {"required": ["a"]}}

    assert check("json_schema", '{"a": 1}', row=row, schema_field="schema").score == 1.0
    assert check("json_schema", '{"b": 1}', row=row, schema_field="schema").score == 0.0
    text = {"schema": '{"required": ["a"]}'}
    assert check("json_schema", '{"a": 1}', row=text, schema_field="schema").score == 1.0
    for broken in (
        {},
        {"schema": 7},
        {"schema": "{"},
        {"schema": {"$ref": "http://x"}},
        {"schema": {1j: 2}},
    ):
        found = check("json_schema", "{}", row=broken, schema_field="schema")
        assert (found.score, found.reason) == (None, "cannot_judge")


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"$ref": "http://example.com/schema.json"}, "only `#/...`"),
        ({"$ref": "other.json#/a"}, "only `#/...`"),
        ({"$ref": "#/$defs/none"}, "does not exist"),
        ({"$ref": "#"}, "recursive"),
        ({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}, "recursive"),
        ({"properties": {"a": {"pattern": "(?=a)"}}}, "RE2"),
        ({"patternProperties": {"(a+)+$": {}}}, "patternProperties"),
        ({"$id": "http://example.com"}, r"\$id"),
        ({"type": "objekt"}, "not a JSON Schema"),
        ({"multipleOf": 10**400}, "64 bits"),
        ({"default": object()}, "no JSON"),
        ({"enum": ["x" * 60_000]}, "larger than"),
    ],
)
def test_a_schema_that_is_not_safe_is_refused(schema: dict[str, Any], problem: str) -> None:
    with pytest.raises(RubricError, match=problem):
        open_verifier("json_schema", {"json_schema": schema})


def test_a_schema_that_explodes_when_written_out_is_refused() -> None:
    doubled = {
        f"d{place}": {"allOf": [{"$ref": f"#/$defs/d{place + 1}"}] * 2} for place in range(14)
    }
    schema = {"$defs": {**doubled, "d14": {"type": "string"}}, "$ref": "#/$defs/d0"}

    started = time.thread_time()
    with pytest.raises(RubricError, match="parts"):
        open_verifier("json_schema", {"json_schema": schema})
    assert time.thread_time() - started < 1.0


def test_a_property_may_have_the_name_of_a_refused_word() -> None:
    schema = {"properties": {"$id": {"type": "string"}, "pattern": {"type": "string"}}}

    assert check("json_schema", '{"$id": "a", "pattern": "("}', json_schema=schema).score == 1.0


@pytest.mark.parametrize(
    ("fits", "too_large"),
    [
        (f"[{'1,' * 4_000}1]", f"[{'1,' * 6_000}1]"),
        ("[" * 60 + "]" * 60, "[" * 70 + "]" * 70),
        (f'["{"a" * 49_000}"]', f'["{"a" * 51_000}"]'),
    ],
    ids=["nodes", "depth", "characters"],
)
def test_json_that_is_too_large_is_none(fits: str, too_large: str) -> None:
    assert check("json_schema", fits, take="whole").score == 1.0
    assert check("json_schema", too_large, take="whole").score == 0.0


@pytest.mark.parametrize("number", ["9" * 400, "1e308", "-" + "9" * 300 + ".5", "1e-320", "0"])
def test_numbers_of_any_size_do_not_break_the_arithmetic_of_a_schema(number: str) -> None:
    schema = {"items": {"multipleOf": 0.01, "maximum": 10, "type": "integer"}}

    assert check("json_schema", f"[{number}]", json_schema=schema).score in (0.0, 1.0)
    for gold in (f'{{"a": {number}}}', '{"a": 1}'):
        found = check("json_schema", f'{{"a": {number}}}', gold, compare_reference=True)
        assert found.score in (0.0, 1.0) or found.reason == "no_reference"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 50_000,
        "{" * 50_000,
        '{"a":' * 20_000,
        "[" * 1_000 + "]" * 1_000,
        '"' * 50_000,
        '{"\\"' * 15_000,
        '{"' + '\\"' * 24_000,
        "{}" * 25_000,
        "[" + "{}," * 15_000 + "{}]",
        "[" + '{"a":{}},' * 2_000 + "{}]",
        "```\n" * 20_000,
        '{"age": ' + "9" * 40_000 + "}",
        '{"name": "' + "a" * 26 + '!"}',
        "[" + ",".join(f'{{"a":{number}}}' for number in range(2_400)) + "]",
        '{"age": 1e99999}',
    ],
    ids=lambda text: repr(text[:12]),
)
def test_hostile_json_ends_quickly(text: str) -> None:
    schema = {
        "items": {"type": "object"},
        "uniqueItems": True,
        "properties": {"name": {"pattern": "(a+)+$"}, "age": {"multipleOf": 0.01}},
    }
    started = time.thread_time()
    score = check("json_schema", text, json_schema=schema).score

    assert time.thread_time() - started < 1.0
    assert score is not None


PAIR = {"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.parametrize(
    ("schema", "response"),
    [
        ({"$ref": "#/$defs/T", "$defs": {"T": PAIR}}, "{}"),
        ({"allOf": [PAIR]}, "{}"),
        ({"allOf": [{"$ref": "#/$defs/T"}], "$defs": {"T": PAIR}}, '{"a": 1}'),
        (
            {"required": ["kind"], "if": {"required": ["kind"]}, "then": {"required": ["size"]}},
            '{"kind": "x"}',
        ),
        ({"dependentSchemas": {"card": {"required": ["address"]}}}, '{"card": 1}'),
    ],
)
def test_what_a_part_of_the_root_requires_is_required(
    schema: dict[str, object], response: str, *, partial: bool
) -> None:
    assert check("json_schema", response, json_schema=schema, partial=partial).score == 0.0


@pytest.mark.parametrize(
    ("schema", "value", "score"),
    [
        ({"multipleOf": 0.1}, "0.3", 1.0),
        ({"multipleOf": 0.1}, "0.35", 0.0),
        ({"multipleOf": 3}, "9", 1.0),
        ({"multipleOf": 3}, "10", 0.0),
        ({"uniqueItems": True}, "[1, 1.0]", 0.0),
        ({"uniqueItems": True}, "[1, true]", 1.0),
        ({"prefixItems": [{"type": "integer"}, {"$ref": "#/prefixItems/0"}]}, "[1, 2]", 1.0),
        ({"prefixItems": [{"type": "integer"}, {"$ref": "#/prefixItems/0"}]}, '[1, "2"]', 0.0),
        ({"$ref": "#/$defs/a%25b", "$defs": {"a%b": {"type": "integer"}}}, "1", 1.0),
        ({"$ref": "#/$defs/a%25b", "$defs": {"a%b": {"type": "integer"}}}, '"1"', 0.0),
    ],
)
def test_values_are_compared_as_json_has_them(
    schema: dict[str, object], value: str, score: float
) -> None:
    assert check("json_schema", value, json_schema=schema, take="whole").score == score


@pytest.mark.parametrize(("schema", "score"), [("true", 1.0), ("false", 0.0), (True, 1.0)])
def test_a_schema_may_be_true_or_false(schema: object, score: float) -> None:
    assert check("json_schema", "{}", row={"s": schema}, schema_field="s").score == score


FORMATS = [
    ("date", "2024-02-29", "2023-02-29"),
    ("time", "10:20:30Z", "25:00:00Z"),
    ("time", "23:59:60+00:00", "10:20:30"),
    ("date-time", "2024-02-29T10:20:30.5+02:00", "2024-02-29 10:20:30Z"),
    ("email", "a@b.example", "a b"),
    ("ipv4", "127.0.0.1", "256.0.0.1"),
    ("ipv6", "::1", "1::2::3"),
    ("uuid", "2eb8aa08-aa98-11ea-b4aa-73b441d16380", "2eb8aa08"),
    ("uri", "https://a.example/b?c=d", "not a uri"),
]


@pytest.mark.parametrize(("name", "good", "bad"), FORMATS)
def test_formats_are_checked_when_asked(name: str, good: str, bad: str) -> None:
    schema = {"type": "string", "format": name}
    for value, score in ((good, 1.0), (bad, 0.0)):
        asked = {"json_schema": schema, "take": "whole"}
        assert check("json_schema", f'"{value}"', formats=True, **asked).score == score
        assert check("json_schema", f'"{value}"', **asked).score == 1.0
    assert (
        check("json_schema", "5", json_schema={"format": name}, take="whole", formats=True).score
        == 1.0
    )
