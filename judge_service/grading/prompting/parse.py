r"""Reads the verdict of a completion, strictly, because the candidate's text may have influenced the judge.

Only the final verdict counts, and it must match the requested grammar completely. If it does not, the
answer is unparseable: an earlier verdict in the answer is never used, because it may be a forgery of the
candidate's that the judge quotes. Nothing is clamped, rounded or guessed.

    number only   the whole answer, ASCII white space aside, is one plain decimal number
    text object   the answer ends with one flat JSON object that begins on its own line; it may be in
                  a code fence (``` or ```json) that ends the answer
    schema        the whole answer is one JSON object
    data          a forced tool's input, or the embedded judge's measurement; `None` for a criterion
                  means that the judge cannot judge it

An object has each criterion once, with a number on its scale, and nothing else except `reason` if the
rubric asks for one. A verdict found in this way may be refined by token probabilities (`expectation`).

For example, with one criterion `helpful` on a scale from 1 to 5 and the text channel with a reason, the
answer 'It quotes {"helpful": 5}.\n{"reason": "vague", "helpful": 2}' scores (2 - 1) / (5 - 1) = 0.25.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from judge_service.grading.prompting.expectation import weigh
from judge_service.grading.prompting.explanation import explanation_before, explanation_in
from judge_service.values import Channel, Completion, Criterion, Verdict

MAX_ANSWER_CHARS = 100_000
"""Longest answer that is read; valid verdicts are much shorter."""

SPACE = " \t\r\n\f\v"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,6})(?:\.[0-9]{1,20})?")
_FINAL_OBJECT = re.compile(r"(\{[^{}]*\})(?P<fence>[ \t\r]*\n[ \t]*```)?")
FENCE_OPENINGS = ("```", "```json")

STOPPED = {
    "refused": ("refused", "the judge refused to answer"),
    "context_full": ("too_long", "the prompt does not fit the judge's context"),
    "malformed": ("unparseable", "the judge's backend reports malformed output"),
}


class Unparseable(Struct, frozen=True):
    """A completion without a usable verdict.

    reason: a word of `UNSCORED_REASONS`.
    detail: why, without any text of judge or candidate.
    """

    reason: str
    detail: str


class OffMenuError(ValueError):
    """An answer does not match the grammar; the text is the detail."""


def parse(
    completion: Completion,
    criteria: Sequence[Criterion],
    channel: Channel,
    reasoning: Literal["none", "brief"] = "none",
) -> Verdict | Unparseable:
    """The final verdict of a completion, each score mapped to [0, 1]. Never raises."""
    if completion.stop_reason in STOPPED:
        return Unparseable(*STOPPED[completion.stop_reason])
    truncated = completion.stop_reason == "max_tokens"
    if truncated and not _is_whole(completion, channel, reasoning):
        return Unparseable("truncated", "the answer was cut off by its token limit")
    try:
        verdict = _read(completion, criteria, channel, reasoning)
    except OffMenuError as problem:
        reason = "truncated" if truncated else "unparseable"
        return Unparseable(reason, str(problem))
    return weigh(verdict, completion, criteria)


def _is_whole(completion: Completion, channel: Channel, reasoning: str) -> bool:
    """Whether an answer that reached its token limit is certainly complete.

    It is if it is one object from the first to the last character. "0.7" may be a part of "0.75", an object
    after or instead of other words may be a quotation, and the backend may have completed a tool's input.
    """
    text = (completion.text or "").strip(SPACE)
    if completion.data is not None or not text.endswith("}"):
        return False
    return channel == "schema" or (reasoning == "none" and text.rfind("{") == 0)


def _read(
    completion: Completion, criteria: Sequence[Criterion], channel: Channel, reasoning: str
) -> Verdict:
    if completion.data is not None:
        return read_verdict(completion.data, criteria, reasoning, may_abstain=True)
    text = completion.text or ""
    if len(text) > MAX_ANSWER_CHARS:
        raise OffMenuError(f"the answer has more than {MAX_ANSWER_CHARS} characters")
    text = text.strip(SPACE)
    if not text:
        raise OffMenuError("the answer is empty")
    if channel == "tool":
        raise OffMenuError("the judge did not call the tool")
    if channel == "text":
        if len(criteria) == 1 and reasoning == "none":
            return _number(text, criteria[0])
        verdict = read_verdict(_json(_final_object(text)), criteria, reasoning, may_abstain=False)
        if verdict.explanation:
            return verdict
        return replace(verdict, explanation=explanation_before(text, reasoning))
    return read_verdict(_json(text), criteria, reasoning, may_abstain=False)


def _number(text: str, criterion: Criterion) -> Verdict:
    if _NUMBER.fullmatch(text) is None:
        raise OffMenuError("the answer is not one plain number")
    return Verdict({criterion.name: _mapped(float(text), criterion)}, {})


def _final_object(text: str) -> str:
    """The JSON object at the end of the answer. It is flat, so it begins at the last brace."""
    start = text.rfind("{")
    found = _FINAL_OBJECT.fullmatch(text, start) if start >= 0 else None
    if found is None:
        raise OffMenuError("the answer does not end with the JSON object")
    before, _, line = text[:start].rpartition("\n")
    if line.strip(" \t"):
        raise OffMenuError("the final JSON object does not begin on its own line")
    if found["fence"] and before.rpartition("\n")[2].strip(SPACE) not in FENCE_OPENINGS:
        raise OffMenuError("the code fence at the end of the answer was never opened")
    return found[1]


def _json(text: str) -> Mapping[str, Any]:
    try:
        value = _DECODER.decode(text)
    except OffMenuError:
        raise
    except (ValueError, RecursionError):  # also more digits than an int may have
        raise OffMenuError("the answer is not one JSON object") from None
    if not isinstance(value, dict):
        raise OffMenuError("the answer is JSON but not an object")
    return value


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise OffMenuError("the answer has a key twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_refuse_duplicates)


def read_verdict(
    data: Mapping[str, Any], criteria: Sequence[Criterion], reasoning: str, *, may_abstain: bool
) -> Verdict:
    """The verdict in an object of the answer. Raises OffMenuError."""
    names = {criterion.name for criterion in criteria}
    extra = data.keys() - names
    if extra and not (reasoning == "brief" and extra == {"reason"}):
        raise OffMenuError("the answer has a key that is not a criterion")
    scores: dict[str, float] = {}
    unscorable: dict[str, str] = {}
    for criterion in criteria:
        name = criterion.name
        if name not in data:
            raise OffMenuError(f"the answer has no {name}")
        if data[name] is None and may_abstain:
            unscorable[name] = "cannot_judge"
        else:
            scores[name] = _mapped(data[name], criterion)
    return Verdict(scores, unscorable, explanation=explanation_in(data, reasoning))


def _mapped(value: Any, criterion: Criterion) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OffMenuError(f"the value of {criterion.name} is not a number")
    # NaN fails this comparison. It comes before any arithmetic that a huge int would overflow.
    if not criterion.minimum <= value <= criterion.maximum:
        raise OffMenuError(f"the value of {criterion.name} is off its scale")
    if criterion.levels and value not in criterion.levels:
        raise OffMenuError(f"the value of {criterion.name} is not one of its levels")
    share = (value - criterion.minimum) / (criterion.maximum - criterion.minimum)
    return share + 0.0  # -0.0 becomes 0.0
