"""Properties of all verifiers of text, on generated texts."""

import math
from itertools import product
from typing import Any

import pytest

from judge_service.values import UNSCORED_REASONS, Message, Sample
from judge_service.verifiers import Verifier, open_verifier
from tests.verifiers.checking import check_with

KINDS: dict[str, dict[str, Any]] = {
    "boxed": {},
    "choice": {},
    "exact": {},
    "groundedness": {},
    "json_schema": {"json_schema": {"properties": {"a": {"pattern": "a"}}}},
    "language": {"expected": "en"},
    "number": {},
    "overlap": {},
    "pii": {},
    "refusal": {},
    "regex": {"pattern": "a"},
    "sentiment": {},
}

STRANGE = [
    "",
    " ",
    "\x00",
    "\ud800",
    '{"a": "\ud800"}',
    "a\ud800b \\boxed{\ud800}",
    "\u202e\u200b\ufeff",
    "\U000e0041" * 10,
    "\\boxed{}",
    "\\boxed{" + "9" * 5_000 + "}",
    "#### 1/0",
    "1e999",
    "\u00bd \u2460 \u0967 \U0001d7d8",
    "{}",
    "null",
    "\n" * 100,
    "%s{0}{response}",
    "\ufdfa" * 1_000,
]


@pytest.fixture(scope="module")
def verifiers() -> dict[str, Verifier]:
    return {kind: open_verifier(kind, options) for kind, options in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_any_text_gets_a_finite_score_or_a_reason(
    verifiers: dict[str, Verifier], kind: str
) -> None:
    for text, reference in product(STRANGE, ["B", "18", "positive", None, *STRANGE]):
        asked = (Message("user", text),)
        sample = Sample(response=text, reference=reference, messages=asked)

        found = check_with(verifiers[kind], sample)

        if found.score is None:
            assert found.reason in UNSCORED_REASONS
        else:
            assert found.reason is None
            assert math.isfinite(found.score)
            assert 0.0 <= found.score <= 1.0
        assert found.detail.isascii()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_verifier_can_be_closed_twice(verifiers: dict[str, Verifier], kind: str) -> None:
    await verifiers[kind].aclose()
    await verifiers[kind].aclose()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_sample_gets_the_same_check(verifiers: dict[str, Verifier], kind: str) -> None:
    sample = Sample(response="\\boxed{B} 18 positive", reference="B")

    assert check_with(verifiers[kind], sample) == check_with(verifiers[kind], sample)
