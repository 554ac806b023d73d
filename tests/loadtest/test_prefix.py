"""`loadtest/prefix.py` on tiny sizes: it runs to its end, and what does not depend on the size is met."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_a_smoke_run_meets_what_does_not_depend_on_its_size() -> None:
    command = [sys.executable, "loadtest/prefix.py", "--smoke"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    met = [line.split()[1] for line in run.stdout.splitlines() if line.startswith("  met")]
    assert met[-2:] == ["0.0", "100.0"], run.stdout
