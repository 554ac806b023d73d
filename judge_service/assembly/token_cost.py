"""What a prompt reserves of the quota and what its completion is charged."""

from collections.abc import Sequence

from judge_service.flow.admission.tokens import LearnedRatio, is_wide
from judge_service.values import Completion, Prompt

RESOURCES = ("requests", "tokens", "input_tokens", "output_tokens")
"""What a quota can be of, in the order of `TokenCost`'s arithmetic."""


class TokenCost:
    """What a prompt reserves and what its completion is charged, in the limiter's resources.

    Bedrock takes input + max output tokens when a call starts and settles to input + cache writes +
    output x burndown when it ends, so that is how we count; the input of a prompt not yet sent is
    estimated from its length by a ratio learned from the answers.
    """

    def __init__(self, resources: Sequence[str], *, burndown: float, tokens: LearnedRatio) -> None:
        self._order = tuple([RESOURCES.index(name) for name in resources])
        self._burndown = burndown
        self._tokens = tokens

    def reserve(self, prompt: Prompt) -> tuple[int, ...]:
        wide = is_wide(prompt.question.response)
        estimate = self._tokens.estimate(_characters(prompt), wide=wide)
        return self._units(estimate, prompt.max_output_tokens)

    def charge(self, prompt: Prompt, completion: Completion) -> tuple[int, ...]:
        usage = completion.usage
        seen = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        if seen == 0:
            return self.reserve(prompt)  # a backend that does not count tokens
        wide = is_wide(prompt.question.response)
        self._tokens.learn(_characters(prompt), seen, wide=wide)
        return self._units(usage.input_tokens + usage.cache_write_tokens, usage.output_tokens)

    def _units(self, input_tokens: int, output_tokens: int) -> tuple[int, ...]:
        burnt = round(output_tokens * self._burndown)
        units = (1, input_tokens + burnt, input_tokens, output_tokens)
        return tuple([units[position] for position in self._order])


def _characters(prompt: Prompt) -> int:
    return sum([len(message.content) for message in prompt.messages])
