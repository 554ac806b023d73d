"""Where a response states its mathematical answer; every look is linear in the text."""

import re

BOX = re.compile(r"\\f?boxed\s{0,3}\{")
HASHES = re.compile(r"####([^\n]*)")
DOLLAR = re.compile(r"(?<!\\)\$")
TAGS = re.compile(r"<answer>([^<]*)</answer>", re.IGNORECASE)


def stated(text: str) -> str | None:
    """The last boxed expression, else what follows the last `####`, else the last `<answer>`.

    `None` when there is no such mark, or a box is not closed.
    """
    if boxes := list(BOX.finditer(text)):
        return _box(text, boxes[-1].end())
    for marked in (HASHES, TAGS):
        if found := marked.findall(text):
            return str(found[-1]).strip()
    return None


def boxed(text: str) -> str:
    """The text in the form in which the library finds it whole."""
    text = in_unicode(text)
    return text if BOX.search(text) or DOLLAR.search(text) else rf"\boxed{{{text}}}"


def in_unicode(text: str) -> str:
    """The text without lone surrogates, which no message can carry."""
    return text.encode("utf-8", "replace").decode()


def _box(text: str, start: int) -> str | None:
    depth = 1
    for brace in re.finditer(r"\\.|[{}]", text[start:], re.DOTALL):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[start : start + brace.start()].strip()
    return None
