"""Why a judge stopped: the words of servers and what they mean here.

Words are compared without their case and without anything but letters and digits, so `STOP`, `end_turn`,
`EndTurn` and `content-filter` need one line each. The prefix of Google's enumeration is dropped, and so is
what stands behind a colon (`content_filter: OTHER`).
"""

import re
from collections.abc import Mapping
from typing import Literal

from judge_service.values import StopReason

Meaning = StopReason | Literal["failed"]
"""`failed` is a server that was interrupted: there is no answer."""

_WORDS: Mapping[Meaning, tuple[tuple[str, str], ...]] = {
    "complete": (
        ("stop tool_calls function_call", "OpenAI"),
        ("end_turn tool_use stop_sequence", "Anthropic, Bedrock"),
        ("eos_token", "TGI, LMI"),
        ("eos eot stop_token stop_str end_of_text", "Together, llama.cpp, MLX"),
        ("complete completed completion finish finished done", "Cohere, Responses, Ollama"),
        ("stop_criteria_met end_of_turn end success normal", "Writer, Gemma, NIM, DashScope"),
        ("tool_call tool", "gateways"),
    ),
    "max_tokens": (
        ("length", "OpenAI, TGI"),
        ("max_tokens", "Anthropic, Bedrock, Gemini"),
        ("max_output_tokens max_completion_tokens", "Responses"),
        ("model_length", "Mistral"),
        ("max_length max_new_tokens token_limit output_limit limit", "LMI, watsonx, Cohere"),
        ("truncated incomplete not_finished", "gateways, watsonx"),
    ),
    "refused": (
        ("content_filter", "OpenAI, Azure"),
        ("refusal", "Anthropic"),
        ("guardrail_intervened content_filtered guardrail", "Bedrock"),
        ("safety recitation blocklist prohibited_content spii language model_armor", "Gemini"),
        ("image_safety image_prohibited_content", "Gemini"),
        ("sensitive", "Zhipu"),
        ("error_toxic toxic moderation blocked policy_violation flagged", "Cohere, gateways"),
    ),
    "malformed": (
        ("abort aborted cancelled canceled", "vLLM, SGLang, TGI"),
        ("malformed_model_output malformed_tool_use", "Bedrock"),
        ("malformed_function_call unexpected_tool_call malformed_response", "Gemini"),
        ("too_many_tool_calls missing_thought_signature", "Gemini"),
        ("repetition repetition_truncation loop", "MiniMax, Qwen"),
        ("pause_turn", "Anthropic: the turn goes on"),
    ),
    "context_full": (
        ("model_context_window_exceeded", "Anthropic, Bedrock"),
        ("context_length_exceeded context_window_exceeded context_full", "gateways"),
    ),
    "failed": (
        ("insufficient_system_resource", "DeepSeek"),
        ("network_error", "Zhipu"),
        ("error server_error internal_error error_limit", "OpenRouter, gateways, Cohere"),
        ("engine_overloaded overloaded timeout time_limit", "gateways, watsonx"),
    ),
}
"""By what a stop means: words and who uses them."""

_PREFIX = re.compile(r"^(finishreason|stopreason)(?=.)")


def _plain(word: str) -> str:
    return _PREFIX.sub("", "".join(char for char in word.casefold() if char.isalnum()))


_AS_TOLD: dict[str, Meaning] = {
    word: meaning
    for meaning, lines in _WORDS.items()
    for words, _ in lines
    for word in words.split()
}
"""The words as most servers write them, which need no other look."""

_PLAIN = {_plain(word): meaning for word, meaning in _AS_TOLD.items()}


def meaning_of(word: str | None) -> Meaning:
    """What a stop word means; `unknown` for none and for one that nobody has told us of."""
    if word is None:
        return "unknown"
    return _AS_TOLD.get(word) or _PLAIN.get(_plain(word[:100].partition(":")[0]), "unknown")
