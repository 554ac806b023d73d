"""Recognises the form of a reward function by the names of its parameters.

grade(sample)                                                       judge-service
compute_score(data_source, solution_str, ground_truth, extra_info)  verl
f(prompts, completions, **columns)                                  TRL
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from judge_service.errors import SettingsError
from judge_service.grading.custom.score import BadScoreError, Score, read_only_score, read_score
from judge_service.values import Message, Sample

FORMS = (
    "grade(sample), compute_score(data_source, solution_str, ground_truth, extra_info=None) or"
    " f(prompts, completions, **columns)"
)

_TRAINERS_OWN = frozenset(
    {"completion_ids", "trainer_state", "log_extra", "log_metric", "environments"}
)
"""Parameters that TRL passes besides the columns, and that exist only in a trainer."""

Arguments = Callable[[Sample], Mapping[str, Any]]


class Form(Struct, frozen=True):
    """How a function is called and how its result is read. `read` returns `None` for "not judged"."""

    name: str
    arguments: Arguments
    read: Callable[[Any], Score | None]


class _Parameters(Struct, frozen=True):
    """The parameters that can be passed by name, those that must be, and whether others are accepted."""

    names: frozenset[str]
    required: frozenset[str]
    takes_any: bool
    shown: str

    def accepts(self, name: str) -> bool:
        return self.takes_any or name in self.names


def recognise(function: Callable[..., Any], spec: str) -> Form:
    """The form of a function.

    spec: its name in the settings.

    Raises SettingsError if it has none of the forms, or requires a parameter that only a trainer has.
    """
    parameters = _parameters(function, spec)
    if "completions" in parameters.names:
        return _trl(function, parameters, spec)
    if {"solution_str", "ground_truth"} <= parameters.names:
        known = {"data_source", "solution_str", "ground_truth", "extra_info"}
        form = Form("verl", _verl_arguments(parameters), read_score)
    else:
        known = {"sample"}
        form = Form("grade", lambda sample: {"sample": sample}, read_score)
    if not (known & parameters.names and parameters.required <= known):
        raise SettingsError(
            f"`grader`: `{spec}` takes {parameters.shown}, which is none of the known forms;"
            f" declare it as {FORMS}"
        )
    return form


def _parameters(function: Callable[..., Any], spec: str) -> _Parameters:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise SettingsError(
            f"`grader`: the parameters of `{spec}` cannot be read; wrap it in {FORMS}"
        ) from None
    by_name = [
        one
        for one in signature.parameters.values()
        if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    ]
    positional = [
        one.name for one in signature.parameters.values() if one.kind is one.POSITIONAL_ONLY
    ]
    required = {one.name for one in by_name if one.default is one.empty}
    return _Parameters(
        names=frozenset(one.name for one in by_name),
        required=frozenset(required | {f"{name}, /" for name in positional}),
        takes_any=any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values()),
        shown=f"({', '.join(signature.parameters)})",
    )


def _verl_arguments(parameters: _Parameters) -> Arguments:
    def arguments(sample: Sample) -> dict[str, Any]:
        metadata = sample.metadata
        extra = metadata.get("extra_info")
        every = {
            "data_source": metadata.get("data_source", ""),
            "solution_str": sample.response or "",
            "ground_truth": _ground_truth(sample),
            "extra_info": dict(extra) if isinstance(extra, Mapping) else {},
        }
        return {name: value for name, value in every.items() if parameters.accepts(name)}

    return arguments


def _ground_truth(sample: Sample) -> Any:
    """The value of the data set with its type; without one, the reference answer as text."""
    reward_model = sample.metadata.get("reward_model")
    if isinstance(reward_model, Mapping) and "ground_truth" in reward_model:
        return reward_model["ground_truth"]
    return sample.metadata.get("ground_truth", sample.reference)


def _trl(function: Callable[..., Any], parameters: _Parameters, spec: str) -> Form:
    missing = sorted(parameters.required & _TRAINERS_OWN)
    if missing:
        raise SettingsError(
            f"`grader`: `{spec}` needs `{missing[0]}`, which only a trainer has; give it a default"
        )
    as_text = _wants_text(function)

    def arguments(sample: Sample) -> dict[str, Any]:
        answer = Message("assistant", sample.response or "")
        every = {name: [value] for name, value in sample.metadata.items()}
        every.setdefault("reference", [sample.reference])
        every["prompts"] = [_conversation(sample.messages, as_text=as_text)]
        every["completions"] = [_conversation((answer,), as_text=as_text)]
        if lacking := sorted(parameters.required - every.keys()):
            raise BadScoreError(f"it needs the column `{lacking[0]}`, which the row does not have")
        return {name: value for name, value in every.items() if parameters.accepts(name)}

    return Form("trl", arguments, read_only_score)


def _wants_text(function: Callable[..., Any]) -> bool:
    """Whether completions are declared as `list[str]`; undeclared ones are conversations."""
    annotation = inspect.signature(function).parameters["completions"].annotation
    return str(annotation).lower().endswith("list[str]")


def _conversation(messages: tuple[Message, ...], *, as_text: bool) -> Any:
    if as_text:
        return "\n\n".join(message.content for message in messages)
    return [{"role": message.role, "content": message.content} for message in messages]
