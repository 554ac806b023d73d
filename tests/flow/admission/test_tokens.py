import asyncio
from collections import deque
from math import ceil
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.errors import Throttled
from judge_service.flow import Request
from judge_service.flow.admission.bucket import MICRO, Bucket, Limit
from judge_service.flow.admission.tokens import LearnedRatio, count_wide
from judge_service.testing import START_S, run_virtual
from tests.flow.gates import new_gate


def test_before_it_knows_better_it_is_on_the_safe_side() -> None:
    ratio = LearnedRatio()
    assert ratio.estimate(3000) == 1050
    assert ratio.estimate(0) == 1
    assert repr(ratio) == "LearnedRatio(chars_per_token=3.00, wide_chars_per_token=1.00)"


@pytest.mark.parametrize("true_chars_per_token", [3.0 * 0.7, 3.0 / 0.7])
def test_it_learns_within_200_calls_from_30_percent_wrong(true_chars_per_token: float) -> None:
    ratio = LearnedRatio()
    for _ in range(200):
        ratio.learn(2100, round(2100 / true_chars_per_token))
    assert ratio.chars_per_token == pytest.approx(true_chars_per_token, rel=0.01)
    assert 1.04 < ratio.estimate(21_000) / (21_000 / true_chars_per_token) < 1.06


def test_mixed_texts_are_not_underestimated() -> None:
    ratio = LearnedRatio()
    for _ in range(500):  # prose at 4 characters a token, then Chinese at 1
        ratio.learn(4000, 1000)
        ratio.learn(1000, 1000)
    assert ratio.estimate(1000) == pytest.approx(1000 * (0.25 + 1.0) / 2 * 1.05, rel=0.02)


@pytest.mark.parametrize(("chars", "tokens"), [(0, 5), (5, 0), (-1, 5), (5, -1)])
def test_a_report_of_nothing_teaches_nothing(chars: int, tokens: int) -> None:
    ratio = LearnedRatio()
    ratio.learn(chars, tokens)
    assert ratio.chars_per_token == pytest.approx(3.0)


def test_one_absurd_report_does_little_harm() -> None:
    ratio = LearnedRatio()
    ratio.learn(1000, 10**12)
    assert ratio.chars_per_token > 2


@pytest.mark.parametrize(
    ("text", "wide"),
    [
        ("plain", 0),
        ("", 0),
        ("na\u00efve r\u00e9sum\u00e9", 3),
        ("\u4f60\u597d\u4e16\u754c", 4),
        ("Is this right? " + "\u4f60\u597d" * 20, 40),
        ("\U0001f600!", 1),
        ("\ud800" * 5, 5),
    ],
)
def test_characters_outside_ascii_are_counted(text: str, wide: int) -> None:
    assert count_wide(text) == wide


def test_wide_characters_have_a_ratio_of_their_own() -> None:
    ratio = LearnedRatio()
    assert ratio.estimate(100, wide=100) == 105
    for _ in range(300):
        ratio.learn(400, 100)
        ratio.learn(140, 100, wide=140)
    assert ratio.chars_per_token == pytest.approx(4, rel=0.01)
    assert ratio.wide_chars_per_token == pytest.approx(1.4, rel=0.01)


def test_the_worked_example_of_the_description() -> None:
    ratio = LearnedRatio()
    ratio.learn(8800, 10_000, wide=8000)
    assert 8000 / ratio.wide_chars_per_token == pytest.approx(8034.6, abs=0.1)
    assert 800 / ratio.chars_per_token == pytest.approx(266.7, abs=0.1)


sizes = st.integers(1, 5000)


@given(narrow=sizes, wide=sizes, before=sizes, share=st.floats(0.1, 3))
def test_a_report_moves_the_estimate_of_its_own_mix_by_2_percent_of_the_error(
    narrow: int, wide: int, before: int, share: float
) -> None:
    ratio = LearnedRatio()
    ratio.learn(before, before)
    chars, tokens = narrow + wide, max(1, round(share * (narrow + wide)))

    def predicted() -> float:
        return narrow / ratio.chars_per_token + wide / ratio.wide_chars_per_token

    first = predicted()
    ratio.learn(chars, tokens, wide=wide)

    assert predicted() - first == pytest.approx(0.02 * (tokens - first), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_texts_of_many_mixes_teach_both_means(seed: int) -> None:
    sizes, ratio = Random(seed), LearnedRatio()
    mixes = [(sizes.randint(1, 5000), sizes.randint(1, 5000)) for _ in range(1000)]
    for narrow, wide in mixes:
        ratio.learn(narrow + wide, ceil(narrow / 4 + wide / 1.5), wide=wide)

    assert ratio.chars_per_token == pytest.approx(4, rel=0.1)
    assert ratio.wide_chars_per_token == pytest.approx(1.5, rel=0.02)


def test_an_estimate_30_percent_low_is_learned_in_200_calls_and_hardly_throttled() -> None:
    """The judge counts 1.3 times what we think a text has, and enforces its quota."""
    chars, true_tokens, per_minute = 3000, 1300, 1_300_000.0
    ratio, outcomes = LearnedRatio(chars_per_token=3.0), deque[bool]()
    estimates: list[int] = []

    def reserve(_: int) -> tuple[int, ...]:
        estimates.append(ratio.estimate(chars))
        return (estimates[-1],)

    def charge(_body: int, _answer: None) -> tuple[int, ...]:
        ratio.learn(chars, true_tokens)
        return (true_tokens,)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        there = Bucket(Limit(per_minute, burst_s=1.0))
        gate = new_gate({"tokens": Limit(per_minute)}, reserve=reserve, charge=charge)

        async def judge(request: Request[int]) -> None:
            request.sent_at = loop.time()
            outcomes.append(there.take(true_tokens * MICRO, int(loop.time() * MICRO)))
            if not outcomes[-1]:
                raise Throttled("full")
            await asyncio.sleep(0.5)

        async def work() -> None:
            while loop.time() < START_S + 60:
                try:
                    await gate(Request(0), judge)
                except Throttled:
                    await asyncio.sleep(0.1)

        await asyncio.gather(*(work() for _ in range(40)))

    run_virtual(scenario())
    assert outcomes.count(False) < 0.01 * len(outcomes)
    assert min(estimates[200:]) >= true_tokens
    assert outcomes.count(True) >= 0.99 * per_minute / true_tokens
