"""Finds code in an answer: fenced blocks, else the text in answer tags, else the whole text."""

import re
from collections.abc import Collection, Sequence
from textwrap import dedent

MARK = re.compile(r"^[ \t]*(?:>[ \t]?)?(`{3,}|~{3,})[ \t]*([^`\n]*)$")
ANSWER = re.compile(r"<answer>((?:(?!</?answer>).){1,100000})</answer>", re.DOTALL)
DOCSTRING = re.compile(r'"""|\'\'\'')


def last_block(response: str, languages: Collection[str]) -> str:
    """The last block in one of these languages, else the last block without a language, else the text.

    An open block ends with the text. languages: the first word after the fence, in lower case.
    """
    found = blocks(response, languages)
    return found[-1] if found else _bare(response)


def defining_block(response: str, languages: Collection[str], names: Collection[str]) -> str:
    """The last block that defines one of the names, with the definitions of the other blocks before it.

    Answers show how to call their code, or test it, in a block of its own. If no block defines a name, it is
    the last block.
    """
    found = blocks(response, languages)
    defines = [place for place, block in enumerate(found) if _defined(block) & set(names)]
    if not defines:
        return found[-1] if found else _bare(response)
    others = [
        block
        for place, block in enumerate(found)
        if place not in defines and _is_definitions(block)
    ]
    return "\n\n".join([*others, found[defines[-1]]])


def blocks(response: str, languages: Collection[str]) -> Sequence[str]:
    """The blocks in one of these languages; without any, those without a language."""
    named: list[str] = []
    bare: list[str] = []
    lines = response.splitlines()
    fence, language, content = "", "", list[str]()
    for place, line in enumerate([*lines, ""]):
        mark = MARK.match(line)
        ends = place == len(lines)
        if not fence:
            if mark:
                fence, content = mark[1], []
                language = (mark[2].split() or [""])[0].strip("{}.").lower()
        elif ends or (mark and _closes(mark, fence) and not _in_docstring(content)):
            block = dedent("\n".join(content))
            if block.strip():
                (named if language in languages else bare if not language else []).append(block)
            fence = ""
        else:
            content.append(line)
    return named or bare


def _closes(mark: re.Match[str], fence: str) -> bool:
    return not mark[2].strip() and mark[1][0] == fence[0] and len(mark[1]) >= len(fence)


def _in_docstring(content: Sequence[str]) -> bool:
    """Whether a docstring is open, in which a fence is text."""
    return sum(len(DOCSTRING.findall(line)) for line in content) % 2 == 1


def _bare(response: str) -> str:
    """The text in the last answer tags, else the whole text."""
    tagged = ANSWER.findall(response)
    return tagged[-1].strip("\n") if tagged else response


def defines(block: str, name: str) -> bool:
    """Whether a block defines a name or assigns to it at its top level."""
    return name in _defined(block)


def _defined(block: str) -> set[str]:
    return {defined or assigned for defined, assigned in DEFINITION.findall(block)}


DEFINITION = re.compile(
    r"^(?:(?:async )?def |class )([A-Za-z_]\w*)|^([A-Za-z_]\w*)\s*=(?!=)", re.MULTILINE
)
STATEMENT = re.compile(
    r"^(?!(?:async )?def |class |import |from |[@#\])}]|\"\"\"|'''|[A-Z_]+\s*=)\S", re.MULTILINE
)


def _is_definitions(block: str) -> bool:
    """Whether a block only imports and defines: its other lines are indented."""
    return STATEMENT.search(block) is None
