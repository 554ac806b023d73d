"""Brings texts to one form: without differences in typing, case and layout that do not change the meaning.

The form, in this order:

1. NFKC; but a superscript is a power (`x^2`), a vulgar fraction after a digit makes a mixed number
   (`2 1/2`), a dash like a minus is `-`, and other signs have their ASCII form: `<=`, `>=`, `!=`, `*`, `/`.
   Case is folded.
2. Punctuation becomes a space. What stays: letters with their combining marks, digits, symbols (`+ < = | ^`,
   roots, arrows, currencies), `% &`, and marks between digits (`3.14`, `1:30`). Other marks stay where they
   mean something: `-`, `*` and `/` between numbers, single letters and brackets, a `-` before one; `#`, `-`
   and `*` directly after a short word (`C#`, `O-`, `A*`); `!` as an operator; brackets that something is
   joined to (`f(x)`, `-(a+b)`), or that hold a list of numbers or letters (`[1, 2)`).
3. `.5` is `0.5`, `2, 3` is `2,3` (but `1, 100` is not `1,100`), and operators have no space around them.
"""

import re
import unicodedata

from judge_service.verifiers.marks import COMBINING, PUNCTUATION

LAYOUT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|up)?|math(?:bf|it|rm|sf|tt)|mbox|emph)\{([^{}]*)\}"
    r"|\\[,;!: ]|\\(?:left|right)\b|\$|~"
)
SUPERSCRIPTS = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207f",
    "0123456789+-n",
)
RAISED = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u207b\u207f]+")
VULGAR = re.compile("(?<=\\d)(?=[\u00bc-\u00be\u2150-\u215e])")
SPELLED = str.maketrans(
    dict.fromkeys("\u2212\u2010\u2011\u2012\u2013", "-")
    | dict.fromkeys("\u2217\u22c5\u00d7", "*")
    | dict.fromkeys("\u00f7\u2044\u2215", "/")
    | {
        "\u2264": "<=",
        "\u2a7d": "<=",
        "\u2265": ">=",
        "\u2a7e": ">=",
        "\u2260": "!=",
        "\u00b4": "'",
    }
    | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\ufe0f", "")
)
"""Other spellings of a sign, and characters that are not seen."""

OPERATIVE = re.compile(r"[-+*/^<>=!&|#%()\[\]{}\\\d`\u0080-\U0010ffff]")
"""Without one of these, all punctuation is dropped: the usual case, and the fast one."""

WORDS_ONLY = re.compile(r"[^\w\s]|_")

EMPHASIS = re.compile(
    r"(?<![\w*])(\*{1,3}|_{1,3}|`{1,3})(?=[^\s*_`])([^*`\n]{1,400}?)(?<=\S)\1(?![\w*])"
)
BULLET = re.compile(r"(?:\A|(?<=\n))[ \t]*[-*][ \t]+(?=[^\W\d_]{2})")
BRACKETED = re.compile(r"[(\[{]([^()\[\]{}]{1,200})[)\]}]")
LONG_WORD = re.compile(r"(?!inf)[^\W\d_]{3}")
MAX_BRACKET_CHARS = 400
"""A bracket that closes further away belongs to a text, not to a formula."""

ESCAPED = re.compile(r"\\([{}%&#_])")
SCRIPT = re.compile(r"([\^_])\s?\{\s?(-?\w+)\s?\}")
POWER = re.compile(r"(?<=[\w)\s])\*\*(?=[\w(\s-])")
WRAPPED = re.compile(r"\A[(\[{]([^()\[\]{},;]{0,400})[)\]}]\Z")
LEADING_POINT = re.compile(r"(?<![\w.])\.(?=\d)")
COMMA_LIST = re.compile(r"(?<=\d), +(?=-?\d)")
THOUSANDS = re.compile(r"\d{1,3}(?:, *\d{3})+(?!\d)")
AROUND = re.compile(r" ?([-+*/^<>=|&\u2200-\u22ff\u2190-\u21ff]+) ?")
ALL_PUNCTUATION = re.compile(
    r"[^\w\s+<=>|^~" + COMBINING + r"\u0080-\U0010ffff]|[_`~" + PUNCTUATION + "]"
)

BEFORE = re.compile(r"(?:\d|(?:^|[\W\d_])[^\W\d_]|[)\]}])\s*$")
AFTER = re.compile(
    r"\s*[-+]?\s*(?:\d|\.\d|[^\W\d_](?![^\W\d_])|[(\[{\u221a\u221e\\]|(?:arc)?(?:sin|cos|tan|cot)|log|ln|exp|sqrt|pi\b|inf)"
)
SIGNED = re.compile(r"^\s*$|[(\[{=<>,^*/+|&-]\s?$|\s$")
SHORT = re.compile(r"(?:^|[\W_])[^\W\d_]{1,2}$|\d$")
PAIRS = {"(": ")", "[": "]", "{": "}"}
OPENING = {closing: opening for opening, closing in PAIRS.items()}
DINGBATS = re.compile("[\u2700-\u27bf\U0001f000-\U0001faff]")


def unwrapped(text: str) -> str:
    r"""A LaTeX answer without layout: `\text{...}`, spacing, `\left`, dollar signs."""
    if "\\" not in text and "$" not in text and "~" not in text:
        return text
    return LAYOUT.sub(lambda mark: mark[1] or "", text)


def plain(text: str, *, case: bool = False, punctuation: bool = False) -> str:
    """The text in its one form (see the module).

    case: keep capital letters. punctuation: keep it all.
    """
    if not text.isascii():
        text = _composed(text)
    if not case:
        text = text.casefold()
    if not punctuation and not text.isalnum() and WORDS_ONLY.search(text):
        text = _bare(text) if OPERATIVE.search(text) else WORDS_ONLY.sub(" ", text)
    return " ".join(text.split())


def _composed(text: str) -> str:
    """NFKC that keeps powers, mixed numbers and minus signs."""
    text = RAISED.sub(lambda run: "^" + run[0].translate(SUPERSCRIPTS), text)
    text = VULGAR.sub(" ", text)
    return unicodedata.normalize("NFKC", text.translate(SPELLED)).translate(SPELLED)


def _bare(text: str) -> str:
    """The text without the punctuation that is none of a formula."""
    text = EMPHASIS.sub(r"\2", BULLET.sub("", text.strip()))
    if "\\" in text or "{" in text:
        text = SCRIPT.sub(r"\1\2", ESCAPED.sub(r"\1", text))
    text = POWER.sub("^", text)
    text = LEADING_POINT.sub("0.", DINGBATS.sub(" ", text))
    text = WRAPPED.sub(r"\1", text.strip().rstrip(".?;:,").strip())
    if ", " in text and not THOUSANDS.search(text):  # `1, 100` must not become one number
        text = COMMA_LIST.sub(",", text)
    lists = _lists(text)
    pieces = ALL_PUNCTUATION.sub(lambda mark: _kept(text, mark.start(), lists), text)
    return AROUND.sub(r"\1", " ".join(pieces.split()))


def _lists(text: str) -> set[int]:
    """The places of brackets around a list of numbers or letters."""
    found = (one for one in BRACKETED.finditer(text) if "," in one[1] or ";" in one[1])
    lists = [one.span() for one in found if not LONG_WORD.search(one[1])]
    return {place for start, end in lists for place in (start, end - 1)}


def _kept(text: str, place: int, lists: set[int]) -> str:
    """A mark of punctuation that means something where it stands, else a space."""
    mark, before, after = text[place], text[max(0, place - 8) : place], text[place + 1 : place + 9]
    if mark in "%&" or (before[-1:].isdigit() and after[:1].isdigit()):
        return mark
    if mark in "-*/":
        return _operator(mark, before, after)
    if mark == "#":
        return mark if before[-1:].isalpha() and not after[:1].isalnum() else " "
    if mark == "!":
        return mark if _is_not(before, after) else " "
    if mark in "()[]{}":
        return mark if place in lists or _is_grouping(text, place) else " "
    return " "


def _operator(mark: str, before: str, after: str) -> str:
    """`-`, `*` or `/` between operands, a sign before one, or the end of a short name (`O-`, `A*`)."""
    if AFTER.match(after):
        is_sign = mark == "-" and (SIGNED.search(before) is not None)
        return mark if is_sign or BEFORE.search(before) else " "
    return mark if mark != "/" and not after.strip() and SHORT.search(before) else " "


def _is_not(before: str, after: str) -> bool:
    """Whether `!` is a negation, an inequality or a factorial, not the end of a sentence."""
    if after[:1] in ("=", "(") or (after[:1].isalnum() and not before[-1:].isalnum()):
        return True
    return (
        before[-1:].isdigit()
        or before[-1:] == ")"
        or (BEFORE.search(before) is not None and not before[-1:].isspace())
    )


def _is_grouping(text: str, place: int) -> bool:
    """Whether a bracket belongs to a formula: something is joined to it from outside."""
    mark = text[place]
    if mark in PAIRS:
        closing = text.find(PAIRS[mark], place, place + MAX_BRACKET_CHARS)
        return closing > 0 and (_joins(text, place - 1) or _joins(text, closing + 1))
    opening = text.rfind(OPENING[mark], max(0, place - MAX_BRACKET_CHARS), place)
    return opening >= 0 and (_joins(text, opening - 1) or _joins(text, place + 1))


def _joins(text: str, place: int) -> bool:
    """Whether a character outside a bracket is a letter, a digit or an operator."""
    return 0 <= place < len(text) and (text[place].isalnum() or text[place] in "+-*/^<>=|&!")
