"""How a judge is told to answer: the words, the JSON schema and the room for it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from judge_service.grading.rubric.rubric import Rubric
from judge_service.grading.rubric.template import Template, packaged_template
from judge_service.values import Channel, Criterion

NUMBER_TOKENS = 10
"""A number and what tokenizers put around it; the article's judge has the same."""

REASON_TOKENS = 120
"""One sentence, with room for those who do not count."""

FRAME_TOKENS: Mapping[Channel, int] = {"text": 16, "schema": 16, "tool": 48}
"""Braces, quotes, a code fence; a tool call also spends tokens on its own mark-up."""


def is_number_only(rubric: Rubric, channel: Channel) -> bool:
    """Whether the whole answer is one number, the shortest form there is."""
    return channel == "text" and len(rubric.criteria) == 1 and rubric.reasoning == "none"


def count_tokens(rubric: Rubric, channel: Channel) -> int:
    """Output tokens to allow: the rubric's own, or just enough, since quota is reserved for them."""
    if rubric.max_output_tokens is not None:
        return rubric.max_output_tokens
    if is_number_only(rubric, channel):
        return NUMBER_TOKENS
    return FRAME_TOKENS[channel] + count_verdict_tokens(rubric)


def count_verdict_tokens(rubric: Rubric) -> int:
    """Output tokens of the scores and the reason, without what stands around them."""
    reason = REASON_TOKENS if rubric.reasoning == "brief" else 0
    # A name of n characters is n / 2 tokens at worst in the tokenizers we met; 8 for the number.
    return reason + sum(len(criterion.name) // 2 + 8 for criterion in rubric.criteria)


def describe_answer(rubric: Rubric, channel: Channel) -> str:
    """What `{{answer}}` stands for."""
    if is_number_only(rubric, channel):
        return Template(packaged_template("answer_number"), {"scale": _scale(rubric)}).fill({})
    form = {"text": "object", "schema": "schema", "tool": "tool"}[channel]
    reasoned = "_reasoned" if rubric.reasoning == "brief" else ""
    keys = ["reason"] if reasoned and channel != "text" else []
    keys += [criterion.name for criterion in rubric.criteria]
    shape = "{" + ", ".join(f'"{key}": ...' for key in keys) + "}"
    return Template(packaged_template(f"answer_{form}{reasoned}"), {"shape": shape}).fill({})


def describe_criteria(rubric: Rubric, channel: Channel) -> str:
    """What `{{criteria}}` stands for. A number alone needs no name, and its scale is in the answer."""
    if is_number_only(rubric, channel):
        return rubric.criteria[0].description
    return list_criteria(rubric)


def list_criteria(rubric: Rubric) -> str:
    """The criteria with their names and scales."""
    return "\n".join(
        f"- {criterion.name} ({criterion_scale(criterion)}): {criterion.description}"
        for criterion in rubric.criteria
    )


def _scale(rubric: Rubric) -> str:
    return criterion_scale(rubric.criteria[0])


def criterion_scale(criterion: Criterion) -> str:
    """The allowed answers in words. Bounds keep their `.0`, which invites decimals."""
    if not criterion.levels:
        return f"between {criterion.minimum} and {criterion.maximum}"
    return "one of " + ", ".join(json.dumps(level) for level in _plain(criterion.levels))


def answer_schema(rubric: Rubric) -> Mapping[str, Any]:
    """The JSON schema of the answer, inside the subset Bedrock accepts (no minimum, no maximum).

    The reason comes first: written after the scores it could only justify them.
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
    """1 rather than 1.0: a grammar made from the enum would insist on the `.0`."""
    return [int(level) if level.is_integer() else level for level in levels]
