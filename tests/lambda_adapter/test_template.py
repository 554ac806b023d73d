"""The SAM template is valid, has least privilege, and matches the code."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from judge_service.flow.stores import Ask
from judge_service.flow.stores.dynamodb import _request
from judge_service.packaging.arn import Place
from judge_service.packaging.policy import function_policy
from judge_service.packaging.target import MACHINES, PYTHONS
from judge_service.settings import NOT_SETTINGS, FunctionSettings, LimitSettings, Settings, keys
from judge_service.telemetry.emf import UNITS
from judge_service.telemetry.logs import FIELDS

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "lambda_adapter" / "template.yaml"
NAMESPACE = "JudgeService"
BLOG_QUERIES = {"ZeroRewardsQuery", "DistributionQuery", "SlowQuery", "CriteriaQuery"}
ALARMS = {
    "UnscoredAlarm",
    "JudgeThrottledAlarm",
    "FunctionThrottledAlarm",
    "ErrorsAlarm",
    "DurationAlarm",
    "RewardVarianceAlarm",
    "RewardDriftAlarm",
}


class Tags(yaml.SafeLoader):
    """Reads `!Ref x` as `{"Ref": "x"}` and `!Sub x` as `{"Fn::Sub": "x"}`."""


def intrinsic(loader: Any, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


Tags.add_multi_constructor("!", intrinsic)
DOCUMENT: dict[str, Any] = yaml.load(TEMPLATE.read_text(), Tags)
RESOURCES: dict[str, Any] = DOCUMENT["Resources"]
PARAMETERS: dict[str, Any] = DOCUMENT["Parameters"]
FUNCTION: dict[str, Any] = RESOURCES["Function"]["Properties"]


def walk(value: Any) -> Iterator[Any]:
    yield value
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, dict | list):
            yield from walk(part)
        else:
            yield part


def cfn_lint(template: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "cfn-lint", "-t", template, "-r", "us-east-1"],
        env={**os.environ, "AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_cfn_lint_finds_nothing() -> None:
    done = cfn_lint(TEMPLATE)

    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_cfn_lint_would_find_something(tmp_path: Path) -> None:
    broken = tmp_path / "template.yaml"
    broken.write_text(TEMPLATE.read_text().replace("MemorySize:", "MemorySizes:"))

    assert "MemorySizes" in cfn_lint(broken).stdout


def test_cloudformation_reads_no_yaml_aliases() -> None:
    assert not [
        token for token in yaml.scan(TEMPLATE.read_text()) if type(token) is yaml.AliasToken
    ]


def test_the_function_is_named_sized_and_bounded_as_its_callers_need() -> None:
    assert PARAMETERS["FunctionName"]["Default"].startswith("SageMaker-")
    assert not re.match(PARAMETERS["FunctionName"]["AllowedPattern"], "judge")
    assert (FUNCTION["MemorySize"], FUNCTION["Timeout"]) == (512, 60)
    assert FUNCTION["ReservedConcurrentExecutions"] == {"Ref": "ReservedConcurrency"}
    assert RESOURCES["LogGroup"]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_it_takes_what_judge_package_builds() -> None:
    assert PARAMETERS["Architecture"]["AllowedValues"] == list(MACHINES)
    assert PARAMETERS["Runtime"]["AllowedValues"] == [f"python{one}" for one in PYTHONS]
    assert FUNCTION["Handler"] == "lambda_adapter.handler.lambda_handler"


def test_every_variable_it_sets_is_a_setting() -> None:
    variables = FUNCTION["Environment"]["Variables"].keys()

    assert variables
    assert variables <= {key.variable for key in keys()} | NOT_SETTINGS


def test_the_role_allows_what_the_generated_policy_allows_and_names_no_wildcard() -> None:
    settings = Settings(
        backend="bedrock",
        model="us.amazon.nova-lite-v1:0",
        limits=LimitSettings(store="dynamodb", store_url="quota"),
        rubric="s3://bucket/rubric.toml",
        function=FunctionSettings(
            reply_queue_url="https://sqs.us-east-1.amazonaws.com/123456789012/q", rollout_table="t"
        ),
    )
    policy = function_policy(
        settings, Place(), function="f", config="ssm:/judge", queue_arn="arn:aws:sqs:r:1:q"
    )
    wanted = {action for one in policy["Statement"] for action in one["Action"]}
    (inline,) = RESOURCES["Role"]["Properties"]["Policies"]
    texts = {text for text in walk(inline) if isinstance(text, str)}

    assert {text for text in texts if re.fullmatch(r"[a-z0-9]+:[A-Z]\w+", text)} == wanted
    assert not [text for text in texts if "*" in text]


def metrics() -> Iterator[str]:
    """Names of our own metrics in alarms and on the dashboard."""
    for value in walk(RESOURCES):
        if isinstance(value, dict) and value.get("Namespace") == NAMESPACE:
            yield value["MetricName"]
    for widget in board()["widgets"]:
        yield from [row[1] for row in widget["properties"]["metrics"] if row[0] == NAMESPACE]


def board() -> dict[str, Any]:
    return json.loads(RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])


def test_every_metric_it_watches_is_one_that_the_function_emits() -> None:
    assert {"Samples", "Unscored", "Reward", "RewardSquared", "JudgeThrottled"} <= set(metrics())
    assert set(metrics()) <= UNITS.keys()


def test_there_is_an_alarm_for_each_thing_that_goes_wrong_in_a_week_of_training() -> None:
    alarms = {
        name: one["Properties"]
        for name, one in RESOURCES.items()
        if one["Type"] == "AWS::CloudWatch::Alarm"
    }

    assert alarms.keys() == ALARMS
    assert all(one["TreatMissingData"] == "notBreaching" for one in alarms.values())
    assert all("AlarmActions" in one for one in alarms.values())
    assert alarms["DurationAlarm"]["Threshold"] == FUNCTION["Timeout"] * 1000 * 0.8


def expression(alarm: str) -> str:
    metrics = RESOURCES[alarm]["Properties"]["Metrics"]
    return next(one["Expression"] for one in metrics if "Expression" in one)


@pytest.mark.parametrize(
    ("rewards", "is_alarm"), [([0.5] * 200, True), ([0.0, 1.0] * 100, False), ([0.5] * 50, False)]
)
def test_the_variance_is_that_of_the_rewards(rewards: list[float], is_alarm: bool) -> None:
    values = {
        "scored": len(rewards),
        "reward": sum(rewards) / len(rewards),
        "squared": sum(one * one for one in rewards) / len(rewards),
        "IF": lambda condition, yes, no: yes if condition else no,
    }
    variance = eval(expression("RewardVarianceAlarm"), values)

    assert (variance < RESOURCES["RewardVarianceAlarm"]["Properties"]["Threshold"]) is is_alarm


def test_the_quotas_table_is_the_one_that_the_store_writes_to() -> None:
    ask = Ask(client="a", per_minute={"requests": 60.0}, want={"requests": 1})
    names = _request(ask, {"requests": 1}, {"requests": 1}, {})["ExpressionAttributeNames"]
    table = RESOURCES["QuotaTable"]["Properties"]

    assert table["TimeToLiveSpecification"]["AttributeName"] == names["#end"]
    assert [one["AttributeName"] for one in table["KeySchema"]] == ["slice"]
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_the_queue_reports_each_message_that_failed() -> None:
    assert RESOURCES["Queue"]["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def queries() -> dict[str, str]:
    texts = {
        name: one["Properties"]["QueryString"]
        for name, one in RESOURCES.items()
        if one["Type"] == "AWS::Logs::QueryDefinition"
    }
    means = PARAMETERS["CriterionMeans"]["Default"]
    filled = {
        name: text if isinstance(text, str) else text["Fn::Sub"] for name, text in texts.items()
    }
    return {name: text.replace("${CriterionMeans}", means) for name, text in filled.items()}


def criteria() -> set[str]:
    rubric = tomllib.loads((ROOT / "examples/rubrics/quality.toml").read_text())
    return {one["name"] for one in rubric["criteria"]}


def test_the_saved_queries_read_fields_that_the_lines_have() -> None:
    known = {*FIELDS, *criteria(), "timestamp"}
    words = {"fields", "filter", "sort", "stats", "limit", "by", "as", "desc", "asc", "bin", "m"}
    words |= {"avg", "count", "floor", "ispresent", "latest"}

    assert queries().keys() >= BLOG_QUERIES
    for text in queries().values():
        named = set(re.findall(r" as (\w+)", text))
        assert set(re.findall(r"[a-z_]+", text)) - words - named <= known


def test_means_are_taken_of_every_criterion_of_the_example() -> None:
    averaged = set(re.findall(r"avg\((\w+)\)", queries()["CriteriaQuery"]))

    assert averaged == criteria() | {"aggregate_reward_score"}


def test_every_parameter_is_used() -> None:
    text = TEMPLATE.read_text()

    for name in PARAMETERS:
        assert re.search(rf"!Ref {name}\b|\$\{{{name}\}}", text), name
