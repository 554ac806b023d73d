r"""Tells how a verifier reads an answer and a reference, for a person who wonders about a score.

    number, "It is \boxed{1,000}."     takes `1,000`, found by `boxed`, and reads it as 1000

It uses the functions of the verifiers, and does not score.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from judge_service.values import Sample
from judge_service.verifiers import load
from judge_service.verifiers.extract import extract
from judge_service.verifiers.front import answered, split
from judge_service.verifiers.math.nodes import Interval
from judge_service.verifiers.math.reader import read
from judge_service.verifiers.math.tokens import Unread


class Side(Struct, frozen=True):
    """One side of a comparison.

    taken: the text that was taken, `None` if there is none. found_by: the strategy, or what the text is.
    read_as: the form that is compared; empty if it is the text itself, or cannot be told.
    """

    taken: str | None
    found_by: str = "whole"
    read_as: str = ""


class Reading(Struct, frozen=True):
    """Both sides."""

    answer: Side
    reference: Side


def how_read(kind: str, options: Mapping[str, Any], sample: Sample) -> Reading:
    """How a verifier reads a sample. Raises RubricError for an unknown kind or option."""
    module, chosen = load(kind, options)
    if isinstance(sample.response, str) and not getattr(chosen, "thoughts", False):
        sample = answered(sample, split(sample.response))
    if sample.response is None:
        return Reading(Side(None), Side(sample.reference))
    return READERS.get(kind, _plainly)(module, chosen, sample)


def _stated(text: str | None, strategies: Any, read_as: Callable[[str], str]) -> Side:
    found = extract(text, strategies) if text else None
    if found is None:
        return Side(None, "no strategy")
    several = f", {found.values} different answers" if found.values > 1 else ""
    return Side(found.text, found.strategy + several, read_as(found.text))


def _plainly(_: Any, options: Any, sample: Sample) -> Reading:
    strategies = getattr(options, "strategies", ("whole",))
    answer = _stated(sample.response, strategies, lambda _: "")
    return Reading(answer, Side(sample.reference))


def _number(module: Any, options: Any, sample: Sample) -> Reading:
    def value(text: str) -> str:
        number = module.number(text)
        return "no number" if number is None else f"{number.value}{'%' if number.percent else ''}"

    return Reading(
        _stated(sample.response, options.strategies, value),
        _stated(sample.reference, module.REFERENCE, value),
    )


def _boxed(module: Any, options: Any, sample: Sample) -> Reading:
    def form(text: str) -> str:
        number = module.number(text) if module.is_bare(text) else None
        return f"the number {number.value}" if number else module.normal(text)

    return Reading(
        _stated(sample.response, options.strategies, form),
        _stated(sample.reference, module.REFERENCE, form),
    )


def _exact(module: Any, options: Any, sample: Sample) -> Reading:
    def form(text: str) -> str:
        return str(module.normal(text, options))

    return Reading(
        _stated(sample.response, options.strategies, form),
        Side(sample.reference, "whole", form(sample.reference or "")),
    )


def _choice(module: Any, options: Any, sample: Sample) -> Reading:
    question = module.question_of(sample, options)
    texts = module.choices(sample.metadata.get(options.choices_field), options.letters)

    def letter(text: str) -> str:
        said = module.stated(text, options.letters, texts)
        return said or module.phrased(sample.response, texts) or "no choice"

    searched = module.searched_with(sample.response, options)
    right = question.right if question else "no choice"
    return Reading(
        _stated(sample.response, searched.strategies, letter),
        Side(sample.reference, "whole", right),
    )


def _sentiment(module: Any, options: Any, sample: Sample) -> Reading:
    labels = module.Labels(options)

    def label(text: str) -> str:
        return labels.named(text) or "no label"

    return Reading(
        _stated(sample.response, options.strategies, label),
        _stated(sample.reference, options.strategies, label),
    )


def _math(module: Any, options: Any, sample: Sample) -> Reading:
    answer = _stated(sample.response, options.strategies, _mathematics)
    if answer.taken is None:
        texts = module.stated((sample.response or "")[-module.TAIL_CHARS :])
        readable = [text for text in texts if _mathematics(text) != UNREAD]
        if texts:
            text = (readable or texts)[0]
            answer = Side(text, "no mark", _mathematics(text))
    gold = module.gold_text(sample.reference) if sample.reference else None
    return Reading(answer, Side(gold, "whole or marked", _mathematics(gold) if gold else ""))


UNREAD = "not read to its last character by the parser; sums, integrals and limits are left to math-verify"


def _mathematics(text: str) -> str:
    try:
        return "; ".join(map(_node, read(text)))
    except Unread:
        return UNREAD


def _node(node: Any) -> str:
    """A node in one line: `add(x, 2)`."""
    if isinstance(node, tuple):
        return "[" + ", ".join(map(_node, node)) + "]"
    if not isinstance(node, Struct):
        return str(node)
    if isinstance(node, Interval):
        return f"{node.left}{_node(node.low)}, {_node(node.high)}{node.right}"
    kind, (first, *more) = type(node).__name__.lower(), astuple(node)
    if kind in ("num", "sym", "words"):
        return str(first)
    if kind in ("call", "group"):
        return f"{first}({', '.join(map(_node, more[0]))})" if more[0] else str(first)
    return f"{kind}({', '.join(map(_node, [first, *more]))})"


def _code(module: Any, options: Any, sample: Sample) -> Reading:
    try:
        suite = module.suite_of(sample, options)
    except ValueError as problem:
        return Reading(Side(None, "no tests"), Side(sample.reference, "tests", str(problem)))
    source = module.defining_block(sample.response, module.FENCES, suite.names)
    tests = [getattr(step, "text", "") or repr(step) for step in suite.steps]
    return Reading(
        Side(source, "the code that is run"),
        Side("\n".join(tests), "the tests as they are run", f"{suite.total} tests"),
    )


def _sql(module: Any, _: Any, sample: Sample) -> Reading:
    query = module.last_block(sample.response, module.FENCES).strip()
    return Reading(Side(query, "the query that is run"), Side(sample.reference))


def _tool_calls(module: Any, options: Any, sample: Sample) -> Reading:
    def calls(text: str | None) -> str:
        try:
            found = module.calls_in(text or "")
        except module.TooManyCalls:
            return "too many calls"
        return msgspec.json.encode(found).decode()

    gold = sample.metadata.get(options.gold_field) if options.gold_field else sample.reference
    written = gold if isinstance(gold, str) or gold is None else msgspec.json.encode(gold).decode()
    return Reading(Side(sample.response, "whole", calls(sample.response)), Side(written))


def _json_schema(module: Any, options: Any, sample: Sample) -> Reading:
    value = module.find(sample.response, options.take)
    if value is module.NOTHING:
        return Reading(Side(None, "no JSON"), Side(sample.reference))
    return Reading(
        Side(msgspec.json.encode(value).decode(), f"the {options.take} JSON"),
        Side(sample.reference),
    )


READERS: Mapping[str, Callable[[Any, Any, Sample], Reading]] = {
    "number": _number,
    "boxed": _boxed,
    "exact": _exact,
    "choice": _choice,
    "sentiment": _sentiment,
    "math": _math,
    "code": _code,
    "sql": _sql,
    "tool_calls": _tool_calls,
    "json_schema": _json_schema,
}
