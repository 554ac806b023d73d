"""`tool_calls`: checks whether a response makes the expected tool calls; credits names and arguments.

The reference holds the expected calls, in BFCL's form, where every argument has a list of allowed values, or
in the forms of OpenAI, Bedrock and Anthropic.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from judge_service.values import Sample
from judge_service.verifiers import Check, Pure
from judge_service.verifiers.tool_calls.matching import Comparison, Expected, Types, best_total
from judge_service.verifiers.tool_calls.reading import (
    MAX_CALLS,
    UNREADABLE,
    Call,
    TooManyCalls,
    calls_in,
    calls_of,
)


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the verifier `tool_calls`."""

    gold_field: Annotated[
        str,
        Meta(
            max_length=200, description="Column with the expected calls; empty for the reference."
        ),
    ] = ""
    types: Annotated[
        Types,
        Meta(
            description='Values of unlike type that are equal: none, 1 and 1.0, or also "1" and 1.'
        ),
    ] = "numbers"
    exact_text: Annotated[
        bool, Meta(description="Upper and lower case and punctuation matter in text arguments.")
    ] = False
    partial: Annotated[
        bool, Meta(description="Credit for each name and argument; else all or nothing.")
    ] = True


def make(options: Options) -> Pure:
    """Makes the verifier."""
    comparison = Comparison(options.types, options.exact_text)

    def check(sample: Sample) -> Check:
        if sample.response is None:
            return Check(score=None, reason="no_response")
        expected = _expected(_gold(sample, options.gold_field))
        if expected is None:
            detail = "the reference holds no tool calls that can be read"
            return Check(score=None, reason="no_reference", detail=detail)
        try:
            calls = calls_in(sample.response)
        except TooManyCalls:
            return Check(score=0.0, detail=f"there are more than {MAX_CALLS} tool calls")
        score = _score(calls, expected, comparison)
        if score < 1 and not options.partial:
            score = 0.0
        return Check(score=score, detail=f"{len(calls)} tool calls, {len(expected)} expected")

    return Pure(check)


def _score(calls: Sequence[Call], expected: Sequence[Expected], comparison: Comparison) -> float:
    """The credit of the best pairing; a surplus call costs as much as a missing one."""
    if not calls or not expected:
        return float(not calls and not expected)
    credits_ = [[comparison.credit(call, wanted) for wanted in expected] for call in calls]
    return min(1.0, best_total(credits_) / max(len(calls), len(expected)))


def _gold(sample: Sample, field: str) -> Any:
    """The expected calls as a JSON value or text, `None` if there are none."""
    gold = sample.metadata.get(field) if field else sample.reference
    if not isinstance(gold, str):
        return gold
    try:
        return msgspec.json.decode(gold)
    except UNREADABLE:
        return gold


def _expected(gold: Any) -> list[Expected] | None:
    """Reads the expected calls; `None` if they are not a list of calls. An empty list expects no call."""
    try:
        calls = calls_in(gold) or None if isinstance(gold, str) else calls_of(gold)
    except TooManyCalls:
        return None
    if calls is None or len(calls) > MAX_CALLS:
        return None
    return [_of_bfcl(call) if _is_bfcl(gold) else _of_call(call) for call in calls]


def _is_bfcl(gold: Any) -> bool:
    """Whether each call is one `{name: {argument: [allowed values]}}`."""
    return all(
        isinstance(arguments, dict) and all(isinstance(one, list) for one in arguments.values())
        for item in (gold if isinstance(gold, list) else [gold])
        for arguments in (item.values() if isinstance(item, dict) and len(item) == 1 else [None])
    )


def _of_bfcl(call: Call) -> Expected:
    return Expected(call.name, call.arguments, nested=True)


def _of_call(call: Call) -> Expected:
    return Expected(call.name, {name: [one] for name, one in call.arguments.items()}, nested=False)
