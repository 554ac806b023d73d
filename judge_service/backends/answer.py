"""From what a judge wrote to a completion, by the same rules for every backend.

A verdict counts only if it is whole, single and finished:

* reasoning is cut off (`vocabulary.reasoning`); reasoning that is not closed leaves no answer;
* two verdicts in one reply that differ are none, and so is an object with a key twice;
* the stop word says that the answer is finished, and it took fewer tokens than the limit that was sent: some
  servers say `stop` for an answer that the limit has cut, and some close the JSON that they cut;
* the judge has seen the prompt (`refuse_unseen`).
"""

import logging
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import replace

from judge_service.backends.vocabulary.reasoning import Unclosed, without_reasoning
from judge_service.errors import Denied
from judge_service.http.failures import too_long
from judge_service.http.json_body import NOT_JSON, read_leniently, undoubled
from judge_service.values import Completion, Prompt, StopReason, Usage

FINISHED: frozenset[StopReason] = frozenset({"complete", "unknown"})

SUSPICIOUS_CHARS = 8
"""More characters than this for one token of the prompt are looked into. English prose has 4 to 5."""

MIN_WORDS = 1_000
"""Shorter prompts are believed: no server has a context that small."""

TOKENS_PER_WORD = 0.75
"""Fewer tokens for a word than this are not believed. Tokenizers begin a token at each word, so that it is at
least 1; a quarter is left for the few that join words."""

_BYTE_ORDER_MARK = "\ufeff"
_WORD = re.compile(r"[A-Za-z]{2,}")


def complete(
    prompt: Prompt,
    *,
    text: str | None,
    verdicts: Sequence[Mapping[str, Any] | None] = (),
    stop_reason: StopReason,
    usage: Usage,
    limited_tokens: int | None = None,
    model: str,
) -> Completion:
    """The completion of what a judge wrote.

    text: its text. verdicts: the inputs of the forced tool, `None` for one that is not an object.
    limited_tokens: the output tokens that the limit is about, all of them by default.

    Raises Denied (`too_long`) if the judge has not seen the prompt.
    """
    refuse_unseen(prompt, usage)
    data: Mapping[str, Any] | None = None
    if stop_reason in FINISHED:
        written = usage.output_tokens if limited_tokens is None else limited_tokens
        if written >= prompt.max_output_tokens:
            stop_reason = "max_tokens"
    if text is not None:
        try:
            text = without_reasoning(text.removeprefix(_BYTE_ORDER_MARK))
        except Unclosed:
            text = None
            stop_reason = "reasoning" if stop_reason in FINISHED else stop_reason
    if verdicts:
        data = verdicts[0]
        if stop_reason in FINISHED:
            if any(other != data for other in verdicts[1:]):
                stop_reason = "several"
            elif not data:
                stop_reason = "malformed"
    return Completion(
        text=text, data=data or None, stop_reason=stop_reason, usage=usage, model=model
    )


def several(completion: Completion) -> Completion:
    """The completion of a reply that holds another answer too."""
    if completion.stop_reason not in FINISHED:
        return completion
    return replace(completion, stop_reason="several")


def read_verdict_object(encoded: bytes | str) -> Mapping[str, Any] | None:
    """The forced tool's input, `None` if it is not one object whose keys occur once.

    In a pack's input an entry with a key twice becomes `None`. JSON in a JSON string is unpacked once.
    """
    try:
        value = msgspec.json.decode(encoded)
        keys = encoded.count(b'":') if isinstance(encoded, bytes) else encoded.count('":')
        if isinstance(value, dict) and len(value) == keys:  # flat, and no key is there twice
            return value
    except NOT_JSON:
        pass
    try:
        value = read_leniently(encoded, is_verdict=True)
        if isinstance(value, str):
            value = read_leniently(value, is_verdict=True)
    except ValueError:
        return None
    value = undoubled(value)
    return value if isinstance(value, dict) else None


def refuse_unseen(prompt: Prompt, usage: Usage) -> None:
    """Raises Denied (`too_long`) if the judge counted far fewer tokens than the prompt has words.

    Some servers drop what does not fit their context, and answer as if they had read it. Such an answer is
    no verdict, and its count must teach nobody how many characters a token has.
    """
    seen = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    chars = 0
    for said in prompt.messages:
        chars += len(said.content)
    if not seen or chars <= SUSPICIOUS_CHARS * seen:
        return
    words = sum(len(_WORD.findall(said.content)) for said in prompt.messages)
    if words >= MIN_WORDS and seen < TOKENS_PER_WORD * words:
        raise _unseen(words, seen)


def _unseen(words: int, seen: int) -> Denied:
    _warn()
    error = too_long(
        f"it read {seen} tokens of a prompt of {words} words: raise the server's context"
        " (num_ctx of Ollama, --ctx-size of llama.cpp, --max-model-len of vLLM)"
    )
    error.charged = True
    return error


@cache
def _warn() -> None:
    """Once in a process, because it concerns every long row."""
    logging.getLogger("judge_service").warning(
        "the judge counts far fewer tokens than its prompts have words, so it does not see all of them; such"
        " rows are `too_long`: raise the server's context (num_ctx of Ollama, --ctx-size of llama.cpp,"
        " --max-model-len of vLLM, --context-length of SGLang)"
    )
