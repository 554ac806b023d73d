import pytest

from judge_service.flow.tokens import LearnedRatio


def test_before_it_knows_better_it_is_on_the_safe_side() -> None:
    ratio = LearnedRatio()
    assert ratio.estimate(3000) == 1050
    assert ratio.estimate(0) == 1
    assert repr(ratio) == "LearnedRatio(chars_per_token=3.00)"


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
