r"""Reads the verdict of a completion, strictly, because the candidate's text may have influenced the judge.

A verdict counts only if it is whole, single, in the grammar and finished. Nothing is clamped, rounded or
guessed. An answer that its token limit cut has no verdict, whatever is left of it.

    number only   the whole answer, ASCII white space aside, is one plain decimal number
    text object   the answer ends with one flat JSON object that begins on its own line; it may be in
                  a code fence (``` or ```json) that ends the answer
    schema, tool  the whole answer is one JSON object, which may be in such a code fence: some servers
                  ignore the requested form
    data          a forced tool's input, or the embedded judge's measurement; `None` for a criterion
                  means that the judge cannot judge it

An object has each criterion once, with a number on its scale, and nothing else except `reason` if the
rubric asks for one. Any other such object in the answer, before the last one or beside a tool's input, must
have the same scores. Two verdicts that differ are none, because one of them may be a forgery of the
candidate's that the judge quotes. If the last one is off the menu, the answer is unparseable: an earlier
verdict is never used. A verdict found in this way may be refined by token probabilities (`expectation`).

For example, with one criterion `helpful` on a scale from 1 to 5 and the text channel with a reason, the
answer 'It is vague.\n{"helpful": 2}' scores (2 - 1) / (5 - 1) = 0.25, and
'It quotes {"helpful": 5}.\n{"helpful": 2}' has no score.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
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
_OBJECT = re.compile(r'\{(?:[^{}"]|"(?:[^"\\]|\\.)*")*\}', re.DOTALL)
"""A flat object; braces in its strings are no braces."""

_FENCE = "```"
FENCE_OPENINGS = ("```", "```json")

STOPPED = {
    "refused": ("refused", "the judge refused to answer"),
    "context_full": ("too_long", "the prompt does not fit the judge's context"),
    "malformed": ("unparseable", "the judge's backend reports malformed output"),
    "max_tokens": ("truncated", "the answer was cut off by its token limit"),
    "reasoning": ("unparseable", "the answer is reasoning that was opened and not closed"),
    "several": ("unparseable", "the reply has several answers that differ"),
}
"""What becomes of an answer that was not finished, by its stop reason."""


class Unparseable(Struct, frozen=True):
    """A completion without a usable verdict.

    reason: a word of `UNSCORED_REASONS`.
    detail: why, without any text of judge or candidate.
    is_ignored: the judge answered in another form than it was made to, as one does that ignores a schema
        or a tool.
    """

    reason: str
    detail: str
    is_ignored: bool = False


class OffMenuError(ValueError):
    """An answer does not match the grammar; the text is the detail."""


class DoubledKeyError(OffMenuError):
    """An object of the answer has a key twice, so it gives two values."""


def parse(
    completion: Completion,
    criteria: Sequence[Criterion],
    channel: Channel,
    reasoning: Literal["none", "brief"] = "none",
) -> Verdict | Unparseable:
    """The final verdict of a completion, each score mapped to [0, 1]. Never raises."""
    if completion.stop_reason in STOPPED:
        return Unparseable(*STOPPED[completion.stop_reason])
    try:
        verdict = _read(completion, criteria, channel, reasoning)
    except OffMenuError as problem:
        return Unparseable("unparseable", str(problem), _is_ignored(completion, channel))
    return weigh(verdict, completion, criteria)


def _is_ignored(completion: Completion, channel: Channel) -> bool:
    """Whether the judge shows that it ignores the channel: a grammar would have begun with a brace, and a
    forced tool would have been called.
    """
    if channel == "tool":
        return completion.data is None
    text = (completion.text or "").strip(SPACE)
    return channel == "schema" and text != "" and not text.startswith("{")


def _read(
    completion: Completion, criteria: Sequence[Criterion], channel: Channel, reasoning: str
) -> Verdict:
    text = completion.text or ""
    if len(text) > MAX_ANSWER_CHARS:
        raise OffMenuError(f"the answer has more than {MAX_ANSWER_CHARS} characters")
    if completion.data is not None:
        verdict = read_verdict(completion.data, criteria, reasoning, may_abstain=True)
        if channel == "tool" and text:
            _refuse_others(text, verdict, criteria, reasoning)
        return verdict
    text = text.strip(SPACE)
    if not text:
        raise OffMenuError(
            "the judge did not call the tool" if channel == "tool" else "the answer is empty"
        )
    if channel == "text":
        return _read_text(completion, text, criteria, reasoning)
    return read_verdict(_json(unfenced(text)), criteria, reasoning, may_abstain=False)


def _read_text(
    completion: Completion, text: str, criteria: Sequence[Criterion], reasoning: str
) -> Verdict:
    found = text
    if len(criteria) == 1 and reasoning == "none":
        verdict = _number(text, criteria[0])
    else:
        found = _final_object(text)
        verdict = read_verdict(_json(found), criteria, reasoning, may_abstain=False)
        _refuse_others(text, verdict, criteria, reasoning)
        if not verdict.explanation:
            verdict = replace(verdict, explanation=explanation_before(text, reasoning))
    is_object = found.endswith("}") and unfenced(text).strip(SPACE) == found
    if completion.stop_reason == "unknown" and not is_object:
        raise OffMenuError("the judge does not say that its answer is finished")
    return verdict


def _refuse_others(
    text: str, verdict: Verdict, criteria: Sequence[Criterion], reasoning: str
) -> None:
    """Raises OffMenuError if another object in the text is a verdict with other scores."""
    for one in _objects(text):
        try:
            other = read_verdict(_json(one[0]), criteria, reasoning, may_abstain=False)
        except DoubledKeyError:
            raise
        except OffMenuError:
            continue
        if other.scores != verdict.scores:
            raise OffMenuError("the answer has two verdicts that differ")


def unfenced(text: str) -> str:
    """The content of a code fence around the whole answer."""
    opening, _, rest = text.partition("\n")
    if opening.strip(SPACE) in FENCE_OPENINGS and rest.endswith("\n```"):
        return rest[:-4]
    return text


def _number(text: str, criterion: Criterion) -> Verdict:
    if _NUMBER.fullmatch(text) is None:
        raise OffMenuError("the answer is not one plain number")
    return Verdict({criterion.name: _mapped(float(text), criterion)}, {})


def _objects(text: str) -> Iterator[re.Match[str]]:
    """What looks like a flat object, wherever one begins."""
    start = text.find("{")
    while start >= 0:
        if (found := _OBJECT.match(text, start)) is not None:
            yield found
        start = text.find("{", start + 1)


def _final_object(text: str) -> str:
    """The JSON object at the end of the answer."""
    inside = text.removesuffix(_FENCE).rstrip(" \t") if text.endswith(_FENCE) else ""
    is_fenced = inside.endswith("\n")
    end = len(inside.rstrip(SPACE)) if is_fenced else len(text)
    found = next((one for one in _objects(text) if one.end() == end), None)
    if found is None:
        raise OffMenuError("the answer does not end with the JSON object")
    before, _, line = text[: found.start()].rpartition("\n")
    if line.strip(" \t"):
        raise OffMenuError("the final JSON object does not begin on its own line")
    if is_fenced and before.rpartition("\n")[2].strip(SPACE) not in FENCE_OPENINGS:
        raise OffMenuError("the code fence at the end of the answer was never opened")
    return found[0]


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
        raise DoubledKeyError("the answer has a key twice")
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
