"""OpenRLHF's rollout with a remote reward; the policy and its tokenizer are doubles, one token a character.

argument: {"url": ..., "rollouts": [{"prompt", "response", "label"}, ...]}
"""

import asyncio
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


def import_agent() -> Any:
    """`openrlhf.utils.agent` without its package's own imports, which want torch."""
    spec = importlib.util.find_spec("openrlhf")
    assert spec is not None
    assert spec.origin is not None
    utils = ModuleType("openrlhf.utils")
    utils.__path__ = [str(Path(spec.origin).parent / "utils")]
    sys.modules["openrlhf.utils"] = utils
    return importlib.import_module("openrlhf.utils.agent")


class Tokenizer:
    def __call__(self, text: str, **_more: Any) -> dict[str, Any]:
        tokens = [ord(character) for character in text]
        return {"input_ids": [SimpleNamespace(tolist=lambda: tokens)]}

    def decode(self, tokens: list[int], *, skip_special_tokens: bool) -> str:
        assert not skip_special_tokens
        return "".join(map(chr, tokens))


class Engine:
    def __init__(self, response: str) -> None:
        self.response = response

    async def generate(self, _prompt: list[int], _params: Any, **_more: Any) -> Any:
        tokens = [ord(character) for character in self.response]
        output = SimpleNamespace(
            token_ids=tokens, text=self.response, finish_reason="stop", logprobs=None
        )
        return SimpleNamespace(outputs=[output])


async def main(url: str, rollouts: list[dict[str, str]]) -> list[Any]:
    executor = import_agent().SingleTurnAgentExecutor([url])
    return await asyncio.gather(
        *[
            executor.execute(
                one["prompt"],
                one["label"],
                SimpleNamespace(max_tokens=1000, logprobs=None),
                2000,
                Tokenizer(),
                Engine(one["response"]),
            )
            for one in rollouts
        ]
    )


if __name__ == "__main__":
    done = asyncio.run(main(**json.loads(sys.argv[1])))
    names = ("reward", "scores", "extra_logs")
    sys.stdout.write(json.dumps([{name: one[name] for name in names} for one in done]))
