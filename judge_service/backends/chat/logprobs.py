"""Requests token probabilities, and stops doing so if the server has none."""

import logging

from msgspec.structs import replace

from judge_service.backends.chat.wire import ChatReply, choices_in
from judge_service.values import Completion, Prompt


class Logprobs:
    """Requests probabilities from one judge.

    top: alternatives of each token to request, 0 to 20; 0 requests none.
    setting: name of the setting of `top`, for the warning that the server gives none.
    """

    def __init__(self, top: int, *, setting: str) -> None:
        self._top = top
        self._setting = setting
        self._told = False
        self.missing = 0

    def __repr__(self) -> str:
        return f"Logprobs(top {self._top}, {self.missing} missing)"

    def wanted(self, prompt: Prompt) -> int:
        """How many alternatives to request with this prompt."""
        return self._top if self._top and is_weighable(prompt) else 0

    def stop(self) -> None:
        """The judge refuses probabilities, and answers the same call without them (`request_form`)."""
        if self._top:
            self._tell(f"refuses {self._top} (it may allow fewer)")
            self._top = 0

    def read(self, prompt: Prompt, reply: ChatReply, completion: Completion) -> Completion:
        """The completion with its probabilities; counts a completion without them."""
        if not self._top or not is_weighable(prompt):
            return completion
        choices = choices_in(reply, completion.text)
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
