"""`judge score` during outages: rows are judged later, and the run tells the reason of its wait."""

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from judge_service.cli import main, score, writer
from judge_service.cli.progress import Lines, Silence, wait_line
from judge_service.cli.rows import open_rows
from judge_service.cli.score import Work, judge_rows
from judge_service.cli.summary import RunFacts
from judge_service.errors import JudgeOut, QuotaExhausted
from judge_service.service import open_service
from judge_service.testing import InlineThreads, run_virtual
from judge_service.values import Wait
from tests.cli.conftest import JUDGE, Bench, FakeJudge, read_lines, row, started, write_rows
from tests.test_service_outage import SETTINGS, Judge, down

ROWS = 1000


def judged(bench: Bench, judge: Judge, monkeypatch: pytest.MonkeyPatch, **work: Any) -> RunFacts:
    """What a whole run came to, in virtual time."""
    monkeypatch.setattr(writer, "ThreadPoolExecutor", InlineThreads)

    async def scenario(rows: Any, kept: Any) -> RunFacts:
        asyncio.get_running_loop().set_default_executor(InlineThreads())
        asked = Work(rows=rows, settings=SETTINGS, window=128, **work)
        return await judge_rows(
            asked, kept, Silence(), lambda one: open_service(one, environ={}, model=judge)
        )

    with open_rows(str(bench.input), 10**6) as rows, bench.journal() as kept:
        return run_virtual(scenario(rows, kept))


def reasons(bench: Bench, total: int = ROWS) -> set[str | None]:
    with bench.journal() as kept:
        return {entry.reward.reason for entry in kept.entries(total)}


@pytest.mark.parametrize(
    ("ill", "reason"),
    [(down(3, 303), "unavailable"), (down(3, 50_000, QuotaExhausted), "quota_exhausted")],
    ids=["five minutes", "a day"],
)
def test_an_outage_leaves_no_row_unjudged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, ill: Any, reason: str
) -> None:
    write_rows(bench.input, [row(n, answer=f"answer {n}") for n in range(ROWS)])

    facts = judged(bench, Judge(ill), monkeypatch)

    assert facts.judged == ROWS
    assert reasons(bench) == {None}
    assert list(facts.waited_s) == [reason]
    assert facts.waited_s[reason] > 200


def test_a_run_that_gave_up_goes_on_where_it_stopped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(bench.input, [row(n, answer=f"answer {n}") for n in range(ROWS)])
    with pytest.raises(JudgeOut):
        judged(bench, Judge(down(1, 1e9)), monkeypatch, max_wait_s=60.0)
    assert reasons(bench) == {None}, "what could not be judged is not written down"

    judge = Judge(lambda *_: None)
    facts = judged(bench, judge, monkeypatch)

    assert 0 < facts.judged == judge.asked < ROWS
    assert reasons(bench) == {None}


def test_the_command_line_says_why_it_gave_up_and_how_to_go_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = FakeJudge(lambda _: JudgeOut("the judge could not be asked for 7 s"))
    monkeypatch.setattr(score, "_open_service", judge.open)
    write_rows(bench.input, [row(1)])

    code = main(["score", str(bench.input), "-o", str(bench.output), "--max-wait-s", "7"])

    said = capsys.readouterr().err
    assert code == 4
    assert "could not be asked for 7 s" in said
    assert "the same command continues from there" in said


WAITS = [
    Wait(reason="unavailable", detail="nobody listens", waited_s=1, next_s=2),
    Wait(reason="unavailable", detail="nobody listens", waited_s=3, next_s=4),
    Wait(reason="unavailable", detail="nobody listens", waited_s=7, is_over=True),
]


def test_a_log_says_once_that_the_run_waits_and_once_that_it_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = Lines(10)
    for wait in WAITS:
        lines.wait(wait)

    said = capsys.readouterr().err.splitlines()
    assert said == [wait_line(WAITS[0]), wait_line(WAITS[2])]
    assert "asked again in 2 s (unavailable: nobody listens)" in said[0]
    assert "Ctrl-C keeps" in said[0]


def test_the_summary_says_how_long_the_run_waited_and_why(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Waiting(FakeJudge):
        async def stream(self, jobs: Any, *, tell: Any, **more: Any) -> Any:
            for wait in WAITS:
                await tell(wait)
            async for one in super().stream(jobs, **more):
                yield one

    monkeypatch.setattr(score, "_open_service", Waiting(lambda _: 0.5).open)
    write_rows(bench.input, [row(1)])
    command = ["score", str(bench.input), "-o", str(bench.output)]

    main([*command, "--json"])
    summary = json.loads(capsys.readouterr().out)
    main([*command, "--restart"])
    page = capsys.readouterr().out

    assert summary["waited_s"] == {"unavailable": 7}
    assert "waited     7 s for the judge, unavailable:" in page


@pytest.fixture
def simulator() -> Iterator[str]:
    """The URL of a simulator that refuses every call from its first second to its twentieth."""
    flags = ["--port", "0", "--latency-median-s", "0.02"]
    spell = ["--spell", "unavailable,at_s=1,for_s=20"]
    with started("simulate", *flags, *spell, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[3]


def test_a_real_run_waits_for_a_real_judge_and_can_be_stopped_at_once(
    bench: Bench, environment: dict[str, str]
) -> None:
    count = 1500
    write_rows(bench.input, [row(n, answer=f"answer {n}") for n in range(count)])
    command = ["score", str(bench.input), "-o", str(bench.output), "--json"]
    quick = environment | {"JUDGE_RETRY_MAX_ATTEMPTS": "1"}
    with started(*command, env=quick, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while "waiting for the judge" not in process.stderr.readline():
            assert process.poll() is None, "it ended without a wait"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 130
        assert time.monotonic() - began < 5
    assert not bench.output.exists()

    done = subprocess.run(
        [*JUDGE, *command], env=quick, text=True, capture_output=True, timeout=90, check=True
    )

    summary = json.loads(done.stdout)
    assert (summary["rows"], summary["unscored"]) == (count, 0)
    assert 0 < summary["kept"] < count
    assert len(read_lines(bench.output)) == count
