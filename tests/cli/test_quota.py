"""`judge score` reports the used quota and the calls that the judge refused."""

import msgspec
import pytest

from judge_service.cli.report import print_page
from judge_service.cli.summary import Spread, Summary, quota_facts
from judge_service.telemetry.state import QuotaState, TargetState


def target(name: str, sent: int, throttled: int, **spent: float) -> TargetState:
    return TargetState(
        target=name,
        breaker="closed",
        waiting_by_lane={},
        in_flight=0,
        slots=8,
        sent=sent,
        throttled=throttled,
        quota=tuple(QuotaState(resource=r, per_minute=600, spent=n) for r, n in spent.items()),
    )


def summary(**facts: object) -> Summary:
    nothing = Spread(
        name="reward", scored=0, unscored=0, mean=None, sd=None, minimum=None, maximum=None
    )
    fields: dict[str, object] = {
        "output": "o", "journal": "j", "rubric": "r", "judge": "b", "score_range": "0..1",
        "rows": 0, "unscored": 0, "failed": 0, "unscored_reasons": {}, "unscored_examples": {},
        "reward": nothing, "criteria": [], "histogram": [0], "groups": 0,
        "groups_without_variance": 0, "judged_now": 0, "kept": 0, "duration_s": 0.0,
        "evaluations_per_s": 0.0, "judge_calls": 0, "input_tokens": 0, "output_tokens": 0,
        "cache_read_tokens": 0,
        "cost_usd": None, "calls_sent": 0, "calls_refused": 0, "quota_used": {}, "waited_s": {},
    }  # fmt: skip
    return msgspec.convert({**fields, **facts}, Summary)


def test_the_quota_used_is_of_the_time_that_the_run_took() -> None:
    facts = quota_facts([target("a", 310, 10, requests=300.0)], duration_s=60.0)
    short = quota_facts([target("a", 15, 0, requests=15.0)], duration_s=1.0, burst_s=0.5)
    assert short["quota_used"] == {"requests": 1.0}

    assert facts == {"calls_sent": 310, "calls_refused": 10, "quota_used": {"requests": 0.5}}


def test_the_quotas_of_several_targets_add_up() -> None:
    targets = [target("a", 10, 0, requests=600.0), target("b", 5, 1, requests=0.0)]

    assert quota_facts(targets, duration_s=60.0)["quota_used"] == {"requests": 0.5}


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (
            {"quota_used": {"requests": 0.62}, "calls_sent": 1000, "calls_refused": 31},
            "quota      62% of requests used; 3.1% of 1,000 calls refused by the judge",
        ),
        ({"quota_used": {"requests": 1.0}}, "quota      100% of requests used"),
        (
            {"calls_sent": 200, "calls_refused": 2},
            "quota      1.0% of 200 calls refused by the judge",
        ),
    ],
)
def test_the_page_says_what_slowed_the_run(
    facts: dict[str, object], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_page(summary(**facts), written=True)

    assert line in capsys.readouterr().out.splitlines()


def test_without_a_quota_and_without_refusals_nothing_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_page(summary(), written=True)

    assert "quota" not in capsys.readouterr().out
