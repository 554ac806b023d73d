r"""Finds the answer that a response states, with several strategies in the rubric's order.

Thoughts are cut off (`front`), because a reference may be a model's whole response too. If there is a Nova
solution block, only that block is searched. The last of several answers counts, as in GSM8K's checker. Many
different answers in boxes or tags are guesses; `Found.values` counts them, so that a verifier can refuse
credit.

Every search is linear in the text and covers its last `MAX_LOOK_CHARS` characters.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from judge_service.verifiers.front import split

Strategy = Literal[
    "boxed", "hashes", "answer_tag", "solution", "phrase", "label", "last_number", "whole"
]
"""Where an answer may stand.

`boxed`: `\\boxed{...}`, braces inside it balanced. `hashes`: the line after `####`. `answer_tag`:
`<answer>...</answer>`. `solution`: all between Nova's solution marks. `phrase`: the rest of the
sentence after "the answer is". `label`: a line after `A:` or `Answer:`. `last_number`: the last number
of the text. `whole`: the text.
"""

Strategies = Annotated[tuple[Strategy, ...], Meta(min_length=1, max_length=len(get_args(Strategy)))]

MaxValues = Annotated[
    int, Meta(ge=1, le=100, description="More different answers in boxes or tags earn nothing.")
]

MAX_LOOK_CHARS = 100_000
"""Characters of a response's end that are searched; an answer stands at the end."""

MAX_ANSWER_CHARS = 2_000
"""Longest stated answer; a longer text cannot be an answer to a question with a reference."""

COUNTED = frozenset({"boxed", "answer_tag"})

UNMARKED = frozenset({"last_number", "whole"})
"""Strategies that find unmarked answers; these get no credit for their form."""

SOLUTION = ("<|begin_of_solution|>", "<|end_of_solution|>")
ANSWER = ("<answer>", "</answer>")

BOX_PARTS = re.compile(r"(\\?f?boxed\s{0,3}\{)|\\.|[{}]", re.DOTALL)
HASHES = re.compile(r"(?<!#)####(?!#)([^\n]*)")
PHRASES = tuple(
    re.compile(phrase + r"\s?[:=\uff1a]?")
    for phrase in (
        r"answer ?(?:is|=|:)(?![a-z])",
        r"antwort (?:ist|lautet)",
        r"respuesta es",
        r"r\u00e9ponse est",
        r"\u7b54\u6848(?:\u662f|\u4e3a)",
        r"\u7b54\u3048\u306f",
    )
)
"""Each pattern begins with literal letters, because the search for these is ten times as fast."""

MAX_PHRASE_CHARS = 400

NUMBER_TAIL_CHARS = 400

SENTENCE_END = re.compile(r"\n|[.!?;](?:\s|$)|\u3002|\b(?:because|since)\b", re.IGNORECASE)
LABEL = re.compile(
    r"^[ \t*]{0,8}(?:A|Answer|Final answer)\**:\**([^\n]*)", re.MULTILINE | re.IGNORECASE
)
NUMBER = re.compile(
    r"(?=[-+\u2212$\u20ac\u00a3\u00a5.\d])(?<![\w^])(?<!\d\.)"
    r"[-+\u2212]?[$\u20ac\u00a3\u00a5]?"
    r"(?:\d{1,2}(?:,\d{2})+,\d{3}(?![\d,])|\d{1,3}(?:,\d{3})+(?!\d)|\d{1,40}(?!\d)|(?=\.\d))"
    r"(?:\.\d{1,40}(?!\d))?(?:[eE][+-]?\d{1,3}(?!\d))?(?:\s?/\s?\d{1,40}(?![\d.]))?(?!\.\d)(?:\s?\\?%)?"
)
"""A number as people write it: sign, currency, thousands (1,20,000 too), decimals, exponent, fraction, %."""

MAX_FORMULA_CHARS = 60
FORMULA = re.compile(r"(?=.*\d)(?:[^\W\d_]?(?:[\d\W_]|\\[a-z]{2,6}))+", re.DOTALL)
"""A text without words."""

MAX_BESIDE_CHARS = 40
BEFORE_NUMBER = re.compile(
    r"(?:(?<!\w)(?:minus|negative)\s|(?<![\w)\]}%$])\u2013\s?|\\sqrt\s?\{?|\\pm\s?"
    r"|\d+\s?(?:hours?|hrs?|minutes?|min|feet|foot|ft|pounds?|lbs?|dollars?|weeks?|days?|years?|yards?|degrees?)"
    r"(?:\s?,)?\s(?:and\s)?)$",
    re.IGNORECASE,
)
AFTER_NUMBER = re.compile(
    r"\s?(?:thousand|million|billion|trillion|dozen|percent)(?!\w)|\s?(?:minutes|inch|inches|cents|ounces|seconds)(?!\w)"
    r"|[!\u00b2\u00b3\u00bd\u00bc\u00be]|\\(?:pi|sqrt)",
    re.IGNORECASE,
)
"""What stands beside a number and belongs to it."""


class Found(Struct, frozen=True):
    """An answer that a response states.

    values: number of different answers in boxes or tags, 1 for any other strategy: a line with `####` may be
        a heading, and a second "the answer is" replaces the first.
    """

    text: str
    strategy: Strategy
    values: int = 1


def extract(response: str, strategies: Sequence[Strategy]) -> Found | None:
    """The answer of the first strategy that finds one, `None` if none does."""
    text = split(response).answer[-MAX_LOOK_CHARS:]
    block = _solution(text)
    for strategy in strategies:
        answers = _answers(strategy, text, block)
        if answers:
            values = _different(answers) if strategy in COUNTED else 1
            return Found(answers[-1], strategy, values)
    return None


def _answers(strategy: Strategy, text: str, block: str | None) -> list[str]:
    if strategy == "solution":
        return _stripped([block or ""])
    return STRATEGIES[strategy](block or text)


def boxed(text: str) -> list[str]:
    r"""The contents of every closed `\boxed{...}`; of nested ones, the outermost."""
    start = text.find("boxed")
    if start < 0:
        return []
    return [text[first:last].strip() for first, last in _boxes(text, max(0, start - 2))]


def _boxes(text: str, start: int) -> list[tuple[int, int]]:
    """The spans of boxes' contents. A nested box is dropped when the outer one closes."""
    opened: list[int] = []  # where a box's content starts, -1 for a plain brace
    spans: list[tuple[int, int]] = []
    for part in BOX_PARTS.finditer(text, start):
        if part[1]:
            opened.append(part.end())
        elif part[0] == "{":
            opened.append(-1)
        elif part[0] == "}" and opened and (content := opened.pop()) >= 0:
            while spans and spans[-1][0] > content:
                spans.pop()
            spans.append((content, part.start()))
    return spans


def _hashes(text: str) -> list[str]:
    return _stripped(HASHES.findall(text)) if "####" in text else []


def _tags(text: str) -> list[str]:
    """The contents of closed answer tags; an opening tag inside one restarts it."""
    if ANSWER[1] not in text:
        return []
    pieces = text.split(ANSWER[1])[:-1]
    return _stripped([piece.rpartition(ANSWER[0])[2] for piece in pieces if ANSWER[0] in piece])


def _solution(text: str) -> str | None:
    """The last solution block; an open one counts too."""
    _, opened, after = text.rpartition(SOLUTION[0])
    return after.partition(SOLUTION[1])[0] if opened else None


def _phrase(text: str) -> list[str]:
    lowered = text.lower()
    if len(lowered) != len(text):  # the lower case of a few capital letters has two characters
        lowered = text
    ends = [mark.end() for phrase in PHRASES for mark in phrase.finditer(lowered)]
    if not ends:
        return []
    rest = text[max(ends) : max(ends) + MAX_PHRASE_CHARS]
    return _stripped(SENTENCE_END.split(rest, maxsplit=1)[:1])


def _label(text: str) -> list[str]:
    return _stripped(LABEL.findall(text)[-1:])


def _last_number(text: str) -> list[str]:
    """The last number, with the words and signs that make it another one; all of a text without words.

    Searches the end first; a number at the start of that part may begin earlier.
    """
    stripped = text.strip()
    if len(stripped) <= MAX_FORMULA_CHARS and FORMULA.fullmatch(stripped):
        return [stripped]
    tail = max(0, len(text) - NUMBER_TAIL_CHARS)
    found = list(NUMBER.finditer(text, tail))
    if tail and (not found or found[-1].start() < tail + NUMBER_TAIL_CHARS // 2):
        found = list(NUMBER.finditer(text))
    if not found:
        return []
    start, end = found[-1].span()
    before = BEFORE_NUMBER.search(text, max(0, start - MAX_BESIDE_CHARS), start)
    after = AFTER_NUMBER.match(text, end, end + MAX_BESIDE_CHARS)
    return [text[before.start() if before else start : after.end() if after else end].strip()]


def _whole(text: str) -> list[str]:
    return _stripped([text])


STRATEGIES: Mapping[Strategy, Callable[[str], list[str]]] = {
    "boxed": boxed,
    "hashes": _hashes,
    "answer_tag": _tags,
    "phrase": _phrase,
    "label": _label,
    "last_number": _last_number,
    "whole": _whole,
}


def _stripped(answers: Sequence[str]) -> list[str]:
    return [bare for answer in answers if (bare := answer.strip())]


def _different(answers: Sequence[str]) -> int:
    return 1 if len(answers) == 1 else len({"".join(one.split()).casefold() for one in answers})
