"""Says why rows could not be judged because of their input: what was looked for, and what the rows hold."""

from collections.abc import Iterable

from judge_service.values import UNSCORED_REASONS, Sample
from judge_service.wire.rows import REFERENCE_FIELDS

MAX_KEYS = 20
MAX_KEY_CHARS = 40
"""Limits of what a sentence lists: column names are chosen by whoever made the file."""

ANSWER_FIELDS = ("completion", "response", "model_response")
"""Fields of the model's answer, besides the last turn of `messages`; a test compares with `decode_row`."""

_REFERENCES = ", ".join(f"`{'.'.join(names)}`" for names in REFERENCE_FIELDS)
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


def _keys(samples: Iterable[Sample]) -> list[str]:
    found = list(dict.fromkeys(key for sample in samples for key in sample.metadata))
    shown = [f"`{_printable(key)}`" for key in found[:MAX_KEYS]]
    return [*shown, f"and {len(found) - MAX_KEYS} more"] if len(found) > MAX_KEYS else shown


def _printable(key: str) -> str:
    return "".join([c if c.isprintable() else "?" for c in key[:MAX_KEY_CHARS]])
