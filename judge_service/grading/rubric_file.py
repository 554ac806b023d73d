"""The TOML form of a rubric, and everything that can be wrong with it."""

import difflib
import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from judge_service.errors import RubricError
from judge_service.grading.template import FIELDS, packaged_template, placeholders
from judge_service.values import Channel, Criterion, Gate

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*\Z", max_length=64)]
Bound = Annotated[float, Meta(ge=-1e6, le=1e6)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Text = Annotated[str, Meta(pattern=r"\S")]  # not blank

RESERVED = frozenset({"unscored", "reason"})
"""`unscored` is a metric of every sample; `reason` is a key of the judge's answer."""

MAX_CRITERIA = 20
"""Above a handful a judge blurs its criteria into one (docs/rubrics.md); 20 bounds the prompt."""

USER_PLACEHOLDERS = (*FIELDS, "criteria", "answer", "nonce")
SYSTEM_PLACEHOLDERS = ("answer",)


class LevelForm(Struct, frozen=True, forbid_unknown_fields=True):
    """One allowed answer and what it means."""

    value: Bound
    means: Text


class GateForm(Struct, frozen=True, forbid_unknown_fields=True):
    """See `values.Gate`."""

    below: Fraction
    cap: Fraction = 0.0


class CriterionForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """See `values.Criterion`."""

    name: Name
    description: Text
    weight: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    minimum: Bound | UnsetType = UNSET
    maximum: Bound | UnsetType = UNSET
    levels: Annotated[tuple[Bound | LevelForm, ...], Meta(max_length=101)] = ()
    needs_reference: bool = False
    gate: GateForm | None = None

    @property
    def values(self) -> tuple[float, ...]:
        """The allowed answers as numbers."""
        return tuple(
            float(level.value if isinstance(level, LevelForm) else level) for level in self.levels
        )

    @property
    def scale(self) -> tuple[float, float]:
        """Smallest and largest answer; with levels, the first and the last of them."""
        if self.levels:
            return self.values[0], self.values[-1]
        low = 0.0 if self.minimum is UNSET else float(self.minimum)
        high = 1.0 if self.maximum is UNSET else float(self.maximum)
        return low, high

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
            gate=Gate(float(self.gate.below), float(self.gate.cap)) if self.gate else None,
        )


class RubricFile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """See `rubric.Rubric`."""

    name: Name
    criteria: Annotated[tuple[CriterionForm, ...], Meta(min_length=1, max_length=MAX_CRITERIA)]
    answer: Literal["auto"] | Channel = "auto"
    reasoning: Literal["none", "brief"] = "none"
    max_output_tokens: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    system: Text | None = None
    user: Text | None = None

    @property
    def system_text(self) -> str:
        """The system template."""
        return self.system.strip() if self.system else packaged_template("system")

    @property
    def user_text(self) -> str:
        """The user template."""
        return self.user.strip() if self.user else packaged_template("user")


def read_rubric_file(text: str, source: str) -> RubricFile:
    """Reads and checks the text of a rubric.

    Raises RubricError with one sentence that names `source` and the key.
    """
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise RubricError(f"{source}: the rubric is not TOML ({problem})") from None
    try:
        _refuse_unknown(table)
        _refuse_non_finite(table)
        file = _convert(table)
        _refuse_bad_names(file)
        for index, criterion in enumerate(file.criteria):
            _refuse_bad_scale(criterion, f"criteria[{index}]")
        _refuse_bad_templates(file)
    except RubricError as problem:
        raise RubricError(f"{source}: {problem}") from None
    return file


def _convert(table: Mapping[str, Any]) -> RubricFile:
    try:
        return msgspec.convert(table, RubricFile)
    except msgspec.ValidationError as problem:
        what, _, where = str(problem).partition(" - at `$.")
        raise RubricError(f"`{where.rstrip('`')}`: {what}" if where else what) from None


def _refuse_unknown(table: Mapping[str, Any]) -> None:
    _refuse_unknown_keys(table, RubricFile, "")
    criteria = table.get("criteria", ())
    for index, criterion in enumerate(criteria if isinstance(criteria, list) else ()):
        if not isinstance(criterion, Mapping):
            continue
        where = f"criteria[{index}]."
        _refuse_unknown_keys(criterion, CriterionForm, where)
        _refuse_unknown_keys(criterion.get("gate"), GateForm, f"{where}gate.")
        levels = criterion.get("levels")
        for place, level in enumerate(levels if isinstance(levels, list) else ()):
            _refuse_unknown_keys(level, LevelForm, f"{where}levels[{place}].")


def _refuse_unknown_keys(table: Any, form: type[Struct], where: str) -> None:
    if not isinstance(table, Mapping):
        return
    known = form.__struct_fields__
    for key in table:
        if key not in known:
            raise RubricError(f"there is no key `{where}{key}`{_nearest(key, known)}")


def _nearest(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else f"; known are {', '.join(known)}"


def _refuse_non_finite(table: Any) -> None:
    for where, value in _numbers(table, ""):
        if not math.isfinite(value):
            raise RubricError(f"`{where}` is {value}; use a finite number")


def _numbers(value: Any, where: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield where, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _numbers(inner, f"{where}[{index}]")


def _refuse_bad_names(file: RubricFile) -> None:
    seen: set[str] = set()
    for index, criterion in enumerate(file.criteria):
        key = f"`criteria[{index}].name`"
        if criterion.name in RESERVED:
            raise RubricError(f"{key}: `{criterion.name}` is taken; choose another name")
        if criterion.name in seen:
            raise RubricError(f"{key}: there are two criteria `{criterion.name}`; rename one")
        seen.add(criterion.name)


def _refuse_bad_scale(criterion: CriterionForm, where: str) -> None:
    if criterion.levels:
        values = criterion.values
        if criterion.minimum is not UNSET or criterion.maximum is not UNSET:
            raise RubricError(f"`{where}.levels` already say the scale; drop minimum and maximum")
        if len(values) < 2 or any(a >= b for a, b in itertools.pairwise(values)):
            raise RubricError(f"`{where}.levels` must be two or more numbers, ascending")
    low, high = criterion.scale
    if low >= high:
        raise RubricError(f"`{where}.minimum` ({low:g}) must be less than its maximum ({high:g})")


def _refuse_bad_templates(file: RubricFile) -> None:
    _refuse_placeholders("system", file.system_text, SYSTEM_PLACEHOLDERS)
    _refuse_placeholders("user", file.user_text, USER_PLACEHOLDERS)
    names = placeholders(file.user_text)
    needed = ["response", "criteria", "answer"]
    if any(criterion.needs_reference for criterion in file.criteria):
        needed.append("reference")
    for name in needed:
        if name not in names:
            raise RubricError(f"`user` has no {{{{{name}}}}}; put it in")
    for name in set(names) & set(FIELDS):
        if names.count(name) > 1:
            raise RubricError(f"`user` has {{{{{name}}}}} more than once; keep one")
        if names.index("answer") < names.index(name):
            raise RubricError(
                f"`user` has {{{{answer}}}} before {{{{{name}}}}}; move it to the end"
            )


def _refuse_placeholders(key: str, text: str, known: tuple[str, ...]) -> None:
    for name in placeholders(text):
        if name not in known:
            raise RubricError(f"`{key}`: there is no {{{{{name}}}}}{_nearest(name, known)}")
