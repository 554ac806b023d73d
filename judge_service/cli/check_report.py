"""Converts a trial (`assembly.trial`) to the findings of `judge check`, and to a record for `--json`."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from judge_service.telemetry.events import ChannelChanged, Event, RequestChanged, StoreLost
from judge_service.values import (
    INPUT_REASONS,
    NO_USAGE,
    UNSCORED_REASONS,
    Completion,
    Reward,
    Usage,
)

MAX_ANSWER_CHARS = 400
"""Longest part of a judge's raw answer in a finding; enough to see its mistake."""

MAX_CALLS_SHOWN = 5

Level = Literal["ok", "warning", "problem"]
Area = Literal["settings", "rubric", "sample", "judge", "store", "quota"]


class Finding(Struct, frozen=True):
    """One line of the check."""

    area: Area
    level: Level
    text: str


def findings_of(trial: Any, events: Sequence[Event], *, who: str) -> Iterator[Finding]:
    """The findings of an `assembly.trial.Trial`. who: name of the judge or grader."""
    yield _judge(trial, who)
    yield from _calls(trial)
    yield from _changes(events, who)
    for place, reward in enumerate(trial.rewards, 1):
        yield _reward(reward, f"sample {place}" if len(trial.rewards) > 1 else "the sample", trial)
    yield from (Finding("store", "problem", f"the quota's {_lost(event)}") for event in _of(events))
    yield from (Finding("store", "problem", text) for text in trial.stores)
    yield from (Finding("judge", "problem", text) for text in trial.targets)


def _judge(trial: Any, who: str) -> Finding:
    if not trial.calls:
        return Finding(
            "judge", "ok", f"{who}: no judge was called, it took {trial.duration_s:.2f} s"
        )
    answered = [call for call in trial.calls if call.completion is not None]
    if not answered:
        return Finding("judge", "warning", f"{who} gave no answer in {trial.duration_s:.2f} s")
    usage = sum((_usage(call) for call in answered), NO_USAGE)
    channels = ", ".join(dict.fromkeys(f"`{call.prompt.channel}`" for call in answered))
    models = ", ".join(dict.fromkeys(call.completion.model for call in answered))
    named = "" if models in who else f" ({models})"
    is_useful = any(call.is_usable for call in answered)
    return Finding(
        "judge",
        "ok" if is_useful else "warning",
        f"{who}{named} answers through {channels}: {len(trial.calls)} call(s),"
        f" {_read(usage)} + {usage.output_tokens} tokens{_cost(trial)}, {trial.duration_s:.2f} s",
    )


def _calls(trial: Any) -> Iterator[Finding]:
    """A finding per call with its answer. An error that is a sample's reason is reported with the sample."""
    told = {reward.detail for reward in trial.rewards}
    calls = [call for call in trial.calls if str(call.error) not in told]
    was_mended = any(call.is_usable for call in calls)
    for number, call in enumerate(calls[:MAX_CALLS_SHOWN], 1):
        where = f"call {number}, `{call.prompt.channel}`, {call.duration_s:.2f} s"
        if call.error is not None:
            yield Finding("judge", "warning", f"{where}: {call.error}")
        elif call.is_usable:
            yield Finding("judge", "ok", f"{where}: {answer_of(call.completion)}")
        else:
            level: Level = "warning" if was_mended else "problem"
            stop = (
                ""
                if call.completion.stop_reason == "complete"
                else f" ({call.completion.stop_reason})"
            )
            text = f"is not a verdict{stop}: {answer_of(call.completion)}"
            yield Finding("judge", level, f"{where}: {text}")
    if len(calls) > MAX_CALLS_SHOWN:
        yield Finding("judge", "ok", f"{len(calls) - MAX_CALLS_SHOWN} more call(s)")


def _changes(events: Sequence[Event], who: str) -> Iterator[Finding]:
    for event in events:
        if isinstance(event, ChannelChanged):
            text = (
                f"{who} does not answer through `{event.refused}` and is called through `{event.now}`;"
                f' `answer = "{event.now}"` saves each process that call'
            )
            yield Finding("judge", "warning", text)
        elif isinstance(event, RequestChanged):
            text = f"{who} refuses part of the request and is called with {event.changes}"
            if "no temperature" in event.changes:
                text += (
                    "; `temperature` as `-` (JUDGE_TEMPERATURE) saves each process the refused call"
                )
            yield Finding("judge", "warning", text)


def _of(events: Sequence[Event]) -> list[StoreLost]:
    return [event for event in events if isinstance(event, StoreLost)]


def _lost(event: StoreLost) -> str:
    return f"store does not answer, so each process continues with a share: {event.reason}"


def _reward(reward: Reward, which: str, trial: Any) -> Finding:
    """The finding about a sample: its score, or the reason why there is none with the remedy."""
    which = f"{which} (built-in)" if trial.is_built_in else which
    if reward.score is not None:
        parts = ", ".join(
            f"{part.name} {part.score:.3f}" for part in reward.parts if part.score is not None
        )
        because = f", because: {reward.explanation}" if reward.explanation else ""
        return Finding("sample", "ok", f"{which} gets {reward.score:.3f} ({parts}){because}")
    reason = reward.reason or "grader_error"
    detail = reward.detail or UNSCORED_REASONS[reason]
    text = f"{which} has no score, `{reason}`: {detail}"
    if reason == "throttled":
        return Finding("judge", "warning", f"{text}; the judge accepts calls and is only busy")
    if reason in INPUT_REASONS:
        level: Level = "warning" if trial.is_built_in else "problem"
        return Finding("sample", level, f"{text}; check with a row that has it: --sample FILE")
    return Finding("judge", "problem", text + ADVICE.get(reason, ""))


ADVICE = {
    "unparseable": "; the judge does not keep that form: set another `answer` channel, or use another judge",
    "truncated": "; raise the rubric's `max_output_tokens`, or turn the judge's reasoning off",
    "refused": "; reword the rubric, or use another judge",
    "cannot_judge": "; choose a `backend` that can judge every criterion of the rubric",
    "deadline": "; raise `deadline_s`, or use a faster judge",
}
"""Remedies for reasons whose error has none."""


def answer_of(completion: Completion) -> str:
    """A judge's raw answer in one line, at most 400 characters, with control characters shown as escapes."""
    text = completion.text
    if completion.data is not None:
        text = msgspec.json.encode(completion.data).decode()
    if text is None:
        return "(nothing)"
    cut = text[:MAX_ANSWER_CHARS]
    shown = "".join([c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut])
    return f"{shown}..." if len(text) > len(cut) else shown or "(an empty text)"


def trial_record(trial: Any) -> dict[str, Any]:
    """The trial as a record for `--json`."""
    return {
        "duration_s": round(trial.duration_s, 3),
        "built_in_sample": trial.is_built_in,
        "calls": [_call_record(call) for call in trial.calls],
        "rewards": [
            {
                "score": reward.score,
                "reason": reward.reason,
                "detail": reward.detail,
                "criteria": {part.name: part.score for part in reward.parts},
                "explanation": reward.explanation,
                "cost_usd": reward.cost_usd,
            }
            for reward in trial.rewards
        ],
    }


def _call_record(call: Any) -> dict[str, Any]:
    completion, usage = call.completion, _usage(call)
    return {
        "channel": call.prompt.channel,
        "model": completion.model if completion else None,
        "duration_s": round(call.duration_s, 3),
        "input_tokens": _read(usage),
        "output_tokens": usage.output_tokens,
        "max_output_tokens": call.prompt.max_output_tokens,
        "temperature": call.prompt.temperature,
        "changes": completion.asked if completion else "",
        "stop_reason": completion.stop_reason if completion else None,
        "answer": answer_of(completion) if completion else None,
        "usable": call.is_usable,
        "error": str(call.error) if call.error else None,
    }


def _usage(call: Any) -> Usage:
    return call.completion.usage if call.completion else NO_USAGE


def _read(usage: Usage) -> int:
    return usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens


def _cost(trial: Any) -> str:
    costs = [reward.cost_usd for reward in trial.rewards]
    return "" if None in costs else f", {sum(costs):.6f} USD"
