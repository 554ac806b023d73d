"""Requests token probabilities, and stops doing so if the server has none."""

import logging
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from judge_service.backends.chat.wire import ChatReply, choices_in
from judge_service.http.reply import Reply
from judge_service.values import Completion, Prompt


class Logprobs:
    """Requests probabilities from one judge.

    top: alternatives of each token to request, 0 to 20; 0 requests none.
    setting: name of the setting of `top`, for the warning that the server gives none.
    is_refusal: whether a reply refuses to give probabilities.
    """

    def __init__(self, top: int, *, setting: str, is_refusal: Callable[[Reply], bool]) -> None:
        self._top = top
        self._setting = setting
        self._is_refusal = is_refusal
        self._told = False
        self.missing = 0

    def __repr__(self) -> str:
        return f"Logprobs(top {self._top}, {self.missing} missing)"

    def wanted(self, prompt: Prompt) -> int:
        """How many alternatives to request with this prompt."""
        return self._top if self._top and is_weighable(prompt) else 0

    async def mend(self, top: int, reply: Reply, post: Callable[[int], Awaitable[Reply]]) -> Reply:
        """The reply to use: `reply`, or that of `post(0)` if `reply` refuses to give probabilities.

        Only if the second call succeeds, probabilities were the reason, and they are not requested again. The
        words of the refusal prove nothing, because it may quote the prompt.

        top: what the call of `reply` requested.
        """
        if top == 0 or not self._is_refusal(reply):
            return reply
        reply = await post(0)
        if reply.status == 200:
            self._top = 0
            self._tell(f"refuses {top} (it may allow fewer)")
        return reply

    def read(self, prompt: Prompt, reply: ChatReply, completion: Completion) -> Completion:
        """The completion with its probabilities; counts a completion without them."""
        if not self._top or not is_weighable(prompt):
            return completion
        choices = choices_in(reply)
        if choices is None:
            self.missing += 1
            self._tell("sends none")
            return completion
        return replace(completion, choices=choices)

    def _tell(self, what: str) -> None:
        if not self._told:
            self._told = True
            logging.getLogger("judge_service").warning(
                "%s asks for token probabilities and the judge %s:"
                " scores are the levels it writes, not expectations",
                self._setting,
                what,
            )


def is_weighable(prompt: Prompt) -> bool:
    """Whether probabilities can refine the answer: a criterion has levels that are one token of digits.

    Tools are excluded, because servers give no probabilities for their arguments.
    """
    return prompt.channel != "tool" and any(
        criterion.levels and all(level.is_integer() and level >= 0 for level in criterion.levels)
        for criterion in prompt.question.criteria
    )
