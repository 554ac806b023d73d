import asyncio
from collections import deque

import pytest
from judge_service.flow.admission.rate_limit import Limit, RateLimit

from judge_service.errors import Throttled
from judge_service.flow import Request
from judge_service.flow.admission.bucket import MICRO, Bucket
from judge_service.flow.admission.tokens import LearnedRatio, is_wide
from judge_service.testing import START_S, run_virtual


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
        ("plain", False),
        ("", False),
        ("na\u00efve r\u00e9sum\u00e9", False),
        ("\u4f60\u597d\u4e16\u754c", True),
        ("Is this right? " + "\u4f60\u597d" * 20, True),
        ("Is this right, and is it complete? " * 10 + "\u4f60\u597d" * 20, False),
        ("\ud800" * 5, True),
    ],
)
def test_scripts_that_take_more_tokens_are_told_apart(text: str, wide: bool) -> None:
    assert is_wide(text) is wide


def test_wide_texts_have_a_ratio_of_their_own() -> None:
    ratio = LearnedRatio()
    assert ratio.estimate(100, wide=True) == 105
    for _ in range(300):
        ratio.learn(400, 100)
        ratio.learn(140, 100, wide=True)
    assert ratio.chars_per_token == pytest.approx(4, rel=0.01)
    assert ratio.wide_chars_per_token == pytest.approx(1.4, rel=0.01)


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
        layer: RateLimit[int, None] = RateLimit(
            limits={"tokens": Limit(per_minute)}, reserve=reserve, charge=charge
        )

        async def judge(request: Request[int]) -> None:
            request.sent_at = loop.time()
            outcomes.append(there.take(true_tokens * MICRO, int(loop.time() * MICRO)))
            if not outcomes[-1]:
                raise Throttled("full")
            await asyncio.sleep(0.5)

        async def work() -> None:
            while loop.time() < START_S + 60:
                try:
                    await layer(Request(0), judge)
                except Throttled:
                    await asyncio.sleep(0.1)

        await asyncio.gather(*(work() for _ in range(40)))

    run_virtual(scenario())
    assert outcomes.count(False) < 0.01 * len(outcomes)
    assert min(estimates[200:]) >= true_tokens
    assert outcomes.count(True) >= 0.99 * per_minute / true_tokens
