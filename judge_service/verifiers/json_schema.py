"""`json_schema`: checks that a response is JSON, fits a schema and equals the reference field by field.

A response without JSON scores 0. So does JSON of another type than the schema's, and an object without what a
composed part of the root (`allOf`, `if`, `$ref`) requires. Otherwise the score is the share of right fields
among those that the schema requires, those of the reference, and wrong ones in the response. With a
reference, a field that it does not have is wrong.
"""

from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any

from jsonschema import ValidationError  # type: ignore[import-untyped]  # it ships no types
from jsonschema.protocols import Validator  # type: ignore[import-untyped]  # it ships no types
from msgspec import Meta, Struct

from judge_service.errors import RubricError
from judge_service.values import Sample
from judge_service.verifiers import Check, Pure
from judge_service.verifiers.json_text import NOTHING, Take, canonical, find, read
from judge_service.verifiers.schema import encoded, validator

MAX_ERRORS = 1_000
"""Most errors that are counted for one response."""

WHOLE = object()
"""Stands for an error of an object itself, not of one of its fields."""

UNLIKE = object()
"""Stands for an object that lacks what a composed part of the root (`allOf`, `if`, `$ref`) requires."""


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
    formats: Annotated[
        bool,
        Meta(description="Check `format`: date, time, date-time, email, ipv4, ipv6, uuid, uri."),
    ] = False
    partial: Annotated[
        bool, Meta(description="Credit for each right field, instead of all or nothing.")
    ] = True


def make(options: Options) -> Pure:
    """Makes the verifier. Raises RubricError for a schema that cannot be used (see `schema.validator`)."""
    fixed = None
    if options.json_schema is not None:
        fixed = validator(options.json_schema, "json_schema", formats=options.formats)

    def check(sample: Sample) -> Check:
        if sample.response is None:
            return Check(score=None, reason="no_response")
        gold = read(sample.reference or "") if options.compare_reference else {}
        if not isinstance(gold, dict):
            detail = "the reference is not a JSON object"
            return Check(score=None, reason="no_reference", detail=detail)
        try:
            rules = _of_row(sample, options) if options.schema_field else fixed
        except RubricError as problem:
            return Check(score=None, reason="cannot_judge", detail=str(problem))
        value = find(sample.response, options.take)
        if value is NOTHING:
            return Check(score=0.0, detail="the response has no JSON that can be read")
        return _check(
            value, rules, gold if options.compare_reference else None, partial=options.partial
        )

    return Pure(check)


def _of_row(sample: Sample, options: Options) -> Validator:
    field = options.schema_field
    schema = sample.metadata.get(field)
    text = schema if isinstance(schema, str) else encoded(schema, field).decode()
    return _parsed(text, field, formats=options.formats)


@lru_cache(maxsize=256)
def _parsed(text: str, field: str, *, formats: bool) -> Validator:
    """Parses a row's schema; cached, because the rollouts of one prompt share a schema."""
    schema = read(text)
    if not isinstance(schema, dict | bool):
        raise RubricError(f"the field `{field}` does not hold a JSON Schema")
    return validator(schema, field, formats=formats)


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
    if UNLIKE in wrong:
        return Check(score=0.0, detail="the object lacks fields that a part of the schema requires")
    counted = asked | wrong or {WHOLE}
    score = 1 - len(wrong) / len(counted) if partial else float(not wrong)
    return Check(score=score, detail=_detail(len(counted), len(wrong)))


def _invalid(value: Any, rules: Validator) -> set[Any]:
    """The fields with an error, and `WHOLE` for an error of the value itself."""
    errors = islice(rules.iter_errors(value), MAX_ERRORS)
    own = rules.schema.get("required") if isinstance(rules.schema, dict) else None
    return {place for error in errors if (place := _place(error, own)) is not None}


def _place(error: ValidationError, own: Any) -> Any:
    """The field of an error; `None` for a name in the root's own `required`, which `_required` counts."""
    if error.absolute_path:
        return error.absolute_path[0]
    if error.validator != "required":
        return WHOLE
    return None if error.validator_value is own else UNLIKE


def _required(schema: Any) -> set[str]:
    return set(schema.get("required", ())) if isinstance(schema, dict) else set()


def _same(name: str, value: Mapping[str, Any], gold: Mapping[str, Any]) -> bool:
    """JSON's equality: 1 equals 1.0 but not true."""
    return name in value and name in gold and canonical(value[name]) == canonical(gold[name])


def _detail(counted: int, wrong: int) -> str:
    return f"{counted - wrong} of {counted} fields are right"
