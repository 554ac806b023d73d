"""Computes the cost of a judge call in each quota: reserved before it is sent, charged after the answer."""

from collections.abc import Callable, Sequence

from judge_service.flow.admission.tokens import LearnedRatio, count_chars
from judge_service.values import Completion, Prompt

RESOURCES = ("requests", "tokens", "input_tokens", "output_tokens")
"""Resources that a quota can limit, in the order of `TokenCost`'s arithmetic."""


class TokenCost:
    """The cost of a prompt before it is sent (`reserve`) and after its answer (`charge`).

    Bedrock reserves input + max output tokens when a call starts, and settles to input + cache writes +
    output x burndown when it ends. This class counts in the same way. The input of a prompt is estimated from
    its messages, by a ratio of characters to tokens learned from earlier answers.

    For example, with a burndown of 5 a prompt of 800 estimated input tokens and at most 10 output tokens
    reserves 800 + 10 x 5 = 850 `tokens`. If the answer has 790 input and 4 output tokens, the charge is
    790 + 4 x 5 = 810, and the gate gives 40 back.

    resources: names of `RESOURCES`; amounts are in this order.
    burndown: quota tokens that one output token costs.
    reads_are_free: whether what the judge reads from its prompt cache costs no quota, as at Bedrock.
    has_beginning: whether the judge probably has the beginning of a prompt in that cache.
    """

    def __init__(
        self,
        resources: Sequence[str],
        *,
        burndown: float,
        tokens: LearnedRatio,
        reads_are_free: bool = True,
        has_beginning: Callable[[Prompt], bool] | None = None,
    ) -> None:
        self._order = tuple([RESOURCES.index(name) for name in resources])
        self._burndown = burndown
        self._tokens = tokens
        self._reads_are_free = reads_are_free
        self._has_beginning = has_beginning if reads_are_free else None

    def reserve(self, prompt: Prompt) -> tuple[int, ...]:
        """The estimated input that is not read from the prompt cache, and the largest allowed output."""
        if self._has_beginning is not None and self._has_beginning(prompt):
            texts = [prompt.messages[-1].content[prompt.shared_chars :]]
        else:
            texts = _texts(prompt)
        estimate = self._tokens.estimate_texts(texts)
        return self._units(estimate, prompt.max_output_tokens)

    def charge(self, prompt: Prompt, completion: Completion) -> tuple[int, ...]:
        """The cost by the backend's counts, from which the ratio learns; the reserved cost without counts."""
        usage = completion.usage
        seen = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        if seen == 0:
            return self.reserve(prompt)
        chars, wide = count_chars(_texts(prompt))
        self._tokens.learn(chars, seen, wide=wide)
        return self._units(
            seen - usage.cache_read_tokens if self._reads_are_free else seen, usage.output_tokens
        )

    def _units(self, input_tokens: int, output_tokens: int) -> tuple[int, ...]:
        burnt = round(output_tokens * self._burndown)
        units = (1, input_tokens + burnt, input_tokens, output_tokens)
        return tuple([units[position] for position in self._order])


def _texts(prompt: Prompt) -> list[str]:
    """The texts that the judge sees. `question` does not have them all: packs and rankings have more."""
    return [message.content for message in prompt.messages]
