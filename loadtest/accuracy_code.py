"""Measures the `code` verifier on MBPP and HumanEval: accepted reference solutions, rejected mutants.

    TEST_DATA=DIRECTORY python loadtest/accuracy_code.py [--problems 400] [--mutants 2]

A mutant is a reference solution with one small change: an operator or comparison exchanged, a number off
by one, a condition negated, a returned value removed. It counts as wrong if the tests fail in plain CPython,
in a separate process; mutants that pass there are excluded. Reference solutions
that fail their tests there are excluded too, and counted. Every disagreement is listed by id.
"""

import ast
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measuring import at_least, percentile, report, say, sizes
from msgspec import Struct

from judge_service import Sample
from judge_service.verifiers import open_verifier

ACCEPTED_PERCENT = REJECTED_PERCENT = 99.0
PLAIN_TIMEOUT_S = 10.0
SWAPS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


class Problem(Struct, frozen=True):
    """A problem with a reference solution, and its tests as one program and as the row has them."""

    id: str
    solution: str
    program: str
    row: dict[str, Any]


class Candidate(Struct, frozen=True):
    """Code, and whether plain CPython passes it."""

    problem: Problem
    id: str
    source: str
    right: bool


def main() -> None:
    options = sizes(__doc__, problems=(400, 6), mutants=(2, 1), seed=(1, 1))
    data = os.environ.get("TEST_DATA")
    if not data:
        sys.exit("set TEST_DATA to the directory with the data sets (CONTRIBUTING.md)")
    figures: list[dict[str, Any]] = []
    details: dict[str, Any] = {"problems_at_most": options.problems, "seed": options.seed}
    for name, read in (("humaneval", humaneval), ("mbpp", mbpp)):
        problems = list(read(Path(data)))
        dice = random.Random(options.seed)
        dice.shuffle(problems)
        candidates = told_apart(problems[: options.problems], options.mutants, dice)
        seen = asyncio.run(judged(candidates))
        figures += [
            at_least(f"{name}: reference accepted", seen["accepted_%"], ACCEPTED_PERCENT, "%"),
            at_least(f"{name}: mutants rejected", seen["rejected_%"], REJECTED_PERCENT, "%"),
        ]
        details[name] = seen
    report("accuracy_code", figures, details, smoke=options.smoke)


def humaneval(data: Path) -> Iterator[Problem]:
    for line in (data / "humaneval" / "humaneval.jsonl").read_text().splitlines():
        row = json.loads(line)
        entry = row["entry_point"]
        program = f"{row['test']}\ncheck({entry})\n"
        fields = {"tests": row["test"], "entry_point": entry}
        yield Problem(row["task_id"], row["prompt"] + row["canonical_solution"], program, fields)


def mbpp(data: Path) -> Iterator[Problem]:
    for line in (data / "mbpp" / "mbpp.jsonl").read_text().splitlines():
        row = json.loads(line)
        setup = row["test_setup_code"]
        program = "\n".join([setup, *row["test_list"]])
        fields = {"tests": row["test_list"], "test_setup": setup}
        yield Problem(f"mbpp/{row['task_id']}", row["code"], program, fields)


# Mutants


def mutants(source: str) -> Iterator[str]:
    """Every program that differs from this one by one small change."""
    for place in range(sum(1 for _ in ast.walk(ast.parse(source)))):
        tree = ast.parse(source)
        node = list(ast.walk(tree))[place]
        if change(node):
            yield ast.unparse(ast.fix_missing_locations(tree))


def change(node: ast.AST) -> bool:
    """Changes a node in place. Returns whether there was something to change."""
    match node:
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in SWAPS:
            node.op = SWAPS[type(op)]()
        case ast.Compare(ops=[op, *rest]) if type(op) in SWAPS:
            node.ops = [SWAPS[type(op)](), *rest]
        case ast.Constant(value=bool(value)):
            node.value = not value
        case ast.Constant(value=int(value)):
            node.value = value + 1
        case ast.If(test=test):
            node.test = ast.UnaryOp(ast.Not(), test)
        case ast.Return(value=ast.expr()):
            node.value = ast.Constant(None)
        case _:
            return False
    return True


# The ground truth: plain CPython in a separate process. It runs only solutions of the data sets.


def passes(source: str, program: str) -> bool:
    command = [sys.executable, "-I", "-c", f"{source}\n{program}"]
    try:
        ended = subprocess.run(
            command, capture_output=True, timeout=PLAIN_TIMEOUT_S, check=False, env={}
        )
    except subprocess.TimeoutExpired:
        return False
    return ended.returncode == 0


def told_apart(problems: Sequence[Problem], wanted: int, dice: random.Random) -> list[Candidate]:
    """Reference solutions and up to `wanted` mutants of each, with their results in plain CPython."""
    made: list[tuple[Problem, str, str]] = []
    for problem in problems:
        made.append((problem, problem.id, problem.solution))
        changed = list(mutants(problem.solution))
        chosen = dice.sample(range(len(changed)), min(wanted, len(changed)))
        made += [(problem, f"{problem.id} mutant {place}", changed[place]) for place in chosen]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        right = list(threads.map(lambda one: passes(one[2], one[0].program), made))
    return [Candidate(*one, fine) for one, fine in zip(made, right, strict=True)]


# The verifier


async def judged(candidates: Sequence[Candidate]) -> dict[str, Any]:
    verifier = open_verifier("code", {"processes": os.cpu_count() or 1})
    taken_s: list[float] = []

    async def judge(one: Candidate) -> tuple[Candidate, float | None, str]:
        sample = Sample(response=one.source, metadata=one.problem.row)
        started = time.perf_counter()
        check = await verifier(sample)
        taken_s.append(time.perf_counter() - started)
        return one, check.score, check.detail

    try:
        await verifier(
            Sample(response="import heapq", metadata={"tests": "assert f(1)"})
        )  # compiles
        results = [await judge(one) for one in candidates]
    finally:
        await verifier.aclose()
    return counted(results, taken_s)


def counted(
    results: Sequence[tuple[Candidate, float | None, str]], taken_s: Sequence[float]
) -> dict[str, Any]:
    kinds: Counter[str] = Counter()
    disagreements: list[dict[str, Any]] = []
    for one, score, detail in results:
        mutant = one.id != one.problem.id
        if one.right == mutant:  # an equivalent mutant, or a reference that fails its own tests
            kinds["equivalent mutants" if mutant else "references that fail in plain CPython"] += 1
            continue
        kinds["mutants" if mutant else "references"] += 1
        if (score == 1.0) == one.right:
            kinds["mutants rejected" if mutant else "references accepted"] += 1
        else:
            disagreements.append({"id": one.id, "score": score, "detail": detail})
    say(f"{dict(kinds)}")
    for one in disagreements:
        say(f"  {one}")
    return {
        "accepted_%": 100 * kinds["references accepted"] / kinds["references"],
        "rejected_%": 100 * kinds["mutants rejected"] / kinds["mutants"],
        "counts": dict(kinds),
        "disagreements": disagreements,
        "ms_p50": round(1000 * percentile(taken_s, 50), 2),
        "ms_p95": round(1000 * percentile(taken_s, 95), 2),
    }


if __name__ == "__main__":
    main()
