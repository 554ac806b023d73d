"""SIGTERM in the middle of `judge score`: what was acknowledged is judged once, ever."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import (  # noqa: F401 - a fixture
    IN_FLIGHT,
    JUDGE,
    environment,
    read_lines,
    row,
    started,
    write_rows,
)
from tests.cli.test_crash import (  # noqa: F401 - a fixture
    acknowledged,
    simulator,
    statistics,
    wait_for_calls,
)

ROWS = 600


@pytest.mark.parametrize("is_in_background", [False, True])
def test_a_terminated_run_loses_nothing_it_acknowledged(
    is_in_background: bool,
    tmp_path: Path,
    simulator: str,  # noqa: F811 - the fixture
    environment: dict[str, str],  # noqa: F811 - the fixture
) -> None:
    rows = [row(i, prompt=f"question {i // 4}", answer=f"answer {i}") for i in range(ROWS)]
    source, output = write_rows(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    command = ["score", str(source), "-o", str(output), "--quiet"]

    def begin() -> None:
        if is_in_background:  # as a script's `judge score ... &`
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    with started(*command, env=environment, stderr=subprocess.PIPE, preexec_fn=begin) as process:
        wait_for_calls(simulator, ROWS // 12)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "the same command continues from there" in said
    kept = acknowledged(output)
    at_stop = statistics(simulator)["calls"]

    assert 0 < kept < ROWS
    assert not output.exists()
    assert at_stop - kept <= 8 * IN_FLIGHT  # answered but not yet committed

    subprocess.run([*JUDGE, *command], env=environment, check=True, timeout=20)

    assert [line["id"] for line in read_lines(output)] == list(range(ROWS))
    assert statistics(simulator)["calls"] == at_stop + ROWS - kept
