"""The form of the judge's answer: the instructions in the prompt, the JSON schema and the output tokens."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from judge_service.grading.rubric.rubric import Rubric
from judge_service.grading.rubric.template import Template, packaged_template
from judge_service.values import Channel, Criterion

NUMBER_TOKENS = 10
"""Output tokens of a number with what tokenizers put around it."""

REASON_TOKENS = 120
"""Output tokens of a reason: one sentence, with room for judges that write more."""

FRAME_TOKENS: Mapping[Channel, int] = {"text": 16, "schema": 16, "tool": 48}
"""Output tokens of braces, quotes and a code fence; a tool call also has its own mark-up."""


def is_number_only(rubric: Rubric, channel: Channel) -> bool:
    """Whether the whole answer is one number, the shortest form."""
    return channel == "text" and len(rubric.criteria) == 1 and rubric.reasoning == "none"


def count_tokens(rubric: Rubric, channel: Channel) -> int:
    """Output tokens to allow: those of the rubric, else just enough, because quota is reserved for them."""
    if rubric.max_output_tokens is not None:
        return rubric.max_output_tokens
    if is_number_only(rubric, channel):
        return NUMBER_TOKENS
    return FRAME_TOKENS[channel] + count_verdict_tokens(rubric)


def count_verdict_tokens(rubric: Rubric) -> int:
    """Output tokens of the scores and the reason, without the frame around them."""
    reason = REASON_TOKENS if rubric.reasoning == "brief" else 0
    # A name of n characters has at most n / 2 tokens in the tokenizers we measured; 8 for the number.
    return reason + sum(len(criterion.name) // 2 + 8 for criterion in rubric.criteria)


def describe_answer(rubric: Rubric, channel: Channel) -> str:
    """The text that replaces `{{answer}}`."""
    if is_number_only(rubric, channel):
        return Template(packaged_template("answer_number"), {"scale": _scale(rubric)}).fill({})
    form = {"text": "object", "schema": "schema", "tool": "tool"}[channel]
    reasoned = "_reasoned" if rubric.reasoning == "brief" else ""
    keys = ["reason"] if reasoned and channel != "text" else []
    keys += [criterion.name for criterion in rubric.criteria]
    shape = "{" + ", ".join(f'"{key}": ...' for key in keys) + "}"
    return Template(packaged_template(f"answer_{form}{reasoned}"), {"shape": shape}).fill({})


def describe_criteria(rubric: Rubric, channel: Channel) -> str:
    """The text that replaces `{{criteria}}`.

    If the answer is one number, the criterion needs no name, and `{{answer}}` has its scale.
    """
    if is_number_only(rubric, channel):
        return rubric.criteria[0].description
    return list_criteria(rubric)


def list_criteria(rubric: Rubric) -> str:
    """A list of the criteria with their names and scales."""
    return "\n".join(
        f"- {criterion.name} ({criterion_scale(criterion)}): {criterion.description}"
        for criterion in rubric.criteria
    )


def _scale(rubric: Rubric) -> str:
    return criterion_scale(rubric.criteria[0])


def criterion_scale(criterion: Criterion) -> str:
    """The allowed answers, described in words. Bounds keep their `.0`, so that the judge uses decimals."""
    if not criterion.levels:
        return f"between {criterion.minimum} and {criterion.maximum}"
    return "one of " + ", ".join(json.dumps(level) for level in _plain(criterion.levels))


def answer_schema(rubric: Rubric) -> Mapping[str, Any]:
    """The JSON schema of the answer, within the subset that Bedrock accepts (no minimum, no maximum).

    The reason comes first: after the scores it could only justify them.
    """
    properties: dict[str, Any] = {"reason": {"type": "string"}} if _reasons(rubric) else {}
    for criterion in rubric.criteria:
        properties[criterion.name] = _number_schema(criterion)
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _reasons(rubric: Rubric) -> bool:
    return rubric.reasoning == "brief"


def _number_schema(criterion: Criterion) -> dict[str, Any]:
    levels = _plain(criterion.levels)
    if not levels:
        return {"type": "number"}
    whole = all(isinstance(level, int) for level in levels)
    return {"type": "integer" if whole else "number", "enum": levels}


def _plain(levels: Sequence[float]) -> list[float]:
    """Whole numbers as 1 instead of 1.0, because a grammar made from the enum would require the `.0`."""
    return [int(level) if level.is_integer() else level for level in levels]
