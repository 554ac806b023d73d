"""Decides samples that need no judge, or that no judge can judge. Judges and verifiers share these rules."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from judge_service.grading.prompting.prompt import is_blank
from judge_service.grading.rewards import Rewards, Spent
from judge_service.grading.rubric.rubric import Rubric
from judge_service.values import Reward, Sample

RUBRIC_COLUMNS = frozenset({"rubric", "rubrics", "rubric_items"})
"""Columns with a rubric for each row, in data sets such as HealthBench, open-instruct, and Tinker."""

INNER_TABLES = frozenset({"extra_info", "metadata", "info", "reward_model"})
"""Columns of a row that are tables of further columns, as in verl and verifiers."""

REFERENCE_COLUMNS = frozenset({"ground_truth", "reference_answer", "reference", "label", "answer"})
"""Columns for a reference, which in some data sets contain a rubric as JSON (open-instruct's DR Tulu)."""

MAX_RUBRIC_CHARS = 1_000_000
"""A longer column is not read as JSON."""


class Outright:
    """Decides samples that need no judge and no verifier, or that none of them can judge.

    max_chars: most text of a sample that is judged.
    """

    def __init__(self, rubric: Rubric, rewards: Rewards, *, max_chars: int) -> None:
        self._rubric = rubric
        self._rewards = rewards
        self._max_chars = max_chars

    def decide(self, sample: Sample, response: str, chars: int, spent: Spent) -> Reward | None:
        """Returns the reward of a sample that cannot or need not be judged; `None` for all others.

        response: the part of the response that the judge would see. chars: all characters that it would see.
        """
        failure = self._failure(sample, chars)
        if failure is not None:
            return self._rewards.failed(spent, *failure)
        if not is_blank(response):
            return None
        # without the reference it is unknown whether an empty answer is correct
        if self._rubric.needs_reference and is_blank(sample.reference):
            return self._rewards.failed(
                spent, "no_reference", "the rubric needs a reference answer"
            )
        return self._rewards.empty()

    def _failure(self, sample: Sample, chars: int) -> tuple[str, str] | None:
        """Why a sample cannot be judged: a reason and a sentence, or `None`."""
        if sample.response is None:
            return "no_response", "the row has no response"
        if column := own_rubric(sample, self._rubric):
            return "cannot_judge", (
                f"the row brings a rubric of its own in `{column}`, which is not used"
                ' (`rubric_from_row = "refuse"`): drop the column to have `rubric` judge it'
            )
        if sample.unseen:
            return "cannot_judge", unseen("response", sample.unseen)
        if chars > self._max_chars:
            return "too_long", f"{chars} characters are over the limit of {self._max_chars}"
        return None


def unseen_in_prompt(sample: Sample) -> str:
    """A sentence about the content of the prompt that is not text; `""` if all of it is text."""
    found = sorted({one for message in sample.messages for one in message.unseen})
    return unseen("prompt", found) if found else ""


def unseen(where: str, modalities: Sequence[str]) -> str:
    """A sentence about content that is not text."""
    return f"only text is judged here, and the {where} holds more: {', '.join(modalities)}"


def own_rubric(sample: Sample, rubric: Rubric) -> str:
    """The column that contains the row's own rubric; `""` if there is none."""
    return _column(sample.metadata, rubric, "") if sample.metadata else ""


def _column(table: Mapping[str, Any], rubric: Rubric, path: str) -> str:
    for (
        name,
        value,
    ) in table.items():  # of the row's few columns, which is quicker than of the known ones
        if name in RUBRIC_COLUMNS:
            if _is_rubric(value, rubric):
                return path + name
        elif name in REFERENCE_COLUMNS:
            if _holds_rubric(value):
                return path + name
        elif not path and name in INNER_TABLES and isinstance(value, dict):
            found = _column(value, rubric, f"{name}.")
            if found:
                return found
    return ""


def _is_rubric(value: Any, rubric: Rubric) -> bool:
    """Whether a column contains a rubric. A single word is a name or an address: a label, not a rubric."""
    if isinstance(value, str):
        return len(value.split(maxsplit=1)) > 1 and value.strip() != rubric.name
    return isinstance(value, list | tuple | dict) and bool(value)


def _holds_rubric(value: Any) -> bool:
    """Whether a reference is a rubric: an object with one of `RUBRIC_COLUMNS`."""
    if isinstance(value, str):
        if not value[:100].lstrip().startswith("{") or '"rubric' not in value[:MAX_RUBRIC_CHARS]:
            return False
        try:
            value = json.loads(value) if len(value) <= MAX_RUBRIC_CHARS else None
        except (ValueError, RecursionError):
            return False
    return isinstance(value, dict) and any(value.get(name) for name in RUBRIC_COLUMNS)
