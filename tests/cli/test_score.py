"""`judge score` over a fake judge: every row ends once, and nothing is judged twice."""

import gzip
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from judge_service import open_service
from judge_service.backends.scripted import Scripted
from judge_service.cli import main, score
from judge_service.cli.journal import journal_path
from judge_service.errors import SettingsError
from judge_service.settings import (
    GuardSettings,
    LimitSettings,
    OpenAISettings,
    PackSettings,
    Settings,
)
from tests.cli.conftest import Bench, FakeJudge, read_lines, row, write_rows


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> FakeJudge:
    """The judge that the command line opens."""
    fake = FakeJudge(lambda sample: 0.25 + 0.5 * (sample.response == "4"))
    monkeypatch.setattr(score, "_open_service", fake.open)
    monkeypatch.delenv("JUDGE_CONFIG", raising=False)
    return fake


def test_every_row_has_one_line_in_the_inputs_order(bench: Bench, judge: FakeJudge) -> None:
    write_rows(bench.input, [row(i, answer=str(i)) for i in range(10)])

    assert main(["score", str(bench.input), "-o", str(bench.output), "--quiet"]) == 0

    lines = read_lines(bench.output)
    assert judge.judged != sorted(judge.judged)
    assert [line["id"] for line in lines] == list(range(10))
    assert [line["aggregate_reward_score"] for line in lines] == [0.25] * 4 + [0.75] + [0.25] * 5


@pytest.fixture
def reasoning(monkeypatch: pytest.MonkeyPatch) -> FakeJudge:
    """A judge that writes its reason, behind the command line."""
    judge = FakeJudge(lambda sample: "refused" if sample.id == 2 else 0.5)
    judge.rubric = replace(judge.rubric, reasoning="brief")
    judge.explanation = "It names the sum."
    monkeypatch.setattr(score, "_open_service", judge.open)
    monkeypatch.setenv("JUDGE_UNSCORED_MAX_FRACTION", "0.5")
    return judge


@pytest.mark.parametrize(("flags", "is_kept"), [((), True), (("--no-reasons",), False)])
def test_the_judges_reasons_are_written_unless_unwanted(
    bench: Bench, reasoning: FakeJudge, flags: tuple[str, ...], *, is_kept: bool
) -> None:
    write_rows(bench.input, [row(1), row(2)])

    for _ in range(2):  # the second time from the journal
        assert main(["score", str(bench.input), "-o", str(bench.output), "--quiet", *flags]) == 0
        scored, unscored = read_lines(bench.output)
        assert scored.get("explanation") == ("It names the sum." if is_kept else None)
        assert "explanation" not in unscored
    assert reasoning.judged == [2, 1]


def test_reasons_that_nobody_asks_the_judge_for_are_refused_before_a_call(
    bench: Bench, reasoning: FakeJudge, capsys: pytest.CaptureFixture[str]
) -> None:
    reasoning.rubric = replace(reasoning.rubric, reasoning="none")
    write_rows(bench.input, [row(1)])

    assert main(["score", str(bench.input), "-o", str(bench.output), "--reasons"]) == 2
    assert 'set `reasoning = "brief"` in it' in capsys.readouterr().err
    assert reasoning.judged == []


def test_a_second_run_judges_nothing_and_writes_the_same(bench: Bench, judge: FakeJudge) -> None:
    write_rows(bench.input, [row(i) for i in range(10)])
    command = ["score", str(bench.input), "-o", str(bench.output), "--quiet"]
    main(command)
    before = bench.output.read_bytes()
    judge.judged.clear()

    assert main(command) == 0

    assert judge.judged == []
    assert bench.output.read_bytes() == before


def test_only_changed_and_new_rows_are_judged_again(bench: Bench) -> None:
    judge = FakeJudge(lambda _sample: 0.5)
    write_rows(bench.input, [row(i) for i in range(5)])
    bench.run(judge)
    judge.judged.clear()
    write_rows(bench.input, [row(0), row(1), row(2, answer="other"), row(3), row(4), row(5)])

    facts = bench.run(judge)

    assert sorted(judge.judged) == [2, 5]
    assert (facts.total, facts.judged) == (6, 2)


def test_duplicate_rows_and_ids_each_get_an_answer(bench: Bench, judge: FakeJudge) -> None:
    write_rows(bench.input, [row("same")] * 7)

    main(["score", str(bench.input), "-o", str(bench.output), "--quiet"])

    assert [line["id"] for line in read_lines(bench.output)] == ["same"] * 7


def test_a_failure_in_the_middle_keeps_what_was_judged(bench: Bench) -> None:
    write_rows(bench.input, [row(i) for i in range(20)])
    first = FakeJudge(lambda sample: RuntimeError("a bug") if sample.id == 10 else 0.5)
    with pytest.raises(RuntimeError, match="a bug"):
        bench.run(first)
    second = FakeJudge(lambda _sample: 0.5)

    bench.run(second)

    assert len(first.judged) > 0
    assert sorted(first.judged + second.judged) == list(range(20))


def test_a_line_that_cannot_be_read_is_an_unscored_row(
    bench: Bench, judge: FakeJudge, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        json.dumps(row(0)),
        "{broken",
        json.dumps({"id": "x", "messages": 3}),
        json.dumps(row(3)),
    ]
    bench.input.write_text("\n".join(lines))

    assert main(["score", str(bench.input), "-o", str(bench.output), "--json"]) == 0

    rows = read_lines(bench.output)
    summary = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in rows] == [0, None, "x", 3]
    assert [one.get("unscored_reason") for one in rows] == [None, "unreadable", "unreadable", None]
    assert len({tuple(m["name"] for m in one["metrics_list"]) for one in rows}) == 1
    assert summary["unscored_reasons"] == {"unreadable": 2}
    assert summary["unscored_examples"]["unreadable"].startswith("line 2: is not JSON")


def test_too_many_unscored_writes_nothing_and_can_be_mended(
    bench: Bench, judge: FakeJudge, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(bench.input, [row(i) for i in range(10)])
    command = ["score", str(bench.input), "-o", str(bench.output)]
    judge._answer = lambda sample: "unavailable" if sample.id < 5 else 0.5

    assert main(command) == 3

    said = capsys.readouterr()
    assert not bench.output.exists()
    assert "5 of 10 rows could not be judged" in said.err
    assert "--retry-unscored" in said.err
    assert "not written" in said.out

    judge.judged.clear()
    judge._answer = lambda _sample: 1.0
    assert main(command) == 3, "an unscored row is not judged again unless asked"
    assert judge.judged == []

    assert main([*command, "--retry-unscored"]) == 0
    assert sorted(judge.judged) == list(range(5))
    assert len(read_lines(bench.output)) == 10


def test_another_model_is_refused_until_restarted(bench: Bench) -> None:
    write_rows(bench.input, [row(i) for i in range(3)])
    bench.run(FakeJudge(lambda _sample: 0.5))
    bench.settings = Settings(backend="bedrock", model="m")
    judge = FakeJudge(lambda _sample: 0.9)

    with pytest.raises(SettingsError, match=r"another backend local \(now bedrock\)"):
        bench.run(judge)
    assert judge.judged == []

    bench.run(judge, restart=True)
    assert len(judge.judged) == 3


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"openai": OpenAISettings(base_url="http://key:secret@two/v1")},
            "openai.base_url http://one/v1 (now http://two/v1)",
        ),
        (
            {"openai": OpenAISettings(base_url="http://one/v1", logprobs=5)},
            "openai.logprobs 0 (now 5)",
        ),
        ({"pack": PackSettings(max_samples=4)}, "pack.max_samples 1 (now 4)"),
        ({"guards": GuardSettings(copies=False)}, "guards.copies True (now False)"),
    ],
)
def test_a_run_is_not_resumed_by_another_instrument(
    bench: Bench, changed: dict[str, Any], told: str
) -> None:
    class Real:
        def open(self, settings: Settings) -> Any:
            return open_service(settings, environ={}, model=Scripted(0.5))

    judge: Any = Real()
    write_rows(bench.input, [row(i) for i in range(3)])
    bench.settings = Settings(
        backend="openai", model="m", openai=OpenAISettings(base_url="http://one/v1")
    )
    assert bench.run(judge).judged == 3
    bench.settings = replace(bench.settings, limits=LimitSettings(max_in_flight=3))
    assert bench.run(judge).judged == 0
    bench.settings = replace(bench.settings, **changed)
    with pytest.raises(SettingsError) as caught:
        bench.run(judge)
    assert f"was made with another {told}; use --restart" in str(caught.value)


def test_the_window_bounds_what_is_in_memory(bench: Bench) -> None:
    write_rows(bench.input, [row(i) for i in range(1000)])
    judge = FakeJudge(lambda _sample: 0.5)

    bench.run(judge, window=16)

    assert judge.largest_window == 16


def test_the_summary_on_stdout_is_one_json_object(
    bench: Bench, judge: FakeJudge, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(i, prompt=f"p{i // 2}", answer="4" if i % 3 else "5") for i in range(6)]
    write_rows(bench.input, rows)

    main(["score", str(bench.input), "-o", str(bench.output), "--json"])

    summary = json.loads(capsys.readouterr().out)
    assert (summary["rows"], summary["judged_now"], summary["kept"]) == (6, 6, 0)
    assert summary["criteria"][0]["mean"] == pytest.approx(3.5 / 6)
    assert sum(summary["histogram"]) == 6
    assert (summary["groups"], summary["groups_without_variance"]) == (3, 1)
    assert (summary["judge_calls"], summary["input_tokens"], summary["cost_usd"]) == (6, 600, None)


def test_the_page_fits_80_columns(
    bench: Bench, judge: FakeJudge, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(bench.input, [row(i) for i in range(8)])
    judge._answer = lambda sample: "throttled" if sample.id == 3 else 0.5

    main(["score", str(bench.input), "-o", str(bench.output)])

    page = capsys.readouterr().out
    text = page.replace(str(bench.output), "out.jsonl")
    assert max(len(line) for line in text.splitlines()) <= 80
    for said in ("similarity", "throttled: the judge's quota", "1 of 8 rows", "out.jsonl"):
        assert said in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": "nowhere.jsonl"}, "nowhere.jsonl: there is no such file"),
        ({"output": "nowhere/out.jsonl"}, "check that the directory exists"),
        ({"config": "nowhere.toml"}, "nowhere.toml: there is no such file"),
        ({"output": "in.jsonl"}, "is the input"),
        ({"output": "."}, "is a directory"),
        ({"output": "-"}, "must be a file"),
        ({"output": "/dev/null"}, "is a device, a pipe or a socket"),
        ({"output": "pipe"}, "pipe: is a device, a pipe or a socket"),
        ({"output": "link"}, "link: is a link"),
        ({"output": "dangling"}, "dangling: is a link"),
        ({"output": "taken"}, "taken.journal: is a link"),
        ({"input": "nowhere.jsonl", "output": "in.jsonl"}, "nowhere.jsonl: there is no such file"),
    ],
)
@pytest.mark.usefixtures("judge")
def test_a_users_mistake_is_one_sentence(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    message: str,
) -> None:
    monkeypatch.chdir(bench.input.parent)
    write_rows(bench.input, [row(0)])
    before = bench.input.read_bytes()
    os.mkfifo("pipe")
    for name, target in {"link": "in.jsonl", "dangling": "nowhere", "taken.journal": "x"}.items():
        Path(name).symlink_to(target)
    files = sorted(Path().iterdir())
    names = {"input": "in.jsonl", "output": "out.jsonl", **change}
    config = ["--config", names["config"]] if "config" in names else []

    assert main(["score", names["input"], "-o", names["output"], *config]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("judge: ")
    assert message in line
    assert bench.input.read_bytes() == before
    assert sorted(Path().iterdir()) == files


def test_the_standard_input_is_read_and_resumed_like_a_file(
    bench: Bench, judge: FakeJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(bench.input, [row(i) for i in range(3)])
    for judged in ([2, 1, 0], []):
        with bench.input.open() as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            assert main(["score", "-", "-o", str(bench.output), "--quiet"]) == 0
        assert judge.judged == judged
        judge.judged.clear()


def test_an_interrupt_says_how_to_go_on(
    bench: Bench, judge: FakeJudge, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(bench.input, [row(i) for i in range(9)])
    judge._answer = lambda sample: KeyboardInterrupt() if sample.id == 5 else 0.5

    assert main(["score", str(bench.input), "-o", str(bench.output)]) == 130

    assert "the same command continues from there" in capsys.readouterr().err
    assert not bench.output.exists()


def test_an_unexpected_error_is_short_unless_debugged(
    bench: Bench, judge: FakeJudge, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(bench.input, [row(0)])
    judge._answer = lambda _sample: ZeroDivisionError("oh")
    command: list[Any] = ["score", str(bench.input), "-o", str(bench.output)]

    assert main(command) == 1
    assert capsys.readouterr().err.splitlines() == [
        "judge: unexpected ZeroDivisionError: oh (run again with --debug for the trace)"
    ]
    assert main([*command, "--debug"]) == 1
    assert "raise verdict" in capsys.readouterr().err


def test_the_config_comes_from_the_flag_or_the_environment_and_from_nowhere_else(
    tmp_path: Path, bench: Bench, judge: FakeJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(bench.input, [row(0)])
    (tmp_path / "judge.toml").write_text("nonsense = 1\n")
    command = ["score", str(bench.input), "-o", str(bench.output), "--quiet"]

    assert main(command) == 0
    assert main([*command, "--config", "judge.toml"]) == 2
    monkeypatch.setenv("JUDGE_CONFIG", "judge.toml")
    assert main(command) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("question,output\n2 + 2?,4\n", ["`unreadable`", "a JSON object in UTF-8"]),
        (
            '{"question": "2 + 2?", "output": "4", "target": "4"}\n' * 2,
            ["`no_response`", "`model_response`", "`question`, `output`, `target`"],
        ),
        ('[{"conversations": []}, {"conversations": []}]', ["`no_response`", "`conversations`"]),
        (
            '{"prompt": "2 + 2?", "response": "4", "gold": "4"}\n',
            ["`no_reference`", "`reward_model.ground_truth`", "the rows have `gold`"],
        ),
    ],
)
def test_a_file_without_any_score_is_an_error_that_names_keys_and_writes_nothing(
    bench: Bench,
    judge: FakeJudge,
    capsys: pytest.CaptureFixture[str],
    text: str,
    says: list[str],
) -> None:
    judge._answer = lambda sample: "no_reference" if sample.response else "no_response"
    bench.input.write_text(text)

    assert main(["score", str(bench.input), "-o", str(bench.output), "--quiet"]) == 3

    said = capsys.readouterr().err
    assert all(one in said for one in [*says, "rows has a score", "mend the input"])
    assert said.count("\n") == 1
    assert not bench.output.exists()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (gzip.compress(b"{}", mtime=0), "gzip"),
        (b"\x28\xb5\x2f\xfd rows", "zstd"),
        (b"PAR1 rows PAR1", "Parquet"),
        ('{"id": 1}\n'.encode("utf-16"), "UTF-16"),
    ],
)
def test_other_forms_are_refused_before_a_call(
    bench: Bench, judge: FakeJudge, capsys: pytest.CaptureFixture[str], data: bytes, says: str
) -> None:
    bench.input.write_bytes(data)

    assert main(["score", str(bench.input), "-o", str(bench.output)]) == 2
    assert says in capsys.readouterr().err
    assert not bench.output.exists()


def test_debug_shows_the_trace_and_keeps_the_exit_code(
    bench: Bench, judge: FakeJudge, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(bench.input, [row(0)])
    judge._answer = lambda _sample: "refused"

    assert main(["score", str(bench.input), "-o", str(bench.output), "--quiet", "--debug"]) == 3
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "judge: none of 1 rows has a score" in said


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE results SET reward = x'7b22' WHERE position = 3",
        "UPDATE results SET reward = x'ff' WHERE position = 3",
        "UPDATE results SET reward = 7 WHERE position = 3",
        "UPDATE results SET id = x'7b' WHERE position = 3",
        """UPDATE results SET reward = '{"score": "high"}' WHERE position = 3""",
    ],
)
def test_a_damaged_result_is_judged_again_and_told(
    bench: Bench, judge: FakeJudge, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    write_rows(bench.input, [row(i) for i in range(6)])
    command = ["score", str(bench.input), "-o", str(bench.output), "--quiet"]
    main(command)
    before = bench.output.read_bytes()
    database = sqlite3.connect(journal_path(bench.output))
    with database:
        database.execute(damage)
    database.close()
    judge.judged.clear()

    assert main(command) == 0

    assert judge.judged == [3]
    assert bench.output.read_bytes() == before
    assert "1 results in" in capsys.readouterr().err


def test_an_emptied_journal_is_told(
    bench: Bench, judge: FakeJudge, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(bench.input, [row(0)])
    command = ["score", str(bench.input), "-o", str(bench.output), "--quiet"]
    main(command)
    assert capsys.readouterr().err == ""
    journal_path(bench.output).write_bytes(b"")

    assert main(command) == 0

    assert "is empty, so every row is judged" in capsys.readouterr().err


@pytest.mark.parametrize("lines", [1, 2])
@pytest.mark.parametrize("field", ["question", "input", "user_prompt"])
def test_one_line_is_read_like_two_and_a_task_that_is_not_read_is_told(
    bench: Bench,
    judge: FakeJudge,
    capsys: pytest.CaptureFixture[str],
    lines: int,
    field: str,
) -> None:
    write_rows(bench.input, [{field: "What is 2 + 2?", "response": "4", "answer": "4"}] * lines)

    assert main(["score", str(bench.input), "-o", str(bench.output), "--quiet"]) == 0

    assert [one["aggregate_reward_score"] for one in read_lines(bench.output)] == [0.75] * lines
    assert ("`user_prompt` looks like it" in capsys.readouterr().err) == (field == "user_prompt")
