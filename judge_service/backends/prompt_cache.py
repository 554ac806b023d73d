"""Prompt caches of judges: from which length on a judge keeps the beginning of a prompt for later calls.

The rollouts of one prompt share everything before the response (`Prompt.shared_chars`). A judge that keeps
this beginning computes it once, and Bedrock counts what it reads from its cache as 0 of the token quota.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from judge_service.settings import Settings
from judge_service.values import Prompt

BEDROCK_MIN_TOKENS: Mapping[str, int] = {
    r"claude-(haiku-4-5|sonnet-4-5|opus-4-[56])": 4_096,
    r"claude-3-5-haiku": 2_048,
    r"claude-(3-7-sonnet|sonnet-4-6|sonnet-4-2|opus-4-[12])": 1_024,
    r"amazon\.nova-": 1_024,
}
"""The fewest tokens before a cache point, by a pattern of the model id; other models get no cache point.

Source: docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html; where its editions differ, the
larger number. `sonnet-4-2` and `opus-4-2` are dated ids (`claude-sonnet-4-20250514`).
"""

CHAT_MIN_TOKENS = 1_024
"""For chat completions. Source: platform.openai.com/docs/guides/prompt-caching; other servers keep shorter
ones too, but of these there is little to gain.
"""


def min_tokens(settings: Settings) -> int | None:
    """The fewest tokens of a beginning that this judge keeps; `None` where nothing is asked of it."""
    asked = settings.prompt_cache
    if not asked.enabled or settings.backend == "local":
        return None
    if asked.min_tokens is not None:
        return asked.min_tokens
    if settings.backend != "bedrock":
        return CHAT_MIN_TOKENS
    found = (tokens for id_, tokens in BEDROCK_MIN_TOKENS.items() if re.search(id_, settings.model))
    return next(found, None)


class PromptCaching:
    """Says what of a prompt its judge is asked to keep.

    min_tokens: see `min_tokens`. count_tokens: input tokens that texts cost together, an estimate.
    """

    def __init__(self, min_tokens: int, *, count_tokens: Callable[[Sequence[str]], int]) -> None:
        self.min_tokens = min_tokens
        self._count_tokens = count_tokens
        self.is_refused = False

    def __repr__(self) -> str:
        refused = ", refused by the judge" if self.is_refused else ""
        return f"PromptCaching(from {self.min_tokens:,} tokens{refused})"

    def chars(self, prompt: Prompt) -> int:
        """How many characters of the last message belong to a beginning that is kept; 0 for none."""
        shared, messages = prompt.shared_chars, prompt.messages
        if not shared or self.is_refused:
            return 0
        chars = shared - len(messages[-1].content)
        for message in messages:
            chars += len(message.content)
        # No tokenizer that we met makes more tokens than characters of ordinary text.
        if chars < self.min_tokens:
            return 0
        *before, last = messages
        begins = [*(message.content for message in before), last.content[:shared]]
        return shared if self._count_tokens(begins) >= self.min_tokens else 0

    def key(self, prompt: Prompt) -> str:
        """Names a beginning that is long enough to be kept; empty for none."""
        if prompt.shared_chars + len(prompt.messages[0].content) < self.min_tokens:
            return ""  # quicker than `chars`: a text has no more tokens than characters
        return prompt.shared_key if self.chars(prompt) else ""

    def refuse(self) -> None:
        """The judge has refused to cache, and has answered the same prompt without: it is not asked again."""
        self.is_refused = True
