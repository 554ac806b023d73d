"""What a judge call takes of each quota, before it is sent and after it is answered."""

from collections.abc import Sequence

from judge_service.flow.admission.tokens import LearnedRatio, count_chars
from judge_service.values import Completion, Prompt

RESOURCES = ("requests", "tokens", "input_tokens", "output_tokens")
"""What a quota can be of, in the order of `TokenCost`'s arithmetic."""


class TokenCost:
    """What a prompt reserves and what its completion is charged, in the limiter's resources.

    Bedrock takes input + max output tokens when a call starts and settles to input + cache writes +
    output x burndown when it ends, so that is how we count. The input of a prompt that is not yet sent
    is estimated from its rendered messages, by a ratio learned from the answers.

    resources: names of `RESOURCES`; amounts are given in this order.
    burndown: how many tokens of the quota one output token takes.
    """

    def __init__(self, resources: Sequence[str], *, burndown: float, tokens: LearnedRatio) -> None:
        self._order = tuple([RESOURCES.index(name) for name in resources])
        self._burndown = burndown
        self._tokens = tokens

    def reserve(self, prompt: Prompt) -> tuple[int, ...]:
        """The estimated input and all of the output that is allowed."""
        estimate = self._tokens.estimate_texts(_texts(prompt))
        return self._units(estimate, prompt.max_output_tokens)

    def charge(self, prompt: Prompt, completion: Completion) -> tuple[int, ...]:
        """What the backend counted; learns from it. What was reserved if the backend counts nothing."""
        usage = completion.usage
        seen = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        if seen == 0:
            return self.reserve(prompt)
        chars, wide = count_chars(_texts(prompt))
        self._tokens.learn(chars, seen, wide=wide)
        return self._units(usage.input_tokens + usage.cache_write_tokens, usage.output_tokens)

    def _units(self, input_tokens: int, output_tokens: int) -> tuple[int, ...]:
        burnt = round(output_tokens * self._burndown)
        units = (1, input_tokens + burnt, input_tokens, output_tokens)
        return tuple([units[position] for position in self._order])


def _texts(prompt: Prompt) -> list[str]:
    """What the judge sees. The question does not serve: a pack's or a ranking's holds no answers."""
    return [message.content for message in prompt.messages]
