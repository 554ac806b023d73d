"""The output file: substitutes are those of the whole file as one batch, and the file is never incomplete."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from judge_service.cli.journal import Entry, Journal
from judge_service.cli.output import check_unscored, write_rewards
from judge_service.cli.summary import RunFacts, Summary, summarise
from judge_service.errors import JudgeServiceError, TooManyUnscored
from judge_service.settings import Settings, UnscoredSettings, WireSettings
from judge_service.values import Part, Reward, Sample
from judge_service.wire import ReplyPolicy, dump_json, encode_item
from tests.cli.conftest import Bench, FakeJudge, read_lines, reward_of, row, write_rows

scores = st.one_of(st.none(), st.floats(0, 1))
rewards = st.tuples(scores, scores, scores)
rows = st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), rewards), min_size=1, max_size=12)


def as_reward(total: float | None, first: float | None, second: float | None) -> Reward:
    parts = tuple(
        Part(name, score, 1.0, None if score is not None else "refused")
        for name, score in (("first", first), ("second", second))
    )
    return Reward(score=total, reason=None if total is not None else "refused", parts=parts)


def written(entries: list[Entry], directory: Path, settings: Settings) -> list[dict[str, Any]]:
    output = directory / "out.jsonl"
    with Journal(directory / "j") as journal:
        journal.claim({}, restart=True)
        journal.commit(entries)
        summary = summarised(journal, len(entries), output, settings)
        write_rewards(output, journal, summary, settings)
    return read_lines(output)


def summarised(journal: Journal, total: int, output: Path, settings: Settings) -> Summary:
    facts = RunFacts(total=total, judged=total, duration_s=1.0, rubric="r 1", judge="local")
    return summarise(journal, facts, output, settings)


@hypothesis(max_examples=50, deadline=None)  # each one writes a journal
@given(rows=rows, policy=st.sampled_from(["group_mean", "value:0.25"]), wide=st.booleans())
def test_row_by_row_is_the_same_as_the_door_over_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, rows: Any, policy: str, wide: bool
) -> None:
    score_range: Any = "-1..1" if wide else "0..1"
    settings = Settings(
        unscored=UnscoredSettings(policy=policy), wire=WireSettings(score_range=score_range)
    )
    samples = [Sample(id=i, group_key=group) for i, (group, _) in enumerate(rows)]
    judged = [as_reward(*reward) for _, reward in rows]
    entries = [
        Entry(i, b"", sample.group_key, dump_json(sample.id), reward)
        for i, (sample, reward) in enumerate(zip(samples, judged, strict=True))
    ]
    reply_policy = ReplyPolicy(
        policy=policy, max_fraction=1.0, memory_s=0.0, score_range=score_range
    )
    expected = [encode_item(answer) for answer in reply_policy.answer(samples, judged)]

    found = written(entries, tmp_path_factory.mktemp("out"), settings)

    assert [flat(item) for item in found] == [pytest.approx(flat(item)) for item in expected]


def flat(item: dict[str, Any]) -> dict[str, Any]:
    metrics = {metric["name"]: metric["value"] for metric in item["metrics_list"]}
    return {"id": item["id"], "score": item["aggregate_reward_score"], **metrics}


@pytest.mark.parametrize("label", ["7", 7, 7.5, None, True, {"a": [1]}, "\ud800", 2**70, "é"])
def test_an_id_keeps_its_value_and_type(tmp_path: Path, label: Any) -> None:
    (item,) = written([Entry(0, b"", "", dump_json(label), reward_of(1.0))], tmp_path, Settings())

    assert item["id"] == label
    assert type(item["id"]) is type(label)


def test_an_unscored_row_says_so_and_a_scored_one_does_not(tmp_path: Path) -> None:
    entries = [
        Entry(0, b"", "g", b"0", reward_of(0.5)),
        Entry(1, b"", "g", b"1", reward_of("no_response")),
    ]
    good, missing = written(entries, tmp_path, Settings())

    assert "unscored_reason" not in good
    assert missing["unscored_reason"] == "no_response"
    assert missing["aggregate_reward_score"] == 0.5


def test_a_row_without_a_result_is_never_passed_over(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("what was there before\n")
    with Journal(tmp_path / "j") as journal:
        journal.commit(
            [Entry(0, b"", "", b"0", reward_of(1.0)), Entry(2, b"", "", b"2", reward_of(1.0))]
        )
        summary = summarised(journal, 3, output, Settings())
        with pytest.raises(JudgeServiceError, match="has no result for row 2"):
            write_rewards(output, journal, summary, Settings())

    assert output.read_text() == "what was there before\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["j", "out.jsonl"]


@pytest.mark.parametrize(
    ("verdicts", "policy", "refused"),
    [
        ([0.1, 0.2, 0.3, "refused"], UnscoredSettings(), False),
        ([0.1, 0.2, "refused", "refused"], UnscoredSettings(), True),
        ([0.1, "no_response", "no_response", "unreadable"], UnscoredSettings(), False),
        ([0.1, 0.2, 0.3, "refused"], UnscoredSettings(policy="fail"), True),
        ([0.1, 0.2, 0.3, "no_response"], UnscoredSettings(policy="fail"), False),
    ],
)
def test_too_much_that_was_not_judged_is_refused(
    bench: Bench, verdicts: list[Any], policy: UnscoredSettings, refused: bool
) -> None:
    write_rows(bench.input, [row(i) for i in range(len(verdicts))])
    facts = bench.run(FakeJudge(lambda sample: verdicts[sample.id]))
    with bench.journal() as journal:
        summary = summarise(journal, facts, bench.output, bench.settings)

    if refused:
        with pytest.raises(TooManyUnscored, match=r"most often `refused`.* with --retry-unscored"):
            check_unscored(summary, policy)
    else:
        check_unscored(summary, policy)
