"""Data classes of a rubric's TOML file, one per table.

docs/rubrics.md explains the keys to users; docs/rubric.schema.json is generated from these descriptions.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from judge_service.grading.rubric.template import packaged_template
from judge_service.grading.shaping import LengthShaping, RepetitionShaping, Shaping
from judge_service.values import Channel, Criterion, Gate, Reasoning

MAX_CRITERIA = 20
"""Most criteria of a rubric, to bound the prompt. Judges blur even fewer into one (docs/rubrics.md)."""

MAX_LEVELS = 101

Name = Annotated[
    str,
    Meta(pattern=r"^[a-z][a-z0-9_]*\Z", max_length=64, description="small letters, digits and _"),
]
Bound = Annotated[float, Meta(ge=-1e6, le=1e6)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Text = Annotated[str, Meta(pattern=r"\S")]  # not blank
Weight = Annotated[float, Meta(gt=0, le=1e6, description="share in the mean; only ratios matter")]
System = Annotated[str, Meta(pattern=r"\S", description="template of the system message")]
User = Annotated[str, Meta(pattern=r"\S", description="template of the user message")]
ReasoningChoice = Annotated[
    Reasoning, Meta(description="`brief`: one sentence of reason before the scores")
]


class LevelForm(Struct, frozen=True, forbid_unknown_fields=True):
    """One allowed answer and what it means."""

    value: Bound
    means: Text


class GateForm(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits the whole reward if this criterion scores less than `below`."""

    below: Annotated[Fraction, Meta(description="no limit at this score and above")]
    cap: Annotated[Fraction, Meta(description="lowest limit of the reward")] = 0.0
    width: Annotated[
        Fraction,
        Meta(description="the limit is `cap` at `below - width` and below; 0 makes it a step"),
    ] = 0.2

    def as_value(self) -> Gate:
        return Gate(float(self.below), float(self.cap), float(self.width))


class CriterionForm(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="judge"
):
    """A criterion that a judge scores."""

    name: Name
    description: Annotated[str, Meta(pattern=r"\S", description="the question for the judge")]
    weight: Weight = 1.0
    minimum: Bound | UnsetType = UNSET
    maximum: Bound | UnsetType = UNSET
    levels: Annotated[
        tuple[Bound | LevelForm, ...],
        Meta(max_length=MAX_LEVELS, description="the only answers allowed, ascending"),
    ] = ()
    step: (
        Annotated[
            float, Meta(ge=1e-6, le=1e6, description="0.5 allows half points between the ends")
        ]
        | UnsetType
    ) = UNSET
    needs_reference: Annotated[
        bool, Meta(description="without a reference answer the sample is unscored")
    ] = False
    gate: GateForm | None = None
    reasoning: ReasoningChoice | None = None
    model: (
        Annotated[
            str,
            Meta(min_length=1, max_length=2048, description="another model of the same backend"),
        ]
        | None
    ) = None
    system: System | None = None
    user: User | None = None

    @property
    def anchors(self) -> tuple[float, ...]:
        """The values of the given levels."""
        return tuple(
            float(level.value if isinstance(level, LevelForm) else level) for level in self.levels
        )

    @property
    def scale(self) -> tuple[float, float]:
        """Smallest and largest answer; with levels, the first and the last level."""
        if self.levels:
            return self.anchors[0], self.anchors[-1]
        low = 0.0 if self.minimum is UNSET else float(self.minimum)
        high = 1.0 if self.maximum is UNSET else float(self.maximum)
        return low, high

    @property
    def values(self) -> tuple[float, ...]:
        """The allowed answers, empty for any number on the scale."""
        if self.step is UNSET:
            return self.anchors
        low, _ = self.scale
        return tuple(round(low + place * self.step, 9) for place in range(self.steps + 1))

    @property
    def steps(self) -> int:
        """Number of steps from the smallest to the largest answer."""
        low, high = self.scale
        return 0 if self.step is UNSET else round((high - low) / self.step)

    def as_value(self) -> Criterion:
        """The criterion, with the meanings of its levels in its description."""
        meanings = [
            f"\n  {level.value:g}: {level.means.strip()}"
            for level in self.levels
            if isinstance(level, LevelForm)
        ]
        low, high = self.scale
        return Criterion(
            name=self.name,
            description=self.description.strip() + "".join(meanings),
            weight=float(self.weight),
            minimum=low,
            maximum=high,
            levels=self.values,
            needs_reference=self.needs_reference,
            gate=self.gate.as_value() if self.gate else None,
            reasoning=self.reasoning,
            model=self.model,
            system=self.system.strip() if self.system else None,
            user=self.user.strip() if self.user else None,
        )


class VerifiedForm(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="verify"
):
    """A criterion that a program checks."""

    name: Name
    verify: Annotated[Name, Meta(description="kind of verifier, see docs/verifiers.md")]
    options: Annotated[dict[str, Any], Meta(description="options of the verifier")] = {}
    description: Annotated[str, Meta(description="for readers of the rubric")] = ""
    weight: Weight = 1.0
    gate: GateForm | None = None

    def as_value(self) -> Criterion:
        return Criterion(
            name=self.name,
            description=self.description.strip(),
            weight=float(self.weight),
            gate=self.gate.as_value() if self.gate else None,
            kind="verify",
            verify=self.verify,
            options=self.options,
        )


class LengthForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Lowers the reward of responses that are too short or too long."""

    min_chars: Annotated[int, Meta(ge=0, le=10_000_000, description="shorter costs")] = 0
    max_chars: Annotated[int, Meta(ge=1, le=10_000_000, description="longer costs")] | None = None
    weight: Annotated[float, Meta(gt=0, le=1, description="the most it can cost, as a share")] = 0.3


class RepetitionForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Lowers the reward of responses that repeat their own phrases."""

    ngram: Annotated[int, Meta(ge=1, le=20, description="words of a phrase")] = 4
    allowed: Annotated[
        float, Meta(ge=0, lt=1, description="share of repeated phrases that costs nothing")
    ] = 0.1
    weight: Annotated[float, Meta(gt=0, le=1, description="the most it can cost, as a share")] = 0.5


class ShapingForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Lowers the whole reward for the form of the response."""

    length: LengthForm | None = None
    repetition: RepetitionForm | None = None

    def as_value(self) -> Shaping:
        length, repetition = self.length, self.repetition
        return Shaping(
            length=LengthShaping(length.min_chars, length.max_chars, float(length.weight))
            if length
            else None,
            repetition=RepetitionShaping(
                repetition.ngram, float(repetition.allowed), float(repetition.weight)
            )
            if repetition
            else None,
        )


class RubricFile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rubric: the criteria that a judge scores or a program checks, and how they make a reward."""

    name: Name
    criteria: Annotated[
        tuple[CriterionForm | VerifiedForm, ...],
        Meta(min_length=1, max_length=MAX_CRITERIA, description="the criteria, in order"),
    ]
    aggregation: Annotated[
        Literal["weighted_mean", "geometric", "min"],
        Meta(description="how the criteria become one score"),
    ] = "weighted_mean"
    compare: Annotated[
        Literal["pointwise", "group"],
        Meta(description="`group` judges the responses to one prompt side by side"),
    ] = "pointwise"
    shaping: ShapingForm = ShapingForm()
    output: (
        Annotated[
            Literal["0..1", "-1..1"],
            Meta(description="range of the rewards, instead of the setting `wire.score_range`"),
        ]
        | None
    ) = None
    answer: Annotated[Literal["auto"] | Channel, Meta(description="form of the judge's answer")] = (
        "auto"
    )
    reasoning: ReasoningChoice = "none"
    max_output_tokens: (
        Annotated[
            int,
            Meta(ge=1, le=100_000, description="limit of each judge call; by default just enough"),
        ]
        | None
    ) = None
    system: System | None = None
    user: User | None = None

    @property
    def system_text(self) -> str:
        """The system template."""
        return self.system.strip() if self.system else packaged_template("system")

    @property
    def user_text(self) -> str:
        """The user template."""
        return self.user.strip() if self.user else packaged_template("user")
