"""The prompt cache of one model: which beginnings of prompts it keeps, and what a call reads and writes.

As Bedrock's (docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html): a beginning up to a cache
point is kept if it has the minimum of tokens, from the end of the call that writes it, for `cache_ttl_s`
after its last use; under the minimum nothing is said and nothing kept. Chat completions have no cache
points: there, as at OpenAI (platform.openai.com/docs/guides/prompt-caching), beginnings are kept in steps of
128 tokens, for each `prompt_cache_key`. A beginning is equal if all before it is: tools, schema, texts.
"""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from judge_service.simulator.answers import Question
from judge_service.simulator.config import SimulatorConfig

STEP_TOKENS = 128
MAX_ENTRIES = 100_000


class Tokens(NamedTuple):
    """The tokens of one call. input: those neither read from the cache nor written to it."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0

    @property
    def prompt(self) -> int:
        """All of the prompt."""
        return self.input + self.cache_read + self.cache_write


class Lookup(NamedTuple):
    """What a call finds: tokens it reads and writes, and the beginnings to keep once it is answered."""

    read: int
    write: int
    begins: tuple[bytes, ...]


NOTHING = Lookup(0, 0, ())


class PromptCache:
    """Keeps beginnings of the prompts of one model. Pure arithmetic: the caller gives the time, seconds."""

    def __init__(self, config: SimulatorConfig) -> None:
        self._config = config
        self._expires_s: OrderedDict[bytes, float] = OrderedDict()

    def look(self, question: Question, now_s: float) -> Lookup:
        """What a call reads and writes that arrives now."""
        minimum, per_token = self._config.cache_min_tokens, self._config.chars_per_token
        if minimum is None:
            return NOTHING
        points: Sequence[int] | None = question.cache_points
        if points is None:
            first, step = int(minimum * per_token), int(STEP_TOKENS * per_token)
            points = range(first, len(question.prompt) + 1, step)
        ends = [end for end in points if end >= minimum * per_token]
        begins = _digests(question, ends)
        read = 0
        for end, begin in zip(ends, begins, strict=True):
            if self._expires_s.get(begin, now_s) > now_s:
                read = int(end / per_token)
        last = int(ends[-1] / per_token) if ends else 0
        return Lookup(read, last - read, tuple(begins))

    def keep(self, lookup: Lookup, now_s: float) -> None:
        """The call is answered."""
        for begin in lookup.begins:
            self._expires_s[begin] = now_s + self._config.cache_ttl_s
            self._expires_s.move_to_end(begin)
        while len(self._expires_s) > MAX_ENTRIES:
            self._expires_s.popitem(last=False)

    def __repr__(self) -> str:
        return f"<PromptCache of {len(self._expires_s)} beginnings>"


def _digests(question: Question, ends: Sequence[int]) -> list[bytes]:
    """Of the text up to each end, and of what comes before all text."""
    hashed = blake2b(digest_size=16)
    hashed.update(msgspec.json.encode([question.cache_key, question.tool, question.schema]))
    found, start = [], 0
    for end in ends:
        hashed.update(question.prompt[start:end].encode("utf-8", "surrogatepass"))
        found.append(hashed.copy().digest())
        start = end
    return found
