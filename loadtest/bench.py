"""Runs all benchmarks that take less than about two minutes, in sequence, and prints a summary.

    python loadtest/bench.py [--smoke] [NAME ...]

`make soak` runs the long one. Figures that miss their target are marked; the exit code is 1 only if
a benchmark itself failed.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from measuring import RESULTS, line, say

HERE = Path(__file__).parent
TIMEOUT_S = 400
NAMES = (
    "limiter",
    "cpu",
    "inflight",
    "large_job",
    "hedge",
    "storm",
    "outage",
    "quota",
    "prefix",
    "score",
)


def main(known: Sequence[str] = NAMES, doc: str | None = __doc__) -> int:
    """Runs the benchmarks. known: all benchmarks in order. doc: description of the command."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--smoke", action="store_true", help="tiny sizes; writes no result")
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    names = options.names or known
    failed = [name for name in names if not run(name, smoke=options.smoke)]
    if not options.smoke:
        for name in names:
            show(name, stale=name in failed)
        print("`make docs` copies these figures into the documentation")
    if failed:
        print(f"these failed: {', '.join(failed)}")
    return 1 if failed else 0


def run(name: str, *, smoke: bool) -> bool:
    """Runs a benchmark. Returns whether it ended without an error."""
    say(f"{name} ...")
    started_s = time.monotonic()
    command = [sys.executable, str(HERE / f"{name}.py"), *(["--smoke"] if smoke else [])]
    try:
        code = subprocess.run(command, timeout=TIMEOUT_S, check=False).returncode
    except subprocess.TimeoutExpired:
        code = -1
    say(f"{name}: {'done' if code == 0 else 'FAILED'} in {time.monotonic() - started_s:.0f} s")
    return code == 0


def show(name: str, *, stale: bool) -> None:
    path = RESULTS / f"{name}.json"
    if stale or not path.exists():
        print(f"{name}: no result of this run")
        return
    print(name)
    for figure in json.loads(path.read_text())["figures"]:
        print(line(figure))


if __name__ == "__main__":
    sys.exit(main())
