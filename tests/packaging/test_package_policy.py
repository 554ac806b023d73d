"""The policy names what the settings need, and nothing more."""

import json
from typing import Any

import pytest

from judge_service.assembly import GEOGRAPHIES
from judge_service.errors import SettingsError
from judge_service.packaging.arn import Place
from judge_service.packaging.bedrock_arns import REGIONS
from judge_service.packaging.policy import function_policy
from judge_service.packaging.trainers import SERVICES, trainer_role
from judge_service.settings import (
    BedrockSettings,
    FailoverSettings,
    FunctionSettings,
    LimitSettings,
    SageMakerSettings,
    Settings,
)

ACCOUNT = "123456789012"
HERE = Place(ACCOUNT, "us-east-1")
STREAMS = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/lambda/SageMaker-judge:log-stream:*"
PROFILE = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:inference-profile/us.amazon.nova-lite-v1:0"
NOVA = "foundation-model/amazon.nova-lite-v1:0"


def statements(settings: Settings, **more: Any) -> list[dict[str, Any]]:
    """All but the one on logs."""
    policy = function_policy(settings, HERE, function="SageMaker-judge", **more)
    assert policy["Version"] == "2012-10-17"
    first, *rest = policy["Statement"]
    assert first["Resource"] == [STREAMS]
    return rest


def on_bedrock(model: str, **sections: Any) -> Settings:
    return Settings(backend="bedrock", model=model, **sections)


def test_a_model_is_named_in_its_region() -> None:
    assert statements(on_bedrock("amazon.nova-lite-v1:0")) == [
        {
            "Effect": "Allow",
            "Action": ["bedrock:InvokeModel"],
            "Resource": [f"arn:aws:bedrock:us-east-1::{NOVA}"],
        }
    ]


@pytest.mark.parametrize("model", ["us.amazon.nova-lite-v1:0", PROFILE], ids=["id", "ARN"])
def test_a_profile_is_named_with_its_models_through_it_alone(model: str) -> None:
    profile, models = statements(on_bedrock(model))

    assert profile["Resource"] == [PROFILE]
    assert "Condition" not in profile
    assert models["Resource"] == [f"arn:aws:bedrock:{region}::{NOVA}" for region in REGIONS["us"]]
    assert models["Condition"] == {"StringEquals": {"bedrock:InferenceProfileArn": PROFILE}}


def test_a_global_profile_needs_the_model_here_and_the_one_without_a_region() -> None:
    _, models = statements(on_bedrock("global.amazon.nova-2-lite-v1:0"))

    name = "foundation-model/amazon.nova-2-lite-v1:0"
    assert models["Resource"] == [f"arn:aws:bedrock:us-east-1::{name}", f"arn:aws:bedrock:::{name}"]


def test_further_regions_are_added_to_what_a_profile_forwards_to() -> None:
    _, models = statements(on_bedrock("us.amazon.nova-lite-v1:0"), more_regions=["ca-central-1"])

    assert models["Resource"][-1] == f"arn:aws:bedrock:ca-central-1::{NOVA}"


def test_where_it_fails_over_to_is_included() -> None:
    failover = FailoverSettings(regions=("eu-west-1",), models=("amazon.nova-pro-v1:0",))
    settings = on_bedrock("amazon.nova-lite-v1:0", failover=failover)

    assert [one["Resource"] for one in statements(settings)] == [
        [f"arn:aws:bedrock:us-east-1::{NOVA}"],
        ["arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0"],
        [f"arn:aws:bedrock:eu-west-1::{NOVA}"],
    ]


def test_the_judges_region_goes_before_the_functions() -> None:
    settings = on_bedrock("amazon.nova-lite-v1:0", bedrock=BedrockSettings(region="eu-west-1"))

    assert statements(settings)[0]["Resource"] == [f"arn:aws:bedrock:eu-west-1::{NOVA}"]


def test_the_same_statement_is_made_once() -> None:
    failover = FailoverSettings(models=("amazon.nova-lite-v1:0",))

    assert len(statements(on_bedrock("amazon.nova-lite-v1:0", failover=failover))) == 1


def test_a_provisioned_model_is_named_by_its_arn() -> None:
    arn = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:provisioned-model/abc123"

    assert statements(on_bedrock(arn))[0]["Resource"] == [arn]


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            f"arn:aws:bedrock:us-east-1:{ACCOUNT}:application-inference-profile/abc",
            "does not identify its model",
        ),
        ("arn:aws:bedrock:us-east-1::foundation-model/*", "not an ARN of one model"),
        ("arn:aws:bedrock", "not an ARN of one model"),
    ],
)
def test_what_does_not_tell_the_model_is_refused(model: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        statements(on_bedrock(model))


def test_a_sagemaker_endpoint_is_named() -> None:
    settings = Settings(
        backend="sagemaker", model="judge", sagemaker=SageMakerSettings(region="us-west-2")
    )

    (statement,) = statements(settings)
    assert statement["Action"] == ["sagemaker:InvokeEndpoint"]
    assert statement["Resource"] == [f"arn:aws:sagemaker:us-west-2:{ACCOUNT}:endpoint/judge"]


def test_the_shared_quota_may_only_be_updated() -> None:
    limits = LimitSettings(store="dynamodb", store_url="quota")

    _, table = statements(on_bedrock("amazon.nova-lite-v1:0", limits=limits))
    assert table["Action"] == ["dynamodb:UpdateItem"]
    assert table["Resource"] == [f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/quota"]


@pytest.mark.parametrize(
    ("source", "action", "resource"),
    [
        ("s3://judges/a/judge.toml", "s3:GetObject", "arn:aws:s3:::judges/a/judge.toml"),
        (
            "ssm:/judge/settings",
            "ssm:GetParameter",
            f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/judge/settings",
        ),
    ],
)
def test_settings_and_rubric_that_are_fetched_may_be_read(
    source: str, action: str, resource: str
) -> None:
    expected = [{"Effect": "Allow", "Action": [action], "Resource": [resource]}]

    assert statements(Settings(), config=source) == expected
    assert statements(Settings(rubric=source)) == expected
    assert statements(Settings(), config="/opt/judge.toml") == []


def test_a_queue_is_read_and_emptied() -> None:
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:SageMaker-rollouts"

    (statement,) = statements(Settings(), queue_arn=arn)
    assert statement["Resource"] == [arn]
    assert "sqs:DeleteMessage" in statement["Action"]


def test_the_queue_of_answers_and_the_table_of_rollouts_are_named() -> None:
    url = f"https://sqs.us-west-2.amazonaws.com/{ACCOUNT}/SageMaker-replies"
    function = FunctionSettings(reply_queue_url=url, rollout_table="rollouts")

    replies, rollouts = statements(Settings(function=function))
    assert replies["Action"] == ["sqs:SendMessage"]
    assert replies["Resource"] == [f"arn:aws:sqs:us-west-2:{ACCOUNT}:SageMaker-replies"]
    assert rollouts["Action"] == ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
    assert rollouts["Resource"] == [f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/rollouts"]


def test_an_address_that_is_no_queue_is_refused() -> None:
    function = FunctionSettings(reply_queue_url="https://example.com/queue")

    with pytest.raises(SettingsError, match="is not the address of an SQS queue"):
        statements(Settings(function=function))


def test_there_is_no_wildcard_but_the_names_of_the_functions_own_log_streams() -> None:
    limits = LimitSettings(store="dynamodb", store_url="quota")
    settings = on_bedrock("us.amazon.nova-lite-v1:0", limits=limits, rubric="s3://judges/r.toml")
    policy = function_policy(settings, HERE, function="SageMaker-judge", config="ssm:/judge")

    assert json.dumps(policy).replace(json.dumps(STREAMS), "").count("*") == 0


@pytest.mark.parametrize(
    "settings",
    [
        on_bedrock("*"),
        on_bedrock("us.amazon.nova-?"),
        Settings(limits=LimitSettings(store="dynamodb", store_url="*")),
        Settings(rubric="s3://judges/*"),
    ],
)
def test_a_pattern_in_the_settings_is_refused(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="name one thing, not a pattern"):
        statements(settings)


def test_by_default_cloudformation_fills_in_account_region_and_partition() -> None:
    policy = function_policy(on_bedrock("amazon.nova-lite-v1:0"), Place(), function="f")

    assert policy["Statement"][1]["Resource"] == [
        "arn:${AWS::Partition}:bedrock:${AWS::Region}::foundation-model/amazon.nova-lite-v1:0"
    ]


@pytest.mark.parametrize(
    ("region", "partition"),
    [("us-gov-west-1", "aws-us-gov"), ("cn-north-1", "aws-cn"), ("eu-west-1", "aws")],
)
def test_the_partition_follows_from_the_region(region: str, partition: str) -> None:
    assert Place(ACCOUNT, region).arn("sqs", "q").startswith(f"arn:{partition}:sqs:{region}:")


def test_every_geography_of_the_service_is_known_here() -> None:
    assert REGIONS.keys() == GEOGRAPHIES


@pytest.mark.parametrize("trainer", SERVICES)
def test_a_trainer_may_invoke_the_one_function(trainer: str) -> None:
    role = trainer_role(trainer, HERE, function="SageMaker-judge")

    (trust,) = role["TrustPolicy"]["Statement"]
    (permission,) = role["PermissionPolicy"]["Statement"]
    assert trust["Principal"] == {"Service": SERVICES[trainer]}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert permission["Action"] == ["lambda:InvokeFunction"]
    assert permission["Resource"] == [
        f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:SageMaker-judge"
    ]
    assert "*" not in json.dumps(role)


@pytest.mark.parametrize("trainer", ["sagemaker", "hyperpod"])
def test_a_name_that_sagemaker_would_not_call_is_refused(trainer: str) -> None:
    with pytest.raises(SettingsError, match="the name must contain `SageMaker`"):
        trainer_role(trainer, HERE, function="sagemaker-judge")


def test_a_name_that_is_a_wildcard_is_refused() -> None:
    with pytest.raises(SettingsError, match="is not a name of a Lambda function"):
        function_policy(Settings(), HERE, function="*")
    with pytest.raises(SettingsError, match="is not a name of a Lambda function"):
        trainer_role("bedrock", HERE, function="*")
