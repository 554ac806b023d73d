"""Everything an operator can set, as one frozen object, read once from TOML and the environment.

Order: defaults, then the TOML file, then `JUDGE_...` variables (`[limits] tokens_per_minute` is
`JUDGE_LIMITS_TOKENS_PER_MINUTE`, a key at the top is `JUDGE_MODEL`, a list is `a,b`). An unknown key is
refused with the nearest known one. Units are in the names. `docs/settings.md` is written from this file.
"""

import difflib
import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from judge_service.errors import SettingsError

ENVIRONMENT_PREFIX = "JUDGE_"
NOT_SETTINGS = frozenset({"JUDGE_CONFIG"})
"""Variables with the prefix that are read elsewhere (`JUDGE_CONFIG` names the TOML file)."""

Rate = Annotated[float, Meta(gt=0, le=1e12)]
Price = Annotated[float, Meta(ge=0, le=1e6)]
Temperature = Annotated[float, Meta(ge=0, le=2)]


class BedrockSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Amazon Bedrock, Converse."""

    region: Annotated[
        str | None, Meta(description="AWS region; by default from the AWS environment or profile")
    ] = None
    profile: Annotated[
        str | None, Meta(description="AWS profile; by default the session's own choice")
    ] = None
    endpoint_url: Annotated[
        str | None,
        Meta(description="another endpoint, such as the simulator's; by default the region's"),
    ] = None
    transport: Annotated[
        Literal["direct", "aioboto3"],
        Meta(description="`direct` signs and sends by itself; `aioboto3` is the reference path"),
    ] = "direct"


class OpenAISettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Any endpoint that speaks OpenAI chat completions (vLLM, SGLang, TGI, Bedrock's own)."""

    base_url: Annotated[str, Meta(description="up to and including `/v1`")] = (
        "http://localhost:8000/v1"
    )
    api_key_env: Annotated[
        str, Meta(description="name of the variable that holds the key; unset or empty sends none")
    ] = "OPENAI_API_KEY"


class HttpSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The transport under the HTTP backends."""

    connect_timeout_s: Annotated[
        float, Meta(gt=0, le=60, description="TCP and TLS set-up, seconds")
    ] = 3.0
    call_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            le=900,
            description="one judge call, seconds, also when the deadline is further away",
        ),
    ] = 60.0
    idle_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            le=600,
            description=(
                "an idle connection is dropped after so many seconds; less than the 5 s after which"
                " many servers drop theirs, so that none is used while it is being closed"
            ),
        ),
    ] = 4.0
    ca_file: Annotated[
        str | None,
        Meta(
            description="PEM file of authorities to trust besides the system's (`aioboto3`: instead)"
        ),
    ] = None
    proxy_url: Annotated[
        str | None,
        Meta(description="the only proxy used, `http://host:port`; the environment's are ignored"),
    ] = None
    max_reply_bytes: Annotated[
        int, Meta(ge=1024, le=100_000_000, description="a longer reply is a broken one")
    ] = 4_000_000


class LimitSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The judge's quota. A resource that is not set is not limited."""

    requests_per_minute: Annotated[Rate | None, Meta(description="judge calls a minute")] = None
    tokens_per_minute: Annotated[
        Rate | None,
        Meta(description="input + output tokens a minute, as Bedrock counts them"),
    ] = None
    input_tokens_per_minute: Annotated[
        Rate | None, Meta(description="input tokens a minute (bedrock-mantle)")
    ] = None
    output_tokens_per_minute: Annotated[
        Rate | None, Meta(description="output tokens a minute (bedrock-mantle)")
    ] = None
    output_burndown: Annotated[
        float,
        Meta(
            ge=1,
            le=100,
            description="quota tokens one output token costs; 5 for Claude 3.7 to 4.x, see your model",
        ),
    ] = 1.0
    burst_s: Annotated[
        float,
        Meta(
            gt=0,
            le=60,
            description=(
                "how many seconds of quota may go at once; 0.5 keeps any 60 s window within +1 %"
            ),
        ),
    ] = 0.5
    max_in_flight: Annotated[
        int,
        Meta(ge=1, le=10_000, description="judge calls on the wire at once, one connection each"),
    ] = 512
    adaptive: Annotated[
        bool,
        Meta(description="lower `max_in_flight` by itself while the judge throttles or slows down"),
    ] = True
    processes: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="processes that share the quota; each takes its part while there is no store",
        ),
    ] = 1
    store: Annotated[
        Literal["none", "redis", "dynamodb"],
        Meta(description="where processes share this quota; `none` gives each process all of it"),
    ] = "none"
    store_url: Annotated[
        str,
        Meta(description="`redis://host:6379/0` (or `rediss://`), or the DynamoDB table's name"),
    ] = ""
    store_key: Annotated[
        str,
        Meta(
            max_length=128,
            description="names the quota in the store; by default backend, region and model",
        ),
    ] = ""


class RetrySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Retries of one judge call. Throttling is bounded apart, because it is not a failure."""

    max_attempts: Annotated[
        int, Meta(ge=1, le=10, description="attempts at one question, throttled ones not counted")
    ] = 3
    max_throttled: Annotated[
        int, Meta(ge=0, le=100, description="throttled attempts after which a question is given up")
    ] = 8
    base_s: Annotated[
        float, Meta(gt=0, le=60, description="the first wait is random between 0 and this, seconds")
    ] = 0.05
    throttled_base_s: Annotated[
        float, Meta(gt=0, le=60, description="the same after throttling, seconds")
    ] = 1.0
    cap_s: Annotated[
        float, Meta(gt=0, le=300, description="no wait is longer, except one the judge asked for")
    ] = 5.0
    budget_ratio: Annotated[
        float, Meta(ge=0, le=1, description="retries may be this share of the calls, over 10 s")
    ] = 0.2
    budget_per_s: Annotated[
        float, Meta(ge=0, le=1e6, description="and so many retries a second besides")
    ] = 10.0


class FailoverSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a question goes that the first target could not answer. Each has a quota of its own size."""

    regions: Annotated[
        tuple[str, ...], Meta(max_length=8, description="the same model in these regions, in order")
    ] = ()
    models: Annotated[
        tuple[str, ...],
        Meta(
            max_length=8,
            description=(
                "other inference profiles of the same model, in order; another *model* changes the"
                " measuring instrument and is refused unless `allow_other_model`"
            ),
        ),
    ] = ()
    allow_other_model: Annotated[
        bool, Meta(description="let `models` name other models; every reward says which one judged")
    ] = False


class HedgeSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A second copy of a slow call. Costs what it costs, so it is off by default."""

    enabled: Annotated[
        bool,
        Meta(
            description="for batches that wait for their slowest call and quotas with room to spare"
        ),
    ] = False
    budget: Annotated[
        float, Meta(gt=0, le=0.5, description="second copies may be this share of the calls")
    ] = 0.05


class PackSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Several samples in one judge call. Saves prompt tokens and costs accuracy: measure first."""

    max_samples: Annotated[int, Meta(ge=1, le=64, description="1 packs nothing")] = 1
    max_tokens: Annotated[
        int, Meta(ge=100, le=200_000, description="estimated tokens of the samples in one call")
    ] = 4000


class VoteSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Several draws of one judgement. Needs a `temperature` above 0."""

    draws: Annotated[int, Meta(ge=1, le=15, description="1 asks once; 3 is most of the gain")] = 1
    reduce: Annotated[
        Literal["mean", "median"], Meta(description="how the draws become one score per criterion")
    ] = "mean"


class CacheSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Judgements kept in memory. Only complete ones are kept."""

    max_entries: Annotated[int, Meta(ge=0, le=10_000_000, description="0 keeps none")] = 10_000
    ttl_s: Annotated[float, Meta(gt=0, le=2_592_000, description="seconds")] = 3600.0
    redis_url: Annotated[
        str, Meta(description="`redis://host:6379/0`: judgements are shared there as well")
    ] = ""


class UnscoredSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a caller that needs a number gets for a sample that could not be judged."""

    policy: Annotated[
        str,
        Meta(
            pattern=r"^(group_mean|fail|value:-?[0-9]+(\.[0-9]+)?)$",
            description=(
                "`group_mean` (mean of the scored answers to the same prompt, so that the advantage"
                " is about zero), `value:x` (x in the wire range), or `fail`"
            ),
        ),
    ] = "group_mean"
    max_fraction: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="above this share of failed judgements the whole batch fails, to be retried",
        ),
    ] = 0.25
    memory_s: Annotated[
        float, Meta(ge=0, le=86_400, description="how long group means are remembered, seconds")
    ] = 600.0


class WireSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How rewards leave."""

    score_range: Annotated[
        Literal["0..1", "-1..1"], Meta(description="range of every score that leaves the house")
    ] = "0..1"
    envelope: Annotated[
        Literal["auto", "list", "http"],
        Meta(
            description="`http` is `{statusCode, headers, body}`; `auto` answers the way it was called"
        ),
    ] = "auto"
    max_event_bytes: Annotated[
        int, Meta(ge=1024, le=1_000_000_000, description="a larger event is refused")
    ] = 25_000_000


class PriceSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the judge costs. Without these no cost is shown; prices are not guessed."""

    input_usd_per_million_tokens: Annotated[Price | None, Meta(description="US dollars")] = None
    output_usd_per_million_tokens: Annotated[Price | None, Meta(description="US dollars")] = None


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole configuration."""

    backend: Annotated[
        Literal["local", "bedrock", "openai"],
        Meta(description="who judges; `local` is the embedded judge, which needs no network"),
    ] = "local"
    model: Annotated[
        str, Meta(max_length=2048, description="model id, inference profile or ARN of the judge")
    ] = ""
    rubric: Annotated[
        str, Meta(min_length=1, description="`similarity` or a path to a rubric file (TOML)")
    ] = "similarity"
    answer: Annotated[
        Literal["auto", "schema", "tool", "text"],
        Meta(
            description=(
                "how the judge is made to answer; `auto` takes the rubric's wish, then the best the"
                " model can do, and steps down when the model refuses"
            )
        ),
    ] = "auto"
    temperature: Annotated[
        Temperature | None,
        Meta(description="set it to `-` in the environment for models that refuse it"),
    ] = 0.0
    max_reasks: Annotated[
        int, Meta(ge=0, le=5, description="how often an unusable answer is asked for again")
    ] = 1
    max_sample_chars: Annotated[
        int,
        Meta(ge=100, le=10_000_000, description="a sample with more text than this is not judged"),
    ] = 400_000
    deadline_s: Annotated[
        float,
        Meta(
            gt=0, le=86_400, description="time for one batch, seconds, where the caller sets none"
        ),
    ] = 55.0
    bedrock: BedrockSettings = BedrockSettings()
    openai: OpenAISettings = OpenAISettings()
    http: HttpSettings = HttpSettings()
    limits: LimitSettings = LimitSettings()
    retry: RetrySettings = RetrySettings()
    failover: FailoverSettings = FailoverSettings()
    hedge: HedgeSettings = HedgeSettings()
    pack: PackSettings = PackSettings()
    vote: VoteSettings = VoteSettings()
    cache: CacheSettings = CacheSettings()
    unscored: UnscoredSettings = UnscoredSettings()
    wire: WireSettings = WireSettings()
    prices: PriceSettings = PriceSettings()


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
    """Every setting there is, sections in order."""
    for field in msgspec.structs.fields(struct):
        if isinstance(field.type, type) and issubclass(field.type, Struct):
            yield from keys(field.type, f"{prefix}{field.name}.")
        else:
            yield Key(prefix + field.name, field.type, field.default, _description(field.type))


def _description(annotation: Any) -> str:
    metas = [arg for arg in get_args(annotation) if isinstance(arg, Meta)]
    return next((meta.description for meta in metas if meta.description), "")


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Reads the settings from a TOML file and the environment.

    path: the file; `None` reads none.
    environ: usually `os.environ`; `None` reads none.

    Raises SettingsError with one sentence that names the key, and the file or variable it came from.
    """
    table = _read_toml(path) if path is not None else {}
    _refuse_unknown(table, f"{path}")
    if path is not None and str(table.get("rubric", "")).endswith(".toml"):
        table["rubric"] = str(path.parent / table["rubric"])
    for key, value in _from_environment(environ or {}):
        *section, name = key.name.split(".")
        target = table
        for part in section:
            target = target.setdefault(part, {})
        target[name] = value
    try:
        settings = msgspec.convert(table, Settings)
    except msgspec.ValidationError as problem:
        raise SettingsError(f"{path or 'settings'}: {_readable(problem)}") from None
    _refuse_contradictions(settings)
    return settings


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such file; name one with --config") from None
    except OSError as problem:
        raise SettingsError(f"{path}: cannot be read ({problem.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingsError(f"{path}: is not TOML ({problem})") from None


def _refuse_unknown(table: Mapping[str, Any], source: str, prefix: str = "") -> None:
    known = [key.name for key in keys()]
    sections = {name.split(".")[0] for name in known if "." in name}
    for name, value in table.items():
        full = prefix + name
        if not prefix and name in sections and isinstance(value, Mapping):
            _refuse_unknown(value, source, f"{name}.")
        elif full not in known and not (full in sections and not prefix):
            raise SettingsError(f"{source}: there is no setting `{full}`{_nearest(full, known)}")


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[Key, Any]]:
    by_variable = {key.variable: key for key in keys()}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in NOT_SETTINGS:
            continue
        key = by_variable.get(variable)
        if key is None:
            raise SettingsError(
                f"there is no setting for the variable {variable}{_nearest(variable, by_variable)}"
            )
        yield key, _from_text(key, text)


def _from_text(key: Key, text: str) -> Any:
    value: Any = None if text == "-" else text
    if isinstance(key.default, tuple):
        value = [part.strip() for part in text.split(",") if part.strip(" -")]
    try:
        return msgspec.convert(value, key.type, strict=False)
    except msgspec.ValidationError as problem:
        raise SettingsError(f"{key.variable}: {_readable(problem, key)}") from None


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    if not close:
        close = [full for full in known if full.rpartition(".")[2] == name.rpartition(".")[2]][:1]
    return f"; did you mean `{close[0]}`?" if close else "; see docs/settings.md"


def _readable(problem: msgspec.ValidationError, key: Key | None = None) -> str:
    what, _, where = str(problem).partition(" - at `$.")
    where = where.rstrip("`")
    key = key or next((known for known in keys() if known.name == where), None)
    choices = _choices(key.type) if key else ()
    if choices and what.startswith("Invalid enum value"):
        what += f"; use one of {', '.join(choices)}"
    return f"`{where}`: {what}" if where else what


def _choices(annotation: Any) -> tuple[str, ...]:
    literal = get_args(annotation)[0]
    return get_args(literal) if get_origin(literal) is Literal else ()


def _refuse_contradictions(settings: Settings) -> None:
    if settings.backend != "local" and not settings.model:
        raise SettingsError(
            f"`model` is empty: the {settings.backend} backend needs to know which model judges"
        )
    several = [
        name
        for name, amount in (
            ("vote.draws", settings.vote.draws),
            ("pack.max_samples", settings.pack.max_samples),
        )
        if amount > 1
    ]
    if several and settings.backend == "local":
        raise SettingsError(
            f"`{several[0]}` is for language models; the embedded judge is always of one opinion"
        )
    if settings.vote.draws > 1 and settings.temperature == 0:
        raise SettingsError(
            "`vote.draws` needs a `temperature` above 0, because at 0 all draws are alike"
        )
    if settings.limits.store != "none" and not settings.limits.store_url:
        raise SettingsError(f"`limits.store_url` is empty: `{settings.limits.store}` is not found")
    if any(isinstance(value, float) and not math.isfinite(value) for value in _values(settings)):
        raise SettingsError("a number in the settings is not finite; use a finite one")
    policy, _, value = settings.unscored.policy.partition(":")
    lowest = -1.0 if settings.wire.score_range == "-1..1" else 0.0
    if policy == "value" and not lowest <= float(value) <= 1.0:
        raise SettingsError(
            f"`unscored.policy`: {value} is outside the wire range {settings.wire.score_range}"
        )


def _values(struct: Struct) -> Iterator[Any]:
    for value in msgspec.structs.astuple(struct):
        if isinstance(value, Struct):
            yield from _values(value)
        else:
            yield value
