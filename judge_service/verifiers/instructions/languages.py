"""Instructions about language and case. py3langid's model identifies the language."""

from typing import Annotated

from msgspec import Meta, Struct

from judge_service.verifiers.language import identifier

LOOK_CHARS = 10_000
"""Characters of a text that are used to identify its language."""


USUAL: tuple[str, ...] = (
    "af", "ar", "bg", "bn", "ca", "cs", "cy", "da", "de", "el", "en", "es", "et", "fa", "fi",
    "fr", "gu", "he", "hi", "hr", "hu", "id", "it", "ja", "kn", "ko", "lt", "lv", "mk", "ml",
    "mr", "ne", "nl", "no", "pa", "pl", "pt", "ro", "ru", "sk", "sl", "so", "sq", "sv", "sw",
    "ta", "te", "th", "tl", "tr", "uk", "ur", "vi", "zh",
)  # fmt: skip
"""The usual languages; among these a short text is identified better."""


def language_of(text: str, among: tuple[str, ...] = USUAL) -> str:
    """The ISO 639-1 code of a text's language; uses lower case, because the model knows few capitals."""
    said = text[:LOOK_CHARS].lower().encode("utf-8", "replace").decode()
    return identifier(among).classify(said)[0]


class ResponseLanguage(Struct, frozen=True):
    """`language:response_language`: the response is in that language."""

    language: Annotated[str, Meta(min_length=2, max_length=8)]

    def followed(self, text: str) -> bool:
        language = self.language.split("-")[0].lower()
        return language_of(text, USUAL if language in USUAL else ()) == language


class EnglishCapital(Struct, frozen=True):
    """`change_case:english_capital`: English without lower-case letters."""

    def followed(self, text: str) -> bool:
        return text.isupper() and language_of(text) == "en"


class EnglishLowercase(Struct, frozen=True):
    """`change_case:english_lowercase`: English without capital letters."""

    def followed(self, text: str) -> bool:
        return text.islower() and language_of(text) == "en"
