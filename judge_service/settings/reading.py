"""Reads all settings from TOML and the environment as one frozen object.

Defaults come first, then the TOML file, then `JUDGE_...` variables (`[limits] tokens_per_minute` is
`JUDGE_LIMITS_TOKENS_PER_MINUTE`, a top-level key is `JUDGE_MODEL`, a list is `a,b`). An unknown key is an
error that names the nearest known one. Units are in the names. `make docs` writes `docs/settings.md` from
these records.
"""

import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from judge_service.errors import SettingsError
from judge_service.settings.guards import CanarySettings, GuardSettings
from judge_service.settings.judging import (
    BedrockSettings,
    CacheSettings,
    FailoverSettings,
    HedgeSettings,
    HttpSettings,
    LimitSettings,
    OpenAISettings,
    PackSettings,
    PriceSettings,
    PromptCacheSettings,
    RetrySettings,
    SageMakerSettings,
    Temperature,
    UnscoredSettings,
    VoteSettings,
    WireSettings,
)
from judge_service.settings.logs import LogSettings
from judge_service.settings.mistakes import nearest, place_in, readable
from judge_service.settings.serving import FunctionSettings, ServiceSettings

ENVIRONMENT_PREFIX = "JUDGE_"
NOT_SETTINGS = frozenset(
    {"JUDGE_CONFIG", "JUDGE_CONFIG_TTL_S", "JUDGE_SANDBOX_CACHE_DIR", "JUDGE_SANDBOX_SUBPROCESS"}
)
"""Variables with the prefix that are not settings: the TOML file's place, and how long a copy is valid."""

REMOTE_BACKENDS = ("bedrock", "sagemaker", "openai")
"""The backends that ask a named model. Each has a section of its name."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole configuration."""

    backend: Annotated[
        Literal["local", "bedrock", "sagemaker", "openai"],
        Meta(
            description="the kind of judge; `local` is the embedded judge, which needs no network"
        ),
    ] = "local"
    model: Annotated[
        str,
        Meta(
            max_length=2048,
            description="model id, inference profile, ARN or SageMaker endpoint of the judge",
        ),
    ] = ""
    rubric: Annotated[
        str,
        Meta(
            min_length=1,
            description=(
                "`similarity`, or a rubric file (TOML): a path, `s3://bucket/key`,"
                " `ssm:/parameter/name`, or the text itself"
            ),
        ),
    ] = "similarity"
    grader: Annotated[
        str,
        Meta(
            max_length=2048,
            description=(
                "a custom grader, `module:function` or `path/to/file.py:function`, used instead of rubric"
                " and judge (docs/custom-grader.md)"
            ),
        ),
    ] = ""
    grader_timeout_s: Annotated[
        float,
        Meta(gt=0, le=86_400, description="limit of one call of `grader`, seconds"),
    ] = 30.0
    answer: Annotated[
        Literal["auto", "schema", "tool", "text"],
        Meta(
            description=(
                "the form of the judge's answer; `auto` uses the rubric's choice, then the best form that"
                " the model supports, and the next one if the model refuses"
            )
        ),
    ] = "auto"
    temperature: Annotated[
        Temperature | None,
        Meta(description="set it to `-` in the environment for models that refuse it"),
    ] = 0.0
    max_reasks: Annotated[
        int, Meta(ge=0, le=5, description="repetitions of a call after an unusable answer")
    ] = 1
    max_sample_chars: Annotated[
        int,
        Meta(ge=100, le=10_000_000, description="a sample with more text than this is not judged"),
    ] = 400_000
    rubric_from_row: Annotated[
        Literal["refuse"],
        Meta(
            description=(
                "what happens to a row that has its own rubric (`rubric`, `rubrics`,"
                " `rubric_items`); with `refuse` it has no score"
            )
        ),
    ] = "refuse"
    deadline_s: Annotated[
        float,
        Meta(gt=0, le=86_400, description="time for one batch, seconds, if the caller sets none"),
    ] = 55.0
    bedrock: BedrockSettings = BedrockSettings()
    sagemaker: SageMakerSettings = SageMakerSettings()
    openai: OpenAISettings = OpenAISettings()
    http: HttpSettings = HttpSettings()
    limits: LimitSettings = LimitSettings()
    retry: RetrySettings = RetrySettings()
    failover: FailoverSettings = FailoverSettings()
    hedge: HedgeSettings = HedgeSettings()
    pack: PackSettings = PackSettings()
    vote: VoteSettings = VoteSettings()
    guards: GuardSettings = GuardSettings()
    canaries: CanarySettings = CanarySettings()
    cache: CacheSettings = CacheSettings()
    prompt_cache: PromptCacheSettings = PromptCacheSettings()
    unscored: UnscoredSettings = UnscoredSettings()
    wire: WireSettings = WireSettings()
    prices: PriceSettings = PriceSettings()
    logs: LogSettings = LogSettings()
    function: FunctionSettings = FunctionSettings()
    service: ServiceSettings = ServiceSettings()


class Key(Struct, frozen=True):
    """One setting: its dotted name, its field's type, default and description."""

    name: str
    type: Any
    default: Any
    description: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return ENVIRONMENT_PREFIX + self.name.replace(".", "_").upper()


def keys(struct: type[Struct] = Settings, prefix: str = "") -> Iterator[Key]:
    """All settings, sections in order."""
    for field in msgspec.structs.fields(struct):
        if isinstance(field.type, type) and issubclass(field.type, Struct):
            yield from keys(field.type, f"{prefix}{field.name}.")
        else:
            yield Key(prefix + field.name, field.type, field.default, _description(field.type))


def _description(annotation: Any) -> str:
    metas = [arg for arg in get_args(annotation) if isinstance(arg, Meta)]
    return next((meta.description for meta in metas if meta.description), "")


def load_settings(
    path: Path | str | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Reads the settings from a TOML file and the environment.

    path: the file; `None` reads none.
    environ: usually `os.environ`; `None` reads none.

    Raises SettingsError with one sentence that names the key and its file or variable.
    """
    text, place = ("", "") if path is None else (read_file(Path(path)), str(path))
    return parse_settings(text, place, environ)


def parse_settings(text: str, place: str, environ: Mapping[str, str] | None = None) -> Settings:
    """As `load_settings`, from the text of a file.

    place: the file's place, for errors and relative paths; may be remote.
    """
    table = _read_toml(text, place)
    _refuse_unknown(table, place)
    if str(table.get("rubric", "")).endswith(".toml"):
        table["rubric"] = beside(place, table["rubric"])
    canaries = table.get("canaries")
    named = canaries.get("file") if isinstance(canaries, dict) else None
    if isinstance(named, str) and named and not is_remote(place):
        table["canaries"]["file"] = beside(place, named)
    if ".py:" in str(table.get("grader", "")) and not is_remote(place):
        table["grader"] = beside(place, table["grader"])
    for key, value in _from_environment(environ or {}):
        *section, name = key.name.split(".")
        target = table
        for part in section:
            target = target.setdefault(part, {})
        target[name] = value
    try:
        settings = msgspec.convert(table, Settings)
    except msgspec.ValidationError as problem:
        raise SettingsError(
            f"{place or 'settings'}: {readable(problem, _key_at(problem))}"
        ) from None
    _refuse_another_judge(table, settings)
    _refuse_contradictions(settings)
    return settings


def is_remote(place: str) -> bool:
    """Whether a place is outside this machine: `s3://bucket/key` or `ssm:/parameter/name`."""
    return place.startswith(("s3://", "ssm:"))


def beside(place: str, name: str) -> str:
    """Resolves a name relative to the folder of a place; an absolute name stays unchanged."""
    if is_remote(name) or name.startswith("/"):
        return name
    ends_at = max(place.rfind("/"), place.rfind(":") if is_remote(place) else -1)
    return place[: ends_at + 1] + name


def read_file(path: Path) -> str:
    """The text of a configuration file. Raises SettingsError."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such file; name one with --config") from None
    except OSError as problem:
        raise SettingsError(f"{path}: cannot be read ({problem.strerror})") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8 text; save it as UTF-8") from None


def _read_toml(text: str, place: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise SettingsError(f"{place}: is not TOML ({problem})") from None


def _refuse_unknown(table: Mapping[str, Any], source: str, prefix: str = "") -> None:
    known = [key.name for key in keys()]
    sections = {name.split(".")[0] for name in known if "." in name}
    for name, value in table.items():
        full = prefix + name
        if not prefix and name in sections and isinstance(value, Mapping):
            _refuse_unknown(value, source, f"{name}.")
        elif full not in known and not (full in sections and not prefix):
            alike = sorted(sections) if isinstance(value, Mapping) and not prefix else known
            raise SettingsError(f"{source}: there is no setting `{full}`{nearest(full, alike)}")


def _key_at(problem: msgspec.ValidationError) -> Key | None:
    return next((key for key in keys() if key.name == place_in(problem)), None)


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[Key, Any]]:
    by_variable = {key.variable: key for key in keys()}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in NOT_SETTINGS:
            continue
        key = by_variable.get(variable)
        if key is None:
            raise SettingsError(
                f"there is no setting for the variable {variable}{nearest(variable, by_variable)}"
            )
        yield key, _from_text(key, text)


def _from_text(key: Key, text: str) -> Any:
    value: Any = None if text == "-" else text
    if isinstance(key.default, tuple):
        value = [part.strip() for part in text.split(",") if part.strip(" -")]
    try:
        return msgspec.convert(value, key.type, strict=False)
    except msgspec.ValidationError as problem:
        raise SettingsError(f"{key.variable}: {readable(problem, key)}") from None


def _refuse_another_judge(table: Mapping[str, Any], settings: Settings) -> None:
    """Refuses what is set for a judge that is not asked: `backend` was forgotten, lost or mistyped.

    Without this rule such settings are ignored in silence, and another judge gives the rewards.
    """
    if settings.grader:  # replaces every judge, and says so
        return
    chosen = settings.backend
    for name in (one for one in REMOTE_BACKENDS if one != chosen):
        if any(value is not None for value in table.get(name, {}).values()):
            raise SettingsError(
                f"`[{name}]` is set, but `backend` is `{chosen}`, which does not read it; write"
                f' `backend = "{name}"`, or delete what `[{name}]` or JUDGE_{name.upper()}_... sets'
            )
    if chosen == "local" and settings.model:
        choices = ", ".join(f'"{one}"' for one in REMOTE_BACKENDS)
        raise SettingsError(
            f"`model` is `{settings.model}`, but `backend` is `local`, the embedded judge, which has only"
            f" its own model; set `backend` to one of {choices}, or delete `model`"
        )


def _refuse_contradictions(settings: Settings) -> None:
    if settings.backend != "local" and not settings.model and not settings.grader:
        raise SettingsError(
            f"`model` is empty: the {settings.backend} backend needs the name of the model"
        )
    several = [
        name
        for name, amount in (
            ("vote.draws", settings.vote.draws),
            ("pack.max_samples", settings.pack.max_samples),
        )
        if amount > 1
    ]
    place, _, function = settings.grader.rpartition(":")
    if settings.grader and not (place and function.isidentifier()):
        raise SettingsError(
            f"`grader`: `{settings.grader}` is neither `module:function` nor `path/to/file.py:function`"
        )
    if several and settings.grader:
        raise SettingsError(f"`{several[0]}` is for a judge; `grader` names a custom grader")
    if several and settings.backend == "local":
        raise SettingsError(
            f"`{several[0]}` is for language models; the embedded judge always gives the same answer"
        )
    if settings.pack.max_samples > 1 and logprobs_of(settings):
        raise SettingsError(
            f"`{settings.backend}.logprobs` works for calls about one sample; set"
            " `pack.max_samples = 1` or turn it off"
        )
    if settings.vote.draws > 1 and settings.temperature == 0:
        raise SettingsError(
            "`vote.draws` needs a `temperature` above 0, because at 0 all draws are equal"
        )
    if settings.limits.store != "none" and not settings.limits.store_url:
        raise SettingsError(f"`limits.store_url` is empty: `{settings.limits.store}` needs it")
    if any(isinstance(value, float) and not math.isfinite(value) for value in _values(settings)):
        raise SettingsError("a number in the settings is not finite; use a finite one")
    policy, _, value = settings.unscored.policy.partition(":")
    lowest = -1.0 if settings.wire.score_range == "-1..1" else 0.0
    if policy == "value" and not lowest <= float(value) <= 1.0:
        raise SettingsError(
            f"`unscored.policy`: {value} is outside the wire range {settings.wire.score_range}"
        )


def workers_share(settings: Settings) -> bool:
    """Whether several workers share a quota through a file, because no store is configured."""
    limits = settings.limits
    return settings.service.workers > 1 and limits.store == "none" and bool(limits.quota())


def logprobs_of(settings: Settings) -> int:
    """Alternatives of each token to request from the backend, 0 for none."""
    asked = {"openai": settings.openai.logprobs, "sagemaker": settings.sagemaker.logprobs}
    return asked.get(settings.backend, 0)


def _values(struct: Struct) -> Iterator[Any]:
    for value in msgspec.structs.astuple(struct):
        if isinstance(value, Struct):
            yield from _values(value)
        else:
            yield value
