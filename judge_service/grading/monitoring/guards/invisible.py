"""Guard: removes invisible characters, so that the judge reads what a person would read (docs/guards.md).

Visible characters are unchanged. There is no compatibility folding: it would turn x squared into x2.
"""

import re
from functools import partial

from judge_service.grading.lazy_pattern import LazyPattern

_BREAKS = LazyPattern("\r\n|[\r\v\f\x85\u2028\u2029]")
"""Line ends of every kind, which become `\\n`."""

_WIDE = "\u115f\u1160\u3164\uffa0\u2800\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_BLANKS = LazyPattern(f"[{_WIDE}]")
"""White space and blank letters (Hangul fillers, blank braille), which become a space."""

_HIDDEN = (
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls
    "\u200b\u2060-\u2065\ufeff\u180e\u00ad\u034f\u17b4\u17b5"  # no width
    "\u206a-\u206f\ufff0-\ufffb"  # other formats, and unassigned ones that are ignored by default
)
_HIDDEN_ABOVE = (
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # formats of shorthand and music
    "\U000e0000-\U000e0fff"  # tags, variation selectors and what Unicode keeps for such: hidden bytes
)
_OTHERS = (
    "\x00-\x08\x0e-\x1f\x7f-\x9f\u180b-\u180d\u180f\ufe00-\ufe0f"  # controls, variation selectors
)
_GONE = LazyPattern(f"[{_HIDDEN}{_HIDDEN_ABOVE}{_OTHERS}]")
_JOINERS = LazyPattern(
    # Joiners shape Persian, Indic scripts and emoji; next to ASCII, white space or each other they only hide.
    "[\u200c\u200d](?=[\x00-\x7f\\s\u200c\u200d]|\\Z)|(?<![^\x00-\x7f\\s])[\u200c\u200d]"
)

_SPECIAL_ASCII = bytes([*range(0x09), *range(0x0B, 0x20), 0x7F])
_SPECIAL = LazyPattern(f"[\r\v\f\u2028\u2029\u200c\u200d{_WIDE}{_HIDDEN}{_OTHERS}]")
_SPECIAL_ABOVE = LazyPattern(f"[{_HIDDEN_ABOVE}]")
"""Few texts have any. Those above U+FFFF have their own pattern, because they make one ten times slower."""

_SUSPECT = LazyPattern(f"[{_HIDDEN}{_HIDDEN_ABOVE}]")
_HARMLESS = str.maketrans("", "", "\u00ad\ufeff\u200e\u200f\u061c\u2060")
"""Invisible characters of honest texts: hyphenation, byte order marks, marks of right-to-left words."""

_TOKENS = LazyPattern(
    r"<(?=/?[|\uff5c][^<>\n]{1,60}>|[^<>|\uff5c\s][^<>|\uff5c\n]{0,60}[|\uff5c]>)"  # a bar inside a tag
    r"|<(?=/?(?:s|think)>|</?SYS>>|0x[0-9A-F]{2}>)"
    r"|\[(?=/?(?:[A-Z]{2,20}(?:_[A-Z]{1,20}){1,4}|[a-z]{0,2}MASK|INST|CLS|SEP|PAD|UNK|BOS|EOS)\])"
)
"""The start of control tokens of chat models, by their form; some servers interpret them anywhere."""

_TAG = LazyPattern(r"<(?=/?([a-zA-Z][a-zA-Z0-9_]{1,39})>(?!>))")
_ELEMENTS = frozenset(
    """
    a abbr address article aside audio b body br button canvas caption center cite code col dd del details div
    dl dt em embed fieldset figure font footer form frame h1 h2 h3 h4 h5 h6 head header hr html i iframe img
    input ins kbd label legend li link main map math meta nav object ol optgroup option p param picture pre q
    samp script section select small source span strike strong style sub summary sup svg table tbody td
    template textarea tfoot th thead title tr track tt u ul var video wbr
    int float double bool boolean char string long short byte void number any integer character
    """.split()  # noqa: SIM905 - shorter
)
"""Elements of HTML and types in brackets, which honest answers have without a closing tag."""


def clean(text: str) -> str:
    """`text` without invisible characters, and with control tokens of chat models broken by a space."""
    if _is_special(text):
        text = _GONE.compiled.sub("", _BLANKS.compiled.sub(" ", _BREAKS.compiled.sub("\n", text)))
        text = _JOINERS.compiled.sub(
            "", text
        )  # last, because the characters between them are removed now
    if "]~" in text:
        text = text.replace("]~", "] ~")
    if "<" in text or "[" in text:
        text = _TOKENS.compiled.sub(r"\g<0> ", text)
        if "<" in text:
            text = _TAG.compiled.sub(partial(_broken, text), text)
    return text


def _broken(text: str, found: re.Match[str]) -> str:
    """The start of a tag, broken by a space unless it is one of HTML or has its other half in the text."""
    name = found[1]
    if name.lower() in _ELEMENTS or (f"<{name}>" in text and f"</{name}>" in text):
        return "<"
    return "< "


def _is_special(text: str) -> bool:
    if text.isascii():
        data = text.encode()  # `translate` of bytes is many times faster than a search
        return len(data.translate(None, _SPECIAL_ASCII)) < len(data)
    return (
        _SPECIAL.compiled.search(text) is not None
        or _SPECIAL_ABOVE.compiled.search(text) is not None
    )


def hides_text(text: str) -> bool:
    """Whether a text has characters that honest texts do not have: overrides, tags, zero-width spaces."""
    if text.isascii() or not _is_special(text):
        return False
    return _SUSPECT.compiled.search(text.translate(_HARMLESS)) is not None
