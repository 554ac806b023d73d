"""What a prompt reserves and is charged, and that a token quota holds for packs of Chinese samples."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.assembly.token_cost import TokenCost
from judge_service.backends.scripted import Scripted
from judge_service.flow.admission.tokens import LearnedRatio, count_wide
from judge_service.grading.groups.pack_prompt import PackedPrompt
from judge_service.service import open_service
from judge_service.settings import LimitSettings, PackSettings, Settings
from judge_service.testing import run_virtual
from judge_service.values import Completion, Message, Prompt, Question, Sample, Usage

ENGLISH = "plain words " * 250  # 3,000 characters
CHINESE = "今天的天气非常好我们一起去公园散步然后回家吃饭看书" * 40
CHINESE_PACK = "Grade each of these.\n" * 40 + CHINESE * 16  # 840 and 16,000 characters


def prompt(text: str, *, max_output_tokens: int = 10) -> Prompt:
    """As a pack is: the question holds no response."""
    return Prompt(
        question=Question(criteria=(), task="", response=""),
        messages=(Message("system", "Judge."), Message("user", text)),
        max_output_tokens=max_output_tokens,
    )


def cost(*resources: str, burndown: float = 1.0, tokens: LearnedRatio | None = None) -> TokenCost:
    return TokenCost(resources, burndown=burndown, tokens=tokens or LearnedRatio())


def count_tokens(asked: Prompt) -> int:
    """A tokenizer: four ASCII characters, or one other, are a token."""
    text = "".join(message.content for message in asked.messages)
    wide = count_wide(text)
    return (len(text) - wide) // 4 + wide


def test_a_prompt_reserves_its_estimated_input_and_all_its_output() -> None:
    requests, tokens, output = cost("requests", "tokens", "output_tokens").reserve(
        prompt("x" * 294)
    )

    assert (requests, output) == (1, 10)
    assert tokens == 105 + 10  # 300 characters at 3 a token, and 5 % more


def test_an_answer_is_charged_as_bedrock_does() -> None:
    usage = Usage(input_tokens=80, output_tokens=4, cache_read_tokens=50, cache_write_tokens=20)
    completion = Completion(text="0.5", usage=usage)

    charged = cost("tokens", "input_tokens", burndown=5).charge(prompt("x"), completion)

    assert charged == (80 + 20 + 5 * 4, 80 + 20)  # cache reads are free


def test_where_reads_are_not_free_they_are_charged() -> None:
    usage = Usage(input_tokens=80, output_tokens=4, cache_read_tokens=50, cache_write_tokens=20)
    counting = TokenCost(["tokens"], burndown=1, tokens=LearnedRatio(), reads_are_free=False)

    assert counting.charge(prompt("x"), Completion(text="0.5", usage=usage)) == (154,)


def test_a_prompt_reserves_nothing_for_a_beginning_that_the_judge_has() -> None:
    asked = msgspec.structs.replace(prompt("x" * 300 + "y" * 60), shared_chars=300)
    had = []

    def has_beginning(body: Prompt) -> bool:
        had.append(body)
        return True

    def reserved(**options: Any) -> tuple[int, ...]:
        layer = TokenCost(
            ["tokens"], burndown=1, tokens=LearnedRatio(), has_beginning=has_beginning, **options
        )
        return layer.reserve(asked)

    assert reserved() == (21 + 10,)  # 60 characters at 3 a token, and 5 % more
    assert had == [asked]
    assert reserved(reads_are_free=False) == cost("tokens").reserve(asked)


def test_an_answer_without_counts_is_charged_what_was_reserved() -> None:
    tokens = cost("tokens")

    assert tokens.charge(prompt("x"), Completion(text="0.5")) == tokens.reserve(prompt("x"))


def test_3000_english_characters_reserve_what_they_always_did() -> None:
    assert cost("input_tokens").reserve(prompt(ENGLISH[:-6])) == (1050,)


def test_a_pack_of_chinese_samples_reserves_what_it_costs() -> None:
    [reserved] = cost("input_tokens").reserve(prompt(CHINESE_PACK))

    assert 1.0 <= reserved / count_tokens(prompt(CHINESE_PACK)) < 1.1


def test_chinese_packs_leave_the_mean_of_english_prompts_alone() -> None:
    tokens = LearnedRatio()
    layer = cost("input_tokens", tokens=tokens)
    for _ in range(60):
        usage = Usage(2 * count_tokens(prompt(CHINESE_PACK)), 10, calls=1)  # twice what we think
        layer.charge(prompt(CHINESE_PACK), Completion(text="1", usage=usage))

    assert tokens.wide_chars_per_token == pytest.approx(1 / 1.7, rel=0.05)
    assert layer.reserve(prompt(ENGLISH))[0] == pytest.approx(1052, rel=0.01)


@given(english=st.integers(1, 4000), chinese=st.integers(0, 4000))
def test_whatever_the_mix_a_prompt_reserves_what_it_costs(english: int, chinese: int) -> None:
    asked = prompt("x" * english + "好" * chinese)

    [reserved] = cost("input_tokens").reserve(asked)

    true = english / 4 + chinese
    assert true <= reserved <= (english + 6) / 3 * 1.05 + chinese * 1.05 + 1


class Judge:
    """Answers packs, counts tokens, and notes when it was sent how many."""

    def __init__(self) -> None:
        self.sends: list[tuple[float, int]] = []
        self.packs = 0

    def __call__(self, asked: Prompt) -> Completion:
        self.sends.append((asyncio.get_running_loop().time(), count_tokens(asked) + 10))
        usage = Usage(count_tokens(asked), 10, calls=1)
        [criterion] = asked.question.criteria
        if not isinstance(asked, PackedPrompt):
            return Completion(data={criterion.name: 0.5}, usage=usage)
        self.packs += 1
        verdicts = [{"ID": label, criterion.name: 0.5} for label in asked.labels]
        return Completion(data={"verdicts": verdicts}, usage=usage)

    def worst_60_s(self) -> int:
        return max(
            sum(tokens for at, tokens in self.sends if start <= at < start + 60)
            for start, _ in self.sends
        )


def chinese_samples(count: int) -> list[Sample]:
    texts = [CHINESE[n % 700 :][:300] for n in range(count)]
    return [Sample(id=n, response=f"{n}{text}", reference=text) for n, text in enumerate(texts)]


def grade(judge: Judge, samples: list[Sample], **settings: Any) -> list[Any]:
    async def scenario() -> list[Any]:
        model = Scripted(judge, channels=("tool", "text"), latency_s=2.0)
        asked = Settings(backend="bedrock", model="m", **settings)
        async with open_service(asked, model=model) as service:
            return await service.score(samples, deadline_s=3600)

    return run_virtual(scenario())


def test_the_worst_minute_of_chinese_packs_is_within_the_token_quota() -> None:
    per_minute, judge = 400_000, Judge()

    rewards = grade(
        judge,
        chinese_samples(1600),
        limits=LimitSettings(tokens_per_minute=per_minute),
        pack=PackSettings(max_samples=8, max_tokens=20_000),
    )

    assert all(reward.score == 0.5 for reward in rewards)
    assert judge.packs == 200
    assert 0.95 * per_minute < judge.worst_60_s() <= 1.01 * per_minute


def test_a_pack_holds_the_chinese_samples_that_its_token_limit_allows() -> None:
    judge = Judge()

    grade(judge, chinese_samples(60), pack=PackSettings(max_samples=64, max_tokens=4000))

    assert judge.packs == 10  # 6 of 600 tokens and 5 % each
    instructions = 1000
    assert max(tokens for _, tokens in judge.sends) < 4000 + instructions
