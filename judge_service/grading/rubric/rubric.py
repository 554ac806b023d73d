"""The rubric: the criteria of a reward, as data, read from a TOML file.

A rubric file is TOML:

    name = "helpfulness"            # required, like all names [a-z][a-z0-9_]*
    answer = "auto"                 # auto | schema | tool | text: form of the judge's answer
    reasoning = "none"              # none | brief: one sentence of reason before the scores
    max_output_tokens = 60          # by default just enough for the answer
    system = "..."                  # templates, by default the packaged ones
    user = "..."

    [[criteria]]                    # one or more
    name = "helpful"                # required, name of the metric
    description = "Does it help?"   # required, the question for the judge
    weight = 1.0                    # > 0, only ratios matter
    minimum = 0.0                   # the scale, by default 0 to 1
    maximum = 1.0
    levels = [0, 1, { value = 2, means = "fully" }]   # instead of minimum and maximum
    needs_reference = false         # if true, a sample without a reference answer is unscored
    gate = { below = 0.5, cap = 0.0 }   # from 0.5 down to 0.3 the reward's limit falls from 1 to 0

    [[criteria]]
    kind = "verify"                 # a program checks it, without a judge
    name = "right"
    verify = "math"                 # kind of verifier
    options = {}                    # options of the verifier

All keys are in docs/rubrics.md.
"""

import hashlib
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from judge_service.errors import RubricError
from judge_service.grading.rubric.file import read_rubric_file
from judge_service.grading.rubric.forms import RubricFile
from judge_service.grading.rubric.template import packaged_template
from judge_service.grading.shaping import Shaping
from judge_service.values import Channel, Criterion, Reasoning

BUILT_IN = ("similarity",)
"""Names of the packaged rubrics."""

MAX_RUBRIC_BYTES = 100_000
"""Largest rubric. A usual one has a page; a larger file is a mistake, and each prompt pays for every byte."""

Aggregation = Literal["weighted_mean", "geometric", "min"]

ANSWERS = (
    "answer_number",
    "answer_object",
    "answer_object_reasoned",
    "answer_schema",
    "answer_schema_reasoned",
    "answer_tool",
    "answer_tool_reasoned",
    "pack",
    "reminder",
)
"""Packaged texts that are part of every version: they are in no rubric, but change what a judge answers."""


class Rubric(Struct, frozen=True, kw_only=True):
    """A rubric, checked and ready for use. Made by `load_rubric`.

    version: 16 hex characters, a hash of the content and of all template texts: the same version asks
        the same questions.
    system, user: templates, see docs/rubrics.md.
    answer: the form of the judge's answer (channel); the setting `answer` has precedence.
    max_output_tokens: of each call; `None` computes it for the channel.
    model: the judge model; empty for that of the settings.
    compare: with `group`, responses to one prompt are judged side by side.
    output: range of the rewards on the wire, `None` for that of the settings.
    """

    name: str
    version: str
    criteria: tuple[Criterion, ...]
    system: str
    user: str
    answer: Literal["auto"] | Channel = "auto"
    reasoning: Reasoning = "none"
    max_output_tokens: int | None = None
    model: str = ""
    aggregation: Aggregation = "weighted_mean"
    compare: Literal["pointwise", "group"] = "pointwise"
    shaping: Shaping = Shaping()
    output: Literal["0..1", "-1..1"] | None = None

    @property
    def needs_reference(self) -> bool:
        """Whether a sample without a reference answer cannot be judged."""
        return any(criterion.needs_reference for criterion in self.criteria)

    @property
    def asks_reasons(self) -> bool:
        """Whether any judge is asked to write its reason."""
        judged = [criterion for criterion in self.criteria if criterion.kind == "judge"]
        return any((criterion.reasoning or self.reasoning) == "brief" for criterion in judged)


def load_rubric(name_or_path: str) -> Rubric:
    """Reads a packaged rubric by its name (`similarity`), a file by its path (ends in `.toml`), or the
    text of a rubric, which has more than one line.

    Raises RubricError, one sentence that names the file and the key.
    """
    if "\n" in name_or_path:
        return _rubric(read_rubric_file(_bounded(name_or_path), "rubric"))
    return _rubric(read_rubric_file(_text(name_or_path), name_or_path))


def _bounded(text: str) -> str:
    if len(text) > MAX_RUBRIC_BYTES:
        raise RubricError(f"rubric: has at most {MAX_RUBRIC_BYTES} bytes; shorten it")
    return text


def _text(name_or_path: str) -> str:
    if name_or_path in BUILT_IN:
        packaged = Path(__file__).parent / "library" / f"{name_or_path}.toml"
        return packaged.read_text("utf-8")
    if not name_or_path.endswith(".toml"):
        raise RubricError(
            f"there is no rubric `{name_or_path}`: use {' or '.join(BUILT_IN)}, or a path to a .toml file"
        )
    return _file_text(Path(name_or_path))


def _file_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_RUBRIC_BYTES + 1)
    except OSError as problem:
        raise RubricError(f"{path}: the rubric cannot be read ({problem.strerror})") from None
    if len(content) > MAX_RUBRIC_BYTES:
        raise RubricError(f"{path}: a rubric has at most {MAX_RUBRIC_BYTES} bytes; shorten it")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise RubricError(f"{path}: the rubric is not UTF-8 text; save it as UTF-8") from None


def _rubric(file: RubricFile) -> Rubric:
    rubric = Rubric(
        name=file.name,
        version="",
        criteria=tuple(criterion.as_value() for criterion in file.criteria),
        system=file.system_text,
        user=file.user_text,
        answer=file.answer,
        reasoning=file.reasoning,
        max_output_tokens=file.max_output_tokens,
        aggregation=file.aggregation,
        compare=file.compare,
        shaping=file.shaping.as_value(),
        output=file.output,
    )
    return with_version(rubric)


def with_version(rubric: Rubric) -> Rubric:
    """The rubric with the version computed from its content."""
    rubric = msgspec.structs.replace(rubric, version="")
    content = [rubric, [packaged_template(name) for name in ANSWERS]]
    digest = hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()
    return msgspec.structs.replace(rubric, version=digest[:16])
