"""Measures the CPU of an evaluation through the whole service, compared with plain clients in the same run.

    python loadtest/cpu.py [--calls 2000] [--rounds 7]

Each client is a separate process (`cpu_worker.py`). The clients take turns, so that a disturbance affects
all of them; a ratio is of one round. They send the same messages over plain HTTP to a judge that answers
at once. aioboto3 and litellm call the simulator by Bedrock's Converse, like `judge`. `raw` (an asyncio
protocol with httptools) and pyreqwest have no signatures, so they and `chat` use chat completions
with the same body, and call `cpu_judge.py`, which is faster than they are. litellm and
pyreqwest need `.venv-peers` (`make bench-peers`); without it they are skipped with a note.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from measuring import (
    MODEL,
    ROOT,
    InstantJudge,
    at_most,
    report,
    sample,
    say,
    settings_for,
    simulator,
    sizes,
    spread,
)

from judge_service import open_service
from judge_service.flow import Request
from judge_service.values import Completion, Prompt

PEERS = ROOT / ".venv-peers" / "bin" / "python"
WORKER = Path(__file__).with_name("cpu_worker.py")
IN_FLIGHT = 32
ASKED = (
    ("judge", "aioboto3", 1 / 4, "a aioboto3 call"),
    ("judge", "litellm", 1 / 12, "a litellm call"),
    ("chat", "raw", 4.4, "raw asyncio and httptools"),
    ("chat", "pyreqwest", 2.0, "a pyreqwest call"),
)
"""Our client, the other client, the largest allowed ratio of their CPU, and the name in the figure."""

BY_CHAT = {"chat", "raw", "pyreqwest"}
"""Clients that use chat completions and `cpu_judge.py`."""

SHARE_OF_CALLS = {"aioboto3": 0.5, "litellm": 0.15, "raw": 2.0, "chat": 2.0, "pyreqwest": 2.0}
"""Share of `--calls` in each round (default 1), so that each client takes at least a few tenths of a second
and none takes much longer than the others."""


def main() -> None:
    options = sizes(__doc__, calls=(2_000, 100), rounds=(7, 2))
    messages = asyncio.run(messages_of_ours())
    with ExitStack() as open_until_end:
        converse = open_until_end.enter_context(simulator()).url
        chat = open_until_end.enter_context(chat_judge())
        clients = {
            kind: open_until_end.enter_context(
                worker(kind, python, chat if kind in BY_CHAT else converse, messages)
            )
            for kind, python in pythons().items()
        }
        us = take_turns(clients, options.calls, options.rounds)
    figures = []
    for ours, peer, asked, name in ASKED:
        if peer in us:
            ratios = [mine / other for mine, other in zip(us[ours], us[peer], strict=True)]
            figures.append(
                at_most(f"CPU of an evaluation over {name}", statistics.median(ratios), asked)
            )
    details = {
        "calls_a_round": options.calls,
        "rounds": options.rounds,
        "in_flight": IN_FLIGHT,
        "message_chars": sum(len(message["content"]) for message in messages),
        "cpu_us_per_call": {kind: spread(values) for kind, values in us.items()},
        "versions": versions(),
    }
    for kind, values in us.items():
        print(f"  {kind}: {spread(values)} us of CPU a call")
    report("cpu", figures, details, smoke=options.smoke)


def pythons() -> dict[str, Path]:
    """The Python interpreter of each client."""
    found = dict.fromkeys(("judge", "aioboto3", "chat", "raw"), Path(sys.executable))
    if PEERS.exists():
        found |= dict.fromkeys(("pyreqwest", "litellm"), PEERS)
    else:
        say(
            "litellm and pyreqwest are left out: there is no .venv-peers; `make bench-peers` makes it"
        )
    return found


async def messages_of_ours() -> list[dict[str, str]]:
    """The messages that the service sends for a sample, which the others send too."""
    asked: list[Prompt] = []

    class Listening(InstantJudge):
        async def __call__(self, request: Request[Prompt]) -> Completion:
            asked.append(request.body)
            return await super().__call__(request)

    model: Any = Listening()
    async with open_service(settings_for("http://none"), environ={}, model=model) as judge:
        await judge.score([sample(1234567)])
    return [
        {"role": message.role, "content": message.content.replace("1234567", "{number}")}
        for message in asked[0].messages
    ]


@contextmanager
def chat_judge() -> Iterator[str]:
    """Starts `cpu_judge.py` in a separate process; gives its URL."""
    command = [sys.executable, str(Path(__file__).with_name("cpu_judge.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.terminate()


@contextmanager
def worker(
    kind: str, python: Path, url: str, messages: list[dict[str, str]]
) -> Iterator["subprocess.Popen[str]"]:
    command = [str(python), str(WORKER), kind, url, str(IN_FLIGHT), json.dumps(messages)]
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # else it downloads a file
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def take_turns(
    clients: dict[str, "subprocess.Popen[str]"], calls: int, rounds: int
) -> dict[str, list[float]]:
    """Microseconds of CPU a call, by client and round, after one round that is not counted."""
    us: dict[str, list[float]] = {kind: [] for kind in clients}
    for number in range(rounds + 1):
        for kind, process in clients.items():
            share = max(IN_FLIGHT, int(calls * SHARE_OF_CALLS.get(kind, 1.0)))
            spent_us = order(process, kind, share) / share * 1e6
            if number:
                us[kind].append(spent_us)
        say(f"round {number} of {rounds}")
    return us


def order(process: "subprocess.Popen[str]", kind: str, calls: int) -> float:
    """Has a client make calls. Returns its CPU seconds."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the client has no pipes")
    print(calls, file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"the client {kind} ended; its own message is above")
    return float(answer)


def versions() -> dict[str, str]:
    """The versions of the other clients."""
    script = (
        "import importlib.metadata as m, sys; print(*(m.version(name) for name in sys.argv[1:]))"
    )
    wanted: dict[Path, tuple[str, ...]] = {
        Path(sys.executable): ("aioboto3", "botocore", "httptools")
    }
    if PEERS.exists():
        wanted[PEERS] = ("litellm", "pyreqwest")
    found: dict[str, str] = {"model": MODEL}
    for python, names in wanted.items():
        said = subprocess.run(
            [python, "-c", script, *names], capture_output=True, text=True, check=True
        )
        found.update(zip(names, said.stdout.split(), strict=True))
    return found


if __name__ == "__main__":
    main()
