"""Measures the `instructions` verifier on IFEval: agreement with the recorded verdicts of its checker.

    TEST_DATA=DIRECTORY python loadtest/accuracy_instructions.py [--rows 1000]

Each recorded response has a strict verdict for each instruction. Every disagreement is listed by the row's
key and the kind of instruction, with the reason if it is known; the speed is rows per CPU second.
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from measuring import at_least, cpu_s, report, say, sizes

from judge_service.verifiers.instructions.languages import language_of
from judge_service.verifiers.instructions.verifier import followed, instructions

AGREED_PERCENT = 99.0
WHY = {"change_case:capital_word_frequency": "the checker's tokens split `LIFE'S`, and `'S` counts"}
"""Known reasons of disagreements, by kind of instruction."""


def main() -> None:
    options = sizes(__doc__, rows=(1000, 20))
    data = os.environ.get("TEST_DATA")
    if not data:
        sys.exit("set TEST_DATA to the directory with the data sets (CONTRIBUTING.md)")
    asked, recorded = (
        [json.loads(line) for line in (Path(data) / "ifeval" / name).read_text().splitlines()]
        for name in ("en_input_data.jsonl", "en_gpt-4o-mini_strict.jsonl")
    )
    asked, recorded = asked[: options.rows], recorded[: options.rows]
    language_of("loads the model")
    began = cpu_s()
    ours = [
        followed(record["response"], instructions(row), loose=False)
        for row, record in zip(asked, recorded, strict=True)
    ]
    spent_s = cpu_s() - began
    seen = compared(asked, recorded, ours)
    figures = [
        at_least("agreement with the recorded verdicts", seen["agreed_%"], AGREED_PERCENT, "%")
    ]
    details = {**seen, "rows": len(asked), "rows_per_cpu_s": round(len(asked) / spent_s)}
    report("accuracy_instructions", figures, details, smoke=options.smoke)


def compared(
    asked: list[dict[str, Any]], recorded: list[dict[str, Any]], ours: list[list[bool]]
) -> dict[str, Any]:
    listed: list[dict[str, Any]] = []
    kinds: Counter[str] = Counter()
    for row, record, verdicts in zip(asked, recorded, ours, strict=True):
        theirs = record["follow_instruction_list"]
        for name, mine, said in zip(row["instruction_id_list"], verdicts, theirs, strict=True):
            kind = name.removeprefix("en:")
            kinds[kind] += 1
            if mine != said:
                why = WHY.get(kind, "not known")
                one = {"key": row["key"], "kind": kind, "ours": mine, "recorded": said, "why": why}
                say(f"  {one}")
                listed.append(one)
    total = kinds.total()
    return {
        "agreed_%": 100 * (total - len(listed)) / total,
        "verdicts": total,
        "verdicts_by_kind": dict(sorted(kinds.items())),
        "disagreements": listed,
    }


if __name__ == "__main__":
    main()
