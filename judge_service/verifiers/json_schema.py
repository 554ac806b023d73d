"""`json_schema`: checks that a response is JSON, fits a schema and equals the reference field by field.

A response without JSON scores 0, and so does JSON of another type than the schema's. Otherwise the score is
the share of right fields among those that the schema requires, those of the reference, and wrong ones in the
response. With a reference, a field that it does not have is wrong.
"""

from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any

import msgspec
from jsonschema.protocols import Validator  # type: ignore[import-untyped]  # it ships no types
from msgspec import Meta, Struct

from judge_service.errors import RubricError
from judge_service.values import Sample
from judge_service.verifiers import Check, Pure
from judge_service.verifiers.json_text import NOTHING, Take, find, read
from judge_service.verifiers.schema import encoded, validator

MAX_ERRORS = 1_000
"""Most errors that are counted for one response."""

EXACT_FLOAT = 2**53
"""Largest whole float that equals its integer exactly."""

WHOLE = object()
"""Stands for an error of an object itself, not of one of its fields."""


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the verifier `json_schema`."""

    json_schema: Annotated[
        dict[str, Any] | None,
        Meta(description="The schema (draft 2020-12); without one any JSON is right."),
    ] = None
    schema_field: Annotated[
        str, Meta(max_length=100, description="Field of the row that has the row's own schema.")
    ] = ""
    take: Annotated[
        Take,
        Meta(description="Which JSON of the response counts; `whole` allows nothing else in it."),
    ] = "last"
    compare_reference: Annotated[
        bool, Meta(description="Fields must also equal those of the reference, a JSON object.")
    ] = False
    partial: Annotated[
        bool, Meta(description="Credit for each right field, instead of all or nothing.")
    ] = True


def make(options: Options) -> Pure:
    """Makes the verifier. Raises RubricError for a schema that cannot be used (see `schema.validator`)."""
    fixed = None if options.json_schema is None else validator(options.json_schema, "json_schema")

    def check(sample: Sample) -> Check:
        if sample.response is None:
            return Check(score=None, reason="no_response")
        gold = read(sample.reference or "") if options.compare_reference else {}
        if not isinstance(gold, dict):
            detail = "the reference is not a JSON object"
            return Check(score=None, reason="no_reference", detail=detail)
        try:
            rules = fixed if not options.schema_field else _of_row(sample, options.schema_field)
        except RubricError as problem:
            return Check(score=None, reason="cannot_judge", detail=str(problem))
        value = find(sample.response, options.take)
        if value is NOTHING:
            return Check(score=0.0, detail="the response has no JSON that can be read")
        return _check(
            value, rules, gold if options.compare_reference else None, partial=options.partial
        )

    return Pure(check)


def _of_row(sample: Sample, field: str) -> Validator:
    schema = sample.metadata.get(field)
    text = schema if isinstance(schema, str) else encoded(schema, field).decode()
    return _parsed(text, field)


@lru_cache(maxsize=256)
def _parsed(text: str, field: str) -> Validator:
    """Parses a row's schema; cached, because the rollouts of one prompt share a schema."""
    schema = read(text)
    if not isinstance(schema, dict):
        raise RubricError(f"the field `{field}` does not hold a JSON Schema")
    return validator(schema, field)


def _check(
    value: Any, rules: Validator | None, gold: Mapping[str, Any] | None, *, partial: bool
) -> Check:
    wrong = set() if rules is None else _invalid(value, rules)
    if gold is not None and not isinstance(value, dict):
        wrong.add(WHOLE)
    if not isinstance(value, dict):
        return Check(score=0.0 if wrong else 1.0, detail=_detail(1, len(wrong)))
    asked = set() if rules is None else _required(rules.schema)
    if gold is not None:
        asked |= gold.keys()
        wrong |= {name for name in asked | value.keys() if not _same(name, value, gold)}
    wrong |= asked - value.keys()
    counted = asked | wrong or {WHOLE}
    score = 1 - len(wrong) / len(counted) if partial else float(not wrong)
    return Check(score=score, detail=_detail(len(counted), len(wrong)))


def _invalid(value: Any, rules: Validator) -> set[Any]:
    """The fields with an error, and `WHOLE` for an error of the value itself."""
    errors = islice(rules.iter_errors(value), MAX_ERRORS)
    places = ((error.absolute_path, error.validator) for error in errors)
    return {path[0] if path else WHOLE for path, rule in places if path or rule != "required"}


def _required(schema: Any) -> set[str]:
    return set(schema.get("required", ())) if isinstance(schema, dict) else set()


def _same(name: str, value: Mapping[str, Any], gold: Mapping[str, Any]) -> bool:
    """JSON's equality: 1 equals 1.0 but not true."""
    return name in value and name in gold and _canonical(value[name]) == _canonical(gold[name])


def _canonical(value: Any) -> bytes:
    return msgspec.json.encode(_whole_numbers(value), order="sorted")


def _whole_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT_FLOAT:
        return int(value)
    if isinstance(value, list):
        return [_whole_numbers(inner) for inner in value]
    if isinstance(value, dict):
        return {name: _whole_numbers(inner) for name, inner in value.items()}
    return value


def _detail(counted: int, wrong: int) -> str:
    return f"{counted - wrong} of {counted} fields are right"
