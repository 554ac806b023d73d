"""Says why rows could not be judged because of their input: what was looked for, and what the rows hold."""

import re
from collections.abc import Iterable

from judge_service.values import UNSCORED_REASONS, Sample
from judge_service.wire.rows import ANSWER_FIELDS, REFERENCE_FIELDS, TASK_FIELDS

MAX_KEYS = 20
MAX_KEY_CHARS = 40
"""Limits of what a sentence lists: column names are chosen by whoever made the file."""

_REFERENCES = ", ".join(f"`{'.'.join(names)}`" for names in REFERENCE_FIELDS)
_LIKE_A_TASK = re.compile("prompt|question|problem|query|instruction|task|user", re.IGNORECASE)
_ANSWERS = ", ".join(f"`{name}`" for name in ANSWER_FIELDS)
_LOOKED_FOR = {
    "no_response": f"the answer is read from {_ANSWERS} or the assistant's last turn in `messages`",
    "no_reference": f"the reference is read from {_REFERENCES}",
    "unreadable": "each line must be a JSON object in UTF-8 text, or the file one JSON event",
}


def explain_unread(reason: str, samples: Iterable[Sample]) -> str:
    """A sentence without its full stop: the reason, where text was looked for, which keys the rows have.

    reason: a word of `values.INPUT_REASONS`.
    samples: some of the rows; their metadata has the keys that are not part of the conversation.
    """
    said = f"`{reason}`: {UNSCORED_REASONS[reason]}"
    if looked_for := _LOOKED_FOR.get(reason):
        said += f"; {looked_for}"
    if keys := _keys(samples):
        said += f"; besides the conversation, the rows have {', '.join(keys)}"
    return said


def explain_missing_task(samples: Iterable[Sample]) -> str:
    """A sentence about rows without a task in which another column looks like one; `""` if there are none.

    The judge sees no task for such a row, and the row belongs to no group.
    """
    found = [
        key
        for sample in samples
        if not sample.messages and sample.response is not None
        for key, value in sample.metadata.items()
        if _LIKE_A_TASK.search(key) and isinstance(value, str) and " " in value.strip()
    ]
    if not found:
        return ""
    looks = ", ".join(f"`{_printable(key)}`" for key in list(dict.fromkeys(found))[:MAX_KEYS])
    fields = ", ".join(f"`{name}`" for name in ("messages", *TASK_FIELDS))
    return (
        f"rows have an answer and no task, so the judge sees none and they are in no group; {looks}"
        f" looks like it, and the task is read from {fields}: rename the column"
    )


def _keys(samples: Iterable[Sample]) -> list[str]:
    found = list(dict.fromkeys(key for sample in samples for key in sample.metadata))
    shown = [f"`{_printable(key)}`" for key in found[:MAX_KEYS]]
    return [*shown, f"and {len(found) - MAX_KEYS} more"] if len(found) > MAX_KEYS else shown


def _printable(key: str) -> str:
    return "".join([c if c.isprintable() else "?" for c in key[:MAX_KEY_CHARS]])
