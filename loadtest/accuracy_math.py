"""Measures the `math` verifier on MATH-500, compared with math-verify: accepted gold, rejected wrong, speed.

    TEST_DATA=DIRECTORY python loadtest/accuracy_math.py [--problems 500]

Right answers are a problem's whole solution, and its gold answer in the notation of sympy's printer. Wrong
answers are the solutions of the next two problems, and the gold answer with its last number increased by one;
a problem with the same answer is excluded. math-verify gets the same
responses and the gold answer in dollar signs. Every disagreement with it, and every mistake, is listed by id.
The speed is rows per CPU second of this process and its one worker, without the worker's start.
"""

import asyncio
import json
import os
import re
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sympy
from math_verify import parse, verify
from measuring import at_least, cpu_s, report, say, sizes
from msgspec import Struct

from judge_service import Sample
from judge_service.verifiers import Check, open_verifier

ACCEPTED_PERCENT = REJECTED_PERCENT = 98.0
ROWS_PER_S = 300.0
LAST_NUMBER = re.compile(r"\d{1,6}(?!.*\d)", re.DOTALL)


class Row(Struct, frozen=True):
    """A response, the gold answer it is compared with, and whether it is right."""

    id: str
    kind: str
    response: str
    gold: str
    right: bool


START = Row("start", "start", "$1+x$", "x+1", right=True)
"""A row that needs the worker."""


def main() -> None:
    options = sizes(__doc__, problems=(500, 10))
    data = os.environ.get("TEST_DATA")
    if not data:
        sys.exit("set TEST_DATA to the directory with the data sets (CONTRIBUTING.md)")
    rows = list(rows_of(Path(data), options.problems))
    say(f"{len(rows)} rows")
    began = cpu_s()
    theirs = [library(row) for row in rows]
    their_cpu_s = cpu_s() - began
    checks, spent = asyncio.run(judged(rows))
    seen = compared(rows, checks, theirs)
    figures = [
        at_least("gold accepted", seen["accepted_%"], ACCEPTED_PERCENT, "%"),
        at_least("wrong rejected", seen["rejected_%"], REJECTED_PERCENT, "%"),
        at_least("gold accepted, less math-verify's", seen["accepted_more"], 0, "rows"),
        at_least("wrong rejected, less math-verify's", seen["rejected_more"], 0, "rows"),
        at_least("rows by CPU time", spent["rows_per_cpu_s"], ROWS_PER_S, "1/s"),
    ]
    report(
        "accuracy_math",
        figures,
        {**seen, **spent, "math_verify_rows_per_cpu_s": round(len(rows) / their_cpu_s, 1)},
        smoke=options.smoke,
    )


def rows_of(data: Path, problems: int) -> Iterator[Row]:
    lines = (data / "math500" / "test.jsonl").read_text().splitlines()[:problems]
    given = [json.loads(line) for line in lines]
    for place, one in enumerate(given):
        name, gold = one["unique_id"], one["answer"]
        yield Row(name, "solution", one["solution"], gold, right=True)
        if other := rewritten(gold):
            yield Row(name, "rewritten", rf"So it is \boxed{{{other}}}.", gold, right=True)
        for step in (1, 2):
            neighbour = given[(place + step) % len(given)]
            if neighbour["answer"] != gold:
                yield Row(name, f"neighbour {step}", neighbour["solution"], gold, right=False)
        if LAST_NUMBER.search(gold):
            raised = LAST_NUMBER.sub(lambda number: str(int(number[0]) + 1), gold)
            yield Row(name, "raised", rf"So it is \boxed{{{raised}}}.", gold, right=False)


def rewritten(gold: str) -> str | None:
    """The answer in another notation, `None` if the library cannot read it or the text would be equal."""
    read = parse(f"${gold}$")
    if not read or isinstance(read[0], str) or "_" in gold:  # it forgets the base of a number
        return None
    other = str(sympy.latex(read[0]))
    return other if "".join(other.split()) != "".join(gold.split()) else None


def library(row: Row) -> bool:
    return bool(verify(parse(f"${row.gold}$"), parse(row.response)))


async def judged(rows: Sequence[Row]) -> tuple[list[Check], dict[str, Any]]:
    """The verifier's results, one row at a time, and their cost."""
    await checked([START])
    start_s = children_cpu_s()
    here = cpu_s()
    checks, slowest_s = await checked([START, *rows])
    here, there = cpu_s() - here, children_cpu_s() - 2 * start_s
    return checks[1:], {
        "rows": len(rows),
        "rows_per_cpu_s": len(rows) / (here + there),
        "cpu_s_here": round(here, 3),
        "cpu_s_of_the_worker": round(there, 3),
        "cpu_s_of_a_worker_start": round(start_s, 3),
        "slowest_s": round(slowest_s, 3),
    }


async def checked(rows: Sequence[Row]) -> tuple[list[Check], float]:
    """The results of a verifier with one worker, and the longest time after the first row, seconds."""
    verifier = open_verifier("math", {"workers": 1})
    checks: list[Check] = []
    taken_s = [0.0]
    try:
        for row in rows:
            started = time.perf_counter()
            checks.append(await verifier(Sample(response=row.response, reference=row.gold)))
            taken_s.append(time.perf_counter() - started)
    finally:
        await verifier.aclose()
    return checks, max(taken_s[2:], default=0.0)


def children_cpu_s() -> float:
    """CPU seconds of the processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compared(
    rows: Sequence[Row], checks: Sequence[Check], theirs: Sequence[bool]
) -> dict[str, Any]:
    right = [
        (row, check, said)
        for row, check, said in zip(rows, checks, theirs, strict=True)
        if row.right
    ]
    wrong = [one for one in zip(rows, checks, theirs, strict=True) if not one[0].right]
    accepted = sum(check.score == 1 for _, check, _ in right)
    rejected = sum(check.score == 0 for _, check, _ in wrong)
    listed = [
        {
            "id": row.id,
            "kind": row.kind,
            "right": row.right,
            "score": check.score,
            "math_verify": said,
        }
        for row, check, said in (*right, *wrong)
        if (check.score == 1) != row.right or (check.score == 1) != said
    ]
    for one in listed:
        say(f"  {one}")
    return {
        "accepted_%": 100 * accepted / len(right),
        "rejected_%": 100 * rejected / len(wrong),
        "accepted_more": accepted - sum(said for *_, said in right),
        "rejected_more": rejected - sum(not said for *_, said in wrong),
        "gold": len(right),
        "wrong": len(wrong),
        "disagreements": listed,
    }


if __name__ == "__main__":
    main()
