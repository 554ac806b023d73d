"""Asking for the probabilities of tokens, and going without them where a server has none."""

import logging
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from judge_service.backends.chat.wire import ChatReply, choices_in
from judge_service.http.reply import Reply
from judge_service.values import Completion, Prompt


class Logprobs:
    """How one judge is asked for probabilities.

    top: alternatives of each token to ask for, 0 to 20; 0 asks for none.
    setting: where `top` was set, named in the one line that tells that the server gives none.
    is_refusal: whether a reply refuses to give them.
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
        """How many alternatives to ask for with this prompt."""
        return self._top if self._top and is_weighable(prompt) else 0

    async def mend(self, top: int, reply: Reply, post: Callable[[int], Awaitable[Reply]]) -> Reply:
        """The reply to `post(0)` if `reply`, to a call that asked for `top`, refuses to give them;
        else `reply`.

        Only when the second goes through was it the probabilities that were refused: then nobody is asked
        again. A message can quote the prompt, so its words alone prove nothing.
        """
        if top == 0 or not self._is_refusal(reply):
            return reply
        reply = await post(0)
        if reply.status == 200:
            self._top = 0
            self._tell(f"refuses {top} (it may allow fewer)")
        return reply

    def read(self, prompt: Prompt, reply: ChatReply, completion: Completion) -> Completion:
        """The completion with what was said of its certainty; without, it is counted."""
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
                "%s asks for probabilities of tokens and the judge %s:"
                " scores are the levels it writes, not expectations",
                self._setting,
                what,
            )


def is_weighable(prompt: Prompt) -> bool:
    """Whether probabilities can refine the answer: a criterion has levels of one token of digits.

    Arguments of a tool are left out, because servers give no probabilities for them.
    """
    return prompt.channel != "tool" and any(
        criterion.levels and all(level.is_integer() and level >= 0 for level in criterion.levels)
        for criterion in prompt.question.criteria
    )
