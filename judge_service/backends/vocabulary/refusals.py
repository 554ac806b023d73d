"""What servers say when they refuse, as data. Each table has the words and who says them.

A message may quote the prompt, and so the candidate. What follows from words alone is therefore about the one
call: `refused`, `too_long`, another try in another form, which is kept only after it has worked. What lasts
(a quota used up) follows from a status, a code, or words at the very beginning of a message.
"""

import re
from collections.abc import Mapping

Table = tuple[tuple[str, str], ...]
"""A regular expression in any case of letters, and who says it."""

FILTERED: Table = (
    (r"content[ _-]?filter|responsible_?ai|content management policy", "Azure OpenAI"),
    (r"content[ _-]?polic|usage polic|safety system|safety_violation|cyber_policy", "OpenAI"),
    (r"content filtering policy|blocked by (?:a |the |your )?guardrail", "Bedrock, Anthropic"),
    (r"requires moderation|\bflagged\b|moderation", "OpenRouter, Mistral"),
    (r"data_?inspection_?failed|inappropriate content", "DashScope"),
    (r"content exists risk|risk control|high[ _-]risk", "DeepSeek, StepFun, Moonshot"),
    (r"usage guidelines|safety_check|content violates", "xAI"),
    (r"prohibited_content|prohibited content|blocked .{0,60}\b(?:safety|policy|content)", "Gemini"),
    (
        r"sensitive (?:content|information|words?|topic)|sensitive_?content",
        "Zhipu, MiniMax, Volcengine",
    ),
    (
        r"unsafe content|unsafe (?:input|output|prompt)|harmful content|violat\w+ .{0,60}polic",
        "gateways",
    ),
    (r"敏感|不安全|违规", "Zhipu, Baidu"),
)
"""A content filter stopped the prompt or the answer."""

TOO_LONG: Table = (
    (r"context_length_exceeded|maximum context|string_above_max_length", "OpenAI, vLLM"),
    (
        r"context (?:window|length|size|limit)|contextwindow|exceed_context_size",
        "llama.cpp, LMI, Groq",
    ),
    (
        r"too long|request_too_large|too many (?:input )?tokens|too many total text bytes",
        "Anthropic, Cohere",
    ),
    (
        r"input length|prompt length|length of (?:the )?(?:input|prompt|messages)",
        "Bedrock, xAI, DashScope",
    ),
    (
        r"token count .{0,40}exceeds|exceeds? .{0,60}(?:tokens|length|token limit|max_seq_len)",
        "Gemini",
    ),
    (r"exceeded .{0,40}token limit|token limit .{0,20}exceed|tokens exceeded", "Moonshot, Nova"),
    (r"longer than .{0,60}(?:maximum|max_model_len|context|cache|allowed)", "vLLM, SGLang"),
    (r"max_new_tokens`? must be <=|must have less than \d+ tokens|tokens \+ .{0,30}must be", "TGI"),
    (r"expected maxlength|maxlength|max[ _-]?length .{0,20}exceed", "Bedrock"),
    (r"context .{0,20}overflow|overflows? the context|n_ctx|n_keep", "LM Studio, llama.cpp"),
    (
        r"reduce (?:the )?(?:length|size) of|shorten (?:the|your) (?:prompt|input|messages)",
        "Groq, Together",
    ),
    (
        r"prompt (?:is |was )?too (?:large|big)|input (?:is )?too large|exceeds max length",
        "gateways, Zhipu",
    ),
    (
        r"maximum (?:model |prompt |input |sequence |allowed )*(?:length|tokens)",
        "xAI, Fireworks, watsonx",
    ),
    (r"exceeds? the (?:model'?s? )?(?:maximum|max|limit)\b.{0,40}token", "NIM, SambaNova"),
)
"""The prompt does not fit."""

TOO_LARGE: Table = (
    (r"request too large|too large for .{0,60}tokens per min", "OpenAI, Groq"),
    (r"tokens must be reduced in order to run", "OpenAI"),
    (r"larger than (?:the |your )?(?:rate limit|quota|tokens per minute)", "gateways"),
)
"""A refusal of the quota that waiting cannot mend: the call alone is larger than a minute's tokens."""

CHANNEL: Table = (
    (
        r"response_?format|response_?schema|response_?mime|json[ _-]?schema|json[ _-]?(?:mode|object)",
        "OpenAI, Gemini",
    ),
    (
        r"structured[ _-]?output|guided|grammar|outlines|constrained decoding",
        "vLLM, TGI, llama.cpp",
    ),
    (r"outputconfig|output_config|textformat|inputschema|toolconfig|toolchoice", "Bedrock"),
    (
        r"tool[ _-]?choice|tool[ _-](?:use|calling|call-parser)|support .{0,20}\btools\b",
        "Bedrock, vLLM, Ollama",
    ),
    (
        r"function[ _-]?call|tools? (?:is|are) not|\btools\b.{0,20}not (?:supported|allowed|enabled)",
        "Mistral",
    ),
    (r"requested parameters", "OpenRouter: no provider has them"),
)
"""The server does not know how it was made to answer."""

CHANNEL_IN_REQUEST: Table = (*CHANNEL, (r"\btools?\b|\bschema\b|unsupported keyword", "all"))
"""The same in a refusal of the request (400, 422), where fewer words are needed."""

USED_UP: Table = (
    (r"insufficient_quota|tokens per day|billing_hard_limit|billing_not_active", "OpenAI, Bedrock"),
    (
        r"insufficient[ _](?:balance|credits?|funds)|arrearage|out of credits?",
        "DeepSeek, OpenRouter, DashScope",
    ),
    (
        r"credit balance|payment required|account .{0,20}(?:overdue|in arrears)",
        "Anthropic, gateways",
    ),
)
"""There is no money or no quota left. OpenAI's daily rates refill by the minute and are not meant."""

BAD_DRAW: Table = (
    (r"tool_use_failed|json_validate_failed|output_parse_failed", "Groq"),
    (r"did not call a tool|failed to (?:generate|validate) json|failed to call a function", "Groq"),
    (r"malformed_function_call|invalid tool call generated", "Gemini, gateways"),
)
"""The model wrote what its form does not allow: an unusable answer, which another draw may mend."""

THROTTLED_CODES = frozenset(
    {
        *(
            "429",
            "rate_limit_exceeded",
            "rate_limit_error",
            "rate_limited",
            "rate_limit",
        ),  # OpenAI, Anthropic
        *(
            "too_many_requests",
            "resource_exhausted",
            "tokens",
            "requests",
        ),  # Google, OpenAI's types
        *("throttling", "throttled", "limit_requests", "limit_burst_rate"),  # DashScope
        *(
            "1302",
            "1303",
            "1305",
            "engine_overloaded_error",
            "tpm_limit",
            "rpm_limit",
        ),  # Zhipu, Moonshot
    }
)
"""Codes and types of errors that mean a quota without room now."""

BUSY_CODES = frozenset(
    {
        *(
            "overloaded_error",
            "overloaded",
            "server_overloaded",
            "engine_overloaded",
            "unavailable",
        ),
        *("service_unavailable", "capacity_exceeded", "model_overloaded", "flex_capacity_exceeded"),
    }
)
"""Codes of a server without capacity."""

AWS_THROTTLED_CODES = frozenset(
    {
        *("throttlingexception", "throttling", "throttledexception", "requestthrottledexception"),
        *("requestthrottled", "toomanyrequestsexception", "provisionedthroughputexceededexception"),
        *("transactioninprogressexception", "requestlimitexceeded", "bandwidthlimitexceeded"),
        *("limitexceededexception", "slowdown", "priorrequestnotcomplete", "ec2throttledexception"),
        "servicequotaexceededexception",
    }
)
"""botocore's list (`ThrottledRetryableChecker` of `retries/standard.py`), and Bedrock's own."""

AWS_TRANSIENT_CODES = frozenset({"requesttimeout", "requesttimeoutexception", "internalerror"})
"""botocore's list of transient codes, whatever the status."""

NO_CACHE = "no prompt cache"

CHANGES: Mapping[str, str] = {
    NO_CACHE: r"prompt[ _]?cach|cache_?point|cache_?control",  # models and servers without a cache
    "max_completion_tokens": r"max_completion_tokens",  # OpenAI's newer models, o-series
    "no temperature": r"temperature|sampling param",  # reasoning models, Opus from 4.7 on
    "no system role": (
        r"system[ _]?(?:role|messages?|prompts?|instructions?|field)|role.{0,20}\bsystem\b"
        r"|roles must alternate|developer instruction"
    ),  # Gemma, Mistral's first, Titan
    "no logprobs": r"logprobs",  # reasoning models, vLLM above --max-logprobs
}
"""What can be changed about a request, by the words of a refusal that asks for it."""

_COMPILED = {
    name: re.compile("|".join(words for words, _ in table), re.IGNORECASE | re.DOTALL)
    for name, table in (
        ("filtered", FILTERED),
        ("too_long", TOO_LONG),
        ("too_large", TOO_LARGE),
        ("channel", CHANNEL),
        ("channel_in_request", CHANNEL_IN_REQUEST),
        ("used_up", USED_UP),
        ("bad_draw", BAD_DRAW),
    )
}
_CHANGES = {
    change: re.compile(words, re.IGNORECASE | re.DOTALL) for change, words in CHANGES.items()
}


_POLITE = re.compile(r"\A\s*(?:error:? |sorry, )?(?:your |you have |the |this )?", re.IGNORECASE)


def says(what: str, text: str, *, at_begin: bool = False) -> bool:
    """Whether a text holds a wording. what: the name of a table, in lower case.

    at_begin: match only the first words, which are no quotation of a prompt.
    """
    if at_begin:
        return _COMPILED[what].match(_POLITE.sub("", text, 1)) is not None
    return _COMPILED[what].search(text) is not None


def changes_for(text: str) -> list[str]:
    """What the refusal asks to change, names of `CHANGES`."""
    return [change for change, words in _CHANGES.items() if words.search(text)]
