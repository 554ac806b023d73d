"""Reads a rubric's TOML, checks it completely, and raises RubricError for the first mistake."""

import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from judge_service.errors import RubricError, in_words
from judge_service.grading.rubric.forms import (
    MAX_LEVELS,
    CriterionForm,
    GateForm,
    LengthForm,
    LevelForm,
    RepetitionForm,
    RubricFile,
    ShapingForm,
    VerifiedForm,
)
from judge_service.grading.rubric.template import FIELDS, placeholders
from judge_service.grading.shaping import LENGTH, REPETITION

RESERVED = frozenset({"unscored", "reason", LENGTH, REPETITION})
"""Names that a criterion must not have: `reason` is a key of the judge's answer, the others are metrics."""

KINDS: Mapping[str, type[Struct]] = {"judge": CriterionForm, "verify": VerifiedForm}

USER_PLACEHOLDERS = (*FIELDS, "criteria", "answer", "nonce")
SYSTEM_PLACEHOLDERS = ("answer",)


def read_rubric_file(text: str, source: str) -> RubricFile:
    """Reads and checks the text of a rubric.

    Raises RubricError with one sentence that names `source` and the key.
    """
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise RubricError(f"{source}: the rubric is not TOML ({problem})") from None
    try:
        return _checked(table)
    except RubricError as problem:
        raise RubricError(f"{source}: {problem}") from None


def _checked(table: dict[str, Any]) -> RubricFile:
    _refuse_unknown(table)
    _refuse_non_finite(table)
    file = _convert(table)
    _refuse_bad_names(file)
    for index, criterion in enumerate(file.criteria):
        if isinstance(criterion, CriterionForm):
            _refuse_bad_scale(criterion, f"criteria[{index}]")
    _refuse_bad_length(file.shaping.length)
    _refuse_bad_templates(file)
    return file


FORMS = {
    "regex '^[a-z]": "must be small letters, digits and _, a letter first",
    "regex '\\\\S'": "must not be blank",
}
"""What the patterns of a rubric's texts ask for, by their beginning in the decoder's message."""


def _convert(table: Mapping[str, Any]) -> RubricFile:
    criteria = table.get("criteria")
    if isinstance(criteria, list):
        kinded = [{"kind": "judge", **one} if isinstance(one, dict) else one for one in criteria]
        table = {**table, "criteria": kinded}
    try:
        return msgspec.convert(table, RubricFile)
    except msgspec.ValidationError as problem:
        what, _, where = str(problem).partition(" - at `$.")
        what = next((said for form, said in FORMS.items() if form in what), None) or in_words(what)
        raise RubricError(f"`{where.rstrip('`')}`: {what}" if where else what) from None


def _refuse_unknown(table: Mapping[str, Any]) -> None:
    _refuse_unknown_keys(table, RubricFile, "")
    criteria = table.get("criteria", ())
    for index, criterion in enumerate(criteria if isinstance(criteria, list) else ()):
        if isinstance(criterion, Mapping):
            _refuse_unknown_of_criterion(criterion, f"criteria[{index}].")
    shaping = table.get("shaping")
    _refuse_unknown_keys(shaping, ShapingForm, "shaping.")
    if isinstance(shaping, Mapping):
        _refuse_unknown_keys(shaping.get("length"), LengthForm, "shaping.length.")
        _refuse_unknown_keys(shaping.get("repetition"), RepetitionForm, "shaping.repetition.")


def _refuse_unknown_of_criterion(criterion: Mapping[str, Any], where: str) -> None:
    kind = criterion.get("kind", "judge")
    if not isinstance(kind, str) or kind not in KINDS:
        raise RubricError(f"`{where}kind` must be {' or '.join(KINDS)}")
    _refuse_unknown_keys(criterion, KINDS[kind], where)
    _refuse_unknown_keys(criterion.get("gate"), GateForm, f"{where}gate.")
    levels = criterion.get("levels")
    for place, level in enumerate(levels if isinstance(levels, list) else ()):
        _refuse_unknown_keys(level, LevelForm, f"{where}levels[{place}].")


def _refuse_unknown_keys(table: Any, form: type[Struct], where: str) -> None:
    if not isinstance(table, Mapping):
        return
    known = form.__struct_fields__ + (("kind",) if form in KINDS.values() else ())
    for key in table:
        if key not in known:
            raise RubricError(f"there is no key `{where}{key}`{_nearest(key, known)}")


def _nearest(name: str, known: tuple[str, ...]) -> str:
    import difflib  # noqa: PLC0415 - for mistakes only

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
            raise RubricError(f"{key}: `{criterion.name}` is reserved; choose another name")
        if criterion.name in seen:
            raise RubricError(f"{key}: there are two criteria `{criterion.name}`; rename one")
        seen.add(criterion.name)


def _refuse_bad_scale(criterion: CriterionForm, where: str) -> None:
    if criterion.levels:
        values = criterion.anchors
        if criterion.minimum is not UNSET or criterion.maximum is not UNSET:
            raise RubricError(
                f"`{where}.levels` already define the scale; remove minimum and maximum"
            )
        if len(values) < 2 or any(a >= b for a, b in itertools.pairwise(values)):
            raise RubricError(f"`{where}.levels` must be two or more numbers, ascending")
    low, high = criterion.scale
    if low >= high:
        raise RubricError(f"`{where}.minimum` ({low:g}) must be less than its maximum ({high:g})")
    if criterion.step is not UNSET:
        _refuse_bad_step(criterion, criterion.step, f"{where}.step")


def _refuse_bad_step(criterion: CriterionForm, step: float, where: str) -> None:
    low, high = criterion.scale
    if not 1 <= criterion.steps < MAX_LEVELS:
        raise RubricError(
            f"`{where}` must lead from {low:g} to {high:g} in 1 to {MAX_LEVELS - 1} steps"
        )
    for value in (high, *criterion.anchors):
        if not math.isclose((value - low) / step, round((value - low) / step), abs_tol=1e-6):
            raise RubricError(f"`{where}`: steps of {step:g} from {low:g} do not meet {value:g}")


def _refuse_bad_length(length: LengthForm | None) -> None:
    if length is None:
        return
    if not length.min_chars and length.max_chars is None:
        raise RubricError(
            "`shaping.length` has no length; set min_chars or max_chars, or remove it"
        )
    if length.max_chars is not None and length.min_chars > length.max_chars:
        raise RubricError(
            f"`shaping.length.min_chars` ({length.min_chars}) is above max_chars ({length.max_chars})"
        )


def _refuse_bad_templates(file: RubricFile) -> None:
    """Checks the rubric's templates, and those of criteria that have their own."""
    judged = {
        index: criterion
        for index, criterion in enumerate(file.criteria)
        if isinstance(criterion, CriterionForm)
    }
    _refuse_placeholders("system", file.system_text, SYSTEM_PLACEHOLDERS)
    shared = [criterion for criterion in judged.values() if criterion.user is None]
    _refuse_bad_user("user", file.user_text, shared)
    for index, criterion in judged.items():
        where = f"criteria[{index}]"
        if criterion.system is not None:
            _refuse_placeholders(f"{where}.system", criterion.system, SYSTEM_PLACEHOLDERS)
        if criterion.user is not None:
            _refuse_bad_user(f"{where}.user", criterion.user, [criterion])


def _refuse_bad_user(key: str, text: str, criteria: Sequence[CriterionForm]) -> None:
    _refuse_placeholders(key, text, USER_PLACEHOLDERS)
    names = placeholders(text)
    needed = ["response", "criteria", "answer"]
    if any(criterion.needs_reference for criterion in criteria):
        needed.append("reference")
    for name in needed:
        if name not in names:
            raise RubricError(f"`{key}` has no {{{{{name}}}}}; add it")
    for name in set(names) & set(FIELDS):
        if names.count(name) > 1:
            raise RubricError(f"`{key}` has {{{{{name}}}}} more than once; keep one")
        if names.index("answer") < names.index(name):
            raise RubricError(
                f"`{key}` has {{{{answer}}}} before {{{{{name}}}}}; move it to the end"
            )


def _refuse_placeholders(key: str, text: str, known: tuple[str, ...]) -> None:
    for name in placeholders(text):
        if name not in known:
            raise RubricError(f"`{key}`: there is no {{{{{name}}}}}{_nearest(name, known)}")
