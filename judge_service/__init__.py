"""judge-service: one finite reward per rollout, in order, before the deadline.

    from judge_service import Sample, open_service

    async with open_service() as judge:
        rewards = await judge.score([Sample(id=1, response="4", reference="four")])

The import has no side effects, and imports no large module before a name is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from judge_service.errors import (
        JudgeServiceError,
        RubricError,
        SettingsError,
        TooManyUnscored,
        WireError,
    )
    from judge_service.grading import Rubric, Score, load_rubric
    from judge_service.service import JudgeService, open_service
    from judge_service.settings import Settings, load_settings
    from judge_service.values import Message, Reward, Sample

__all__ = [
    "JudgeService",
    "JudgeServiceError",
    "Message",
    "Reward",
    "Rubric",
    "RubricError",
    "Sample",
    "Score",
    "Settings",
    "SettingsError",
    "TooManyUnscored",
    "WireError",
    "load_rubric",
    "load_settings",
    "open_service",
]

_HOME = {
    "JudgeService": "service",
    "JudgeServiceError": "errors",
    "Message": "values",
    "Reward": "values",
    "Rubric": "grading",
    "RubricError": "errors",
    "Sample": "values",
    "Score": "grading",
    "Settings": "settings",
    "SettingsError": "errors",
    "TooManyUnscored": "errors",
    "WireError": "errors",
    "load_rubric": "grading",
    "load_settings": "settings",
    "open_service": "service",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"judge_service.{_HOME[name]}"), name)
    raise AttributeError(f"module 'judge_service' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
