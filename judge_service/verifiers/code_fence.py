"""Finds code in an answer: the last fenced block."""

from collections.abc import Collection

FENCE = "```"


def last_block(response: str, languages: Collection[str]) -> str:
    """The last block in one of these languages, else the last block without a language, else the whole text.

    An open block ends with the text. languages: as written after the fence, in lower case.
    """
    named = bare = ""
    language: str | None = None
    lines: list[str] = []
    for line in [*response.splitlines(), FENCE]:
        mark = line.strip()
        if not mark.startswith(FENCE):
            lines.append(line)
        elif language is None:
            language, lines = mark.removeprefix(FENCE).strip().lower(), []
        else:
            if language in languages:
                named = "\n".join(lines) or named
            elif not language:
                bare = "\n".join(lines) or bare
            language = None
    return named or bare or response
