"""Replaces the written level by the expected level, from the judge's token probabilities (as in G-Eval).

For example, a judge that writes 4 with probability 0.6 and would have written 5 with 0.4 scores
0.6 x 4 + 0.4 x 5 = 4.4. The mean is over the criterion's levels only, divided by their total probability;
the remaining probability is reported as `Verdict.off_menu`.

This only refines a verdict: `parse` has already found a valid final verdict, and only the token that
wrote its number counts. The written level is kept if the probabilities may not be those of the levels:

    the criterion has no levels, or levels that are not whole numbers from 0: "3" may begin "3.5"
    the number is written in several tokens, or in one token with other text
    a level begins another one ("1" and "10"), and only the shorter was seen
"""

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from judge_service.values import Completion, Criterion, TokenChoice, Verdict

SPACE = " \t\r\n"
_LEVEL = r"(0|[1-9][0-9]{0,6})"
_LONE = re.compile(rf"\s*{_LEVEL}\s*", re.ASCII)


class Expectation(Struct, frozen=True):
    """The expected level on the criterion's scale, and the probability of anything but a level."""

    level: float
    off_menu: float


def weigh(verdict: Verdict, completion: Completion, criteria: Sequence[Criterion]) -> Verdict:
    """The verdict with expected levels where they can be computed. Never raises."""
    if not completion.choices or completion.data is not None:
        return verdict
    scores, off_menu = dict(verdict.scores), {}
    for criterion in criteria:
        expected = _expect(criterion, completion)
        if expected is not None and criterion.name in scores:
            span = criterion.maximum - criterion.minimum
            # Rounding must not make a mean of equal levels exceed them.
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
    """The levels by the text that a judge writes for them; empty unless each can be one token of digits."""
    if not all(level.is_integer() and level >= 0 for level in criterion.levels):
        return {}
    return {str(int(level)): level for level in criterion.levels}


def _written(name: str, text: str) -> tuple[int, str] | None:
    """Position and text of the final verdict's number; `None` if it is not a whole number.

    The answer ends with a flat object, so the object begins at the last brace, or before it if that brace
    is in the reason. A name inside a JSON string cannot match, because its quotes would be escaped.
    """
    found = _LONE.fullmatch(text)
    if found is None:
        pattern = re.compile(rf'"{re.escape(name)}"\s*:\s*{_LEVEL}(?=[\s,}}])', re.ASCII)
        found = pattern.search(text, max(text.rfind("{"), 0))
    return None if found is None else (found.start(1), found[1])


def _choice_at(choices: Sequence[TokenChoice], start: int, number: str) -> TokenChoice | None:
    """The token that consists of this number, white space aside."""
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
