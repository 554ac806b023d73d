"""Reads one row of any dialect as a `Sample`. `docs/contracts.md` describes the dialects."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from judge_service.errors import WireError
from judge_service.values import NO_METADATA, Message, Sample
from judge_service.wire.content import (
    clean_text,
    name_of,
    read_id,
    read_reference,
    read_text,
    unseen_beside,
    unseen_in,
    unseen_of,
)
from judge_service.wire.jsontext import render

ROLES = {"nova_assistant": "assistant", "bot": "assistant", "developer": "system"}
"""Our names of other dialects' roles; roles that are not listed stay as sent."""

REFERENCE_FIELDS: tuple[tuple[str, ...], ...] = (
    ("reference_answer",),
    ("metadata", "reference_answer"),
    ("extra_info", "reference_answer"),
    ("reward_model", "ground_truth"),
    ("ground_truth",),
    ("metadata", "ground_truth"),
    ("reference",),
    ("answer",),
)
"""Fields that may hold the reference answer, in order; the first field that is not empty is used."""

TASK_FIELDS = ("prompt", "problem", "question", "instruction", "input")
"""Fields that may hold the task where there are no `messages`, in order; the first with a value is used."""

ANSWER_FIELDS = ("completion", "response", "model_response")
"""Fields that may hold the model's answer where there are no `messages`."""

MESSAGES_FIELDS = frozenset({"id", "messages"})
QUESTION_FIELDS = ("query", "prompt", "messages")

Turns = list[Message]


def decode_row(row: Any, path: str = "$") -> Sample:
    """Reads one row.

    path: the row's place, for errors.

    Raises WireError, and nothing else; it names the field that cannot be read.
    """
    if not isinstance(row, dict):
        raise WireError(path, f"a row must be an object, not {name_of(row)}")
    turns, gold, fields = _read_shape(row, path)
    response: str | None = None
    unseen: tuple[str, ...] = ()
    if turns and turns[-1].role == "assistant":
        answer = turns.pop()
        response, unseen = answer.content, answer.unseen
        if turns and turns[-1].role == "assistant":
            earlier = turns.pop().content
            gold = gold or earlier or None
    if turns and (beside := unseen_beside(row)):
        turns[-1] = Message(turns[-1].role, turns[-1].content, beside)
    reference = find_reference(row, path)
    return Sample(
        id=read_id(row.get("id"), f"{path}.id"),
        messages=tuple(turns),
        response=response,
        reference=gold if reference is None else reference,
        metadata={k: v for k, v in row.items() if k not in fields} or NO_METADATA,
        group_key=group_key_of(turns),
        unseen=unseen,
    )


def _read_shape(row: dict[str, Any], path: str) -> tuple[Turns, str | None, frozenset[str]]:
    """The turns of the row, the gold answer that its form implies, and the fields that were used.

    `model_response` is read first: next to it `response` is the gold answer, but next to `prompt` it is the
    model's answer.
    """
    if "model_response" in row:
        return _read_query(row, path)
    if "messages" in row:
        return _read_messages(row["messages"], f"{path}.messages"), None, MESSAGES_FIELDS
    if "query" in row and "prompt" not in row:
        return _read_query(row, path)
    return _read_prompt(row, path)


def _read_query(row: dict[str, Any], path: str) -> tuple[Turns, str | None, frozenset[str]]:
    question = next((field for field in QUESTION_FIELDS if field in row), "query")
    turns = _read_turns(row, "system", "system", path)
    turns += _read_turns(row, question, "user", path) or _read_other_task(row, path)
    turns += _read_turns(row, "model_response", "assistant", path)
    gold = _last_text(_read_turns(row, "response", "assistant", path))
    return turns, gold, frozenset({"id", "system", question, "model_response", "response"})


def _read_prompt(row: dict[str, Any], path: str) -> tuple[Turns, str | None, frozenset[str]]:
    answer = "response" if row.get("completion") is None else "completion"
    turns = _read_turns(row, "system", "system", path)
    turns += _read_turns(row, "prompt", "user", path) or _read_other_task(row, path)
    answered = _read_turns(row, answer, "assistant", path)
    if answered != turns[-1:]:  # verl's prompt may already end with the model's turn
        turns += answered
    gold = _last_text(_read_turns(row, "chosen", "assistant", path))
    return turns, gold, frozenset({"id", "system", "prompt", answer})


def _read_other_task(row: dict[str, Any], path: str) -> Turns:
    """The task of a row without `prompt`. Values that are no task, such as a record, are no error here."""
    for field in TASK_FIELDS[1:]:
        value = row.get(field)
        if isinstance(value, str) and value.strip():
            turns = [Message("user", clean_text(value))]
        elif (
            isinstance(value, list) and value and isinstance(value[0], dict) and "role" in value[0]
        ):
            turns = _read_messages(value, f"{path}.{field}")
        else:
            continue
        more = row.get("input")
        if field == "instruction" and isinstance(more, str) and more.strip():  # Alpaca's form
            turns.append(Message("user", clean_text(more)))
        return turns
    return []


def _read_turns(row: dict[str, Any], field: str, role: str, path: str) -> Turns:
    """The turns in a field that holds a conversation, the text of one turn, or nothing."""
    value = row.get(field)
    if value is None:
        return []
    path = f"{path}.{field}"
    if isinstance(value, list) and (
        not value or (isinstance(value[0], dict) and "role" in value[0])
    ):
        return _read_messages(value, path)
    return [Message(role, read_text(value, path), unseen_in(value))]


def _read_messages(messages: Any, path: str) -> Turns:
    if messages is None:
        return []
    if not isinstance(messages, list | tuple):
        raise WireError(path, f"must be a list of messages, not {name_of(messages)}")
    return [_read_message(message, f"{path}[{i}]") for i, message in enumerate(messages)]


def _read_message(message: Any, path: str) -> Message:
    if not isinstance(message, dict):
        raise WireError(path, f"must be a message object, not {name_of(message)}")
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str):
        raise WireError(f"{path}.role", f"must be a string, not {name_of(role)}")
    text = (
        clean_text(content) if isinstance(content, str) else read_text(content, f"{path}.content")
    )
    if calls := message.get("tool_calls"):
        # An answer may consist of tool calls only; without them it would look empty and so be bad.
        called = clean_text(render(calls, f"{path}.tool_calls"))
        text = f"{text}\n{called}" if text else called
    return Message(ROLES.get(role) or clean_text(role), text, unseen_of(message))


def _last_text(turns: Turns) -> str | None:
    return turns[-1].content or None if turns else None


def find_reference(row: Mapping[str, Any], path: str) -> str | None:
    """Finds the reference answer in a row, see `REFERENCE_FIELDS`. Raises WireError."""
    for names in REFERENCE_FIELDS:
        value: Any = row
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            found = read_reference(value, ".".join((path, *names)))
            if found is not None:
                return found
    return None


def group_key_of(turns: Iterable[Message]) -> str:
    """The key of a row's group: equal for equal system and user turns, empty without any.

    The assistant's and tools' turns between them come from the policy and differ between the rollouts of one
    prompt.
    """
    parts = [
        f"{turn.role}:{len(turn.content)}:{turn.content}"
        for turn in turns
        if turn.role in ("system", "user")
    ]
    if not parts:
        return ""
    return hashlib.blake2b("".join(parts).encode(), digest_size=12).hexdigest()
