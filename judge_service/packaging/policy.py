"""The least permissions of the function's role, derived from the settings."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from judge_service.errors import SettingsError
from judge_service.packaging import bedrock_arns
from judge_service.packaging.arn import FUNCTION_NAME, Place
from judge_service.settings import Settings

Statement = dict[str, Any]

ROLLOUT_ACTIONS = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
"""Actions of the function on the table of rollouts that wait for their answer."""

QUEUE_ACTIONS = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
"""Actions of Lambda that feed the function from a queue, with the function's role."""


def function_policy(
    settings: Settings,
    place: Place,
    *,
    function: str,
    config: str = "",
    queue_arn: str = "",
    more_regions: Sequence[str] = (),
) -> dict[str, Any]:
    """Makes the function's IAM policy document. It names every resource; its only `*` stands for the
    function's own log streams, whose names Lambda chooses.

    place: the function's account and region; for the judge `bedrock.region` has precedence.
    config: the value of `JUDGE_CONFIG`, if it is `s3://...` or `ssm:...`.
    queue_arn: the queue that feeds the function, if there is one.
    more_regions: regions to which an inference profile forwards in addition to the known ones.

    Raises SettingsError for a model name that does not identify the model, a wildcard, or a malformed name.
    """
    if not FUNCTION_NAME.fullmatch(function):
        raise SettingsError(
            f"`{function}` is not a name of a Lambda function (letters, digits, - and _)"
        )
    named = [
        *_judge(settings, place, more_regions),
        *_quota(settings, place),
        *_fetched(config, place),
        *_fetched(settings.rubric, place),
        *_queue(settings, place, queue_arn),
    ]
    _refuse_wildcards(named)
    return {"Version": "2012-10-17", "Statement": [_logs(place, function), *_merged(named)]}


def _logs(place: Place, function: str) -> Statement:
    group = place.arn("logs", f"log-group:/aws/lambda/{function}")
    return _allow(["logs:CreateLogStream", "logs:PutLogEvents"], f"{group}:log-stream:*")


def _judge(settings: Settings, place: Place, more_regions: Sequence[str]) -> Iterator[Statement]:
    asked = {"bedrock": _bedrock, "sagemaker": _sagemaker}.get(settings.backend)
    if asked:
        yield from asked(settings, place, more_regions)


def _bedrock(settings: Settings, place: Place, more_regions: Sequence[str]) -> Iterator[Statement]:
    failover = settings.failover
    here = replace(place, region=settings.bedrock.region or place.region)
    for model in (settings.model, *failover.models):
        yield from bedrock_arns.statements(model, here, more_regions)
    for region in failover.regions:
        there = replace(place, region=region)
        yield from bedrock_arns.statements(settings.model, there, more_regions)


def _sagemaker(
    settings: Settings, place: Place, _more_regions: Sequence[str]
) -> Iterator[Statement]:
    here = replace(place, region=settings.sagemaker.region or place.region)
    for endpoint in (settings.model, *settings.failover.models):
        yield _allow(["sagemaker:InvokeEndpoint"], here.arn("sagemaker", f"endpoint/{endpoint}"))


def _quota(settings: Settings, place: Place) -> Iterator[Statement]:
    """Statements for the shared quota's table; the store sends updates only."""
    if settings.limits.store == "dynamodb":
        here = replace(place, region=settings.bedrock.region or place.region)
        yield _allow(["dynamodb:UpdateItem"], _table(settings.limits.store_url, here))


def _fetched(source: str, place: Place) -> Iterator[Statement]:
    """Statements for settings or a rubric that the function reads from S3 or Parameter Store."""
    if source.startswith("s3://"):
        parts = urlsplit(source)
        yield _allow(["s3:GetObject"], f"arn:{place.partition}:s3:::{parts.netloc}{parts.path}")
    elif source.startswith("ssm:"):
        name = source.removeprefix("ssm:").lstrip("/")
        yield _allow(["ssm:GetParameter"], place.arn("ssm", f"parameter/{name}"))


def _queue(settings: Settings, place: Place, queue_arn: str) -> Iterator[Statement]:
    """Statements for the queue of requests, the queue of answers, and the table of rollouts."""
    if queue_arn:
        yield _allow(QUEUE_ACTIONS, queue_arn)
    if url := settings.function.reply_queue_url:
        yield _allow(["sqs:SendMessage"], _queue_at(url))
    if table := settings.function.rollout_table:
        yield _allow(ROLLOUT_ACTIONS, _table(table, place))


def _queue_at(url: str) -> str:
    """The ARN of `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`."""
    parts = urlsplit(url)
    labels, path = (parts.hostname or "").split("."), parts.path.strip("/").split("/")
    if len(labels) < 3 or labels[0] != "sqs" or len(path) != 2:
        raise SettingsError(f"`function.reply_queue_url`: {url} is not the address of an SQS queue")
    return Place(account=path[0], region=labels[1]).arn("sqs", path[1])


def _table(name: str, place: Place) -> str:
    return name if name.startswith("arn:") else place.arn("dynamodb", f"table/{name}")


def _allow(actions: list[str], resource: str) -> Statement:
    return {"Effect": "Allow", "Action": actions, "Resource": [resource]}


def _refuse_wildcards(statements: Sequence[Statement]) -> None:
    for resource in [one for statement in statements for one in statement["Resource"]]:
        if "*" in resource or "?" in resource:
            raise SettingsError(f"the policy would allow {resource}; name one thing, not a pattern")


def _merged(statements: Sequence[Statement]) -> list[Statement]:
    """Removes duplicates: failover to another region names the global model again."""
    return [one for index, one in enumerate(statements) if one not in statements[:index]]
