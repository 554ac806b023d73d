"""Rollouts of one prompt against a judge with a prompt cache and a token quota.

    python loadtest/prefix.py [--seconds 60]

Groups of 8 rollouts, 8,000 tokens of prompt and 500 of response, one group after the other from 12 callers.
The judge counts what it reads from its cache as nothing, as Bedrock does. The two services, with
`prompt_cache` on and off, have a simulator of their own and run one after the other. Figures count from a
fifth of the time on. The share that rollouts have in common is counted for every shipped rubric and channel.
"""

import asyncio
from collections.abc import Iterator
from itertools import count, takewhile
from pathlib import Path
from random import Random
from typing import Any

from measuring import (
    ENVIRON,
    ROOT,
    at_least,
    at_most,
    report,
    say,
    settings_for,
    simulator,
    sizes,
)

from judge_service import JudgeService, Message, Reward, Sample, open_service
from judge_service.grading import PromptWriter, load_rubric, panels
from judge_service.grading.rubric.rubric import BUILT_IN
from judge_service.values import Channel

GROUP, CALLERS = 8, 12
PROMPT_CHARS, RESPONSE_CHARS = 32_000, 2_000
TOKENS_PER_MINUTE = 6_000_000
JUDGE = {
    "latency_median_s": 0.3,
    "latency_sigma": 0.3,
    "tokens_per_minute": TOKENS_PER_MINUTE,
    "cache_min_tokens": 1_024,
    "max_events": 0,
}
CHANNELS: tuple[Channel, ...] = ("schema", "tool", "text")
RUBRIC = ROOT / "examples" / "rubrics" / "quality.toml"


def group(number: int) -> list[Sample]:
    """The rollouts of one prompt."""
    random = Random(number)
    task = (Message("user", _text(random, PROMPT_CHARS)),)
    return [
        Sample(
            id=place, messages=task, response=_text(random, RESPONSE_CHARS), reference="House 7."
        )
        for place in range(GROUP)
    ]


def _text(random: Random, chars: int) -> str:
    """So long that no guard takes it for a repetition."""
    return " ".join(f"stone {random.randrange(16**6):x}" for _ in range(chars // 6))[:chars]


class Side:
    """One service, and what it judged: the verdicts of each whole group."""

    def __init__(self, judge: JudgeService) -> None:
        self._judge = judge
        self._numbers = count()
        self._evaluations = 0
        self.verdicts: dict[int, list[Any]] = {}

    async def run(self, seconds: float) -> float:
        """Evaluations a minute, from a fifth of the time on."""
        loop = asyncio.get_running_loop()
        callers = [loop.create_task(self._call()) for _ in range(CALLERS)]
        await asyncio.sleep(seconds / 5)
        before, began_s = self._evaluations, loop.time()
        await asyncio.sleep(seconds * 4 / 5)
        rate = 60 * (self._evaluations - before) / (loop.time() - began_s)
        for caller in callers:
            caller.cancel()
        ended = await asyncio.gather(*callers, return_exceptions=True)
        if failed := [error for error in ended if not isinstance(error, asyncio.CancelledError)]:
            raise RuntimeError(f"a caller failed: {failed[0]}")
        return rate

    async def _call(self) -> None:
        while True:
            number = next(self._numbers)
            rewards = await asyncio.gather(*map(self._score, group(number)))
            self.verdicts[number] = [(reward.score, reward.parts) for reward in rewards]

    async def _score(self, sample: Sample) -> Reward:
        [reward] = await self._judge.score([sample])
        if reward.score is None:
            raise RuntimeError(
                f"a sample was not judged ({reward.reason}); the figures mean nothing"
            )
        self._evaluations += 1
        return reward


def shared_shares() -> Iterator[tuple[str, float]]:
    """By rubric, the least share of what stands before the response that two rollouts have in common."""
    examples = sorted((ROOT / "examples" / "rubrics").glob("*.toml"))
    one, other = group(0)[:2]
    for name in (*BUILT_IN, *map(str, examples)):
        shares = []
        for panel in panels(load_rubric(name)):
            writer = PromptWriter(panel, fence_secret=bytes(16), temperature=0.0)
            for channel in CHANNELS:
                texts = [
                    "\0".join(message.content for message in prompt.messages)
                    for prompt in (
                        writer.write(writer.question(sample), channel) for sample in (one, other)
                    )
                ]
                end = texts[0].index("<response ")
                common = takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False))
                shares.append(min(sum(1 for _ in common) / end, 1.0))
        if shares:
            yield Path(name).stem, min(shares)


def main() -> None:
    options = sizes(__doc__, seconds=(60.0, 3.0))
    rates, sides, told = {}, {}, {}
    for name, is_on in (("off", False), ("on", True)):
        with simulator(**JUDGE, seed=1) as simulated:
            rates[name], sides[name] = asyncio.run(
                measure(simulated.url, options.seconds, is_on=is_on)
            )
            told[name] = simulated.statistics()
            say(f"prompt_cache {name}: {rates[name]:,.0f} evaluations a minute")
    both = sides["on"].keys() & sides["off"].keys()
    changed = sum(sides["on"][number] != sides["off"][number] for number in both)
    quota = [told[name]["quotas"] for name in ("off", "on")]
    worst = max(each["worst_window_tokens"] for quotas in quota for each in quotas.values())
    shares = dict(shared_shares())
    figures = [
        at_least(
            "evaluations a minute, cache on over off", rates["on"] / rates["off"], 5.0, "times"
        ),
        at_most("groups judged by both whose verdicts differ", changed, 0),
        at_least(
            "least share of what stands before the response", 100 * min(shares.values()), 95.0, "%"
        ),
    ]
    details = {
        "seconds": options.seconds,
        "group": GROUP,
        "prompt_chars": PROMPT_CHARS,
        "response_chars": RESPONSE_CHARS,
        "judge": JUDGE,
        "evaluations_per_minute": rates,
        "groups_judged_by_both": len(both),
        "most_tokens_in_60_s": worst,
        "read_tokens": told["on"]["cache_read_tokens"],
        "written_tokens": told["on"]["cache_write_tokens"],
        "shared_before_the_response": shares,
    }
    report("prefix", figures, details, smoke=options.smoke)


async def measure(url: str, seconds: float, *, is_on: bool) -> tuple[float, dict[int, list[Any]]]:
    settings = settings_for(
        url,
        rubric=str(RUBRIC),
        limits={"tokens_per_minute": TOKENS_PER_MINUTE},
        cache={"max_entries": 0},
        prompt_cache={"enabled": is_on},
    )
    async with open_service(settings, environ=ENVIRON) as judge:
        side = Side(judge)
        return await side.run(seconds), side.verdicts


if __name__ == "__main__":
    main()
