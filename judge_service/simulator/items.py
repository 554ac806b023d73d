"""Answers to prompts about several items: one entry for each item, with its label."""

import re
from collections.abc import Mapping
from typing import Any

from judge_service.simulator.answers import digest_prompt, instance
from judge_service.simulator.requested_form import requested_schema

ITEM = re.compile(r"^<item (\w{1,32}) (\w{1,64})>\n(.*?)^</item \1 \2>$", re.DOTALL | re.MULTILINE)
LIST = re.compile(r'\{"(\w{1,32})": \[\{"ID": \.\.\.')
"""The text that asks for a list of entries, each with an `ID`."""


def answer_items(prompt: str, schema: Mapping[str, Any] | None, seed: int) -> Any:
    """The list that the schema or the prompt asks for; `None` if the prompt is about one item.

    An item's numbers depend on its own text only, so that the order of the items does not matter.
    """
    found = _list_of(schema) if schema is not None else _wished(prompt)
    items = ITEM.findall(prompt) if found else []
    if not found or not items:
        return None
    name, entry = found
    return {
        name: [
            {**instance(entry, digest_prompt(text, seed)), "ID": label} for label, _, text in items
        ]
    }


def _list_of(schema: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """The only property of a schema, if it is a list of entries with an `ID`."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or len(properties) != 1:
        return None
    ((name, part),) = properties.items()
    match part:
        case {"type": "array", "items": {"properties": {"ID": _}} as entry}:
            return str(name), entry
    return None


def _wished(prompt: str) -> tuple[str, Mapping[str, Any]] | None:
    lists = LIST.findall(prompt[-2_000:])
    return (lists[-1], requested_schema(prompt)) if lists else None
