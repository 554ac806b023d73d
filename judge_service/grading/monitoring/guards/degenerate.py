"""Guard: responses that add nothing to their prompt: symbols, markup, or words that only announce an answer.

A response is read word by word. The first word that is not about answering ends the reading, so that most
responses cost one look-up. `talk` has the words, not phrases: their order and number do not matter.
"""

import re
import unicodedata
from collections.abc import Sequence

from judge_service.grading.lazy_pattern import LazyPattern
from judge_service.grading.monitoring.guards.fold import fold, plain_letters
from judge_service.grading.monitoring.guards.talk import read_words
from judge_service.values import Message

MAX_CHARS = 400
"""Longest text of words that is checked; a longer text with a letter has content."""

MAX_SYMBOLS = 3
"""Most repetitions of a symbol in an answer: `<`, `€€€` and an emoji can be answers, a longer row cannot."""

MIN_LETTERS = 16
"""Fewest letters of an announcement that names no answer; a shorter one ("I think so") can be an answer.

A letter of a script that writes syllables or words counts twice.
"""

FIRST_CHARS = 60
"""Beginning of a text that is folded first; its first word decides for most responses."""

BARE_WORDS = 3
"""Most words of a text that the prompt may ask for as it stands."""

MIN_REFERENCE_CHARS = 3
"""Shortest reference that a response can contain by more than chance."""

_LETTER = re.compile(r"[^\W_]")
_OPERATOR = re.compile(r"[&%*/#@\\()\[\]{}_+|~^$]{1,3}")
"""Punctuation that can be an answer about code or mathematics."""

_TAGS = (
    "answer|response|reasoning|solution|reflection|scratchpad|thinking|think|output|analysis|final"
)
_MARKUP = LazyPattern(
    rf"</?(?:{_TAGS})>|\\[a-z]+(?=\s*\{{\s*\}})|```[a-z0-9+#]*"
    r"|<\s?/?[|\uff5c][^<>\n]{0,60}>|<\s?[^<>\n]{0,60}[|\uff5c]>|\[\s?/?inst\]"
    r"|^[ \t#*>-]*\d{1,2}[.)](?=[ \t]*[^\s\d])|(?<![^\W_])\d{1,2}(?=\**[:\uff1a])",
    re.IGNORECASE | re.MULTILINE,
)
"""Tags, fences, empty commands, control tokens, and the numbers of items and steps."""

_CUT = LazyPattern(
    r"[!-/:-@\[-`{-~\s\u00a1-\u00bf\u00d7\u00f7\u037e\u0387\u055a-\u055f\u0589\u05be\u05c0\u05c3\u060c\u061b\u061f"
    r"\u06d4\u0964\u0965\u0e2f\u0e5a\u0e5b\u1800-\u180a\u2010-\u2bff\u2e00-\u2e7f\u3001-\u3003\u3008-\u3020\u3030"
    r"\u30fb\ufe10-\ufe6f\U0001f000-\U0001faff]+"
)
"""Punctuation, symbols and white space of all scripts after folding; `\\W` has vowel signs too."""

_SPACED = LazyPattern(
    r"(?<![^\W_])(?:[^\W\d_](?:[ .*_-]{1,3}[^\W\d_]){3,}|[\u0e00-\uffdc](?: [\u0e00-\uffdc])+)(?![^\W_])"
)
"""A word whose letters stand apart."""

_ASCII_WORD = re.compile(
    r"\\[a-z]+|```[a-z0-9+#]*|<\|[^<>\n]{0,60}>|[a-z]+(?![a-z0-9])|\d+(?=([.):])?)(?![a-z0-9])|[a-z0-9]+"
)
_FIRST_WORD = re.compile(r"[a-zA-Z]{2,}(?![a-zA-Z0-9'])")
_ITEM = re.compile(r"\d{1,2}[.):]")
_MARKED = re.compile(r"[^a-zA-Z]*[<\\`\[{]|[A-Za-z][ .*_-]{1,3}[A-Za-z](?![A-Za-z])")
"""The beginning of a text whose words stand in markup, or apart."""

_COLONS = frozenset(":\uff1a")


def says_nothing(response: str, reference: str | None, messages: Sequence[Message] = ()) -> bool:
    """Whether the response adds nothing to its prompt, and the reference is no such text itself.

    Digits, and words that are not about answering, are content in every script, so "4", "C", "No." and "I
    cannot answer this." are answers; so is a question.
    """
    if not _is_idle(response, messages, is_checked=reference is not None):
        return False
    return reference is None or not _excuses(reference, response, messages)


def _excuses(reference: str, response: str, messages: Sequence[Message]) -> bool:
    """Whether the reference says nothing either, or is in the response."""
    expected, said = (split_words(fold(text[:MAX_CHARS])) for text in (reference, response))
    if not expected or not said:
        return reference.strip()[: MAX_CHARS + 1] == response[: MAX_CHARS + 1]
    whole = f" {' '.join(expected)} "
    if len(whole) >= MIN_REFERENCE_CHARS + 2 and whole in f" {' '.join(said)} ":
        return True
    if len(expected) <= BARE_WORDS and all(word in expected for word in said):
        return True
    return expected == said or _is_idle(reference, messages, is_checked=True)


def last_turn(messages: Sequence[Message]) -> str:
    """The last message of the user, or an empty text."""
    for one in reversed(messages):
        if one.role == "user":
            return one.content.strip()
    return ""


def _is_idle(text: str, messages: Sequence[Message], *, is_checked: bool) -> bool:
    if not text[:1].isalnum() and _LETTER.search(text) is None:
        return _is_punctuation(text)
    return (
        len(text) <= MAX_CHARS
        and _may_be_talk(text)
        and _is_talk(text, messages, is_checked=is_checked)
    )


def _is_punctuation(text: str) -> bool:
    if _OPERATOR.fullmatch(text) is not None:
        return False
    symbols = [
        char for char in text[: MAX_CHARS + 1] if unicodedata.category(char) in {"Sm", "Sc", "So"}
    ]
    if len(text) > MAX_CHARS or not symbols:
        return True
    if len(symbols) <= MAX_SYMBOLS:
        return False
    return symbols[2:] == symbols[:-2]  # one symbol, or two in turn


def _may_be_talk(text: str) -> bool:
    """Whether it is worth to read all of the text; mostly false, at the first word."""
    if text[:1].isdigit() and _ITEM.match(text) is None:
        return False
    if text.isascii():
        first = _FIRST_WORD.match(text)
        if first is not None and first[0].lower() not in read_words().any:
            return _ends_in_colon(text)  # nearly always false
        return _MARKED.match(text) is not None or _has_known_words(text)
    words = split_words(fold(text[:FIRST_CHARS]))
    if len(text) > FIRST_CHARS:
        words = words[:-1]  # may be cut
    known = read_words().any
    return _ends_in_colon(text) or all(
        len(word) == 1 or word.isdigit() or _languages(word, known, is_joined=True)
        for word in words
    )


def _has_known_words(text: str) -> bool:
    """Whether an ASCII text may have only known words, so far as a fast look tells."""
    known = read_words().any
    for found in _ASCII_WORD.finditer(text.lower().replace("'", "")):
        word = found[0]
        if word.isdigit():
            if found[1] is None:
                return False
        elif word not in known and len(word) > 1 and word.isalpha():
            return _ends_in_colon(text)
    return True


def _ends_in_colon(text: str) -> bool:
    return text[-8:].rstrip(" *_\n.\u2026")[-1:] in _COLONS


def _is_talk(text: str, messages: Sequence[Message], *, is_checked: bool) -> bool:
    bare = _MARKUP.compiled.sub("\n", text) if _has_markup(text) else text
    if bare is not text and bare.isascii() and not _has_known_words(bare):
        return False
    folded = fold(bare)
    joined = _SPACED.compiled.sub(lambda found: re.sub(r"[ .*_-]", "", found[0]), folded)
    said = split_words(joined)
    if not said:
        return True
    if "?" in folded or "\u061f" in folded:
        return False
    if not are_known(said, is_joined=joined != folded):
        return _ends_in_colon(text) and _breaks_off(text, said)
    announces = _ends_in_colon(text) or text[0] in "[<{(#$"
    letters = sum(1 + (char > "\u0900") for char in joined if char.isalnum())
    return _announces_only(
        said,
        fold(last_turn(messages)[: 10 * MAX_CHARS]),
        is_joined=joined != folded,
        is_plain=not announces and not is_checked,
        is_long=announces or letters >= MIN_LETTERS,
    )


def are_known(said: list[str], *, is_joined: bool = False) -> bool:
    """Whether all of these folded words are about answering, in one language."""
    known, languages = read_words().any, -1
    for word in said:
        languages &= _languages(word, known, is_joined=is_joined)
        if not languages:
            return False
    return True


def is_only_talk(folded: str) -> bool:
    """Whether a short folded text is only about answering, and does not end in a judgement."""
    said = split_words(folded) if len(folded) <= MAX_CHARS else [""]
    words, languages = read_words(), -1
    for word in said:
        languages &= _languages(word, words.talk, is_joined=False)
        if not languages:
            return False
    return not said or not words.likeness.get(said[-1], 0) & languages


def _breaks_off(text: str, said: list[str]) -> bool:
    """Whether one line that ends in a colon names an answer, mostly in known words, and stops there."""
    words = read_words()
    return (
        text.strip().isprintable()
        and not any(map(str.isdigit, text))
        and any(word in words.names for word in said)
        and 3 * sum(word in words.any for word in said) >= 2 * len(said)
    )


def _announces_only(
    said: list[str], prompt: str, *, is_joined: bool, is_plain: bool, is_long: bool
) -> bool:
    """Whether known words announce an answer, or claim to be like the reference, and say no more."""
    words = read_words()
    talk = claim = -1
    for word in said:
        talk &= _languages(word, words.talk, is_joined=is_joined)
        claim &= _languages(word, words.any, is_joined=is_joined)
    parts = [part for word in said for part in _parts(word, words.any, claim)]
    if talk and not words.likeness.get(parts[-1], 0) & talk:
        if is_plain and len(parts) <= BARE_WORDS:
            asked = split_words(prompt)
            if any(part in asked for part in parts if part in words.names):
                return False  # the prompt may ask for this word
        names, work = (_any_of(parts, kind) & talk for kind in (words.names, words.work))
        return bool(names or (is_long and work))
    of_grader = [part for part in parts if words.grader.get(part, 0) & claim]
    is_told = any(part in prompt for part in of_grader)
    return bool(of_grader) and (is_long or len(parts) > 1) and not is_told


def _any_of(parts: list[str], kind: dict[str, int]) -> int:
    languages = 0
    for part in parts:
        languages |= kind.get(part, 0)
    return languages


def _languages(word: str, known: dict[str, int], *, is_joined: bool) -> int:
    """The languages, as bits, in which a word is known, or is written together from known words."""
    found = known.get(word) or known.get(plain_letters(word))
    if found is not None or not (is_joined or word >= "\u0e00"):
        return found or 0
    return _reach(word, known)[-1]


def _reach(word: str, known: dict[str, int]) -> list[int]:
    """For each place in a word, the languages in which known words make up all before it."""
    size, longest = len(word), read_words().longest
    reached = [-1, *(0 for _ in word)]
    furthest = 0
    for start in range(size):
        if start > furthest:
            break
        if not reached[start]:
            continue
        for end in range(start + 1, min(start + longest, size) + 1):
            languages = known.get(word[start:end], 0) & reached[start]
            if languages:
                reached[end] |= languages
                furthest = max(furthest, end)
    return reached


def _parts(word: str, known: dict[str, int], languages: int) -> list[str]:
    """The known words of these languages of which a word is written together, the longest from its end."""
    for one in (word, plain_letters(word)):
        if known.get(one, 0) & languages:
            return [one]
    reached, parts, end = _reach(word, known), [], len(word)
    while end:
        starts = (
            start
            for start in range(end)
            if known.get(word[start:end], 0) & reached[start] & languages
        )
        start = next(starts, end - 1)
        parts.append(word[start:end])
        end = start
    return parts[::-1]


def _has_markup(text: str) -> bool:
    return any(mark in text for mark in ("<", "\\", "```", "[")) or any(map(str.isdigit, text))


def split_words(folded: str) -> list[str]:
    """The words of a folded text; scripts without spaces are cut at their punctuation only."""
    return [word for word in _CUT.compiled.split(folded) if word]
