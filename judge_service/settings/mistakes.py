"""Sentences about mistakes in the settings, in a person's words and not in those of the decoder."""

from collections.abc import Collection
from typing import Any, Literal, Protocol, get_args, get_origin

import msgspec

from judge_service.errors import in_words


class Described(Protocol):
    """A setting (`reading.Key`)."""

    @property
    def type(self) -> Any: ...

    @property
    def description(self) -> str: ...


def nearest(name: str, known: Collection[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or where all are listed."""
    import difflib  # noqa: PLC0415 - for mistakes only

    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    if not close:
        close = [full for full in known if full.rpartition(".")[2] == name.rpartition(".")[2]][:1]
    return f"; did you mean `{close[0]}`?" if close else "; see docs/settings.md"


def place_in(problem: msgspec.ValidationError) -> str:
    """The dotted name of the setting that the decoder refuses; `""` without one."""
    return str(problem).partition(" - at `$.")[2].rstrip("`")


def readable(problem: msgspec.ValidationError, key: Described | None) -> str:
    """What is wrong with the value of a setting.

    key: the setting; `None` for a section.
    """
    what, where = str(problem).partition(" - at `$")[0], place_in(problem)
    choices = _choices(key.type) if key else ()
    if choices and what.startswith("Invalid enum value"):
        what += f"; use one of {', '.join(choices)}"
    elif key and "matching regex" in what:
        what = f"has not the form that it must have; it takes {key.description}"
    else:
        what = in_words(what)
    return f"`{where}`: {what}" if where else what


def _choices(annotation: Any) -> tuple[str, ...]:
    literal = get_args(annotation)[0]
    return get_args(literal) if get_origin(literal) is Literal else ()
