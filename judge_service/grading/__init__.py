"""Grading: what is asked of a judge, how it must answer, and what the answer is worth.

Pure: no clock, no network, no randomness (the fence's secret is given). A rubric file says what is
asked, `PromptWriter` writes it down with the candidate's text fenced in, `parse` takes the final
verdict and nothing else, `aggregate` makes one score of it, and `Grader` does these in turn.
"""

from judge_service.grading.aggregate import aggregate
from judge_service.grading.grader import Grader, GraderStatistics
from judge_service.grading.parse import Unparseable, parse
from judge_service.grading.prompt import PromptWriter
from judge_service.grading.rubric import Rubric, load_rubric

__all__ = [
    "Grader",
    "GraderStatistics",
    "PromptWriter",
    "Rubric",
    "Unparseable",
    "aggregate",
    "load_rubric",
    "parse",
]
