"""`language`: the share of a response's characters that are in the expected language.

Each paragraph is identified separately, so that a response that changes its language half-way gets half. Code
is ignored. A text with too few letters is identified by its script.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Annotated, Protocol

from msgspec import Meta, Struct
from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]  # it ships no types

from judge_service.errors import RubricError
from judge_service.values import Sample
from judge_service.verifiers import Check, Pure

MIN_LETTERS = 20
"""A text with fewer letters is identified by its script alone; Chinese letters count fourfold."""

MAX_PARAGRAPH_CHARS = 2_000
"""Characters of a paragraph that are used to identify it."""

MAX_CHARS = 50_000
"""Characters of a response that are used, from its start."""

CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]{1,200}`|https?://\S{1,2000}", re.DOTALL)

SCRIPTS: Mapping[str, tuple[str, ...]] = {
    "CYRILLIC": ("ru", "uk", "bg", "sr", "mk", "be", "kk", "ky", "mn", "ba", "tt", "tg"),
    "ARABIC": ("ar", "fa", "ur", "ps", "ku", "sd", "ug", "arz", "ary", "sdh"),
    "HEBREW": ("he", "hbo"),
    "GREEK": ("el", "grc"),
    "DEVANAGARI": ("hi", "mr", "ne", "sa", "gom"),
    "BENGALI": ("bn", "as"),
    "CJK": ("zh", "ja", "yue", "wuu"),
    "HIRAGANA": ("ja",),
    "KATAKANA": ("ja",),
    "HANGUL": ("ko",),
    "THAI": ("th",),
    "GEORGIAN": ("ka",),
    "ARMENIAN": ("hy",),
    "ETHIOPIC": ("am",),
    "TAMIL": ("ta",),
    "TELUGU": ("te",),
    "KANNADA": ("kn",),
    "MALAYALAM": ("ml",),
    "GUJARATI": ("gu",),
    "GURMUKHI": ("pa",),
    "SINHALA": ("si",),
    "KHMER": ("km",),
    "LAO": ("lo",),
    "MYANMAR": ("my",),
    "ORIYA": ("or",),
    "TIBETAN": ("dz",),
}
"""Languages by script, with the script's name in Unicode; all other languages use Latin letters."""

DENSE = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL"})


class Identifier(Protocol):
    """The methods of the library that are used."""

    labels: list[str]

    def classify(self, text: str) -> tuple[str, float]: ...

    def set_languages(self, langs: list[str]) -> None: ...


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the verifier `language`."""

    expected: Annotated[
        str,
        Meta(
            pattern="^([a-z]{2,3}|prompt|reference)$",
            description="An ISO 639 code, or `prompt` or `reference` for their language.",
        ),
    ] = "prompt"
    among: Annotated[
        tuple[str, ...],
        Meta(
            max_length=120, description="The languages that can occur; fewer are told apart better."
        ),
    ] = ()
    thoughts: Annotated[bool, Meta(description="Count the thoughts too.")] = False


@cache
def identifier(among: tuple[str, ...]) -> Identifier:
    """Loads the model, once for each set of languages: it takes a second and 40 MB.

    Raises RubricError for a language that it does not know.
    """
    model: Identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    if strange := sorted(set(among) - set(model.labels)):
        raise RubricError(f"the language model does not know {', '.join(strange)}")
    if among:
        model.set_languages(list(among))
    return model


def scripts(text: str) -> Counter[str]:
    """The number of letters of each script in a text."""
    return Counter(_script(letter) for letter in text if letter.isalpha())


@lru_cache(maxsize=8192)
def _script(letter: str) -> str:
    return unicodedata.name(letter, "UNKNOWN").split(maxsplit=1)[0].partition("-")[0]


def _is_long(found: Counter[str]) -> bool:
    return sum(count * (4 if name in DENSE else 1) for name, count in found.items()) >= MIN_LETTERS


class Languages:
    """Identifies languages of texts."""

    def __init__(self, among: tuple[str, ...]) -> None:
        self._model = identifier(among)

    def of(self, text: str) -> str | None:
        """The language of a text, `None` if it is too short."""
        bare = CODE.sub(" ", text[:MAX_CHARS])
        return (
            self._model.classify(bare[:MAX_PARAGRAPH_CHARS])[0] if _is_long(scripts(bare)) else None
        )

    def share(self, text: str, language: str) -> float | None:
        """The share of a text's letters that are in a language; `None` if it has no letters."""
        pieces = [(piece, scripts(piece)) for piece in self._paragraphs(text)]
        total = sum(found.total() for _, found in pieces)
        if not total:
            return None
        good = sum(found.total() for piece, found in pieces if self._is(piece, found, language))
        return good / total

    def _paragraphs(self, text: str) -> list[str]:
        """The paragraphs that are long enough to be identified, else the whole text as one."""
        bare = CODE.sub(" ", text[:MAX_CHARS])
        pieces = [piece for piece in bare.split("\n") if _is_long(scripts(piece))]
        return pieces or [bare]

    def _is(self, piece: str, found: Counter[str], language: str) -> bool:
        if _is_long(found):
            return self._model.classify(piece[:MAX_PARAGRAPH_CHARS])[0] == language
        return _fits(found.most_common(1)[0][0] if found else "", language)


def _fits(script: str, language: str) -> bool:
    if script in SCRIPTS:
        return language in SCRIPTS[script]
    return not any(language in languages for languages in SCRIPTS.values())


def make(options: Options) -> Pure:
    """Makes the verifier; loads the model. Raises RubricError for an unknown language."""
    languages = Languages(options.among)
    if options.expected not in ("prompt", "reference", *identifier(options.among).labels):
        raise RubricError(f"the language model does not know `{options.expected}`")

    def expected(sample: Sample) -> str | None:
        if options.expected == "reference":
            return languages.of(sample.reference or "")
        if options.expected != "prompt":
            return options.expected
        asked = [message.content for message in sample.messages if message.role == "user"]
        return languages.of(asked[-1]) if asked else None

    def check(sample: Sample) -> Check:
        if sample.response is None:
            return Check(score=None, reason="no_response")
        language = expected(sample)
        if language is None:
            detail = f"the {options.expected} is too short to identify its language"
            return Check(score=None, reason="cannot_judge", detail=detail)
        share = languages.share(sample.response, language)
        if share is None:
            return Check(score=0.0, detail="the response has no letters")
        return Check(score=share, detail=f"{share:.0%} of the letters are {language}")

    return Pure(check)
