r"""The marks of models around their tool calls, as data: pieces of text, and names with arguments.

<tool_call>{...}</tool_call>                         Qwen, Hermes       [TOOL_CALLS][{...}]        Mistral
<tool_call><function=f><parameter=x>1</parameter>    Qwen3-Coder        <|python_tag|>{...}        Llama
<function=f>{...}</function>                         Llama              to=functions.f ... {...}   gpt-oss
<|tool_call_begin|>functions.f:0 ... {...}           Kimi, and DeepSeek with its own bars
"""

import re
from collections.abc import Iterator

TAGGED = re.compile(r"<tool_call>([^<]*+(?:<(?!/?tool_call>)[^<]*+)*+)(?:</tool_call>|\Z)")
"""A call in tags; the last one may be open, as its closing tag is often a stop word."""

AFTER = re.compile(
    r"\[TOOL_CALLS\]|<\|python_tag\|>|<\|tool_calls?\|>|<function_calls>|\bfunctools(?=\[)"
)
"""All that follows is calls."""

FUNCTION = re.compile(
    r"<function=([\w.-]{1,200})>([^<]*+(?:<(?!/?function\b)[^<]*+)*+)(?:</function>|\Z)"
)
PARAMETER = re.compile(
    r"<parameter=([\w.-]{1,200})>([^<]*+(?:<(?!/?parameter\b)[^<]*+)*+)</parameter>"
)

BAR = r"(?:\||\uff5c)"
GAP = r"(?:_|\u2581)"
NAMED = (
    re.compile(
        rf"<{BAR}tool{GAP}call{GAP}begin{BAR}>(?:function<{BAR}tool{GAP}sep{BAR}>)?(?:functions\.)?([\w.-]{{1,200}})"
        rf"(?::\d{{1,4}})?\s*(?:<{BAR}tool{GAP}(?:sep|call{GAP}argument{GAP}begin){BAR}>)?([^<\uff5c]*+(?:<(?!{BAR}tool)[^<]*+)*+)"
    ),
    re.compile(
        r"\bto=(?:functions\.)?([\w.-]{1,200})[^{\n]{0,80}<\|message\|>([^<]*+(?:<(?!\|)[^<]*+)*+)"
    ),
    re.compile(
        r"\[TOOL_CALLS\]\s*([A-Za-z_][\w.-]{0,200})(?:\[ARGS\])?\s*(\{[^\[]*+(?:\[(?!TOOL_CALLS\])[^\[]*+)*+)"
    ),
)
"""A function's name, then its arguments as JSON, perhaps fenced."""

FENCE = re.compile(r"\A\s*```\w{0,20}\s*|\s*```\s*\Z")


def named_calls(text: str) -> Iterator[tuple[str, str | dict[str, str]]]:
    """The names and arguments in a text: JSON text, or a table of texts for the form with parameters."""
    for name, body in FUNCTION.findall(text):
        parameters = PARAMETER.findall(body)
        yield name, {key: value.strip("\n") for key, value in parameters} if parameters else body
    for pattern in NAMED:
        for name, body in pattern.findall(text):
            yield name, FENCE.sub("", body)
