"""Grading: turns a sample into a reward by a rubric, with the help of a judge.

    Rubric        says what the judge is asked
    PromptWriter  writes the prompt, with the candidate's text in a fence
    parse         reads the final verdict of the judge's answer, and nothing else
    aggregate     turns the scores of the criteria into one score
    Grader        does all of these in turn
    Pack          grades several samples in one judge call
    Vote          asks for several opinions on each sample
    Ranker        has the judge compare several responses to one prompt
    GroupGrader   collects responses to one prompt as they arrive, and ranks them
    Blend         makes one reward of the scores of judges and verifiers

All of these are pure: no clock, no network, no randomness (the fence's secret is a parameter). The
exception is `CustomGrader`, which runs a function of the user's on threads instead of a rubric and a judge.

Classes that few settings need are imported on first use, because a cold start pays for every module.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from judge_service.grading.aggregate import aggregate
from judge_service.grading.grader import Grader, GraderStatistics
from judge_service.grading.groups.pack_parse import has_verdict
from judge_service.grading.groups.spread import spreads
from judge_service.grading.monitoring.canaries import DRAW_STEP, Canaries, Canary, load_canaries
from judge_service.grading.monitoring.guards import GUARDS, Guards
from judge_service.grading.monitoring.judge_monitor import JudgeMonitor, JudgeMonitorStatistics
from judge_service.grading.monitoring.monitors import Monitors
from judge_service.grading.prompting.parse import Unparseable, parse
from judge_service.grading.prompting.prompt import PromptWriter
from judge_service.grading.rewards import given_up
from judge_service.grading.rubric.panel import is_plain, panels
from judge_service.grading.rubric.rubric import Rubric, load_rubric

if TYPE_CHECKING:
    from judge_service.grading.blend import Blend, BlendStatistics
    from judge_service.grading.custom.grader import CustomGrader, open_custom_grader
    from judge_service.grading.custom.score import Score
    from judge_service.grading.groups.group import GroupGrader, GroupGraderStatistics
    from judge_service.grading.groups.pack import Pack, PackStatistics
    from judge_service.grading.groups.rank import MAX_RESPONSES, Ranker, RankerStatistics
    from judge_service.grading.groups.vote import Vote, VoteStatistics
    from judge_service.grading.groups.vote_tied import TiedVote
    from judge_service.grading.rubric.description import advise, describe

__all__ = [
    "DRAW_STEP",
    "GUARDS",
    "MAX_RESPONSES",
    "Blend",
    "BlendStatistics",
    "Canaries",
    "Canary",
    "CustomGrader",
    "Grader",
    "GraderStatistics",
    "GroupGrader",
    "GroupGraderStatistics",
    "Guards",
    "JudgeMonitor",
    "JudgeMonitorStatistics",
    "Monitors",
    "Pack",
    "PackStatistics",
    "PromptWriter",
    "Ranker",
    "RankerStatistics",
    "Rubric",
    "Score",
    "TiedVote",
    "Unparseable",
    "Vote",
    "VoteStatistics",
    "advise",
    "aggregate",
    "describe",
    "given_up",
    "has_verdict",
    "is_plain",
    "load_canaries",
    "load_rubric",
    "open_custom_grader",
    "panels",
    "parse",
    "spreads",
]

_HOME = {
    "Blend": "blend",
    "BlendStatistics": "blend",
    "MAX_RESPONSES": "groups.rank",
    "CustomGrader": "custom.grader",
    "Pack": "groups.pack",
    "PackStatistics": "groups.pack",
    "Ranker": "groups.rank",
    "RankerStatistics": "groups.rank",
    "Score": "custom.score",
    "GroupGrader": "groups.group",
    "GroupGraderStatistics": "groups.group",
    "TiedVote": "groups.vote_tied",
    "Vote": "groups.vote",
    "VoteStatistics": "groups.vote",
    "advise": "rubric.description",
    "describe": "rubric.description",
    "open_custom_grader": "custom.grader",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"judge_service.grading.{_HOME[name]}"), name)
    raise AttributeError(f"module 'judge_service.grading' has no attribute {name!r}")
