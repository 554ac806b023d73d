"""`regex`: checks that the response contains, matches or lacks a regular expression."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from judge_service.values import Sample
from judge_service.verifiers import Check, Pure
from judge_service.verifiers.extract import Strategies, extract
from judge_service.verifiers.pattern import MAX_PATTERN_CHARS, MAX_TEXT_CHARS, compiled, readable


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the verifier `regex`."""

    pattern: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MAX_PATTERN_CHARS,
            description="The expression, in RE2's syntax.",
        ),
    ]
    must: Annotated[
        Literal["contain", "match", "lack"],
        Meta(description="What the text must do: `match` is from its start to its end."),
    ] = "contain"
    ignore_case: Annotated[bool, Meta(description="Capital letters do not matter.")] = False
    strategies: Annotated[
        Strategies, Meta(description="Which part of the response is looked at, as in `exact`.")
    ] = ("whole",)
    thoughts: Annotated[
        bool,
        Meta(
            description="Look at all that the policy sent, with its thoughts, whatever the strategies."
        ),
    ] = False


def make(options: Options) -> Pure:
    """Makes the verifier. Raises RubricError for a pattern that RE2 refuses."""
    pattern = compiled(options.pattern, "pattern", ignore_case=options.ignore_case)
    search = pattern.fullmatch if options.must == "match" else pattern.search

    def check(sample: Sample) -> Check:
        if sample.response is None:
            return Check(score=None, reason="no_response")
        found = extract(sample.response, options.strategies)
        text = found.text if found else None
        if options.thoughts:
            text = sample.response
        if text is None:
            return Check(score=0.0, detail="the response has no such part")
        if len(text) > MAX_TEXT_CHARS:
            detail = f"the text is longer than the limit of {MAX_TEXT_CHARS} characters"
            return Check(score=0.0, detail=detail)
        matches = search(readable(text)) is not None
        said = "fits" if matches else "does not fit"
        good = matches != (options.must == "lack")
        return Check(score=float(good), detail=f"the text {said} the pattern")

    return Pure(check)
