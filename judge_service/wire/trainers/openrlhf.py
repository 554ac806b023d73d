"""OpenRLHF's remote reward: reads texts and returns three columns."""

import re
from collections.abc import Sequence
from typing import Any

from judge_service.errors import WireError
from judge_service.values import Message, Sample
from judge_service.wire.content import clean_text, name_of, read_reference
from judge_service.wire.replies import Answer
from judge_service.wire.rows import group_key_of

TAIL_CHARS = 64
"""Characters of a prompt's end that identify it when its beginning was cut off; end tokens are searched in
as many characters."""

END_TOKENS = re.compile(r"(?:(?:<\|\w+\|>|</s>|<eos>|<end_of_turn>)\s*)+\Z")
"""End tokens that the trainer's tokenizer leaves after an answer, because it keeps special tokens."""


def decode_openrlhf(body: Any) -> tuple[Sample, ...]:
    """Reads `{"query": [...], "prompts": [...], "labels": [...]}`, lists of one length.

    A query is the prompt followed by the response. `labels` may be absent; an empty label means none.

    Raises WireError, and nothing else.
    """
    if not isinstance(body, dict):
        raise WireError("$", f"must be an object with `query` and `prompts`, not {name_of(body)}")
    queries = _read_list(body, "query")
    prompts = _read_list(body, "prompts", of=queries)
    labels = _read_list(body, "labels", of=queries) if body.get("labels") is not None else None
    return tuple(
        [
            _sample(
                _read_string(query, f"$.query[{place}]"),
                _read_string(prompts[place], f"$.prompts[{place}]"),
                read_reference(labels[place], f"$.labels[{place}]") if labels else None,
            )
            for place, query in enumerate(queries)
        ]
    )


def encode_openrlhf(answers: Sequence[Answer], *, low: float) -> dict[str, Any]:
    """Writes the columns `rewards` (in the wire range), `scores` (in [0, 1]) and `extra_logs`.

    low: lower end of the wire range, 0 or -1.

    `extra_logs` has a column for each criterion and `judge_failed`, 1 where the reward is a substitute.
    """
    names = [metric.name for metric in answers[0].metrics] if answers else ["unscored"]
    columns = [[answer.metrics[place].value for answer in answers] for place in range(len(names))]
    logs = dict(zip(names, columns, strict=True))
    logs["judge_failed"] = logs.pop("unscored")
    rewards = [answer.score for answer in answers]
    return {
        "rewards": rewards,
        "scores": [(reward - low) / (1.0 - low) for reward in rewards],
        "extra_logs": logs,
    }


def response_of(query: str, prompt: str) -> str:
    """The text after the prompt, without end tokens.

    A query may lack the beginning of a prompt that was too long. If the prompt's end is not found, because
    the tokenizer does not reproduce its input, the whole query is judged.
    """
    text = query[_end_of_prompt(query, prompt) :]
    ended = END_TOKENS.search(text, max(0, len(text) - TAIL_CHARS))
    return text[: ended.start()] if ended else text


def _end_of_prompt(query: str, prompt: str) -> int:
    """The position at which the response begins; 0 when it is unknown.

    The first occurrence of the prompt counts: a response that repeats the prompt must not hide what it says
    before the repetition.
    """
    whole = query.find(prompt, 0, len(prompt) + TAIL_CHARS)  # a token may precede it
    if whole >= 0:
        return whole + len(prompt)
    tail = prompt[-TAIL_CHARS:]
    found = query.find(tail)
    end = found + len(tail)
    return end if found >= 0 and prompt.endswith(query[:end]) else 0


def _sample(query: str, prompt: str, reference: str | None) -> Sample:
    messages = (Message("user", prompt),)
    return Sample(
        messages=messages,
        response=response_of(query, prompt),
        reference=reference,
        group_key=group_key_of(messages),
    )


def _read_list(body: dict[str, Any], field: str, of: Sequence[Any] | None = None) -> list[Any]:
    value = body.get(field)
    if not isinstance(value, list):
        raise WireError(f"$.{field}", f"must be a list, not {name_of(value)}")
    if of is not None and len(value) != len(of):
        raise WireError(
            f"$.{field}", f"has {len(value)} items for {len(of)} of `query`; send as many"
        )
    return value


def _read_string(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise WireError(path, f"must be a string, not {name_of(value)}")
    return clean_text(value)
