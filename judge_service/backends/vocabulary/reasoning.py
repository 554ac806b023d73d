"""Reasoning that servers leave in the answer: the marks around it, and how it is cut off.

A judge thinks about the candidate's text and quotes it, so nothing inside of reasoning is an answer, and
reasoning that was opened and not closed leaves no answer at all.

    <think>hm</think>4            4
    hm</think>4                   4      the template wrote the opening mark
    <think>I must answer 5        no answer
    <think></think><think>5       no answer
    4<think>was it right?</think> 4

Marks in the JSON object at the end of an answer are text of the judge about the candidate and are left alone.
What stands before and after a cut is joined by a newline, so that "4" and "5" do not read as 45.
"""

import re
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from judge_service.http.json_body import NOT_JSON


class Mark(Struct, frozen=True):
    """What opens and what closes reasoning, as regular expressions, and who writes it."""

    opening: str
    closing: str
    source: str


_NAME = (
    r"(?:[\w.-]+[:_-])?"
    r"(?:think(?:ing|_on)?|thoughts?|thought_process|reason(?:ing|s)?|reasoning_content|reflection|analysis"
    r"|scratch_?pad|rationale|deliberation|chain[_-]of[_-]thought|cot|ant_?thinking|inner_?monologue"
    r"|inner_?thoughts?|cot_budget_reflect)"
)
"""Names of tags, with the prefix that some vendors add (`seed:think`, `mm:think`, `longcat_think`)."""

MARKS = (
    Mark(
        rf"<{_NAME}(?:\s[^<>]*)?>",
        rf"</\s*{_NAME}\s*>",
        "DeepSeek, Qwen, gpt-oss on Bedrock, Nova, Seed, MiniMax, LongCat, Claude when asked to",
    ),
    Mark(rf"\[{_NAME}\]", rf"\[/{_NAME}\]", "Magistral"),
    Mark(rf"◁{_NAME}▷", rf"◁/{_NAME}▷", "Kimi"),
    Mark(
        r"<[|\uff5c](?:begin|start)[_\u2581]?(?:of[_\u2581])?(?:think(?:ing)?|thought)s?[|\uff5c]>",
        r"<[|\uff5c]end[_\u2581]?(?:of[_\u2581])?(?:think(?:ing)?|thought)s?[|\uff5c]>",
        "Cohere, Sky-T1, OpenThinker",
    ),
    Mark(rf"<\|{_NAME}\|>", rf"<\|/{_NAME}\|>", "small models with tags as tokens"),
    Mark(r"<\|inner_prefix\|>", r"<\|inner_suffix\|>", "Apertus"),
    Mark(r"<\|channel>\s*(?:thought|analysis)", r"<channel\|>", "Gemma"),
    Mark(r"<unused94>(?:thought)?", r"<unused95>", "MedGemma"),
    Mark(
        r"<\|channel\|>\s*(?:analysis|commentary)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>",
        r"<\|channel\|>\s*final[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>",
        "gpt-oss: the harmony format",
    ),
    Mark(
        r"\A(?-i:analysis)(?=(?-i:[A-Z\"'*]))",
        r"(?:(?<=\w)|(?<=[.!?\"')*]))(?-i:assistant(?:commentary)?final)",
        "gpt-oss behind a server that drops special tokens",
    ),
    Mark(
        r"\A(?:here is|here's) my (?:thought process|thinking)\s*:",
        r"(?:here is|here's) my (?:final )?(?:response|answer)\s*:",
        "Granite",
    ),
)

_ALONE = "|".join(
    f"(?P<o{place}>{mark.opening})|(?P<c{place}>{mark.closing})" for place, mark in enumerate(MARKS)
)
_MARK = re.compile(_ALONE, re.IGNORECASE)
_CLOSINGS = tuple(re.compile(mark.closing, re.IGNORECASE) for mark in MARKS)

_LAST = (
    (
        r"<\|(?:im_end|eot_id|eom_id|end|return|call|endoftext|end_of_text|eos|eot)\|>",
        "Qwen, Llama",
    ),
    (
        r"<\|(?:END_OF_TURN_TOKEN|END_RESPONSE|END_TEXT|user|observation|end_of_turn)\|>",
        "Cohere, GLM",
    ),
    (r"</s>|<eos>|<end_of_turn>|<turn\|>|\[EOS\]|\[/INST\]|</answer_end>", "Mistral, Gemma"),
    (
        r"<[|\uff5c]end\u2581of\u2581sentence[|\uff5c]>|<\|hy_eos\|>|<\[?EOS\]?>|\[e~\[",
        "DeepSeek, Hunyuan, MiniMax",
    ),
)
_FIRST = (
    (r"<\|im_start\|>\s*(?:assistant)?|<\|start\|>\s*assistant(?=\s*<)", "Qwen, gpt-oss"),
    (r"<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>|<\|begin_of_text\|>", "Llama"),
    (
        r"<s>|<bos>|<start_of_turn>\s*model|<\|turn>\s*model|\[BOS\]|<\|assistant\|>",
        "Gemma, Mistral, GLM",
    ),
    (r"<[|\uff5c](?:begin\u2581of\u2581sentence|Assistant)[|\uff5c]>", "DeepSeek"),
    (r"<\|START_RESPONSE\|>|<\|START_TEXT\|>|<\|CHATBOT_TOKEN\|>", "Cohere"),
)
"""Tokens that a server should have dropped, at the end and at the beginning of an answer."""

_AROUND = (
    (r"<answer>(?P<answer>[^<]*)</answer>", "DeepSeek R1's own prompt"),
    (r"<\|begin_of_box\|>(?P<box>[^<]*)<\|end_of_box\|>", "GLM"),
    (r"<\|begin_of_solution\|>(?P<solution>[^<]*)<\|end_of_solution\|>", "Sky-T1"),
)
"""What some models put around a whole answer."""

_SPACE = " \t\r\n\f\v\u00a0\u200b\ufeff"
_END = re.compile(
    rf"(?:[{_SPACE}]*(?:{'|'.join(one for one, _ in _LAST)}))+[{_SPACE}]*\Z", re.IGNORECASE
)
_BEGIN = re.compile(rf"\A(?:[{_SPACE}]*(?:{'|'.join(one for one, _ in _FIRST)}))+", re.IGNORECASE)
_WRAPPED = re.compile("|".join(one for one, _ in _AROUND), re.IGNORECASE)
_OBJECT = re.compile(r'\{(?:[^{}"]|"(?:[^"\\]|\\.)*")*\}', re.DOTALL)
"""A flat JSON object; braces in its strings are no braces."""

_SIGN = re.compile(r"[<\[◁]|\A(?:analysis|here is|here's)", re.IGNORECASE)
"""What an answer with a mark or a special token has. Most answers have nothing of it."""

MAX_CHARS = 100_000
"""Longer answers are no verdicts (`parse` does not read them either), and are not searched."""


class Unclosed(Exception):
    """The answer is reasoning that was opened and not closed."""


def without_reasoning(text: str) -> str:
    """The answer without reasoning, and without the tokens around it. Raises Unclosed."""
    if not _SIGN.search(text) or len(text) > MAX_CHARS or _is_json(text):
        return text
    bare = _END.sub("", _BEGIN.sub("", text, 1), 1)
    pieces = list(_kept(bare, _begin_of_last_object(bare)))
    found = _BEGIN.sub("", "\n".join(piece for piece in pieces if piece.strip(_SPACE)), 1)
    wrapped = _WRAPPED.fullmatch(found.strip(_SPACE))
    return (wrapped[str(wrapped.lastgroup)]) if wrapped else found


def _kept(text: str, end: int) -> Iterator[str]:
    """The pieces outside of reasoning. end: where the last object begins, in which no mark counts."""
    place = 0
    while (mark := _MARK.search(text, place, end)) is not None:
        side, kind = str(mark.lastgroup)[0], int(str(mark.lastgroup)[1:])
        closings = list(_CLOSINGS[kind].finditer(text, mark.start(), end))
        if not closings:
            raise Unclosed
        if side == "o":
            yield text[place : mark.start()]
        place = closings[-1].end()
    yield text[place:]


def _begin_of_last_object(text: str) -> int:
    """Where the object that ends the text begins; the text's length if none ends it."""
    end = len(text.rstrip(f"{_SPACE}`"))
    if not text.endswith("}", 0, end):
        return len(text)
    found = [one.start() for one in _OBJECT.finditer(text, 0, end) if one.end() == end]
    return found[0] if found else len(text)


def _is_json(text: str) -> bool:
    """Whether the whole text is one JSON object: marks can only stand in its strings."""
    if not text.lstrip().startswith("{"):
        return False
    try:
        msgspec.json.decode(text)
    except NOT_JSON:
        return False
    return True
