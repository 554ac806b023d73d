"""Instructions about form: lists, sections, titles, markers, beginnings and ends."""

import re

import msgspec
from msgspec import Struct

from judge_service.verifiers.instructions.relation import Count, Phrase, parted

CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
SINGLE = re.compile(r"\*([^\n*]*)\*")
DOUBLE = re.compile(r"\*\*([^\n*]*)\*\*")
FENCE = re.compile(r"^```(?:json)?", re.IGNORECASE)


class NumberPlaceholders(Struct, frozen=True):
    """`detectable_content:number_placeholders`: at least that many placeholders in square brackets."""

    num_placeholders: Count

    def followed(self, text: str) -> bool:
        return sum(_placeholders(line) for line in text.split("\n")) >= self.num_placeholders


def _placeholders(line: str) -> int:
    """Counts brackets that are closed on their line; an open bracket inside another does not count."""
    count, end = 0, 0
    while (start := line.find("[", end)) >= 0 and (end := line.find("]", start) + 1) > 0:
        count += 1
    return count


class Postscript(Struct, frozen=True):
    """`detectable_content:postscript`: the marker occurs, with or without its spaces and last full stop."""

    postscript_marker: Phrase

    def followed(self, text: str) -> bool:
        letters = [letter for letter in self.postscript_marker if letter.isalnum()]
        return re.search(r"\.\s?".join(map(re.escape, letters)), text, re.IGNORECASE) is not None


class NumberBulletLists(Struct, frozen=True):
    """`detectable_format:number_bullet_lists`: exactly that many lines begin with `* ` or `-`."""

    num_bullets: Count

    def followed(self, text: str) -> bool:
        lines = (line.strip() for line in text.split("\n"))
        return sum(map(_is_bullet, lines)) == self.num_bullets


def _is_bullet(line: str) -> bool:
    return line[:1] == "-" or (line[:1] == "*" and line[1:2] not in ("", "*"))


class ConstrainedResponse(Struct, frozen=True):
    """`detectable_format:constrained_response`: one of three answers occurs."""

    def followed(self, text: str) -> bool:
        return any(choice in text for choice in CHOICES)


class NumberHighlightedSections(Struct, frozen=True):
    """`detectable_format:number_highlighted_sections`: at least that many *highlighted* or **bold** parts."""

    num_highlights: Count

    def followed(self, text: str) -> bool:
        highlights = [*SINGLE.findall(text), *DOUBLE.findall(text)]
        return sum(1 for one in highlights if one.strip()) >= self.num_highlights


class MultipleSections(Struct, frozen=True):
    """`detectable_format:multiple_sections`: the word followed by a number occurs at least that often."""

    section_spliter: Phrase  # spelled as the data set does
    num_sections: Count

    def followed(self, text: str) -> bool:
        heading = re.escape(self.section_spliter.strip()) + r"\s?\d"
        return len(re.findall(heading, text)) >= self.num_sections


class JsonFormat(Struct, frozen=True):
    """`detectable_format:json_format`: the whole response is JSON, fenced or not."""

    def followed(self, text: str) -> bool:
        bare = FENCE.sub("", text.strip()).removesuffix("```")
        try:
            msgspec.json.decode(bare)
        except (msgspec.DecodeError, RecursionError, ValueError):
            return False
        return True


class Title(Struct, frozen=True):
    """`detectable_format:title`: there is a title in double angular brackets."""

    def followed(self, text: str) -> bool:
        return any(_has_title(line) for line in text.split("\n"))


def _has_title(line: str) -> bool:
    start, end = line.find("<<"), line.rfind(">>")
    return 0 <= start < end and bool(line[start:end].strip("<> \t"))


class TwoResponses(Struct, frozen=True):
    """`combination:two_responses`: two different responses, separated by six asterisks."""

    def followed(self, text: str) -> bool:
        responses = parted(text, "******")
        return responses is not None and len(responses) == 2 and responses[0] != responses[1]


class RepeatPrompt(Struct, frozen=True):
    """`combination:repeat_prompt`: the response begins with the prompt."""

    prompt_to_repeat: Phrase

    def followed(self, text: str) -> bool:
        return text.strip().casefold().startswith(self.prompt_to_repeat.strip().casefold())


class EndChecker(Struct, frozen=True):
    """`startend:end_checker`: the response ends with the phrase; quotes around the response do not matter."""

    end_phrase: Phrase

    def followed(self, text: str) -> bool:
        said = text.strip().strip('"').casefold()
        return said.endswith(self.end_phrase.strip().casefold())


class Quotation(Struct, frozen=True):
    """`startend:quotation`: the whole response is in double quotes."""

    def followed(self, text: str) -> bool:
        said = text.strip()
        return len(said) > 1 and said[0] == '"' == said[-1]
