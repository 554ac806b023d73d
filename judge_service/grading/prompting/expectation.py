"""The expected level instead of the written one, where the judge said how sure it was (as in G-Eval).

A judge that writes 4 with probability 0.6 and 5 with 0.4 means 4.4. The mean is taken over the
criterion's levels only and divided by their share; the rest is told as `Verdict.off_menu`.

It refines a verdict and never makes one: `parse` has found the final verdict in the grammar and on
the menu before anything here is read, and only the token that wrote that very number counts. The
written level stands where the probabilities cannot be trusted to be those of the levels:

    levels that are not whole numbers from 0, or no levels at all: "3" may begin "3.5"
    a number written in several tokens, or in one token with something else
    a level that begins another one ("1" and "10") of which only the shorter was seen
"""

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from judge_service.values import Completion, Criterion, TokenChoice, Verdict

SPACE = " \t\r\n"
_LEVEL = r"(0|[1-9][0-9]{0,6})"
_LONE = re.compile(rf"\s*{_LEVEL}\s*", re.ASCII)


class Expectation(Struct, frozen=True):
    """The expected level in the criterion's own scale, and the probability of no level at all."""

    level: float
    off_menu: float


def weigh(verdict: Verdict, completion: Completion, criteria: Sequence[Criterion]) -> Verdict:
    """The verdict with expectations where they can be had. Never raises."""
    if not completion.choices or completion.data is not None:
        return verdict
    scores, off_menu = dict(verdict.scores), {}
    for criterion in criteria:
        expected = _expect(criterion, completion)
        if expected is not None and criterion.name in scores:
            span = criterion.maximum - criterion.minimum
            # Rounding must not lift a mean of equal levels above them.
            scores[criterion.name] = min((expected.level - criterion.minimum) / span, 1.0)
            off_menu[criterion.name] = expected.off_menu
    return Verdict(scores, verdict.unscorable, off_menu, verdict.explanation)


def _expect(criterion: Criterion, completion: Completion) -> Expectation | None:
    menu = _menu(criterion)
    written = _written(criterion.name, completion.text or "")
    if not menu or written is None or written[1] not in menu:
        return None
    choice = _choice_at(completion.choices, *written)
    return None if choice is None else _mean(choice.probabilities, menu)


def _menu(criterion: Criterion) -> Mapping[str, float]:
    """The levels as a judge writes them; none unless each can be one token of digits."""
    if not all(level.is_integer() and level >= 0 for level in criterion.levels):
        return {}
    return {str(int(level)): level for level in criterion.levels}


def _written(name: str, text: str) -> tuple[int, str] | None:
    """Where the final verdict's number begins and how it reads; `None` if it is no whole number.

    An answer's object is flat and ends it, so it begins at the last brace, or before it where that
    brace stands in the reason. Inside a JSON string the quotes around a name would be escaped.
    """
    found = _LONE.fullmatch(text)
    if found is None:
        pattern = re.compile(rf'"{re.escape(name)}"\s*:\s*{_LEVEL}(?=[\s,}}])', re.ASCII)
        found = pattern.search(text, max(text.rfind("{"), 0))
    return None if found is None else (found.start(1), found[1])


def _choice_at(choices: Sequence[TokenChoice], start: int, number: str) -> TokenChoice | None:
    """The token that is this number and nothing else but white space."""
    for choice in choices:
        indent = len(choice.text) - len(choice.text.lstrip(SPACE))
        if choice.start + indent == start and choice.text.strip(SPACE) == number:
            return choice
    return None


def _mean(probabilities: Mapping[str, float], menu: Mapping[str, float]) -> Expectation | None:
    seen: dict[str, float] = {}
    for token, probability in probabilities.items():
        number = token.strip(SPACE)
        if number in menu:
            seen[number] = seen.get(number, 0.0) + probability
    share = sum(seen.values())
    if share <= 0.0 or share > 1.01 or _is_ambiguous(seen, menu):
        return None
    level = sum(menu[number] * probability for number, probability in seen.items()) / share
    return Expectation(level, max(0.0, 1.0 - share))


def _is_ambiguous(seen: Mapping[str, float], menu: Mapping[str, float]) -> bool:
    return any(
        longer != number and longer.startswith(number) and longer not in seen
        for number in seen
        for longer in menu
    )
