"""Corpora of hostile answers, as the tests give them."""

import json
from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).parents[1] / "data" / "grading"
PROMPT = "Explain in two sentences why there are two tides a day, and what the moon does."


def degenerate() -> Iterator[tuple[str, str]]:
    """(name, response); `times` repeats one, `padding` stands 100 times behind it."""
    for case in json.loads((DATA / "degenerate.json").read_text("utf-8")):
        text = case["response"].replace("{prompt}", PROMPT).replace("{PROMPT}", PROMPT.upper())
        yield case["name"], text * case.get("times", 1) + case.get("padding", "") * 100
