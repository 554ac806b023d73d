"""Splits a policy's response into thoughts and answer, for all verifiers.

    <think>So 6 times 7.</think>42<|im_end|>     has the answer     42

The answer is the text after the last mark that closes thoughts. Thoughts that are not closed, and text after
the token that ends the turn, do not belong to the answer. A mark in quotes or backticks is ordinary text.
"""

import re
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from judge_service.values import Sample

THOUGHTS: Mapping[str, str] = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "\u25c1think\u25b7": "\u25c1/think\u25b7",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|channel|>analysis": "<|channel|>final<|message|>",
}
"""The marks with which models open and close their thoughts."""

TURN_ENDS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|end|>",
    "<|eot|>",
    "<|return|>",
    "<end_of_turn>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "<\uff5cend\u2581of\u2581turn\uff5c>",
)
"""Tokens of models that end a turn."""

LAST_TOKENS = re.compile(r"(?:\s{0,20}(?:</s>|<eos>|\[EOS\]|<pad>))+\s*\Z")
"""Tokens that look like markup, and so end a turn only at the end of the text."""

QUOTES = "'\"`"


def _pattern(marks: tuple[str, ...]) -> re.Pattern[str]:
    """The marks that are not quoted: one at the start or the end of a quotation still counts."""
    either = "|".join(map(re.escape, marks))
    return re.compile(rf"(?<![{QUOTES}])(?:{either})|(?:{either})(?![{QUOTES}\\])")


OPENED = _pattern(tuple(THOUGHTS))
CLOSED = _pattern((*THOUGHTS.values(), "<|channel|>commentary"))  # where gpt-oss calls tools
ANY_CLOSED = re.compile("|".join(map(re.escape, THOUGHTS.values())))
TURN_END = _pattern(TURN_ENDS)
MARK = re.compile("[<[\u25c1]")
"""The first characters of all marks. Most answers contain none of them, so they need no further search."""


class Turn(Struct, frozen=True):
    """A policy's response after the split. unfinished: there are thoughts but no answer."""

    answer: str
    unfinished: bool = False


def split(response: str) -> Turn:
    """Finds the answer in a response, in linear time."""
    if MARK.search(response) is None:
        return Turn(response)
    start = 0
    for closed in CLOSED.finditer(response):
        start = closed.end()
    if not start and response.lstrip().startswith(tuple(THOUGHTS)):
        closed_at_all = ANY_CLOSED.search(
            response
        )  # between a quotation in the thoughts and one after
        start = closed_at_all.end() if closed_at_all else 0
    rest = response[start:]
    opened = OPENED.search(rest)
    answer = rest[: opened.start()] if opened else rest
    if ended := TURN_END.search(answer):
        answer = answer[: ended.start()]
    answer = LAST_TOKENS.sub("", answer)
    return Turn(answer, (start > 0 or opened is not None) and not answer.strip())


def answered(sample: Sample, turn: Turn) -> Sample:
    """The sample with the answer in place of the response."""
    return sample if turn.answer is sample.response else replace(sample, response=turn.answer)
