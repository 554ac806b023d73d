"""Guard: removes invisible characters, so that the judge reads what a person would read (docs/guards.md).

Visible characters are unchanged. There is no compatibility folding: it would turn x squared into x2.
"""

from judge_service.grading.lazy_pattern import LazyPattern

_BREAKS = LazyPattern("\r\n|[\r\v\f\x85\u2028\u2029]")
"""Line ends of every kind, which become `\\n`."""

_WIDE = "\u115f\u1160\u3164\uffa0\u2800\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_BLANKS = LazyPattern(f"[{_WIDE}]")
"""White space and blank letters (Hangul fillers, blank braille), which become a space."""

_HIDDEN = (
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls
    "\u200b\u2060-\u2065\ufeff\u180e\u00ad\u034f"  # no width
    "\u206a-\u206f\ufff9-\ufffb"  # other formats
)
_HIDDEN_ABOVE = (
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # formats of shorthand and music
    "\U000e0000-\U000e007f"  # tags, which spell hidden ASCII
    "\U000e0100-\U000e01ef"  # supplementary variation selectors, which spell hidden bytes
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
    r"<(?=[|\uff5c][^<>\n]{1,60}[|\uff5c]>)|<(?=/?(?:s|start_of_turn|end_of_turn)>|</?SYS>>)"
    r"|\[(?=/?INST\])"
)
"""The start of control tokens of chat models, which some servers interpret anywhere in a text."""


def clean(text: str) -> str:
    """`text` without invisible characters, and with control tokens of chat models broken by a space."""
    if _is_special(text):
        text = _GONE.compiled.sub("", _BLANKS.compiled.sub(" ", _BREAKS.compiled.sub("\n", text)))
        text = _JOINERS.compiled.sub(
            "", text
        )  # last, because the characters between them are removed now
    return _TOKENS.compiled.sub(r"\g<0> ", text) if "<" in text or "[" in text else text


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
