"""The simulator's configuration, one frozen object."""

import math
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from msgspec import Struct

from judge_service.simulator import spells
from judge_service.simulator.faults import FAULTS, Fault
from judge_service.simulator.spells import Spell


class SimulatorConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the simulator behaves. The defaults answer at once, without limits and without faults.

    seed: of the answers and of the draws of latency and faults. The same seed and the same order of
        requests give the same behaviour; the answers do not depend on the order.

    requests_per_minute, tokens_per_minute, tokens_per_day: quota of each model, `None` for none.
    refill: `continuous` refills all the time and holds `burst_s` seconds of the quota; `minute` starts
        afresh every minute. AWS does not document which one it uses, so test with both. `window` starts
        afresh every `refill_window_s` seconds with that part of the quota, as some gateways do.
    refill_window_s: of `window`, in (0, 60]; 1 lets a sixtieth of the quota pass in each second.
    burst_s: how many seconds of quota may be taken at once, in (0, 60]. 1 is strict: any 60 s
        carry at most 61 s of quota.
    output_burndown: tokens of quota that one output token costs in the end (5 for Claude 3.7 to 4.x).
    model_max_output_tokens: reserved for a call without a maximum; 64,000 as for Haiku 4.5.
    max_input_tokens: a longer prompt is refused.
    chars_per_token: characters that count as one token.

    latency_median_s, latency_sigma: a log-normal; a median of 0 answers at once.
    tail_probability, tail_factor: this share of the calls takes this many times longer.

    ..._rate: share of the calls that meet this fault, in [0, 1], together at most 1; the fault of
        the same name is described in `faults.FAULTS`.
    faults: faults of the first calls, in order, used before any is drawn; `None` is a call without one.
    spells: storms, outages, slow spells and other tenants of the quota, each for a time; see `Spell`.
    slow_byte_s: pause between the bytes of a `slow_body`, seconds.

    cache_min_tokens: the fewest tokens of a prompt's beginning that are cached (see `prompt_cache`); `None`
        caches nothing.
    cache_ttl_s: how long a beginning is kept after its last use, seconds; 300 as for Bedrock.

    refuses_schema, refuses_tool, refuses_logprobs, refuses_temperature, refuses_caching: the models refuse
        structured output, a forced tool, token probabilities, a temperature, cache points or a
        `prompt_cache_key`, as some real ones do.
    text_answer: the answer to a call without schema and tool: by default a number (`0.00` to `1.00`) or
        the line of JSON that the prompt asks for (see `requested_form`); a function gets the prompt's text
        and its score in [0, 1).

    verify_sigv4: check signatures against `access_key`, `secret_key`, `session_token` and `region`.
    bearer_token: when set, Converse accepts it too, and chat completions require it.
    max_clock_skew_s: how far a signature's date may be off; 300 as for AWS.

    max_header_bytes, max_body_bytes: larger requests are refused (431, 413); 25 MB as for AWS.
    idle_timeout_s: a connection that sends nothing for this long is closed.
    max_models, max_tracked_prompts, max_events: bounds of what is kept in memory.
    """

    seed: int = 0

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    tokens_per_day: float | None = None
    refill: Literal["continuous", "minute", "window"] = "continuous"
    refill_window_s: float = 1.0
    burst_s: float = 1.0
    output_burndown: float = 1.0
    model_max_output_tokens: int = 64_000
    max_input_tokens: int = 200_000
    chars_per_token: float = 4.0

    latency_median_s: float = 0.0
    latency_sigma: float = 0.3
    tail_probability: float = 0.0
    tail_factor: float = 10.0

    throttle_rate: float = 0.0
    daily_quota_rate: float = 0.0
    not_ready_rate: float = 0.0
    error_5xx_rate: float = 0.0
    internal_error_rate: float = 0.0
    unavailable_rate: float = 0.0
    model_timeout_rate: float = 0.0
    model_error_rate: float = 0.0
    model_throttled_rate: float = 0.0
    model_busy_rate: float = 0.0
    dependency_error_rate: float = 0.0
    access_denied_rate: float = 0.0
    expired_token_rate: float = 0.0
    validation_rate: float = 0.0
    not_found_rate: float = 0.0
    reset_rate: float = 0.0
    reset_body_rate: float = 0.0
    half_body_rate: float = 0.0
    short_length_rate: float = 0.0
    bad_chunks_rate: float = 0.0
    hang_rate: float = 0.0
    headers_only_rate: float = 0.0
    slow_body_rate: float = 0.0
    malformed_json_rate: float = 0.0
    html_rate: float = 0.0
    empty_body_rate: float = 0.0
    garbage_rate: float = 0.0
    empty_content_rate: float = 0.0
    reasoning_only_rate: float = 0.0
    max_tokens_rate: float = 0.0
    content_filtered_rate: float = 0.0
    guardrail_rate: float = 0.0
    malformed_output_rate: float = 0.0
    context_full_rate: float = 0.0
    faults: tuple[Fault | None, ...] = ()
    spells: tuple[Spell, ...] = ()
    slow_byte_s: float = 1.0

    cache_min_tokens: int | None = None
    cache_ttl_s: float = 300.0

    refuses_schema: bool = False
    refuses_tool: bool = False
    refuses_logprobs: bool = False
    refuses_temperature: bool = False
    refuses_caching: bool = False
    text_answer: Callable[[str, float], str] | None = None

    verify_sigv4: bool = False
    access_key: str = ""
    secret_key: str = ""
    session_token: str = ""
    region: str = "us-east-1"
    bearer_token: str = ""
    max_clock_skew_s: float = 300.0

    max_header_bytes: int = 65_536
    max_body_bytes: int = 25_000_000
    idle_timeout_s: float = 300.0
    max_models: int = 1_000
    max_tracked_prompts: int = 100_000
    max_events: int = 10_000

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise ValueError(f"simulator: {problem}")


POSITIVE = [
    "requests_per_minute",
    "tokens_per_minute",
    "tokens_per_day",
    "output_burndown",
    "model_max_output_tokens",
    "max_input_tokens",
    "chars_per_token",
    "tail_factor",
    "slow_byte_s",
    "cache_min_tokens",
    "cache_ttl_s",
    "max_header_bytes",
    "max_body_bytes",
    "idle_timeout_s",
    "max_models",
]
AT_LEAST_ZERO = [
    "latency_median_s",
    "latency_sigma",
    "max_clock_skew_s",
    "max_tracked_prompts",
    "max_events",
]


def fault_rates(config: SimulatorConfig) -> dict[Any, float]:
    """The rates above zero, by fault, in the order of the fields."""
    fields = msgspec.structs.asdict(config)
    rates = {name[:-5]: rate for name, rate in fields.items() if name.endswith("_rate")}
    return {fault: rate for fault, rate in rates.items() if rate > 0}


def _problems(config: SimulatorConfig) -> list[str]:
    fields = msgspec.structs.asdict(config)
    shares = {n: v for n, v in fields.items() if n.endswith("_rate")}
    shares["tail_probability"] = config.tail_probability
    found = [
        f"{name} is {v}, use a share from 0 to 1" for name, v in shares.items() if not 0 <= v <= 1
    ]
    found += [f"{n} is {fields[n]}, use more than 0" for n in POSITIVE if not _above(fields[n], 0)]
    found += [
        f"{n} is {fields[n]}, use 0 or more" for n in AT_LEAST_ZERO if not 0 <= fields[n] < math.inf
    ]
    if sum(fault_rates(config).values()) > 1 + 1e-9:
        found.append("the fault rates sum to more than 1")
    if not 0 < config.burst_s <= 60:
        found.append(f"burst_s is {config.burst_s}, use more than 0 and at most 60")
    found += _window_problems(config)
    found += [f"{fault} is no fault" for fault in config.faults if fault not in (None, *FAULTS)]
    found += spells.problems(config.spells)
    if config.verify_sigv4 and not (config.access_key and config.secret_key):
        found.append("verify_sigv4 needs access_key and secret_key")
    return found


def _window_problems(config: SimulatorConfig) -> list[str]:
    window_s = config.refill_window_s
    if not 0 < window_s <= 60:
        return [f"refill_window_s is {window_s}, use more than 0 and at most 60"]
    per_minute = config.requests_per_minute
    if config.refill == "window" and per_minute and 0 < per_minute * window_s < 60:
        return [
            f"refill_window_s is {window_s}, too short for one of {per_minute:g} requests a minute"
        ]
    return []


def _above(value: float | None, lowest: float) -> bool:
    return value is None or lowest < value < math.inf
