"""Samples for load tests of the service, as JSON: all different, half a kilobyte each."""

import itertools
import json
from collections.abc import Iterator

from arrivals import Answer, request

PADDING = " ".join(f"stone {place:x}" for place in range(20))
BATCH = 64


def row(number: int) -> dict[str, object]:
    answer = f"House {number} was built in {1500 + number % 500} by the parish."
    return {
        "id": number,
        "prompt": f"In which year was house {number} built, and by whom?",
        "response": f"{answer} {PADDING}",
        "reference": answer,
    }


def body(numbers: range) -> bytes:
    return json.dumps({"samples": [row(number) for number in numbers]}).encode()


def requests(size: int = 1, start: int = 0) -> Iterator[bytes]:
    """Endless requests of `size` samples each. start: number of the first sample."""
    for first in itertools.count(start, size):
        yield request(body(range(first, first + size)))


def is_scored(answer: Answer) -> bool:
    """Whether every sample of an answered request has a score."""
    return all(reward["score"] is not None for reward in json.loads(answer.body)["rewards"])
