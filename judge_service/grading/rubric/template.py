"""Templates: texts with placeholders `{{name}}` that are filled in one pass.

A template is split at its placeholders once, when it is read. Filling puts values between the pieces and
does not search the values, so a `{{response}}` inside a response is not replaced.
"""

import re
from collections.abc import Mapping
from functools import cache
from itertools import takewhile
from pathlib import Path

from judge_service.errors import RubricError

_PLACEHOLDER = re.compile(r"\{\{([^{}]*)\}\}")

FIELDS = ("task", "response", "reference")
"""The untrusted texts. Each replaces its line with a fenced block; without a text the line is removed."""

OWN = frozenset({"response", "nonce"})
"""What differs between the rollouts of one prompt; the nonce names the response's fence too."""

_FIELD_LINE_END = re.compile(r"(\{\{(?:task|response|reference)\}\})\n")


@cache
def packaged_template(name: str) -> str:
    """The text of `templates/<name>.txt`, without its last newline."""
    path = Path(__file__).parent / "templates" / f"{name}.txt"
    return path.read_text("utf-8").rstrip("\n")


def placeholders(text: str) -> list[str]:
    """The placeholders of a template in order, repeated as often as they occur."""
    return _PLACEHOLDER.findall(text)


class Template:
    """A template, split at its placeholders.

    text: the template.
    known: values that are the same for every sample; they become part of the fixed text.

    Raises RubricError when `text` has a placeholder that is neither in `known` nor a field or `nonce`.
    """

    def __init__(self, text: str, known: Mapping[str, str]) -> None:
        pieces = _PLACEHOLDER.split(_FIELD_LINE_END.sub(r"\1", text))
        fixed, names = pieces[::2], pieces[1::2]
        self._pieces: list[str] = [fixed[0]]
        self._slots: list[tuple[int, str]] = []
        for name, after in zip(names, fixed[1:], strict=True):
            if name in known:
                self._pieces[-1] += known[name] + after
                continue
            if name not in FIELDS and name != "nonce":
                raise RubricError(f"a template has an unknown placeholder `{{{{{name}}}}}`")
            self._slots.append((len(self._pieces), name))
            self._pieces += ["", after]

        shared = list(takewhile(lambda slot: slot[1] not in OWN, self._slots))
        end = self._slots[len(shared)][0] if len(shared) < len(self._slots) else len(self._pieces)
        self._shared = tuple([name for _, name in shared])
        self._shared_chars = sum(map(len, self._pieces[:end]))

    def __repr__(self) -> str:
        return f"<Template of {[name for _, name in self._slots]}>"

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with every placeholder replaced; `values` must have them all."""
        pieces = self._pieces.copy()
        for index, name in self._slots:
            pieces[index] = values[name]
        return "".join(pieces)

    def count_shared(self, values: Mapping[str, str]) -> int:
        """Characters of the filled text that the rollouts of one prompt share.

        They end before the response, or before the first nonce.
        """
        chars = self._shared_chars
        for name in self._shared:
            chars += len(values[name])
        return chars
