"""Shared code of the benchmarks: sizes, a simulator process, load, and results with their environment.

Run a benchmark with `python loadtest/NAME.py`; with `--smoke` it has tiny sizes and writes nothing.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import urlopen

import msgspec

from judge_service import Sample
from judge_service.flow import Request
from judge_service.settings import Settings
from judge_service.values import Channel, Completion, Message, Prompt, Usage

R = TypeVar("R")
ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "loadtest" / "results"
MODEL = "us.amazon.nova-lite-v1:0"
ENVIRON = {
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "simulated",
    "AWS_SECRET_ACCESS_KEY": "simulated",
}
SERVE = """
import sys, msgspec
from judge_service.simulator import SimulatorConfig, run
config = msgspec.convert(msgspec.json.decode(sys.argv[1]), SimulatorConfig)
run(config, port=0, on_ready=lambda simulator: print(simulator.url, flush=True))
"""


# The machine


class Stolen:
    """The CPU time that the host has taken from this machine since this object was made.

    On a shared machine it increases latencies, independent of the measured program. It is 0 if
    the system does not report it.
    """

    def __init__(self) -> None:
        self._before = _ticks()

    def percent(self) -> float:
        """Percent of the time of all CPUs, 0 to 100."""
        stolen, total = (now - before for now, before in zip(_ticks(), self._before, strict=True))
        return 100 * stolen / total if total else 0.0


def _ticks() -> tuple[int, int]:
    """The stolen and the total CPU time, in ticks."""
    try:
        numbers = [
            int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        ]
    except (OSError, ValueError):
        return 0, 0
    return numbers[7], sum(numbers)


SINCE_THE_START = Stolen()


def calmest(rounds: Sequence[R], stolen_percent: Callable[[R], float]) -> list[R]:
    """The third of the rounds with the least stolen CPU time."""
    return sorted(rounds, key=stolen_percent)[: -(-len(rounds) // 3)]


# Sizes and results


def sizes(doc: str | None, **sizes: tuple[float, float]) -> argparse.Namespace:
    """Parses the command line: one flag for each size, with its full and smoke values."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="tiny sizes; writes no result")
    for name, (full, _) in sizes.items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(full), help=f"{full:g} by default")
    options = parser.parse_args()
    for name, (full, smoke) in sizes.items():
        if getattr(options, name) is None:
            setattr(options, name, smoke if options.smoke else full)
    return options


def at_most(what: str, measured: float, asked: float, unit: str = "") -> dict[str, Any]:
    """A figure with an upper target."""
    return _figure(what, measured, "<=", asked, unit, met=measured <= asked)


def at_least(what: str, measured: float, asked: float, unit: str = "") -> dict[str, Any]:
    """A figure with a lower target."""
    return _figure(what, measured, ">=", asked, unit, met=measured >= asked)


def _figure(
    what: str, measured: float, sign: str, asked: float, unit: str, *, met: bool
) -> dict[str, Any]:
    shown = round(measured) if 1000 <= abs(measured) < inf else float(f"{measured:.4g}")
    asked_for = f"{sign} {asked:g} {unit}".strip()
    return {"what": what, "asked": asked_for, "measured": shown, "unit": unit, "met": bool(met)}


def report(
    name: str, figures: list[dict[str, Any]], details: dict[str, Any], *, smoke: bool
) -> None:
    """Prints all figures, and writes `results/NAME.json` unless it is a smoke run."""
    for figure in figures:
        print(line(figure), flush=True)
    if smoke:
        print("(smoke run: the figures have no meaning, and nothing was written)")
        return
    RESULTS.mkdir(exist_ok=True)
    result = {"figures": figures, "details": details, "environment": environment()}
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")


def line(figure: dict[str, Any]) -> str:
    """One figure for a terminal."""
    mark = "met    " if figure["met"] else "NOT MET"
    return f"  {mark}  {figure['measured']:>10,} (asked {figure['asked']})  {figure['what']}"


def say(text: str) -> None:
    """Prints a line of progress."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def environment() -> dict[str, Any]:
    """The environment of a measurement."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load_average_1_min": round(os.getloadavg()[0], 2),
        "stolen_percent": round(SINCE_THE_START.percent(), 1),
        "commit": _commit(),
        "judge-service": version("judge-service"),
        "httptools": version("httptools"),
    }


def _commit() -> str:
    """The commit, with `+` if tracked files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return said.stdout.strip()


def spread(values: Sequence[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    return {
        "min": round(min(values), 3),
        "median": round(statistics.median(values), 3),
        "max": round(max(values), 3),
    }


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that is not exceeded by at least `percent` of the values."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


# The judge


class Simulated:
    """A simulator in a separate process. url: its address."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        self.pid = process.pid
        self.url = url

    def statistics(self) -> Any:
        """The simulator's statistics so far."""
        return json.loads(self.read())

    def read(self) -> bytes:
        """The statistics as JSON bytes."""
        with urlopen(f"{self.url}/simulator/statistics", timeout=10) as reply:
            content: bytes = reply.read()
        return content


@contextmanager
def simulator(**config: Any) -> Iterator[Simulated]:
    """Runs the simulator in a separate process. config: fields of `SimulatorConfig`."""
    command = [sys.executable, "-c", SERVE, json.dumps(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                raise RuntimeError("the simulator did not start; its own message is above")
            yield Simulated(process, url)
        finally:
            process.terminate()


def settings_for(url: str, **sections: Any) -> Settings:
    """Settings of a Bedrock judge at `url`; `sections` are settings as in the TOML file."""
    bedrock = {"endpoint_url": url, "region": "us-east-1"}
    return msgspec.convert(
        {"backend": "bedrock", "model": MODEL, "bedrock": bedrock, **sections}, Settings
    )


class InstantJudge:
    """A backend that answers after `wait`, with little CPU and no state."""

    model = MODEL
    channels: tuple[Channel, ...] = ("text",)

    def __init__(self, wait: Callable[[], Awaitable[None]] | None = None) -> None:
        self._wait = wait
        self._completion = Completion(text="0.75", usage=Usage(300, 1, calls=1), model=MODEL)

    async def __call__(self, request: Request[Prompt]) -> Completion:
        request.sent_at = time.monotonic()
        if self._wait is not None:
            await self._wait()
        return self._completion

    async def check(self) -> list[str]:
        return []

    async def aclose(self) -> None:
        pass

    def statistics(self) -> None:
        return None


# The load


def sample(number: int, words: int = 40) -> Sample:
    """A sample that differs from all others. words: those of its response, 5.5 characters each on average."""
    house = f"House {number} was built in {1500 + number % 500} by the parish."
    padding = " ".join(f"stone {number + place:x}" for place in range(words // 2))
    return Sample(
        id=number,
        messages=(Message("user", f"In which year was house {number} built, and by whom?"),),
        response=f"{house} {padding}",
        reference=f"It was built in {1500 + number % 500} by the parish.",
    )


# This process


def cpu_s() -> float:
    """CPU seconds of all threads of this process, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def rss_kb() -> int:
    """Resident memory now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def descriptors() -> int:
    """Open file descriptors now (Linux)."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  twice as fast, and called under load
