"""Reads the verdicts of several samples from one completion.

The whole answer is one JSON object with one list of entries, which may be in a code fence.
An entry is matched by its label, never by its position. It counts if no other entry has its label and its
verdict matches the grammar of `parse`. A sample without such an entry has no verdict; the others keep
theirs. An incomplete answer has no verdict for any sample.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from judge_service.grading.groups.pack_prompt import ENTRIES, LABEL, PackedPrompt
from judge_service.grading.prompting.parse import (
    MAX_ANSWER_CHARS,
    SPACE,
    STOPPED,
    OffMenuError,
    parse,
    read_verdict,
    unfenced,
)
from judge_service.grading.rubric.rubric import Rubric
from judge_service.values import Channel, Completion, Criterion, Prompt, Verdict


def parse_pack(
    completion: Completion,
    labels: Sequence[str],
    criteria: Sequence[Criterion],
    channel: Channel,
    reasoning: str = "none",
) -> Mapping[str, Verdict]:
    """The usable verdicts by label; empty when the whole answer is unusable. Never raises."""
    if completion.stop_reason in STOPPED:
        return {}
    counted: dict[str, list[Mapping[str, Any]]] = {label: [] for label in labels}
    for entry in _entries(completion, channel):
        label = entry.get(LABEL) if isinstance(entry, Mapping) else None
        if isinstance(label, str) and label in counted:
            counted[label].append(entry)
    found: dict[str, Verdict] = {}
    for label, entries in counted.items():
        if len(entries) == 1:
            _read_entry(entries[0], label, criteria, reasoning, found)
    return found


def _read_entry(
    entry: Mapping[str, Any],
    label: str,
    criteria: Sequence[Criterion],
    reasoning: str,
    found: dict[str, Verdict],
) -> None:
    data = {key: value for key, value in entry.items() if key != LABEL}
    try:
        found[label] = read_verdict(data, criteria, reasoning, may_abstain=False)
    except OffMenuError:
        return


def _entries(completion: Completion, channel: Channel) -> Sequence[Any]:
    answer = completion.data
    if answer is None and channel != "tool":
        answer = _json(completion.text or "")
    if not isinstance(answer, Mapping) or answer.keys() != {ENTRIES}:
        return ()
    entries = answer[ENTRIES]
    return entries if isinstance(entries, (list, tuple)) else ()


def _json(text: str) -> Any:
    if len(text) > MAX_ANSWER_CHARS:
        return None
    text = text.strip(SPACE)
    try:
        return _DECODER.decode(unfenced(text))
    except (ValueError, RecursionError):  # also more digits than an int may have
        return None


def _none_if_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any] | None:
    """The object, or `None` if it has a key twice and is therefore ambiguous."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else None


_DECODER = json.JSONDecoder(object_pairs_hook=_none_if_twice)


def has_verdict(prompt: Prompt, completion: Completion, rubric: Rubric) -> bool:
    """Whether an answer may be cached: it has a verdict, and for a pack one for each of its samples."""
    if isinstance(prompt, PackedPrompt):
        found = parse_pack(
            completion, prompt.labels, rubric.criteria, prompt.channel, rubric.reasoning
        )
        return len(found) == len(prompt.labels)
    outcome = parse(completion, rubric.criteria, prompt.channel, rubric.reasoning)
    return isinstance(outcome, Verdict)
