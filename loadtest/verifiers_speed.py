"""Measures the speed of verifiers that are plain functions, through `await verifier(sample)`, on one core.

    python loadtest/verifiers_speed.py [--checks 20000] [--rounds 5]

All samples are different: two sentences of about 300 characters, then the answer, which is right in
every second sample. The speed is checks per CPU second of this process, the median of the rounds.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from measuring import at_least, cpu_s, report, say, sizes, spread

from judge_service import Sample
from judge_service.values import Message
from judge_service.verifiers import Verifier, open_verifier

CHECKS_PER_S = 20_000
WORKING = (
    "The house has {0} rooms on each of its {1} floors, so we multiply {0} by {1} and take away the"
    " {2} rooms that are closed in winter, which leaves what the question asks for. Each of these rooms"
    " is let for the same price, and no guest stays for longer than a week, so nothing else has to be"
    " taken into account here.\n"
)
SCHEMA = {
    "type": "object",
    "properties": {"rooms": {"type": "integer"}, "price": {"type": "number"}},
    "required": ["rooms", "price"],
}

ASKED: Mapping[str, str] = {
    "exact": "The answer is {0} Mill Lane.",
    "number": "#### {0}",
    "choice": "The answer is ({1}).",
    "boxed": "So it is \\boxed{{{0}}}.",
}
"""Kinds with a required speed, and the form of their answers."""

OTHERS: Mapping[str, str] = {
    "sentiment": "The review is \\boxed{{{2}}}.",
    "regex": "#### {0}",
    "json_schema": '{{"rooms": {0}, "price": 9.5}}',
    "overlap": "The answer is {0} Mill Lane.",
    "groundedness": "The answer is {0} Mill Lane.",
    "language": "",
    "refusal": "",
    "pii": "Call +49 30 90{0}.",
}

OPTIONS: Mapping[str, dict[str, Any]] = {
    "regex": {"pattern": r"#### \d+"},
    "json_schema": {"json_schema": SCHEMA},
}


def main() -> None:
    options = sizes(__doc__, checks=(20_000, 20), rounds=(5, 1))
    rates = {
        kind: asyncio.run(measured(kind, form, options.checks, options.rounds))
        for kind, form in {**ASKED, **OTHERS}.items()
    }
    figures = [
        at_least(f"{kind}: checks by CPU time", rates[kind]["median"], CHECKS_PER_S, "1/s")
        for kind in ASKED
    ]
    details = {"checks": options.checks, "rounds": options.rounds, "checks_per_cpu_s": rates}
    report("verifiers_speed", figures, details, smoke=options.smoke)


async def measured(kind: str, form: str, checks: int, rounds: int) -> dict[str, float]:
    verifier = open_verifier(kind, OPTIONS.get(kind, {}))
    given = list(samples(form, checks, reference(kind)))
    rates = [await rate(verifier, given) for _ in range(rounds)]
    say(f"{kind}: {max(rates):,.0f} checks/s")
    await verifier.aclose()
    return spread(rates)


async def rate(verifier: Verifier, given: list[Sample]) -> float:
    began = cpu_s()
    for sample in given:
        await verifier(sample)
    return len(given) / (cpu_s() - began)


def reference(kind: str) -> str:
    return {
        "exact": "{0} Mill Lane",
        "choice": "{1}",
        "sentiment": "{2}",
        "overlap": "{0} Mill Lane",
        "groundedness": "The house has {0} rooms at {0} Mill Lane.",
    }.get(kind, "{0}")


def samples(form: str, count: int, gold: str) -> Iterator[Sample]:
    for number in range(count):
        said = number + number % 2
        letter, label = "BC"[number % 2], ("positive", "negative")[number % 2]
        yield Sample(
            id=number,
            messages=(
                Message("user", "How many rooms does the house let in winter, and where is it?"),
            ),
            response=WORKING.format(number, 7, 3) + form.format(said, letter, label),
            reference=gold.format(number, "B", "positive"),
        )


if __name__ == "__main__":
    main()
