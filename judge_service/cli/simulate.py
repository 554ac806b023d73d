"""`judge simulate`: runs a Bedrock simulator on this machine, with quotas, latency and faults."""

import argparse
from collections.abc import Iterator
from typing import Any

import msgspec

from judge_service.errors import SettingsError
from judge_service.simulator import FAULTS, Simulator, SimulatorConfig
from judge_service.simulator import run as run_simulator

HELP = "start the Bedrock simulator"
EXAMPLES = """examples:
  judge simulate --port 9090 --latency-median-s 0.3
  judge simulate --requests-per-minute 6000 --tokens-per-minute 3000000
  judge simulate --throttle-rate 0.05 --error-5xx-rate 0.02 --reset-rate 0.01 --garbage-rate 0.01
  judge simulate --requests-per-minute 6000 --spell tenant,at_s=30,for_s=30,every_s=60,value=0.7
  judge simulate --spell throttle,at_s=20,for_s=60 --spell slow,at_s=120,for_s=30,value=5

It prints the configuration that points a judge at it.
"""

FLAGS: dict[str, str] = {
    "seed": "seed of answers, latency and faults",
    "requests_per_minute": "quota of each model",
    "tokens_per_minute": "quota of each model, input + reserved output",
    "tokens_per_day": "quota of each model",
    "refill": "refill of the quotas: continuous, minute or window",
    "refill_window_s": "seconds of a window, with `--refill window`",
    "burst_s": "seconds of quota that may be used at once",
    "output_burndown": "quota tokens of one output token",
    "latency_median_s": "0 answers at once",
    "latency_sigma": "sigma of the log-normal distribution",
    "tail_probability": "share of slow calls",
    "tail_factor": "factor of their latency",
    "spells": (
        "a temporary condition, may be repeated: `slow`, `tenant` (another user of the quota) or the name"
        " of a fault, then at_s, for_s, every_s and value, which docs/simulator.md explains"
    ),
    "cache_min_tokens": "tokens of a prompt's beginning from which the models cache it",
    "cache_ttl_s": "seconds for which they keep it after its last use",
    "refuses_schema": "the models refuse structured output",
    "refuses_tool": "the models refuse a forced tool",
    "verify_sigv4": "check signatures",
    "access_key": "access key of the accepted signer",
    "secret_key": "secret key of the accepted signer",
    "region": "region of the accepted signer",
}
"""Fields of the configuration that have a flag, with the flag's help; each `..._rate` has one too."""

MODEL = "us.amazon.nova-lite-v1:0"
"""Model in the printed configuration; the simulator answers for any model."""

LINES = """simulating Bedrock at {url} (Ctrl-C stops it); to use it, in judge.toml:

    backend = "bedrock"
    model = "{model}"
    [bedrock]
    region = "{region}"
    endpoint_url = "{url}"

or in the environment:

    export JUDGE_BACKEND=bedrock JUDGE_MODEL={model} \\
      JUDGE_BEDROCK_REGION={region} JUDGE_BEDROCK_ENDPOINT_URL={url} \\
      AWS_ACCESS_KEY_ID={access_key} AWS_SECRET_ACCESS_KEY={secret_key}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=9090, help="port, 0 takes a free one (%(default)s)"
    )
    behaviour = parser.add_argument_group("behaviour")
    faults = parser.add_argument_group("faults", "share of calls with each fault, from 0 to 1")
    for field in _fields():
        if field.name.endswith("_rate"):
            _add_flag(faults, field, FAULTS[field.name.removesuffix("_rate")])
        elif field.name == "spells":
            behaviour.add_argument(
                "--spell",
                dest="spells",
                action="append",
                metavar="KIND,NAME=X,...",
                help=FLAGS["spells"],
            )
        else:
            _add_flag(behaviour, field, f"{FLAGS[field.name]} ({_default(field)})")


def run(arguments: argparse.Namespace) -> int:
    """Serves until it is interrupted, and then prints the counts."""
    config = read_config(arguments)
    try:
        seen = run_simulator(config, arguments.host, arguments.port, _show_usage)
    except OSError as problem:
        raise SettingsError(
            f"cannot listen on {arguments.host} port {arguments.port} ({problem.strerror});"
            " choose another --port"
        ) from None
    print(
        f"stopped: {seen.calls:,} calls, {seen.answered:,} answered, at most {seen.peak_in_flight:,}"
        f" at once; {seen.input_tokens:,} + {seen.output_tokens:,} tokens"
    )
    return 0


def read_config(arguments: argparse.Namespace) -> SimulatorConfig:
    """The simulator's configuration from the flags.

    Raises SettingsError if a value has the wrong type or range.
    """
    given = {f.name: getattr(arguments, f.name) for f in _fields()}
    values = {name: value for name, value in given.items() if value is not None}
    values["spells"] = [_spell(text) for text in values.get("spells", ())]
    try:
        return msgspec.convert(values, SimulatorConfig, strict=False)
    except (msgspec.ValidationError, ValueError) as problem:
        raise SettingsError(f"{problem}") from None


def _spell(text: str) -> dict[str, str]:
    """Parses `throttle,at_s=20,for_s=60` into the members of a `Spell`."""
    kind, *members = text.split(",")
    named = (member.partition("=") for member in members)
    return {"kind": kind, **{name: value for name, _, value in named}}


def _fields() -> Iterator[Any]:
    for field in msgspec.structs.fields(SimulatorConfig):
        if field.name in FLAGS or field.name.endswith("_rate"):
            yield field


def _add_flag(group: Any, field: Any, text: str) -> None:
    flag = f"--{field.name.replace('_', '-')}"
    if field.type is bool:
        group.add_argument(flag, action="store_true", default=None, help=text)
    else:
        group.add_argument(flag, metavar="X", help=text)


def _default(field: Any) -> str:
    return "none" if field.default in (None, "") else str(field.default).lower()


def _show_usage(simulator: Simulator) -> None:
    config = simulator.config
    lines = LINES.format(
        url=simulator.url,
        model=MODEL,
        region=config.region,
        access_key=config.access_key or "any",
        secret_key=config.secret_key or "any",
    )
    print(lines, flush=True)
